import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseRecipe, planRecipe, type RunReport, runRecipe } from '@lithe/cli';
import { createRng, Tensor } from '@lithe/core';
import { writeNpz } from '@lithe/data';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { models } from '../lithe.ts';
import { makeWorkplace, model } from './fixtures.ts';

const place = makeWorkplace();
afterAll(() => place.remove());

/** Images of three classes: bright on the left, bright above, dark; with noise. */
function images(samples: number, size: number, seed: number): Uint8Array {
  const rng = createRng(seed);
  const x = new Float32Array(samples * size * size);
  const label = new BigInt64Array(samples);
  for (let sample = 0; sample < samples; sample++) {
    const kind = sample % 3;
    label[sample] = BigInt(kind);
    for (let pixel = 0; pixel < size * size; pixel++) {
      const bright = kind === 0 ? pixel % size < size / 2 : kind === 1 && pixel < (size * size) / 2;
      x[sample * size * size + pixel] = (bright ? 1 : 0) + 0.7 * rng.normal();
    }
  }
  return writeNpz({
    x: Tensor.from('float32', [samples, 1, size, size], x),
    label: Tensor.from('int64', [samples], label),
  });
}

beforeAll(() => {
  place.write('train.npz', images(240, 8, 1));
  place.write('test.npz', images(120, 8, 2));
});

const recipe = `recipe: 1
plugins: ['@lithe/simplify', '@lithe/training', '@lithe/pruning', '@lithe/distillation', '@lithe/quantization']
model: { network: cnn, with: { image: [1, 8, 8], classes: 3 } }
data: { train: train.npz, test: test.npz }
target: { name: node-cpu, rounds: 0 }
baseline: teacher
limits: { maxDrop: 0.2, minSmaller: 4 }
steps:
  - name: teacher
    use: training/train
    with: { epochs: 3, batchSize: 32, learningRate: 0.002, checkpointEvery: 2 }
  - use: pruning/prune
    with: { budget: { macs: 0.25 } }
  - name: student
    use: distillation/distil
    with: { teacher: teacher, epochs: 5, batchSize: 32, learningRate: 0.002, terms: [{ loss: logits, temperature: 4 }] }
  - name: int8
    use: quantization/static-int8
`;

const hashes = (report: RunReport, folder: string): Buffer[] =>
  (report.seeds[0]?.steps ?? []).map(({ file }) => readFileSync(place.at(folder, file)));

describe('the passes of our plugins', () => {
  it('train, prune, distil and quantize, and go on to the same bytes when training was stopped', async () => {
    const whole = await runRecipe(parseRecipe(recipe, place.at('r.yaml')), { folder: place.at('whole') });
    const [seed] = whole.seeds;
    const [teacher, pruned, student, int8] = seed?.steps ?? [];
    // A third is right by chance.
    expect(teacher?.metric).toBeGreaterThan(0.9);
    expect(teacher?.pass.tables?.['epochs']?.rows).toHaveLength(3);
    expect(pruned?.macs).toBeLessThan((teacher?.macs ?? 0) * 0.3);
    expect(student?.metric).toBeGreaterThan(0.8);
    expect(int8?.bytes).toBeLessThan((student?.bytes ?? 0) * 0.7);
    expect(int8?.drift?.top1Agreement).toBeGreaterThan(0.9);
    expect(whole.limits.map(({ met }) => met)).toEqual([true, true]);

    const controller = new AbortController();
    let checkpoints = 0;
    const stopped = runRecipe(parseRecipe(recipe, place.at('r.yaml')), {
      folder: place.at('stopped'),
      signal: controller.signal,
      onProgress: ({ task }) => {
        if (task === 'training/train' && ++checkpoints === 12) controller.abort();
      },
    });
    await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
    const kept = readdirSync(place.at('stopped', 'seed-0', 'work', '01-teacher'), { recursive: true });
    expect(kept.map(String).filter((name) => name.endsWith('checkpoint'))).toHaveLength(1);
    const resumed = await runRecipe(parseRecipe(recipe, place.at('r.yaml')), { folder: place.at('stopped') });
    expect(hashes(resumed, 'stopped')).toEqual(hashes(whole, 'whole'));
  });
});

