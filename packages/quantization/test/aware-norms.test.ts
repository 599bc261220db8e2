import { attribute, type Model, type Tensor, Tensor as Tensors, type Value } from '@lithe/core';
import { evaluateModel, referenceBackend } from '@lithe/core/reference';
import { type QuantizationAwareOptions, quantizationAware } from '@lithe/quantization';
import {
  adamW,
  type FitOptions,
  fit,
  type Loss,
  meanSquaredError,
  type SampleTable,
  sampleTable,
  sgd,
} from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { awareNets, dataFor, norm, samplesFor } from './aware-nets.ts';
import { type Net, net } from './net.ts';
import { normal, sqnr } from './support.ts';

const backend = referenceBackend();

/** Nothing is rounded: what is left is the folding. */
function floats(model: Model): QuantizationAwareOptions {
  return { activationBits: 'none', exclude: [...model.graph.nodes()].map(({ name }) => name) };
}

const table = (shape: readonly number[], outputs = 5): SampleTable =>
  sampleTable({ inputs: samplesFor(shape, 16), targets: { target: normal([16, outputs], 3) } });

const settings: Omit<FitOptions, 'optimizer'> = {
  loss: meanSquaredError({ output: 'y' }),
  learningRate: 0.02,
  epochs: 2,
  batchSize: 8,
  backend,
};

/** A convolution with batch normalization, and nothing else. */
function single(gamma: readonly number[]): Model {
  const n = net();
  const x = n.input('x', ['N', 2, 3]);
  const y = norm(n, n.add('Conv', [x, n.weight([gamma.length, 2, 1], 0.7)]), gamma.length, 300);
  const scale = y.producer?.input(1);
  if (scale) n.graph.setInitializer(scale, Tensors.from('float32', [gamma.length], Float32Array.from(gamma)));
  const flat = n.add('ReduceMean', [y, n.integers(2)], { keepdims: attribute.int(0) });
  n.graph.rename(flat, 'y');
  return n.model(flat);
}

async function constant(model: Model, name: string): Promise<readonly number[]> {
  const tensor = (await model.graph.value(name)?.initializer?.load()) as Tensor;
  return [...tensor.toFloat64Array()];
}

