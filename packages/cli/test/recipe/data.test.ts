import { existsSync } from 'node:fs';
import { parseRecipe, planRecipe, type RecipePlan, type RunReport, runRecipe } from '@lithe/cli';
import { type Dim, GraphBuilder, Tensor } from '@lithe/core';
import { saveOnnx } from '@lithe/onnx/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lithe, models } from '../lithe.ts';
import { recipeHead as head, makeWorkplace } from './fixtures.ts';

const place = makeWorkplace();
afterAll(() => place.remove());

/** A PNG of one pixel. */
const pixel = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

async function writeConvolution(name: string, shape: readonly Dim[]): Promise<void> {
  const b = new GraphBuilder('convolution');
  const x = b.input('x', 'float32', shape);
  const weights = Float32Array.from({ length: 108 }, (_, index) => Math.sin(index));
  const w = b.constant('w', Tensor.from('float32', [4, 3, 3, 3], weights));
  b.output('y', b.op.Conv([x, w], { pads: [1, 1, 1, 1] }));
  await saveOnnx(await b.build(), place.at(name));
}

beforeAll(async () => {
  await writeConvolution('open.onnx', ['n', 3, 'height', 'width']);
  await writeConvolution('unnamed.onnx', [null, 3, null, null]);
  place.write('images/one.png', pixel);
});

/** A recipe whose model leaves the size of its input open. */
const sized = (size: number, data = ''): string => `recipe: 1
plugins: [lithe-plugin-x]
model: { path: open.onnx, shapes: { x: [1, 3, ${size}, ${size}] } }
${data}target: { name: node-cpu, rounds: 0 }
steps:
  - use: x/scale
    with: { factor: 2 }
`;

async function run(text: string, folder: string): Promise<RunReport> {
  return runRecipe(parseRecipe(text, place.at('recipe.yaml')), { folder: place.at(folder) });
}

describe('samples that are read in other shapes', () => {
  // 4 channels of 3 x 3 x 3 weights at each place.
  const macs = (size: number): number => 4 * 27 * size * size;

  it('are other samples: what was made and measured with them is not taken over', async () => {
    const data = 'data: { calibration: images }\n';
    for (const size of [8, 16]) {
      const [seed] = (await run(sized(size, data), 'images.run')).seeds;
      expect(seed?.original.macs).toBe(macs(size));
      expect(seed?.steps[0]).toMatchObject({ macs: macs(size), resumed: false });
    }
    expect((await run(sized(16, data), 'images.run')).seeds[0]?.steps[0]?.resumed).toBe(true);
  });

  it('tell what a sample costs where the model does not even name its sizes', async () => {
    const [seed] = (await run(sized(8).replace('open.onnx', 'unnamed.onnx'), 'unnamed.run')).seeds;
    expect([seed?.original.macs, seed?.steps[0]?.macs]).toEqual([macs(8), macs(8)]);
    // One sample, whatever the batch is that latency is measured at.
    const batch = sized(8).replace('rounds: 0', 'rounds: 0, batches: [4]');
    expect((await run(batch, 'batch.run')).seeds[0]?.original.macs).toBe(macs(8));
  });

  it('change what is measured on random inputs, and no model', async () => {
    for (const size of [8, 16]) {
      const [seed] = (await run(sized(size), 'random.run')).seeds;
      expect(seed?.original.macs).toBe(macs(size));
      expect(seed?.steps[0]).toMatchObject({ macs: macs(size), resumed: size === 16 });
    }
  });
});

describe('preprocessing', () => {
  it('makes other samples of the same images, given in the recipe or in a file beside it', async () => {
    const taken = async (preprocess: string): Promise<unknown> => {
      const data = `data: { calibration: { path: images, preprocess: ${preprocess} } }\n`;
      return (await run(sized(8, data), 'preprocessed.run')).seeds[0]?.steps[0]?.resumed;
    };
    const file = (mean: number): string => place.write('pre.json', JSON.stringify({ mean }));
    expect([await taken('{ mean: 0.5 }'), await taken('{ mean: 0.5 }')]).toEqual([false, true]);
    expect(await taken('{ mean: 0.25 }')).toBe(false);
    file(0.5);
    expect([await taken('pre.json'), await taken('pre.json')]).toEqual([false, true]);
    file(0.25);
    expect(await taken('pre.json')).toBe(false);
  });
});

