import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseRecipe, planRecipe, type RunRecipeOptions, type RunReport, runRecipe } from '@lithe/cli';
import { isLitheError } from '@lithe/core';
import { loadOnnx } from '@lithe/onnx/node';
import { afterAll, describe, expect, it } from 'vitest';
import { lithe } from '../lithe.ts';
import { recipeHead as head, makeWorkplace, model } from './fixtures.ts';

const place = makeWorkplace();
afterAll(() => place.remove());

/** Runs a recipe in a folder of its own. */
async function run(text: string, folder: string, options: RunRecipeOptions = {}): Promise<RunReport> {
  return runRecipe(parseRecipe(text, place.at('recipe.yaml')), { folder: place.at(folder), ...options });
}

/** Hashes of all models of a run. */
function modelsOf(report: RunReport, folder: string): Record<string, string> {
  const files = report.seeds.flatMap(({ original, steps }) => [
    original.file,
    ...steps.map(({ file }) => file),
  ]);
  return Object.fromEntries(
    files.map((file) => [
      file,
      createHash('sha256')
        .update(readFileSync(join(place.at(folder), file)))
        .digest('hex'),
    ]),
  );
}

/** The weights of the first layer. */
async function weightsOf(file: string): Promise<Float32Array> {
  const weight = (await loadOnnx(file)).graph.value('linear1.weight')?.initializer;
  return (await weight?.load())?.data as Float32Array;
}

const resumed = (report: RunReport): readonly boolean[] =>
  report.seeds[0]?.steps.map((step) => step.resumed) ?? [];

