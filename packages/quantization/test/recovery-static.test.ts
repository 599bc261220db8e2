import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  attribute,
  type Backend,
  createRunContext,
  type Dataset,
  type Feeds,
  type Model,
  type PassReport,
  sliceRows,
  Tensor,
  type Value,
} from '@lithe/core';
import {
  foldableWeights,
  type RecoveryOptions,
  type StaticInt8Options,
  staticInt8,
  withRecovery,
} from '@lithe/quantization';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { net, operators } from './net.ts';
import { apply, contextOf, normal, optimizedModel, runModel, sqnr } from './support.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await onnxruntimeNode();
});
afterAll(async () => {
  await backend.dispose();
});

const window = { kernel_shape: attribute.ints([3, 3]), pads: attribute.ints([1, 1, 1, 1]) };

/** Convolutions (padded, strided, depthwise), a residual addition, a product with a bias added apart, a classifier. */
function network(): Model {
  const n = net();
  const x = n.input('x', ['N', 4, 8, 8]);
  const stem = n.add('Relu', [n.add('Conv', [x, n.weight([16, 4, 3, 3]), n.weight([16])], window)]);
  const deep = n.add('Relu', [
    n.add('Conv', [stem, n.weight([16, 1, 3, 3]), n.weight([16])], { ...window, group: attribute.int(16) }),
  ]);
  const block = n.add('Relu', [n.add('Add', [n.add('Conv', [deep, n.weight([16, 16, 1, 1])]), stem])]);
  const small = n.add('Conv', [block, n.weight([24, 16, 3, 3]), n.weight([24])], {
    ...window,
    strides: attribute.ints([2, 2]),
  });
  const rows = n.add('Transpose', [n.add('Reshape', [n.add('Relu', [small]), n.integers(0, 24, 16)])], {
    perm: attribute.ints([0, 2, 1]),
  });
  const mixed = n.add('Gelu', [n.add('Add', [n.add('MatMul', [rows, n.weight([24, 32])]), n.weight([32])])]);
  const flat = n.add('Reshape', [mixed, n.integers(0, 512)]);
  return n.model(
    n.add('Gemm', [flat, n.weight([10, 512], 0.05), n.weight([10])], { transB: attribute.int(1) }),
  );
}

function images(seed: number, count: number): Feeds {
  const data = normal([count, 4, 8, 8], seed, 0.7).data;
  return {
    x: Tensor.from(
      'float32',
      [count, 4, 8, 8],
      data.map((item) => Math.max(-1, item + 0.4)),
    ),
  };
}

function dataset(all: Feeds): Dataset {
  const x = all['x'] as Tensor;
  return {
    size: x.shape[0],
    description: 'images',
    async *batches({ batchSize = 16, limit = 1e9 } = {}) {
      const end = Math.min(limit, x.shape[0]!);
      for (let at = 0; at < end; at += batchSize) {
        const part = sliceRows(x, at, Math.min(end, at + batchSize));
        yield { inputs: { x: part }, size: part.shape[0]! };
      }
    },
  };
}

const seen = images(1, 96);
const unseen = images(2, 96);

function quantize(
  model: Model,
  recovery: RecoveryOptions | undefined,
  options: StaticInt8Options = {},
): Promise<{ readonly model: Model; readonly report: PassReport }> {
  const context = contextOf({ ...createRunContext({ seed: 3 }), backend, data: dataset(seen) });
  const all = { conversionCost: 0, minimumElements: 1, depthwise: true, reducedRange: true };
  return apply(model, staticInt8({ ...all, recovery, ...options }), context);
}

/** Mean of each channel of some values of a model. */
async function means(model: Model, values: readonly string[], feeds: Feeds): Promise<readonly number[][]> {
  const draft = model.clone();
  draft.graph.setOutputs(values.map((name) => draft.graph.value(name) as Value));
  for (const value of draft.graph.outputs)
    value.type ??= { kind: 'tensor', dtype: 'float32', shape: undefined };
  const results = await runModel(draft, feeds);
  return values.map((name) => {
    const { data, shape } = results[name] as Tensor<'float32'>;
    const channels = shape[1]!;
    const size = shape.slice(2).reduce((product, dim) => product * dim, 1);
    const sums = Array.from({ length: channels }, () => 0);
    data.forEach((item, index) => {
      sums[Math.floor(index / size) % channels]! += item;
    });
    return sums.map((sum) => (sum * channels) / data.length);
  });
}

