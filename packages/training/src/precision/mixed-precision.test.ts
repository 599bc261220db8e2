import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  type Backend,
  type Feeds,
  GraphBuilder,
  type Model,
  standardOps,
  Tensor,
  type Value,
  verify,
} from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { tinyData, tinyModel, tinyOptions } from '../../test/data.ts';
import { fit } from '../fit/fit.ts';
import type { StepRecord } from '../fit/fit-options.ts';
import { layers } from '../layers/layers.ts';
import { crossEntropy } from '../losses/classification.ts';
import { meanSquaredError } from '../losses/regression.ts';
import { sgd } from '../optimizers/standard.ts';
import { type TrainingStepOptions, trainingStep } from '../step/training-step.ts';

const floats = (shape: readonly number[], values: readonly number[]): Tensor<'float32'> =>
  Tensor.from('float32', shape, Float32Array.from(values));

/** y = x w with one weight, and its loss y^2 for the target 0. */
async function product(weight: number): Promise<Model> {
  const b = new GraphBuilder('product');
  const x = b.input('x', 'float32', ['N', 1]);
  b.output('y', b.op.MatMul([x, b.constant('w', floats([1, 1], [weight]))]));
  return await b.build();
}

const quadratic: TrainingStepOptions = {
  loss: meanSquaredError({ output: 'y' }),
  optimizer: sgd({ momentum: 0.9 }),
};

/** Results and state of steps, one entry each. */
async function run(
  model: Model,
  options: TrainingStepOptions,
  inputs: readonly Feeds[],
): Promise<readonly Readonly<Record<string, readonly number[]>>[]> {
  const step = await trainingStep(model, options);
  expect(verify(step.model, { opset: standardOps })).toEqual([]);
  await using executable = await referenceBackend().compile(step.model, { state: step.state });
  const found: Record<string, readonly number[]>[] = [];
  for (const feeds of inputs) {
    const results = await executable.run({ learning_rate: floats([], [0.25]), ...feeds });
    const all = { ...results, ...(await executable.readState()) };
    found.push(
      Object.fromEntries(Object.entries(all).map(([name, tensor]) => [name, [...tensor.toFloat64Array()]])),
    );
  }
  return found;
}

const sample = (x: number): Feeds => ({ x: floats([1, 1], [x]), target: floats([1, 1], [0]) });

async function losses(
  backend: Backend,
  mixedPrecision: TrainingStepOptions['mixedPrecision'],
): Promise<number[]> {
  const found: number[] = [];
  const options = {
    ...tinyOptions(),
    backend,
    mixedPrecision,
    onStep: ({ loss }: StepRecord) => found.push(loss),
  };
  await fit(await tinyModel(), tinyData(96), options);
  return found;
}