describe('batch normalization while training', () => {
  for (const name of Object.keys(awareNets)) {
    it(`is what it would be unfolded: ${name}`, async () => {
      const { model, shape } = (awareNets[name] as NonNullable<(typeof awareNets)[string]>)();
      const aware = await quantizationAware(model, floats(model));
      const plain = await fit(model, table(shape), { ...settings, optimizer: sgd({ momentum: 0.9 }) });
      const folded = await fit(aware.model, table(shape), {
        ...settings,
        ...aware.training(sgd({ momentum: 0.9 })),
      });
      for (const [at, { loss }] of plain.history.entries())
        expect(folded.history[at]?.loss).toBeCloseTo(loss, 5);
      const feeds = samplesFor(shape, 4, 21);
      const shipped = await aware.finish(folded.model);
      const expected = await evaluateModel(plain.model, feeds);
      expect(sqnr(expected, await evaluateModel(shipped, feeds))).toBeGreaterThan(80);
      expect([...shipped.graph.nodes()].some((node) => node.is('BatchNormalization'))).toBe(false);
    });
  }

  it('follows the batches until it is frozen, and then computes what is shipped', async () => {
    const model = single([1.2, 0.7]);
    const [mean] = [...model.graph.nodes()].flatMap((node) =>
      node.is('BatchNormalization') ? [node.input(3)?.name ?? ''] : [],
    );
    const after = async (
      freezeBatchNormAt: number | undefined,
      epochs: number,
    ): Promise<readonly number[]> => {
      const aware = await quantizationAware(model, { ...floats(model), freezeBatchNormAt });
      const options = { ...settings, ...aware.training(sgd()), epochs };
      return await constant((await fit(aware.model, table([2, 3], 2), options)).model, mean as string);
    };
    // Two updates an epoch: frozen after one epoch, the second and third change nothing.
    expect(await after(2, 3)).toEqual(await after(undefined, 1));
    expect(await after(2, 3)).not.toEqual(await after(undefined, 3));
    expect(await after(0, 1)).toEqual(await constant(model, mean as string));
  });

  it('gives the loss of the inference form once it is frozen', async () => {
    const model = single([1.2, 0.7]);
    const aware = await quantizationAware(model, { ...floats(model), freezeBatchNormAt: 0 });
    const late = await quantizationAware(model, { ...floats(model), freezeBatchNormAt: 1 });
    const one = { ...settings, epochs: 1, batchSize: 16, learningRate: 1e-30 };
    const losses = async (from: typeof aware, epochs: number): Promise<readonly number[]> =>
      (await fit(from.model, table([2, 3], 2), { ...one, ...from.training(sgd()), epochs })).history.map(
        ({ loss }) => loss,
      );
    const { y } = await evaluateModel(model, samplesFor([2, 3], 16));
    const target = normal([16, 2], 3).data;
    const errors = (y as Tensor).toFloat64Array().map((value, at) => (value - (target[at] as number)) ** 2);
    const wanted = errors.reduce((sum, value) => sum + value, 0) / errors.length;
    expect((await losses(aware, 1))[0]).toBeCloseTo(wanted, 5);
    const [batch, frozen] = await losses(late, 2);
    expect(Math.abs((batch as number) - wanted)).toBeGreaterThan(1e-3);
    // The statistics moved a tenth of the way to those of the batch before they were frozen.
    expect(Math.abs((frozen as number) - wanted)).toBeLessThan(Math.abs((batch as number) - wanted));
  });

  it.each([
    ['floats', {}],
    ['8 bits', { conversionCost: 0, minimumElements: 1 }],
    ['weights of 4 bits', { activationBits: 'none', minimumElements: 1, weightBits: 4 }],
  ] as const)('computes what is shipped from the update on at which it is frozen: %s', async (_, options) => {
    const model = single([1.2, 0.7]);
    const [mean] = [...model.graph.nodes()].flatMap((node) =>
      node.is('BatchNormalization') ? [node.input(3)?.name ?? ''] : [],
    );
    const kind = 'minimumElements' in options ? options : floats(model);
    const aware = await quantizationAware(model, {
      ...kind,
      data: dataFor([2, 3]),
      backend,
      freezeBatchNormAt: 1,
      freezeRangesAt: 0,
    });
    const { model: trained, history } = await fit(aware.model, table([2, 3], 2), {
      ...settings,
      ...aware.training(sgd()),
      epochs: 2,
      batchSize: 16,
      learningRate: 1e-30,
    });
    expect(await constant(trained, mean as string)).not.toEqual(await constant(model, mean as string));
    const { y } = await evaluateModel(await aware.finish(trained), samplesFor([2, 3], 16));
    const target = normal([16, 2], 3).data;
    const errors = (y as Tensor).toFloat64Array().map((value, at) => (value - (target[at] as number)) ** 2);
    expect(history[1]?.loss).toBeCloseTo(errors.reduce((sum, value) => sum + value, 0) / errors.length, 5);
  });

  it('keeps the names of values, for losses that look inside', async () => {
    const model = single([1.2, 0.7]);
    const inside =
      [...model.graph.nodes()].find((node) => node.is('BatchNormalization'))?.output().name ?? '';
    const loss: Loss = {
      name: 'mean square of a value inside',
      build: ({ emit, value }) => {
        const found = value(inside);
        return emit.op('ReduceMean', [emit.mul(found, found)], { keepdims: 0 });
      },
    };
    const unlabelled = sampleTable({ inputs: samplesFor([2, 3], 16) });
    const plain = await fit(model, unlabelled, { ...settings, optimizer: sgd(), loss });
    const aware = await quantizationAware(model, floats(model));
    const folded = await fit(aware.model, unlabelled, { ...settings, ...aware.training(sgd()), loss });
    for (const [at, { loss: wanted }] of plain.history.entries())
      expect(folded.history[at]?.loss).toBeCloseTo(wanted, 5);
  });

  it('stays where it is in front of a layer, and is reported', async () => {
    const n = net();
    const x = n.input('x', ['N', 2, 3]);
    const y = n.add('Conv', [norm(n, x, 2, 310), n.weight([2, 2, 1])]);
    n.graph.rename(y, 'y');
    const aware = await quantizationAware(n.model(y), { activationBits: 'none', minimumElements: 1 });
    expect(aware.report.skipped.map(({ code }) => code)).toEqual(['not-folded']);
    const shipped = await aware.finish(aware.model);
    expect([...shipped.graph.nodes()].map(({ opType }) => opType)).toEqual([
      'BatchNormalization',
      'DequantizeLinear',
      'Conv',
    ]);
  });

  it.each<readonly [string, (n: Net) => Value, number]>([
    [
      'a Gemm with factors',
      (n) =>
        norm(
          n,
          n.add('Gemm', [n.input('x', ['N', 3]), n.weight([3, 4]), n.weight([4])], {
            alpha: attribute.float(2),
            beta: attribute.float(0.5),
          }),
          4,
          320,
        ),
      1,
    ],
    [
      'a Gemm that turns its input',
      (n) =>
        norm(
          n,
          n.add('Gemm', [n.input('x', [3, 3]), n.weight([3, 4])], { transA: attribute.int(1) }),
          4,
          330,
        ),
      1,
    ],
    [
      'a layer that something else reads',
      (n) => {
        const layer = n.add('Gemm', [n.input('x', ['N', 3]), n.weight([3, 4])]);
        return n.add('Add', [norm(n, layer, 4, 340), layer]);
      },
      1,
    ],
    [
      'running statistics of two normalizations',
      (n) => {
        const first = norm(n, n.add('Gemm', [n.input('x', ['N', 3]), n.weight([3, 4])]), 4, 350);
        const parameters = first.producer?.inputs.slice(1) as Value[];
        const second = n.add('Gemm', [first, n.weight([4, 4])]);
        return n.add('BatchNormalization', [second, ...parameters]);
      },
      2,
    ],
  ])('stays behind %s, and gives what it gave', async (_, build, left) => {
    const n = net();
    const y = build(n);
    n.graph.rename(y, 'y');
    const model = n.model(y);
    const aware = await quantizationAware(model, floats(model));
    const shipped = await aware.finish(aware.model);
    expect([...shipped.graph.nodes()].filter((node) => node.is('BatchNormalization')).length).toBe(left);
    expect(aware.report.skipped.filter(({ code }) => code === 'not-folded').length).toBe(left);
    const feeds = { x: normal([3, 3], 41) };
    expect(sqnr(await evaluateModel(model, feeds), await evaluateModel(shipped, feeds))).toBeGreaterThan(100);
  });

  it('goes on where a channel has lost its factor', async () => {
    const model = single([0, 0.7]);
    const plain = await fit(model, table([2, 3], 2), { ...settings, optimizer: sgd() });
    const aware = await quantizationAware(model, floats(model));
    const folded = await fit(aware.model, table([2, 3], 2), { ...settings, ...aware.training(sgd()) });
    for (const [at, { loss }] of plain.history.entries())
      expect(folded.history[at]?.loss).toBeCloseTo(loss, 4);
    const eight = await quantizationAware(model, {
      data: dataFor([2, 3]),
      backend,
      conversionCost: 0,
      minimumElements: 1,
    });
    const { history } = await fit(eight.model, table([2, 3], 2), { ...settings, ...eight.training(adamW()) });
    for (const { loss } of history) expect(Number.isFinite(loss)).toBe(true);
  });
});