const shift = (left: readonly number[][], right: readonly number[][]): number =>
  Math.max(
    ...left.flatMap((channel, at) => channel.map((item, index) => Math.abs(item - right[at]![index]!))),
  );

describe('recovery of static int8', () => {
  it('leaves the graph as it is: same operators, integer biases, everything still fused', async () => {
    const plain = await quantize(network(), undefined);
    const recovered = await quantize(network(), { biasCorrection: 'empirical' });
    expect(operators(await optimizedModel(recovered.model))).toEqual(
      operators(await optimizedModel(plain.model)),
    );
    const biases = [...recovered.model.graph.nodes()]
      .filter((node) => node.is('Conv'))
      .map((node) => node.input(2));
    for (const bias of biases) expect(bias?.producer?.input(0)?.dtype).toBe('int32');
  });

  it('takes the shift of its channels off the bias of a single layer, by the fast correction', async () => {
    const n = net();
    const x = n.input('x', ['N', 4, 8, 8]);
    const model = n.model(n.add('Conv', [x, n.weight([6, 4, 3, 3]), n.weight([6])], window));
    const before = await quantize(model, undefined);
    const after = await quantize(model, { biasCorrection: 'fast', samples: 96 });
    const name = [model.graph.outputs[0]!.name];
    const expected = await means(model, name, seen);
    const was = shift(expected, await means(before.model, name, seen));
    const is = shift(expected, await means(after.model, name, seen));
    // What is left is the rounding of the output itself, which is not the layer's.
    expect(is).toBeLessThan(was / 3);
    expect(after.report.applied).toContain('correct the biases of 1 layers');
  });

  it('brings the means of every layer back, one after the other, by the empirical correction', async () => {
    const model = network();
    const names = ['Conv_0_output', 'Conv_1_output', 'Conv_2_output', 'Conv_3_output', 'Gemm_0_output'];
    const expected = await means(model, names, seen);
    const plain = await quantize(model, undefined);
    const fast = await quantize(model, { biasCorrection: 'fast', samples: 96 });
    const empirical = await quantize(model, { biasCorrection: 'empirical', samples: 96 });
    const error = async (of: Model, at = names): Promise<number> => {
      const found = at.map((name) => (name.startsWith('Gemm') ? of.graph.outputs[0]!.name : name));
      return shift(expected.slice(0, at.length), await means(of, found, seen));
    };
    const [was, quick, is] = [
      await error(plain.model),
      await error(fast.model),
      await error(empirical.model),
    ];
    expect(quick).toBeLessThan(was / 2);
    expect(is).toBeLessThan(quick);
    expect(await error(empirical.model, names.slice(0, 4))).toBeLessThan(0.002);
  });

  it('matches the deviation of channels too where asked', async () => {
    const model = network();
    const { model: matched, report } = await quantize(model, {
      biasCorrection: 'empirical',
      matchVariance: true,
    });
    expect(report.applied.at(-1)).toBe('correct the biases of 6 layers');
    const expected = await runModel(model, unseen);
    const plain = await quantize(model, undefined);
    expect(sqnr(expected, await runModel(matched, unseen))).toBeGreaterThan(
      sqnr(expected, await runModel(plain.model, unseen)) - 0.5,
    );
  });

  it('brings mean and deviation back together, also where the bias is added behind the layer', async () => {
    const n = net();
    const x = n.input('x', ['N', 4, 8, 8]);
    // Means far from 0, which a changed deviation moves.
    const shifted = n.add('Add', [x, n.constant(Tensor.from('float32', [], Float32Array.of(3)))]);
    const rows = n.add('Conv', [shifted, n.weight([8, 4, 1, 1], 0.6), n.weight([8], 1)]);
    const tokens = n.add('Reshape', [rows, n.integers(-1, 8, 64)]);
    const product = n.add('MatMul', [tokens, n.weight([64, 12], 0.3)]);
    const sum = n.add('Add', [product, n.weight([12], 2)]);
    const model = n.model(rows, sum);
    const { model: matched } = await quantize(
      model,
      { biasCorrection: 'empirical', matchVariance: true, samples: 96 },
      { weightBits: 4 },
    );
    const moments = async (of: Model, name: string, last: boolean): Promise<readonly number[][]> => {
      const { data, shape } = (await runModel(of, seen))[name] as Tensor<'float32'>;
      const channels = shape[last ? shape.length - 1 : 1]!;
      const size = last ? 1 : shape.slice(2).reduce((all, dim) => all * dim, 1);
      return Array.from({ length: channels }, (_, channel) => {
        const items = [...data].filter((_item, at) => Math.floor(at / size) % channels === channel);
        const mean = items.reduce((all, item) => all + item, 0) / items.length;
        const variance = items.reduce((all, item) => all + (item - mean) ** 2, 0) / items.length;
        return [mean, Math.sqrt(variance)];
      });
    };
    for (const [{ name }, last] of [
      [rows, false],
      [sum, true],
    ] as const) {
      const [expected, found] = [await moments(model, name, last), await moments(matched, name, last)];
      for (const [channel, [mean, deviation]] of expected.entries()) {
        expect(Math.abs(found[channel]![0]! - mean!)).toBeLessThan(0.004 * deviation!);
        expect(Math.abs(found[channel]![1]! / deviation! - 1)).toBeLessThan(0.02);
      }
    }
  });

  it('learns rounding that brings unseen results closer, moving no weight by more than one', async () => {
    const model = network();
    const plain = await quantize(model, { biasCorrection: 'none' });
    const adaRound = { iterations: 150, rows: 2048 };
    const learned = await quantize(model, { biasCorrection: 'none', adaRound, roundingSamples: 96 });
    const again = await quantize(model, { biasCorrection: 'none', adaRound, roundingSamples: 96 });
    const expected = await runModel(model, unseen);
    const [before, after] = [
      sqnr(expected, await runModel(plain.model, unseen)),
      sqnr(expected, await runModel(learned.model, unseen)),
    ];
    expect(after).toBeGreaterThan(before);
    const levels = async (of: Model): Promise<readonly Int8Array[]> => {
      const nodes = [...of.graph.nodes()].filter((node) => ['Conv', 'MatMul', 'Gemm'].includes(node.opType));
      const loaded = await Promise.all(
        nodes.map((node) => node.input(1)?.producer?.input(0)?.initializer?.load()),
      );
      return loaded.map((tensor) => (tensor as Tensor<'int8'>).data);
    };
    const [left, right, same] = [
      await levels(plain.model),
      await levels(learned.model),
      await levels(again.model),
    ];
    expect(same).toEqual(right);
    let moved = 0;
    right.forEach((array, at) => {
      array.forEach((level, index) => {
        const distance = Math.abs(level - left[at]![index]!);
        if (distance > 1) throw new Error(`weight ${at}, ${index} moved by ${distance}`);
        moved += distance;
      });
      expect(Math.max(...array)).toBeLessThanOrEqual(64);
      expect(Math.min(...array)).toBeGreaterThanOrEqual(-64);
    });
    expect(moved).toBeGreaterThan(100);
  });

  it('reports the error of every layer, alone and with the errors before it', async () => {
    const model = network();
    const { model: small, report } = await quantize(model, { layerQuality: true, samples: 96 });
    const rows = report.tables?.['layers']?.rows as readonly (readonly [string, string, number, number])[];
    expect(rows.map(([name]) => name)).toEqual([
      'Conv_0',
      'Conv_1',
      'Conv_2',
      'Conv_3',
      'MatMul_0',
      'Gemm_0',
    ]);
    // The first layer has none before it.
    expect(rows[0]?.[2]).toBeCloseTo(rows[0]?.[3] ?? 0, 6);
    for (const [, , local, cumulative] of rows.slice(1)) expect(cumulative).toBeLessThan(local);
    // The last layer is the output.
    const measured = sqnr(await runModel(model, seen), await runModel(small, seen));
    expect(rows.at(-1)?.[3]).toBeCloseTo(measured, 0);
    expect(report.metrics['outputSqnr']?.value).toBeCloseTo(measured, 0);
  });

  it('leaves layers in float whose own error is too large', async () => {
    const plain = await quantize(network(), { layerQuality: true });
    const rows = plain.report.tables?.['layers']?.rows as readonly (readonly [
      string,
      string,
      number,
      number,
    ])[];
    const limit = 40;
    const bad = rows.filter(([, , local]) => local < limit).map(([name]) => name);
    expect(bad.length).toBeGreaterThan(0);
    const { model: small, report } = await quantize(network(), { fallback: { minimumSqnrDb: limit } });
    const suffering = report.skipped.filter(({ code }) => code === 'suffers').map(({ target }) => target);
    expect(suffering).toEqual(bad);
    const floats = [...small.graph.nodes()].filter(
      (node) => ['Conv', 'Gemm', 'MatMul'].includes(node.opType) && node.input(1)?.initializer !== undefined,
    );
    expect(floats.map(({ name }) => name)).toEqual(bad);
  });

  it('takes layers back until the outputs keep their budget, and not where that does not help', async () => {
    const plain = await quantize(network(), { layerQuality: true });
    const reached = plain.report.metrics['outputSqnr']?.value ?? 0;
    const within = await quantize(network(), { fallback: { outputSqnrDb: reached - 1 } });
    expect(within.report.metrics['fallbackLayers']?.value).toBe(0);
    const better = await quantize(network(), { fallback: { outputSqnrDb: reached + 1 } });
    expect(better.report.metrics['fallbackLayers']?.value).toBeGreaterThan(0);
    expect(better.report.metrics['outputSqnr']?.value).toBeGreaterThan(reached + 0.5);
    const never = await quantize(network(), { fallback: { outputSqnrDb: 200, share: 0.5 } });
    expect(never.report.metrics['fallbackLayers']?.value).toBeLessThanOrEqual(3);
  });

  it('works with one scale for a whole weight', async () => {
    const model = network();
    const weightScales = 'per-tensor';
    const plain = await quantize(model, undefined, { weightScales });
    const options = {
      biasCorrection: 'empirical',
      adaRound: { iterations: 60, rows: 512 },
      roundingSamples: 64,
    } as const;
    const recovered = await quantize(model, options, { weightScales });
    const expected = await runModel(model, unseen);
    const [before, after] = [await runModel(plain.model, unseen), await runModel(recovered.model, unseen)];
    expect(sqnr(expected, after)).toBeGreaterThan(sqnr(expected, before) + 1);
    expect(operators(await optimizedModel(recovered.model))).toEqual(
      operators(await optimizedModel(plain.model)),
    );
    const conv = [...recovered.model.graph.nodes()].find((node) => node.is('Conv'));
    for (const index of [1, 2]) expect(conv?.input(index)?.producer?.input(1)?.shape).toEqual([]);
  });

  it('goes around any pass that expands weights: four bits in blocks, folded at load', async () => {
    const model = network();
    const context = contextOf({ ...createRunContext({ seed: 3 }), backend, data: dataset(seen) });
    const make = (exclude: readonly string[]) => foldableWeights({ bits: 4, blockSize: 16, exclude });
    const plain = await apply(model, make([]));
    const adaRound = { iterations: 150, rows: 2048 };
    const around = withRecovery(make, { adaRound, roundingSamples: 96, fallback: { minimumSqnrDb: 5 } });
    const recovered = await apply(model, around, context);
    const expected = await runModel(model, unseen);
    const [before, after] = [await runModel(plain.model, unseen), await runModel(recovered.model, unseen)];
    expect(sqnr(expected, after)).toBeGreaterThan(sqnr(expected, before) + 2);
    expect(operators(recovered.model)).toEqual(operators(plain.model));
    expect(recovered.report.applied.at(-1)).toMatch(/learn the rounding of [3-6] weights/);
    const rows = recovered.report.tables?.['layers']?.rows as readonly (readonly [string, string, number])[];
    const errors = rows.map(([, , local]) => local).toSorted((left, right) => left - right);
    const suffering = withRecovery(make, {
      fallback: { minimumSqnrDb: (errors[0]! + errors[1]!) / 2 + 3, share: 0.2 },
    });
    const partly = await apply(model, suffering, context);
    expect(partly.report.skipped.filter(({ code }) => code === 'suffers')).toHaveLength(1);
    expect(() => withRecovery(make, { samples: 0 })).toThrow(/samples/);
  });

  it('needs data and a backend, and stops when it is told to', async () => {
    const { model: _, report } = await quantize(network(), undefined);
    expect(report.changed).toBe(true);
    const context = contextOf({
      ...createRunContext({ signal: AbortSignal.abort() }),
      backend,
      data: dataset(seen),
    });
    await expect(apply(network(), staticInt8({ recovery: {} }), context)).rejects.toThrow(/abort/i);
  });
});