describe('mixed precision', () => {
  it('computes products in float16 and normalization and losses in float32, on float32 weights', async () => {
    const builder = new GraphBuilder('kinds');
    const net = layers(builder, 1);
    const x = builder.input('x', 'float32', ['N', 1, 8, 8]);
    const y = net.maxPool(net.relu(net.batchNorm2d(net.conv2d(x, 4, { padding: 1 }))), 2);
    builder.output('logits', net.linear(net.flatten(net.relu(net.conv2d(y, 4))), 4));
    const model = await builder.build();
    const loss = crossEntropy({ logits: 'logits' });
    const step = await trainingStep(model, { loss, optimizer: sgd(), mixedPrecision: true });
    const nodes = [...step.model.graph.nodes()];
    const dtypesOf = (opType: string): readonly unknown[] => [
      ...new Set(nodes.filter((node) => node.opType === opType).map((node) => node.output().dtype)),
    ];
    for (const opType of ['Conv', 'Gemm']) expect(dtypesOf(opType)).toEqual(['float16']);
    for (const opType of ['ReduceMean', 'LogSoftmax', 'Sqrt']) expect(dtypesOf(opType)).toEqual(['float32']);
    expect(step.model.graph.value('logits')?.dtype).toBe('float32');
    for (const { initial } of step.state) expect(initial.dtype).toBe('float32');
    // What is named stays as it was.
    const kept = await trainingStep(model, { loss, optimizer: sgd(), mixedPrecision: { float32: ['Conv'] } });
    expect([...kept.model.graph.nodes()].find(({ opType }) => opType === 'Conv')?.output().dtype).toBe(
      'float32',
    );
  });

  it('leaves in float32 what works with constants that float16 does not hold', async () => {
    for (const [value, kept] of [
      [-1e9, 'float32'],
      [1e-12, 'float32'],
      [0, 'float16'],
      [-100, 'float16'],
    ] as const) {
      const b = new GraphBuilder('mask');
      const product = b.op.MatMul([
        b.input('x', 'float32', ['N', 2]),
        b.constant('w', Tensor.from('float32', [2, 2], Float32Array.of(1, 2, 3, 4))),
      ]);
      const mask = b.constant('mask', Tensor.from('float32', [], Float32Array.of(value)));
      b.output('y', b.op.Mul([b.op.Add([product, mask], {}, { name: 'masked' }), mask]));
      const step = await trainingStep(await b.build(), {
        loss: meanSquaredError({ output: 'y' }),
        optimizer: sgd(),
        mixedPrecision: true,
      });
      const masked = [...step.model.graph.nodes()].find(({ name }) => name === 'masked');
      expect(masked?.output().dtype, String(value)).toBe(kept);
    }
  });

  it('rounds as float16 does, and updates in float32', async () => {
    // 1.0009765625 is the next float16 behind 1; x w = 1.0009765625^2 rounds to 1.001953125 in float16.
    const x = 1 + 2 ** -10;
    const [first] = await run(await product(x), { ...quadratic, mixedPrecision: { lossScale: 1024 } }, [
      sample(x),
    ]);
    expect(first?.['y']).toEqual([1 + 2 ** -9]);
    // dL/dw = 2 y x = 2.0058613 in float16 steps of 2^-9: 2.005859375. The weight moves by a quarter of it, in float32.
    expect(first?.['w']?.[0]).toBeCloseTo(x - 0.25 * 2.005859375, 6);
    expect(first?.['skipped']).toEqual([0]);
  });

  it('keeps gradients that would vanish in float16', async () => {
    // y = 2^-13, x = 2^-13: the gradient by y, 2^-12, is fine, that by w, 2 y x = 2^-25, is 0 in float16.
    const [x, w] = [2 ** -13, 1];
    const step = async (lossScale: number): Promise<number> =>
      (await run(await product(w), { ...quadratic, mixedPrecision: { lossScale } }, [sample(x)]))[0]?.[
        'velocity:w'
      ]?.[0] ?? Number.NaN;
    expect(await step(1)).toBe(0);
    expect(await step(1024)).toBe(2 ** -25);
  });

  it('skips a step whose gradients overflow, and halves the scale; grows it again after enough others', async () => {
    const options = { ...quadratic, mixedPrecision: { lossScale: { initial: 2 ** 15, growthInterval: 2 } } };
    // 2 y = 8 times 2^15 is beyond 65,504; once the scale is 2^12, 2^15 and x times that, 2^16, overflow too.
    const steps = await run(await product(2), options, [
      sample(2),
      sample(2),
      sample(2),
      sample(2),
      sample(2),
      sample(0.125),
      sample(0.125),
    ]);
    const column = (name: string): readonly (number | undefined)[] => steps.map((step) => step[name]?.[0]);
    expect(column('loss_scale_used')).toEqual([
      2 ** 15,
      2 ** 14,
      2 ** 13,
      2 ** 12,
      2 ** 11,
      2 ** 11,
      2 ** 12,
    ]);
    expect(column('skipped')).toEqual([1, 1, 1, 1, 0, 0, 0]);
    expect(column('w').slice(0, 4)).toEqual([2, 2, 2, 2]);
    expect(column('velocity:w').slice(0, 4)).toEqual([0, 0, 0, 0]);
    expect(column('step')).toEqual([0, 0, 0, 0, 1, 2, 3]);
    // 2 - 0.25 * 2 y x = 2 - 0.25 * 16
    expect(column('w')[4]).toBe(-2);
    expect(column('loss')[0]).toBe(16);
  });

  it('skips a whole window of accumulated gradients when one of them overflows', async () => {
    const options = { ...quadratic, accumulate: 2, mixedPrecision: { lossScale: { initial: 2 ** 12 } } };
    const steps = await run(await product(2), options, [sample(2), sample(1), sample(1), sample(1)]);
    expect(steps.map(({ skipped }) => skipped?.[0])).toEqual([0, 1, 0, 0]);
    expect(steps.map(({ w }) => w?.[0])).toEqual([2, 2, 2, 2 - 0.25 * 4]);
    expect(steps.at(-1)?.['loss_scale']).toEqual([2 ** 11]);
  });

  it('keeps running statistics when the forward part overflows', async () => {
    const b = new GraphBuilder('overflow');
    const one = (name: string): Value => b.constant(name, floats([1], [1]));
    const x = b.op.MatMul([b.input('x', 'float32', ['N', 1]), b.constant('w', floats([1, 1], [256]))]);
    b.output('y', b.op.BatchNormalization([x, one('s'), one('b'), one('m'), one('v')]));
    const target = floats([2, 1], [0, 0]);
    const steps = await run(await b.build(), { ...quadratic, mixedPrecision: true }, [
      { x: floats([2, 1], [1, 1024]), target },
      { x: floats([2, 1], [1, 2]), target },
    ]);
    expect(steps[0]).toMatchObject({ m: [1], v: [1], skipped: [1], w: [256] });
    expect(Number.isFinite(steps[0]?.['loss']?.[0])).toBe(false);
    expect(steps[1]?.['m']).toEqual([expect.closeTo(0.9 + 0.1 * 384, 4)]);
  });

  it('trains like float32, in the interpreter and in onnxruntime', async () => {
    const full = await losses(referenceBackend(), false);
    await using runtime = await onnxruntimeNode({ threads: 1 });
    for (const backend of [referenceBackend(), runtime]) {
      const mixed = await losses(backend, true);
      expect(mixed.length).toBe(full.length);
      // Eleven bits of significand, twelve steps.
      for (const [index, loss] of mixed.entries())
        expect(Math.abs(loss - (full[index] ?? 0))).toBeLessThan(0.02);
      expect(mixed).not.toEqual(full);
    }
  });

  it('tells of skipped steps in fit, and goes on', async () => {
    const records: StepRecord[] = [];
    const { history } = await fit(await tinyModel(), tinyData(96), {
      ...tinyOptions(),
      backend: referenceBackend(),
      mixedPrecision: { lossScale: { initial: 2 ** 24 } },
      onStep: (record) => records.push(record),
    });
    const skipped = records.filter((record) => record.skipped === true).length;
    expect(skipped).toBeGreaterThan(0);
    expect(skipped).toBeLessThan(records.length);
    expect(records[0]?.lossScale).toBe(2 ** 24);
    expect(records.at(-1)?.lossScale).toBe(2 ** (24 - skipped));
    expect(history.length).toBe(2);
  });

  it('is refused where a backend does not compute in float16, which names what is missing', async () => {
    const own = referenceBackend();
    const options = { ...tinyOptions(), mixedPrecision: true } as const;
    const without: Backend[] = [
      { ...own, name: 'page', features: new Set(['state', 'webgpu']) },
      { ...own, name: 'narrow', dtypes: new Set(['float32', 'int64']) },
      { ...own, name: 'broken', compile: () => Promise.reject(new Error('no kernel for float16')) },
    ];
    const reasons = ['lacks the feature "shader-f16"', 'takes no float16 tensors', 'no kernel for float16'];
    for (const [index, backend] of without.entries()) {
      await expect(fit(await tinyModel(), tinyData(32), { ...options, backend })).rejects.toMatchObject({
        code: 'DTYPE_UNSUPPORTED',
        message: expect.stringMatching(new RegExp(`"${backend.name}".*${reasons[index]}`)),
      });
    }
  });

  it('refuses options that cannot be used', async () => {
    const model = await product(1);
    for (const mixedPrecision of [
      { lossScale: 0 },
      { lossScale: { initial: Number.NaN } },
      { lossScale: { growthInterval: 0 } },
      { float32: ['Nothing'] },
      { float32: ['MatMul'] },
    ]) {
      await expect(trainingStep(model, { ...quadratic, mixedPrecision })).rejects.toMatchObject({
        code: 'OPTIONS_INVALID',
      });
    }
  });
});