describe('running a recipe', () => {
  it('starts each step where it says, and measures each', async () => {
    const text = `${head}seed: 3
baseline: double
steps:
  - { name: double, use: x/scale, with: { factor: 2 } }
  - { name: beside, use: x/scale, control: true, with: { factor: 100 } }
  - { name: further, from: beside, use: x/scale, control: true, with: { factor: 10 } }
  - { name: six, use: x/scale, with: { factor: 3 } }
  - { name: anew, from: original, use: x/scale, control: true, with: { factor: 7 } }
  - { name: half, use: x/blend, with: { other: original } }
`;
    const report = await run(text, 'branches');
    const [seed] = report.seeds;
    expect(seed?.steps.map(({ name, from, control }) => [name, from, control])).toEqual([
      ['double', null, false],
      ['beside', 'double', true],
      ['further', 'beside', true],
      ['six', 'double', false],
      ['anew', null, true],
      ['half', 'six', false],
    ]);
    const original = await weightsOf(join(place.at('branches'), seed?.original.file ?? ''));
    const factors = { double: 2, beside: 200, further: 2000, six: 6, anew: 7, half: 3.5 };
    for (const step of seed?.steps ?? []) {
      const weights = await weightsOf(join(place.at('branches'), step.file));
      const factor = factors[step.name as keyof typeof factors];
      expect(weights[5]).toBeCloseTo((original[5] ?? Number.NaN) * factor, 4);
      // 4 x 8 and 8 x 3 multiplications, and as many weights with 8 + 3 biases.
      expect(step).toMatchObject({ macs: 56, parameters: 67, resumed: false });
      expect(step.failure).toBeUndefined();
      expect(
        step.weights.map(({ weight, counts }) => [weight, counts.reduce((sum, one) => sum + one)]),
      ).toEqual([
        ['linear1.weight', 32],
        ['classifier.weight', 24],
      ]);
    }
    // All weights times two: scores change, their order too, for biases are zero and ReLU is homogeneous.
    expect(seed?.steps[0]).toMatchObject({
      metric: seed?.original.metric,
      drift: { top1Agreement: 1, rows: 64 },
    });
    expect(report).toMatchObject({
      name: 'recipe',
      metric: 'accuracy',
      baseline: 'double',
      result: 'half',
      warnings: [],
      recipe: text,
    });
    expect(report.data).toEqual({
      train: { source: 'train.npz', samples: 96 },
      test: { source: 'test.npz', samples: 64 },
    });
    expect(JSON.parse(readFileSync(place.at('branches', 'report.json'), 'utf8'))).toEqual(
      JSON.parse(JSON.stringify(report)),
    );
    expect(readFileSync(place.at('branches', 'report.html'), 'utf8')).toContain('<!doctype html>');
  });

  it('takes the accuracy that counting by hand gives', async () => {
    const report = await run(`${head}steps:\n  - { use: x/scale, with: { factor: -1 } }\n`, 'metric');
    const [first] = report.seeds;
    const { nodeCpuTarget } = await import('@lithe/backend-onnxruntime');
    const { createRunContext } = await import('@lithe/core');
    const { loadNpz } = await import('@lithe/data/node');
    const backend = await nodeCpuTarget().open(createRunContext(), { threads: 1 });
    const { x, label } = await loadNpz(place.at('test.npz'));
    const labels = (label as NonNullable<typeof label>).data as BigInt64Array;
    for (const [file, metric] of [
      [first?.original.file, first?.original.metric],
      [first?.steps[0]?.file, first?.steps[0]?.metric],
    ]) {
      const executable = await backend.compile({ kind: 'onnx', file: place.at('metric', String(file)) });
      const scores = (await executable.run({ x: x as NonNullable<typeof x> }))['logits']
        ?.data as Float32Array;
      let right = 0;
      for (let sample = 0; sample < 64; sample++) {
        const row = [...scores.subarray(sample * 3, sample * 3 + 3)];
        if (row.indexOf(Math.max(...row)) === Number(labels[sample])) right++;
      }
      expect(metric).toBe(right / 64);
    }
    await backend.dispose();
  });

  it('takes over what is there, and makes anew what a change touches', async () => {
    const steps = (factor: number): string => `${head}steps:
  - { name: a, use: x/count }
  - { name: b, use: x/scale, with: { factor: ${factor} } }
  - { name: c, use: x/blend, with: { other: a } }
  - { name: d, from: a, use: x/scale, control: true, with: { factor: 3 } }
`;
    const first = await run(steps(2), 'resume');
    const again = await run(steps(2), 'resume');
    expect([resumed(first), resumed(again)]).toEqual([
      [false, false, false, false],
      [true, true, true, true],
    ]);
    const same = (report: RunReport): unknown =>
      report.seeds.map((seed) => ({
        ...seed,
        steps: seed.steps.map((step) => ({ ...step, resumed: false })),
      }));
    expect(same(again)).toEqual(same(first));

    expect(resumed(await run(steps(4), 'resume'))).toEqual([true, false, false, true]);
    // The figures of another measurement are taken anew, the models are not made anew.
    const measured = await run(steps(4).replace('rounds: 0', 'rounds: 0, batches: [2]'), 'resume');
    expect(resumed(measured)).toEqual([true, true, true, true]);
    // Another seed has a folder of its own; data that changed touches all.
    expect(resumed(await run(steps(4), 'resume', { seed: 1 }))).toEqual([false, false, false, false]);
    place.write('train.npz.copy', readFileSync(place.at('train.npz')));
    expect(resumed(await run(steps(4).replace('train: train.npz', 'train: test.npz'), 'resume'))).toEqual([
      false,
      false,
      false,
      false,
    ]);
    expect(resumed(await run(steps(4), 'resume', { fresh: true }))).toEqual([false, false, false, false]);
  });

  it('takes figures anew on another machine, but makes no model anew', async () => {
    const text = `${head}steps:\n  - { use: x/scale, with: { factor: 2 } }\n`;
    const record = (): string => readFileSync(place.at('elsewhere', 'seed-0/01-scale.json'), 'utf8');
    await run(text, 'elsewhere');
    const before = record();
    await run(text, 'elsewhere');
    expect(record()).toBe(before);
    const { version } = process;
    Object.defineProperty(process, 'version', { value: 'v0.0.0' });
    const other = await run(text, 'elsewhere').finally(() => {
      Object.defineProperty(process, 'version', { value: version });
    });
    expect(other.target.machine).toContain('Node v0.0.0');
    expect(resumed(other)).toEqual([true]);
    expect(record()).not.toBe(before);
  });

  it('finds results again when steps are renamed, added or left out', async () => {
    const a = '  - { name: a, use: x/count }\n';
    const b = '  - { name: b, use: x/scale, with: { factor: 2 } }\n';
    const before = await run(`${head}steps:\n${a}${b}`, 'moved');
    const extra = '  - { name: extra, from: a, control: true, use: x/scale, with: { factor: 9 } }\n';
    const after = await run(
      `${head}steps:\n${a.replace('name: a', 'name: counted')}${extra.replace('from: a', 'from: counted')}${b}`,
      'moved',
    );
    expect(resumed(after)).toEqual([true, false, true]);
    const hash = (report: RunReport, index: number): string | undefined =>
      modelsOf(report, 'moved')[report.seeds[0]?.steps[index]?.file ?? ''];
    expect(hash(after, 2)).toBe(hash(before, 1));
    expect(resumed(await run(`${head}steps:\n${a}${b}`, 'moved'))).toEqual([true, true]);
  });

  it('makes a step anew whose file was changed or cut off', async () => {
    const text = `${head}steps:\n  - { name: a, use: x/count }\n  - { name: b, use: x/scale, with: { factor: 2 } }\n`;
    const first = await run(text, 'damage');
    const models = modelsOf(first, 'damage');
    const file = place.at('damage', first.seeds[0]?.steps[0]?.file ?? '');
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.subarray(0, 100));
    expect(resumed(await run(text, 'damage'))).toEqual([false, true]);
    expect(modelsOf(first, 'damage')).toEqual(models);
    writeFileSync(file.replace('.onnx', '.json'), '{ "format": 1,');
    expect(resumed(await run(text, 'damage'))).toEqual([false, true]);
    expect(modelsOf(first, 'damage')).toEqual(models);
  });

  it('goes on in the middle of a step that was stopped, to the same bytes', async () => {
    const text = `${head}steps:\n  - { name: a, use: x/count, with: { steps: 6 } }\n  - { name: b, use: x/scale, with: { factor: 2 } }\n`;
    const whole = await run(text, 'whole');
    const controller = new AbortController();
    const stopped = run(text, 'stopped', {
      signal: controller.signal,
      onProgress: ({ task, done }) => {
        if (task === 'x/count' && done === 3) controller.abort();
      },
    });
    await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
    expect(readdirSync(place.at('stopped', 'seed-0')).sort()).toEqual([
      '00-original.json',
      '00-original.onnx',
      'work',
    ]);
    const report = await run(text, 'stopped');
    expect(report.seeds[0]?.steps[0]?.pass.metrics).toMatchObject({ 'resumed at': { value: 3 } });
    expect(modelsOf(report, 'stopped')).toEqual(modelsOf(whole, 'whole'));
    expect(existsSync(place.at('stopped', 'seed-0', 'work', '01-a'))).toBe(false);
    // A checkpoint of other options is not gone on from.
    const other = run(text.replace('steps: 6', 'steps: 7'), 'stopped', {
      signal: AbortSignal.abort(),
    });
    await expect(other).rejects.toMatchObject({ name: 'AbortError' });
    const longer = await run(text.replace('steps: 6', 'steps: 7'), 'stopped');
    expect(longer.seeds[0]?.steps[0]?.pass.metrics).toMatchObject({ 'resumed at': { value: 0 } });
  });

  it('says which step failed, and keeps what the ones before it left', async () => {
    const text = `${head}steps:\n  - use: x/count\n  - use: x/fail\n`;
    const failure: unknown = await run(text, 'failed').catch((error: unknown) => error);
    expect(isLitheError(failure, 'RECIPE_FAILED') && failure.message).toBe(
      `Step "fail" (${place.at('recipe.yaml')}:8:5) failed: the disk is made of cheese`,
    );
    const mended = await run(text.replace('x/fail', 'x/scale'), 'failed');
    expect(resumed(mended)).toEqual([true, false]);
    const path = place.write('failing.yaml', text);
    const call = await lithe('run', path);
    expect(call).toMatchObject({ code: 1, out: '' });
    expect(call.err).toContain('[RECIPE_FAILED]');
  });

  it('goes on past a model that the target refuses, says so, and does not call it a result', async () => {
    const text = `${head}output: odd.onnx\nsteps:\n  - use: x/odd\n  - { use: x/scale, control: true, from: odd }\n  - { name: fine, use: x/scale, control: true, from: original }\n`;
    const path = place.write('odd.yaml', text);
    const call = await lithe('run', path, '--json');
    expect(call.code).toBe(1);
    const report = JSON.parse(call.out) as RunReport;
    const [odd, after, fine] = report.seeds[0]?.steps ?? [];
    expect(odd?.failure).toMatch(/^onnxruntime-node could not run it: .*Cheese/);
    expect(odd).toMatchObject({ parameters: 67, latency: [] });
    expect(report.warnings[0]).toMatch(/^The multiplications of \d nodes of "odd" are not known/);
    expect([after?.failure !== undefined, fine?.failure, fine?.drift?.rows]).toEqual([true, undefined, 64]);
    expect(report.warnings.join('\n')).toContain('Step "odd" (seed 0): onnxruntime-node could not run it');
    expect([report.output, existsSync(place.at('odd.onnx'))]).toEqual([null, false]);
  });

  it('holds passes to what they promise', async () => {
    await expect(run(`${head}steps:\n  - use: x/wrong\n`, 'wrong')).rejects.toMatchObject({
      code: 'RECIPE_FAILED',
      cause: { code: 'PASS_DRIFT' },
    });
  });

  it('keeps a second run out of the folder while the first one is at work', async () => {
    const text = `${head}steps:\n  - { use: x/count, with: { steps: 2 } }\n`;
    let second: Promise<unknown> | undefined;
    await run(text, 'twice', {
      onProgress: ({ task }) => {
        if (task === 'x/count') second ??= run(text, 'twice').catch((error: unknown) => error);
      },
    });
    expect(await second).toMatchObject({ code: 'FOLDER_LOCKED' });
    expect(existsSync(place.at('twice', 'run.lock'))).toBe(false);
    expect(resumed(await run(text, 'twice'))).toEqual([true]);
  });

  it('does not take options that come too late for a plan', async () => {
    const plan = await planRecipe(parseRecipe(`${head}steps:\n  - use: x/scale\n`, place.at('recipe.yaml')));
    await expect(runRecipe(plan, { seed: 3 })).rejects.toThrow('"seed" comes too late for a plan.');
    expect(existsSync(plan.runFolder)).toBe(false);
  });

  it('names the models that there are when a pass asks for another', async () => {
    const text = `${head}steps:\n  - use: x/scale\n  - { use: x/blend, with: { other: teacher } }\n`;
    await expect(run(text, 'unnamed')).rejects.toThrow('There is no model called "teacher".');
  });
});

