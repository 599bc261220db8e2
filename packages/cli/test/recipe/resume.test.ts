import { cpSync, readFileSync } from 'node:fs';
import { parseRecipe, type RunRecipeOptions, type RunReport, runRecipe } from '@lithe/cli';
import { Tensor } from '@lithe/core';
import { writeNpz } from '@lithe/data';
import { loadNpz } from '@lithe/data/node';
import { loadOnnx } from '@lithe/onnx/node';
import { afterAll, describe, expect, it } from 'vitest';
import { recipeHead as head, makeWorkplace, model } from './fixtures.ts';

const place = makeWorkplace();
afterAll(() => place.remove());

async function run(text: string, folder: string, options: RunRecipeOptions = {}): Promise<RunReport> {
  return runRecipe(parseRecipe(text, place.at('recipe.yaml')), { folder: place.at(folder), ...options });
}

/** Runs a recipe until `x/count` has kept as many steps. */
async function stopAfter(text: string, folder: string, steps: number): Promise<void> {
  const stop = new AbortController();
  const running = run(text, folder, {
    signal: stop.signal,
    onProgress: ({ task, done }) => {
      if (task === 'x/count' && done === steps) stop.abort();
    },
  });
  await expect(running).rejects.toMatchObject({ name: 'AbortError' });
}

const resumed = ({ seeds: [seed] }: RunReport): unknown => seed?.steps.map((step) => step.resumed);
const resumedAt = ({ seeds: [seed] }: RunReport, step: number): unknown =>
  seed?.steps[step]?.pass.metrics['resumed at']?.value;

describe('what an earlier run left', () => {
  it('is not taken over where a pass asked for a model that has become another', async () => {
    const text = (factor: number): string => `${head}steps:
  - { name: teacher, use: x/scale, with: { factor: ${factor} } }
  - { name: student, from: original, use: x/blend, with: { other: teacher } }
  - { name: beside, from: original, use: x/scale, control: true, with: { factor: 5 } }
`;
    await run(text(2), 'named');
    expect(resumed(await run(text(2), 'named'))).toEqual([true, true, true]);
    expect(resumed(await run(text(3), 'named'))).toEqual([false, false, true]);
  });

  it('in the middle of a pass is of its options, and of the models that it may ask for', async () => {
    const text = (factor: number, steps: number): string => `${head}steps:
  - { name: before, use: x/scale, control: true, with: { factor: ${factor} } }
  - { name: long, from: original, use: x/count, with: { steps: ${steps} } }
`;
    await stopAfter(text(2, 6), 'middle', 3);
    expect(resumedAt(await run(text(2, 7), 'middle'), 1)).toBe(0);
    await stopAfter(text(2, 6), 'middle', 3);
    expect(resumedAt(await run(text(3, 6), 'middle'), 1)).toBe(0);
    await stopAfter(text(4, 8), 'middle', 3);
    expect(resumedAt(await run(text(4, 8), 'middle'), 1)).toBe(3);
  });

  it('is of one number of threads, which sum in orders of their own', async () => {
    const text = (threads: number): string =>
      `${head.replace('rounds: 0', `rounds: 0, threads: ${threads}`)}steps:\n  - use: x/scale\n`;
    const taken: unknown[] = [];
    for (const threads of [1, 2, 2]) taken.push(resumed(await run(text(threads), 'threads')));
    expect(taken).toEqual([[false], [false], [true]]);
  });

  it('is of one seed, though it lies in the folder of another', async () => {
    await run(`${head}steps:\n  - { use: x/scale }\n`, 'file');
    place.write('given.onnx', readFileSync(place.at('file', 'seed-0/01-scale.onnx')));
    const text = `${head.replace(model, 'model: given.onnx')}steps:\n  - { use: x/count }\n`;
    const bytes = (folder: string, seed: number): Buffer =>
      readFileSync(place.at(folder, `seed-${seed}/01-count.onnx`));
    await run(text, 'both', { seed: 0 });
    cpSync(place.at('both', 'seed-0'), place.at('both', 'seed-1'), { recursive: true });
    expect(resumed(await run(text, 'both', { seed: 1 }))).toEqual([false]);
    expect(bytes('both', 1)).not.toEqual(bytes('both', 0));
    await run(text, 'alone', { seed: 1 });
    expect(bytes('alone', 1)).toEqual(bytes('both', 1));
  });
});

describe('the data of a recipe', () => {
  const recipe = (data: string): string =>
    `recipe: 1\nplugins: [lithe-plugin-x]\n${model}\ndata: { ${data} }\ntarget: { name: node-cpu, rounds: 0 }\nsteps:\n  - use: x/count\n`;

  it('is other data when other samples of it are taken, or it is calibrated on other samples', async () => {
    const runs = [
      ['train: train.npz', false],
      ['train: { path: train.npz, samples: 40 }', false],
      ['train: { path: train.npz, samples: 40 }', true],
      ['train: { path: train.npz, samples: 40 }, calibration: { samples: 8 }', false],
      ['train: { path: train.npz, samples: 40 }, calibration: { samples: 9 }', false],
      // The metric is taken on it, no pass sees it.
      ['train: { path: train.npz, samples: 40 }, calibration: { samples: 9 }, test: test.npz', true],
    ] as const;
    for (const [data, taken] of runs) expect(resumed(await run(recipe(data), 'data')), data).toEqual([taken]);
  });

  it('is measured anew when the samples for the metric are others', async () => {
    const same = { x: Tensor.from('float32', [3, 4], new Float32Array(12)) };
    const metric = async (labels: readonly bigint[]): Promise<number | undefined> => {
      const label = Tensor.from('int64', [3], BigInt64Array.from(labels));
      place.write('changing.npz', writeNpz({ ...same, label }));
      const [seed] = (await run(recipe('train: train.npz, test: changing.npz'), 'metric')).seeds;
      return seed?.original.metric;
    };
    const all = [await metric([0n, 0n, 0n]), await metric([1n, 1n, 1n]), await metric([2n, 2n, 2n])];
    // Samples that are alike are all taken for one class.
    expect(all.toSorted()).toEqual([0, 0, 1]);
  });

  it('reaches passes as the recipe takes it: so many samples, by chance', async () => {
    // x/count adds up one number of the first 32 samples at each step.
    const sumOf = async (data: string): Promise<number> => {
      const folder = `chosen-${data.length}`;
      const text = recipe(data).replace('use: x/count', 'use: x/count\n    with: { steps: 1 }');
      const { seeds } = await run(text, folder);
      const [before, after] = await Promise.all(
        [seeds[0]?.original.file, seeds[0]?.steps[0]?.file].map(async (file) => {
          const loaded = await loadOnnx(place.at(folder, file ?? ''));
          return (await loaded.graph.value('linear1.bias')?.initializer?.load())?.data[0];
        }),
      );
      return 1e3 * (Number(after) - Number(before));
    };
    const x = (await loadNpz(place.at('train.npz')))['x']?.data as Float32Array;
    const first = Array.from({ length: 32 }, (_, sample) => x[4 * sample] ?? Number.NaN);
    // Both add the same number from the seed, which the difference leaves out.
    const [all, some] = [
      await sumOf('train: train.npz'),
      await sumOf('train: { path: train.npz, samples: 20 }'),
    ];
    const sum = (list: readonly number[]): number => list.reduce((total, one) => total + one, 0);
    expect(Math.abs(all - some)).toBeGreaterThan(0.1);
    expect(Math.abs(all - some - sum(first.slice(20)))).toBeGreaterThan(0.1);
  });
});