describe('passes that take the first samples of data that is sorted by class', () => {
  it('say in report and log which classes they never show', async () => {
    // 4 samples of each of 3 classes, in order.
    const label = Tensor.from(
      'int64',
      [12],
      BigInt64Array.of(0n, 0n, 0n, 0n, 1n, 1n, 1n, 1n, 2n, 2n, 2n, 2n),
    );
    const x = Tensor.from(
      'float32',
      [12, 4],
      Float32Array.from({ length: 48 }, (_, at) => Math.sin(at)),
    );
    place.write('sorted.npz', writeNpz({ x, label }));
    const options = 'epochs: 1, batchSize: 4, learningRate: 0.001, samples: 8';
    const text = `recipe: 1
plugins: ['@lithe/training', '@lithe/distillation', '@lithe/quantization']
${model}
data: { train: sorted.npz }
target: { name: node-cpu, rounds: 0 }
steps:
  - use: training/train
    with: { ${options} }
  - use: distillation/distil
    with: { ${options}, teacher: original, terms: [{ loss: logits, temperature: 4 }] }
  - use: distillation/mutual-learning
    with: { ${options} }
  - use: quantization/aware-training
    with: { ${options}, minimumElements: 1 }
`;
    const warnings: string[] = [];
    const { seeds } = await runRecipe(parseRecipe(text, place.at('sorted.yaml')), {
      folder: place.at('sorted.run'),
      log: { warn: (warning) => warnings.push(warning) },
    });
    const told = seeds[0]?.steps.map(({ name, pass }) => [
      name,
      pass.skipped.filter(({ code }) => code === 'classes-unseen').map(({ reason }) => reason),
    ]);
    const reason = expect.stringMatching(
      /^"samples" takes the first 8 samples of .*they lack 1: 2\./,
    ) as string;
    expect(told).toEqual([
      ['train', [reason]],
      ['distil', [reason]],
      ['mutual-learning', [reason]],
      ['aware-training', [reason]],
    ]);
    expect(warnings.filter((warning) => warning.startsWith('"samples" takes'))).toHaveLength(4);
  });
});

describe('recipes of the documentation', () => {
  it('can be planned as the README has them', async () => {
    place.write('readme/train.npz', images(6, 28, 1));
    place.write('readme/test.npz', images(6, 28, 2));
    const page = readFileSync(fileURLToPath(new URL('../../README.md', import.meta.url)), 'utf8');
    const fences = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text]) => text ?? '');
    expect(fences).toHaveLength(1);
    const plan = await planRecipe(parseRecipe(fences[0] ?? '', place.at('readme', 'recipe.yaml')));
    expect(plan.steps.map(({ name, from }) => [name, from])).toEqual([
      ['teacher', null],
      ['prune', 'teacher'],
      ['student', 'prune'],
      ['alone', 'prune'],
      ['int8', 'student'],
    ]);
  });

  it('take models whose sizes are open, and batch sizes that a model takes', async () => {
    const text = (model: string, target: string): string =>
      `recipe: 1\nplugins: ['@lithe/simplify']\nmodel: ${model}\ntarget: ${target}\nsteps:\n  - use: simplify/simplify\n`;
    const plan = (model: string, target = 'node-cpu'): Promise<unknown> =>
      planRecipe(parseRecipe(text(model, target), place.at('r.yaml')));
    await expect(plan(models.classifier)).rejects.toThrow(
      '3:8: Random inputs cannot be made. Dim 2 ("p2o.DynamicDimension.1") of input "x" is not given.',
    );
    await plan(`{ path: ${models.classifier}, shapes: { x: [1, 3, 48, 192] } }`);
    await expect(plan(`{ path: ${models.classifier}, shapes: { y: [1] } }`)).rejects.toThrow(
      'There is no input "y" here.',
    );
  });
});