describe('seeds and limits', () => {
  const text = `${head.replace('rounds: 0', 'rounds: 6, batches: [1, 4]')}seeds: [0, 1]
limits: { maxDrop: 1, minSmaller: 0.9, minSpeedup: { 4: 0.01 } }
output: small.onnx
steps:
  - use: x/scale
    with: { factor: 2 }
`;

  it('gives each seed its own weights, and judges the mean', async () => {
    const report = await run(text, 'seeds');
    expect(report.seeds.map(({ seed, original }) => [seed, original.file])).toEqual([
      [0, 'seed-0/00-original.onnx'],
      [1, 'seed-1/00-original.onnx'],
    ]);
    const models = modelsOf(report, 'seeds');
    expect(new Set(Object.values(models)).size).toBe(4);
    expect(report.limits.map(({ limit, met }) => [limit, met])).toEqual([
      ['loses at most 100 points', true],
      ['at least 0.90x smaller', true],
      ['at least 0.01x faster at batch 4', true],
    ]);
    expect(report.limits[1]?.measured).toBe('1.00x');
    for (const { original, steps } of report.seeds) {
      for (const { latency } of [original, ...steps]) {
        expect(latency.map(({ batch }) => batch)).toEqual([1, 4]);
        for (const { beforeMs, afterMs, speedup, interval } of latency) {
          expect(Math.min(beforeMs, afterMs, speedup)).toBeGreaterThan(0);
          expect(interval[0]).toBeLessThanOrEqual(speedup);
          expect(interval[1]).toBeGreaterThanOrEqual(speedup);
        }
      }
    }
    expect(report.output).toBe(place.at('small.onnx'));
    expect(readFileSync(place.at('small.onnx'))).toEqual(
      readFileSync(place.at('seeds', 'seed-0/01-scale.onnx')),
    );
  });

  it('ends with code 1 when a limit is not kept, reports, and writes no output', async () => {
    const path = place.write(
      'strict.yaml',
      text
        .replace('minSmaller: 0.9', 'minSmaller: 10')
        .replace('small.onnx', 'strict.onnx')
        .replace('seeds: [0, 1]', 'seed: 1'),
    );
    const call = await lithe('run', path, '--report', place.at('strict.html'));
    expect(call.code).toBe(1);
    expect(call.out).toContain('10.00x smaller');
    expect(existsSync(place.at('strict.onnx'))).toBe(false);
    const report = JSON.parse(readFileSync(place.at('strict.run', 'report.json'), 'utf8')) as RunReport;
    expect(report.limits.map(({ met }) => met)).toEqual([true, false, true]);
    expect(report.output).toBeNull();
    expect(report.warnings.join()).toContain('was not written');
    expect(readFileSync(place.at('strict.html'), 'utf8')).toBe(
      readFileSync(place.at('strict.run', 'report.html'), 'utf8'),
    );
    const json = await lithe('run', path, '--json');
    expect(json.code).toBe(1);
    expect((JSON.parse(json.out) as RunReport).seeds[0]?.steps[0]?.resumed).toBe(true);
  });
});

