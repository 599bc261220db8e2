import { arrayDataset, GraphBuilder, type Model, optimize, Tensor, type Value } from '@lithe/core';
import { mlp, transformerEncoder } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { leastSquaresRefit, prune, pruningGroups, refit, removeUnits } from '../src/index.ts';
import { drift, nodeBackend, normal, runModel, tokens } from './support.ts';

const backend = await nodeBackend();

const imagesOf = (count: number, seed = 3): Tensor<'float32'> => normal([count, 2, 7, 7], seed);

/** Sets a channel of the first layer to a multiple of another. */
function dependent(weight: Tensor<'float32'>, to: number, from: number, factor: number): Tensor<'float32'> {
  const data = weight.data.slice();
  const row = data.length / (weight.shape[0] as number);
  for (let index = 0; index < row; index++) data[to * row + index] = factor * data[from * row + index]!;
  return Tensor.from('float32', weight.shape, data);
}

interface NetOptions {
  /** Attributes of the convolution that is refitted. */
  readonly second?: object;
  readonly groups?: number;
}

/** Two convolutions and a classifier; channel 3 of the first is twice channel 1. */
async function dependentNet({ second = {}, groups = 1 }: NetOptions = {}): Promise<Model> {
  const b = new GraphBuilder('net');
  const x = b.input('x', 'float32', ['N', 2, 7, 7]);
  const constant = (name: string, shape: readonly number[], seed: number): Value =>
    b.constant(name, normal(shape, seed, 0.4));
  const first = dependent(normal([4, 2, 3, 3], 1, 0.4), 3, 1, 2);
  let y = b.op.Relu([b.op.Conv([x, b.constant('w1', first)], { pads: [1, 1, 1, 1] })]);
  y = b.op.Relu([
    b.op.Conv([y, constant('w2', [6, 4 / groups, 3, 3], 2), constant('b2', [6], 5)], {
      group: groups,
      ...second,
    }),
  ]);
  y = b.op.Flatten([b.op.GlobalAveragePool([y])]);
  b.output('y', b.op.Gemm([y, constant('w3', [6, 3], 4)]));
  return b.build();
}

async function withoutUnit(model: Model, layer: string, units: readonly number[]): Promise<Model> {
  const draft = model.clone();
  const groups = await pruningGroups(draft);
  const group = groups.find(({ weights }) =>
    weights.some(({ value, direction }) => value === layer && direction === 'out'),
  );
  if (group === undefined) throw new Error(`nothing prunes ${layer}`);
  await removeUnits(draft, group, units);
  return draft;
}

/** Squared difference as a share of the variance of what is expected, each column about its mean. */
function residualShare(expected: Tensor, actual: Tensor): number {
  const [rows, columns] = expected.shape as [number, number];
  const [left, right] = [expected.toFloat64Array(), actual.toFloat64Array()];
  let [error, variance] = [0, 0];
  for (let column = 0; column < columns; column++) {
    let mean = 0;
    for (let row = 0; row < rows; row++) mean += left[row * columns + column]! / rows;
    for (let row = 0; row < rows; row++) {
      error += (left[row * columns + column]! - right[row * columns + column]!) ** 2;
      variance += (left[row * columns + column]! - mean) ** 2;
    }
  }
  return error / variance;
}