describe('samples for calibration', () => {
  it('are some of those that are trained on, no others', async () => {
    const path = place.write(
      'some.yaml',
      `${head.replace('train: train.npz', 'train: { path: train.npz, samples: 40 }')}steps:\n  - use: x/hungry\n`,
    );
    const { out } = await lithe('run', path, '--dry-run', '--json');
    expect(JSON.parse(out)).toMatchObject({
      data: { train: { samples: 40 }, calibration: { samples: 40 } },
    });
  });
});

describe('inputs that must not be random', () => {
  const voice = (more: string): string => `recipe: 1
plugins: ["@lithe/quantization"]
model: { path: ${models.voice}, shapes: { input: [1, 512], state: [2, 1, 128] }${more} }
target: { name: node-cpu, rounds: 0 }
steps:
  - use: quantization/foldable-weights
`;
  const plan = (text: string): Promise<unknown> =>
    planRecipe(parseRecipe(text, place.at('voice.yaml')), { cwd: place.folder });

  it('have the contents that the recipe gives: a scalar among inputs of other sizes', async () => {
    const feeds = async (more: string): Promise<unknown> => {
      const { data } = (await plan(voice(more))) as RecipePlan;
      for await (const { inputs } of data.measured.data.batches({ limit: 1 })) return inputs['sr']?.data[0];
      return undefined;
    };
    expect(await feeds(', values: { sr: 16000 }')).toBe(16000n);
    expect(await feeds(', values: { sr: [8000] }')).toBe(8000n);
    const report = await run(voice(', values: { sr: 16000 }'), 'voice.run');
    const [step] = report.seeds[0]?.steps ?? [];
    expect([step?.failure, (step?.bytes ?? 0) < (report.seeds[0]?.original.bytes ?? 0) / 2]).toEqual([
      undefined,
      true,
    ]);
  });

  it('are errors with their place where they fit nothing', async () => {
    await expect(plan(voice(', values: { rs: 1 }'))).rejects.toThrow('There is no input "rs" here.');
    await expect(plan(voice(', values: { sr: [1, 2] }'))).rejects.toThrow(
      'The recipe gives "sr" 2 numbers; its shape [] takes 1.',
    );
    const both = `${voice(', values: { sr: 1 }')}data: { calibration: images }\n`;
    await expect(plan(both)).rejects.toThrow('Contents of inputs come from the data that is given');
  });
});

describe('--dry-run', () => {
  it('keeps no decoded image', async () => {
    const path = place.write('images.yaml', sized(8, 'data: { calibration: images }\n'));
    expect(await lithe('run', path, '--dry-run', '--run-folder', place.at('dry'))).toMatchObject({ code: 0 });
    expect(existsSync(place.at('dry'))).toBe(false);
  });

  it('tells what a run would do with the same options', async () => {
    const path = place.write('same.yaml', sized(8));
    expect(await lithe('run', path)).toMatchObject({ code: 0 });
    const [plain, fresh] = [['--dry-run'], ['--dry-run', '--fresh']].map((more) =>
      lithe('run', path, ...more),
    );
    expect((await plain)?.out).toMatch(/x\/scale@2 +yes/);
    expect((await fresh)?.out).toMatch(/x\/scale@2 +no/);
    const onto = await lithe('run', path, '--dry-run', '--report', place.at('open.onnx'));
    expect(onto).toMatchObject({ code: 2, out: '' });
    expect(onto.err).toContain('is the model itself');
  });
});

describe('samples for the metric that passes have seen', () => {
  const seen = (train: string, more = ''): Promise<RunReport> =>
    run(
      `${head.replace('train: train.npz, test: test.npz', `train: ${train}, test: test.npz${more}`)}steps:\n  - use: x/scale\n`,
      'seen.run',
    );

  it('are said to flatter, however they are named', async () => {
    expect((await seen('train.npz')).warnings).toEqual([]);
    const flatters = (purpose: string): string =>
      `data.test holds the samples of data.${purpose}: the metric is taken on samples that passes have seen, which flatters. Give others.`;
    expect((await seen('{ path: ./images/../test.npz, samples: 7 }')).warnings).toEqual([flatters('train')]);
    expect((await seen('train.npz', ', calibration: test.npz')).warnings).toEqual([flatters('calibration')]);
  });
});