describe('a recipe without data', () => {
  it('is measured on random inputs, and says so', async () => {
    const text = `recipe: 1\nplugins: [lithe-plugin-x]\n${model}\ntarget: { name: node-cpu, rounds: 0 }\nsteps:\n  - use: x/scale\n`;
    const report = await run(text, 'random');
    expect(report).toMatchObject({ metric: null, data: { train: null, test: null } });
    expect(report.seeds[0]?.steps[0]?.metric).toBeUndefined();
    expect(report.warnings.join()).toContain('random input');
  });

  it('tells of a model that loads and does not run, and not of the one that is made from it', async () => {
    const text = `recipe: 1\nplugins: [lithe-plugin-x]\n${model}\ntarget: { name: node-cpu, rounds: 0 }\nsteps:\n  - use: x/astray\n  - { use: x/straight }\n`;
    const report = await run(text, 'astray');
    const [astray, straight] = report.seeds[0]?.steps ?? [];
    expect(astray?.failure).toMatch(/^onnxruntime-node could not run it: .*Out of range/s);
    expect([straight?.failure, straight?.drift]).toEqual([undefined, undefined]);
  });

  it('is planned from a model file, beside which nothing changes', async () => {
    await run(`${head}steps:\n  - use: x/scale\n`, 'file-source');
    const file = place.write('given.onnx', readFileSync(place.at('file-source', 'seed-0/01-scale.onnx')));
    const text = `recipe: 1\nplugins: [lithe-plugin-x]\nmodel: given.onnx\ntarget: { name: node-cpu, rounds: 0 }\noutput: given.onnx\nsteps:\n  - use: x/scale\n`;
    await expect(planRecipe(parseRecipe(text, place.at('recipe.yaml')))).rejects.toThrow(
      'The output is the model itself.',
    );
    const report = await run(text.replace('output: given.onnx\n', ''), 'from-file');
    expect(readFileSync(place.at('from-file', report.seeds[0]?.original.file ?? ''))).toEqual(
      readFileSync(file),
    );
  });
});