describe('least-squares refit', () => {
  it.each([
    ['a plain convolution', {}],
    ['strides and pads', { second: { strides: [2, 2], pads: [1, 1, 0, 2] } }],
    ['dilations', { second: { dilations: [2, 2], pads: [2, 2, 2, 2] } }],
    ['SAME_UPPER', { second: { strides: [2, 2], auto_pad: 'SAME_UPPER' } }],
  ] as const)('gives back what a removed channel did that others tell: %s', async (_, options) => {
    const original = await dependentNet(options);
    const pruned = await withoutUnit(original, 'w1', [3]);
    const feeds = { x: imagesOf(4, 11) };
    const expected = await runModel(original, feeds);
    expect(drift(expected, await runModel(pruned, feeds))).toBeGreaterThan(0.05);
    const data = arrayDataset({ inputs: { x: imagesOf(48) } });
    const { model, report } = await refit(pruned, original, { data, backend, ridge: 1e-9 });
    // Other images than those that were fitted.
    expect(drift(expected, await runModel(model, feeds))).toBeLessThan(1e-4);
    expect(report.layers[0]?.before).toBeGreaterThan(0.01);
    expect(report.layers[0]?.after).toBeLessThan(1e-6);
  });

  it('reports the error that onnxruntime gives on the same inputs', async () => {
    const original = await dependentNet();
    const pruned = await withoutUnit(original, 'w2', [0, 4]);
    const feeds = { x: imagesOf(64) };
    const { model, report } = await refit(pruned, original, {
      data: arrayDataset({ inputs: feeds }),
      backend,
    });
    const expected = (await runModel(original, feeds))['y'] as Tensor;
    const error = async (of: Model): Promise<number> =>
      residualShare(expected, (await runModel(of, feeds))['y'] as Tensor);
    expect(report.layers).toHaveLength(1);
    expect(report.layers[0]?.before).toBeCloseTo(await error(pruned), 4);
    expect(report.layers[0]?.after).toBeCloseTo(await error(model), 4);
    expect(await error(model)).toBeLessThan(0.5 * (await error(pruned)));
  });

  it('fits each group of a convolution by itself', async () => {
    const original = await dependentNet({ groups: 2, second: { pads: [1, 1, 1, 1] } });
    // The second channel of each group is a multiple of the first.
    const first = dependent(dependent(normal([4, 2, 3, 3], 1, 0.4), 1, 0, 3), 3, 2, 2);
    original.graph.setInitializer(original.graph.value('w1') as Value, first);
    const pruned = await withoutUnit(original, 'w1', [1]);
    const data = arrayDataset({ inputs: { x: imagesOf(64) } });
    const { model, report } = await refit(pruned, original, { data, backend, ridge: 1e-9 });
    expect(report.layers[0]?.before).toBeGreaterThan(0.1);
    expect(report.layers[0]?.after).toBeLessThan(1e-6);
    const feeds = { x: imagesOf(16, 12) };
    const expected = await runModel(original, feeds);
    expect(drift(expected, await runModel(model, feeds))).toBeLessThan(1e-4);
  });

  it('never makes a layer worse on its data, as a step behind pruning', async () => {
    const original = await transformerEncoder({ depth: 1, width: 16, heads: 2, vocabulary: 20, classes: 3 });
    const data = arrayDataset({ inputs: { tokens: tokens([24, 64], 4, 20) } });
    const { report } = await optimize(original, [prune({ ratio: 0.5 }), leastSquaresRefit({ original })], {
      data,
      backend,
    });
    const layers = report.steps[1]?.tables?.['layers']?.rows ?? [];
    expect(layers.length).toBeGreaterThan(3);
    for (const [layer, before, after] of layers)
      expect(Number(after), String(layer)).toBeLessThanOrEqual(Number(before));
    expect(report.steps[1]?.applied.length).toBeGreaterThan(2);
  });

  it('finds the original by its name, as recipes say it', async () => {
    const original = await dependentNet();
    const pruned = await withoutUnit(original, 'w1', [1]);
    const data = arrayDataset({ inputs: { x: imagesOf(16) } });
    const context = { data, backend, models: { wide: original } };
    const byName = await optimize(pruned, [leastSquaresRefit({ original: 'wide' })], context);
    const byValue = await optimize(pruned, [leastSquaresRefit({ original })], context);
    expect(byName.report.steps[0]?.applied.length).toBeGreaterThan(0);
    expect(byName.report.steps[0]?.tables).toEqual(byValue.report.steps[0]?.tables);
    // Beside itself, which is what "original" is here, there is nothing to refit.
    expect((await optimize(pruned, [leastSquaresRefit()], context)).report.steps[0]?.changed).toBe(false);
    await expect(optimize(pruned, [leastSquaresRefit({ original: 'thin' })], context)).rejects.toMatchObject({
      cause: { code: 'OPTIONS_INVALID' },
    });
  });

  it('draws positions from all of a sample', async () => {
    const model = await dependentNet();
    const pruned = await withoutUnit(model, 'w1', [3]);
    // The upper four of seven rows are black: the first row of outputs says nothing.
    const x = imagesOf(64);
    const data = x.data.map((value, index) => (Math.floor(index / 7) % 7 < 4 ? 0 : value));
    const inputs = { x: Tensor.from('float32', x.shape, data) };
    const options = { data: arrayDataset({ inputs }), backend, positions: 5, ridge: 1e-6 };
    const { model: fitted, report } = await refit(pruned, model, options);
    const [second] = report.layers;
    expect(second?.before).toBeGreaterThan(0.01);
    expect(second?.after).toBeLessThan(1e-3 * (second?.before ?? 0));
    expect(second?.positions).toBe(64 * 5);
    const other = { x: imagesOf(16, 8) };
    const expected = await runModel(model, other);
    expect(drift(expected, await runModel(fitted, other))).toBeLessThan(
      0.05 * drift(expected, await runModel(pruned, other)),
    );
  });

  it('keeps to the weights, and says so, where there are fewer positions than inputs', async () => {
    const original = await dependentNet();
    const pruned = await withoutUnit(original, 'w1', [0]);
    const data = arrayDataset({ inputs: { x: imagesOf(2) } });
    const { report } = await refit(pruned, original, { data, backend, positions: 4 });
    expect(report.layers[0]).toMatchObject({ positions: 8, ridge: 0.01 });
    expect(report.layers[0]?.after).toBeLessThan(report.layers[0]?.before ?? 0);
  });

  it('pulls harder where samples barely exceed inputs, so that others than those come out closer', async () => {
    const original = await mlp({ inputs: 40, hidden: [96, 24], classes: 4 });
    const { model: pruned } = await optimize(original, [prune({ ratio: 0.4 })]);
    const data = arrayDataset({ inputs: { x: normal([72, 40], 5) } });
    const feeds = { x: normal([512, 40], 6) };
    const expected = (await runModel(original, feeds))['logits'] as Tensor;
    const error = async (ridge?: number): Promise<number> => {
      const { model } = await refit(pruned, original, { data, backend, ridge, batchSize: 8 });
      return residualShare(expected, (await runModel(model, feeds))['logits'] as Tensor);
    };
    const chosen = await error();
    expect(chosen).toBeLessThan(0.8 * (await error(1e-4)));
    expect(chosen).toBeLessThan(residualShare(expected, (await runModel(pruned, feeds))['logits'] as Tensor));
  });

  it('hardly pulls where there is no noise and there are many positions', async () => {
    const original = await dependentNet();
    const pruned = await withoutUnit(original, 'w1', [3]);
    const data = arrayDataset({ inputs: { x: imagesOf(64) } });
    const { report } = await refit(pruned, original, { data, backend });
    expect(report.layers[0]?.ridge).toBe(1e-4);
  });

  it('leaves a model alone that was not pruned', async () => {
    const original = await dependentNet();
    const data = arrayDataset({ inputs: { x: imagesOf(2) } });
    const { report } = await refit(original, original, { data, backend });
    expect(report).toMatchObject({ changed: false, layers: [], skipped: [] });
  });

  it('says which layers it cannot refit', async () => {
    const original = await dependentNet();
    const pruned = await withoutUnit(original, 'w1', [0]);
    const cut = await withoutUnit(pruned, 'w2', [1]);
    const value = cut.graph.value('w2');
    if (value?.initializer === undefined) throw new Error('w2 is missing');
    const other = (await value.initializer.load()) as Tensor<'float32'>;
    const doubled = other.data.map((number) => 2 * number);
    cut.graph.setInitializer(value, Tensor.from('float32', other.shape, doubled));
    const data = arrayDataset({ inputs: { x: imagesOf(4) } });
    const { report } = await refit(cut, original, { data, backend });
    expect(report.skipped.map(({ code }) => code)).toContain('weights-changed');
  });

  it('stops when it is told to', async () => {
    const original = await dependentNet();
    const pruned = await withoutUnit(original, 'w1', [0]);
    const data = arrayDataset({ inputs: { x: imagesOf(4) } });
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(refit(pruned, original, { data, backend, signal })).rejects.toThrow('enough');
  });
});
