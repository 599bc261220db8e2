import { GraphBuilder, type Model, modelCost, optimize, Tensor } from '@lithe/core';
import { mlp } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { lowRank } from '../src/index.ts';
import { drift, normal, runModel } from './support.ts';

/** A weight whose factorization by output and the rest, or by column and row of the kernel, has a rank of two. */
function thinKernel(
  shape: readonly [number, number, number, number],
  kind: 'spatial' | 'channel',
): Tensor<'float32'> {
  const [outputs, channels, height, width] = shape;
  const rank = 2;
  const first = normal([rank, channels, height, kind === 'spatial' ? 1 : width], 1, 0.5).data;
  const second = normal([outputs, rank, kind === 'spatial' ? width : 1], 2, 0.5).data;
  const data = new Float32Array(outputs * channels * height * width);
  let at = 0;
  for (let o = 0; o < outputs; o++)
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < height; i++)
        for (let j = 0; j < width; j++, at++)
          for (let r = 0; r < rank; r++) {
            const column =
              kind === 'spatial'
                ? (r * channels + c) * height + i
                : ((r * channels + c) * height + i) * width + j;
            const row = kind === 'spatial' ? (o * rank + r) * width + j : o * rank + r;
            data[at]! += first[column]! * second[row]!;
          }
  return Tensor.from('float32', shape, data);
}

async function convolution(weight: Tensor, attributes: object): Promise<Model> {
  const b = new GraphBuilder('conv');
  const x = b.input('x', 'float32', ['N', weight.shape[1] as number, 13, 11]);
  const bias = b.constant('b', normal([weight.shape[0] as number], 3));
  b.output('y', b.op.Conv([x, b.constant('w', weight), bias], { ...attributes }));
  return b.build();
}

const ofOps = (model: Model): string => [...model.graph.nodes()].map(({ opType }) => opType).join();

describe('low rank', () => {
  it.each([
    ['pads that differ', { pads: [0, 2, 1, 1] }],
    ['strides', { strides: [2, 3], pads: [1, 1, 1, 1] }],
    ['dilations', { dilations: [2, 1], pads: [2, 1, 2, 1] }],
    ['SAME_LOWER with strides', { strides: [2, 2], auto_pad: 'SAME_LOWER' }],
  ] as const)('gives the same results where rank is missing anyway: k x k with %s', async (_, attributes) => {
    const model = await convolution(thinKernel([8, 6, 3, 3], 'spatial'), attributes);
    const { model: thin, report } = await optimize(model, [lowRank({ energy: 1 })]);
    expect(ofOps(thin)).toBe('Conv,Conv');
    expect(report.steps[0]?.tables?.['layers']?.rows[0]?.slice(1, 4)).toEqual(['spatial', 2, 18]);
    const feeds = { x: normal([2, 6, 13, 11], 5) };
    expect(drift(await runModel(model, feeds), await runModel(thin, feeds))).toBeLessThan(1e-5);
    const dims = { dims: { N: 1 } };
    expect(modelCost(thin, dims).macs).toBeLessThan(modelCost(model, dims).macs);
    expect(modelCost(thin, dims).macs).toBe(report.steps[0]?.metrics['multiplications after']?.value);
  });

  it.each([
    ['1 x 1', [8, 9, 1, 1], { strides: [2, 2] }],
    ['1 x 3', [8, 9, 1, 3], { pads: [0, 1, 0, 1] }],
  ] as const)('takes channels apart in a convolution of %s', async (_, shape, attributes) => {
    const model = await convolution(thinKernel(shape, 'channel'), attributes);
    const { model: thin, report } = await optimize(model, [lowRank({ energy: 1 })]);
    expect(report.steps[0]?.tables?.['layers']?.rows[0]?.slice(1, 3)).toEqual(['channel', 2]);
    const feeds = { x: normal([2, 9, 13, 11], 5) };
    expect(drift(await runModel(model, feeds), await runModel(thin, feeds))).toBeLessThan(1e-5);
  });

  it.each(['MatMul', 'Gemm', 'Gemm of a transposed weight'])('takes a %s apart in two', async (kind) => {
    const b = new GraphBuilder('product');
    const x = b.input('x', 'float32', ['N', 12]);
    const transB = kind.endsWith('weight');
    const weight = thinKernel(transB ? [10, 12, 1, 1] : [12, 10, 1, 1], 'channel');
    const w = b.constant('w', weight.reshape(weight.shape.slice(0, 2)));
    const bias = b.constant('b', normal([10], 4));
    b.output('y', kind === 'MatMul' ? b.op.MatMul([x, w]) : b.op.Gemm([x, w, bias], { transB }));
    const model = await b.build();
    const { model: thin } = await optimize(model, [lowRank({ energy: 1 })]);
    expect(thin.graph.nodeCount).toBe(2);
    const feeds = { x: normal([5, 12], 6) };
    expect(drift(await runModel(model, feeds), await runModel(thin, feeds))).toBeLessThan(1e-5);
  });

  it('errs by the singular values that it leaves out', async () => {
    const b = new GraphBuilder('diagonal');
    const x = b.input('x', 'float32', ['N', 4]);
    const diagonal = [10, 5, 1, 0.1];
    const data = Float32Array.from({ length: 16 }, (_, index) =>
      index % 5 === 0 ? (diagonal[index / 5] as number) : 0,
    );
    b.output('y', b.op.MatMul([x, b.constant('w', Tensor.from('float32', [4, 4], data))]));
    const { model, report } = await optimize(await b.build(), [lowRank({ energy: 0.79 })]);
    const identity = Float32Array.from({ length: 16 }, (_, index) => (index % 5 === 0 ? 1 : 0));
    const { y } = await runModel(model, { x: Tensor.from('float32', [4, 4], identity) });
    const error = y?.toFloat64Array().reduce((sum, value, index) => sum + (value - data[index]!) ** 2, 0);
    // 5² + 1² + 0.1², of 126.01 in all: the rest is kept.
    expect(error).toBeCloseTo(26.01, 5);
    expect(report.steps[0]?.tables?.['layers']?.rows[0]?.[4]).toBeCloseTo(100 / 126.01, 6);
  });

  it('meets a budget with the same energy in all layers', async () => {
    const model = await mlp({ inputs: 64, hidden: [48, 48], classes: 10 });
    const { model: thin, report } = await optimize(model, [
      lowRank({ budget: { macs: 0.5, parameters: 5000 } }),
    ]);
    const before = modelCost(model, { dims: { N: 1 } });
    const after = modelCost(thin, { dims: { N: 1 } });
    expect(after.macs).toBeLessThanOrEqual(0.5 * before.macs);
    expect(after.parameters).toBeLessThanOrEqual(5000);
    // A rank more in any layer and it would be above: a rank of the largest takes 112.
    expect(Math.max(after.macs / (0.5 * before.macs), after.parameters / 5000)).toBeGreaterThan(0.9);
    expect(report.steps[0]?.skipped.filter(({ target }) => target === 'budget')).toEqual([]);
    const { report: never } = await optimize(model, [lowRank({ budget: { macs: 10 } })]);
    expect(never.steps[0]?.skipped).toContainEqual(
      expect.objectContaining({ target: 'budget', code: 'budget-not-met' }),
    );
  });

  it.each([
    ['a batch that the model fixes', [8, 64], undefined],
    ['a batch that the options give', ['N', 64], { N: 8 }],
    ['a batch that is open', ['N', 64], undefined],
  ] as const)('counts against a budget all that a run multiplies: %s', async (_, shape, dims) => {
    const b = new GraphBuilder('batch');
    const one = b.op.Relu([
      b.op.MatMul([b.input('x', 'float32', shape), b.constant('w1', normal([64, 64], 1))]),
    ]);
    b.output('y', b.op.MatMul([one, b.constant('w2', normal([64, 64], 2))]));
    const { report } = await optimize(await b.build(), [lowRank({ budget: { macs: 0.5 }, dims })]);
    // Rank R takes 128 R of 4096 multiplications a row: half of both is 32 in all.
    const ranks = report.steps[0]?.tables?.['layers']?.rows.map((row) => Number(row[2])) ?? [];
    expect(ranks.reduce((sum, rank) => sum + rank, 0)).toBeGreaterThan(28);
    expect(ranks.reduce((sum, rank) => sum + rank, 0)).toBeLessThanOrEqual(32);
    expect(report.steps[0]?.skipped).toEqual([]);
  });

  it('counts that the first of two convolutions does not stride along rows', async () => {
    const model = await convolution(normal([16, 16, 3, 3], 1), { strides: [1, 2] });
    const { model: thin, report } = await optimize(model, [lowRank({ budget: { macs: 0.5 } })]);
    const dims = { dims: { N: 1 } };
    const share = modelCost(thin, dims).macs / modelCost(model, dims).macs;
    expect(ofOps(thin)).toBe('Conv,Conv');
    expect(share).toBeLessThanOrEqual(0.5);
    expect(share).toBeGreaterThan(0.43);
    expect(report.steps[0]?.skipped).toEqual([]);
  });

  it('counts all images of a fixed batch', async () => {
    const b = new GraphBuilder('images');
    const x = b.input('x', 'float32', [4, 16, 8, 8]);
    const pads = [1, 1, 1, 1];
    const one = b.op.Relu([b.op.Conv([x, b.constant('w1', normal([16, 16, 3, 3], 1))], { pads })]);
    b.output('y', b.op.Conv([one, b.constant('w2', normal([16, 16, 3, 3], 2))], { pads }));
    const model = await b.build();
    const { model: thin, report } = await optimize(model, [lowRank({ budget: { macs: 0.5 } })]);
    const share = modelCost(thin).macs / modelCost(model).macs;
    expect(share).toBeLessThanOrEqual(0.5);
    expect(share).toBeGreaterThan(0.45);
    expect(report.steps[0]?.skipped).toEqual([]);
  });

  it('leaves layers whole that would save little, but for a budget of parameters', async () => {
    // Rank R of a product of 64 by 32 takes 96 R multiplications of 2048: a quarter is saved up to rank 16, any up to 21.
    const b = new GraphBuilder('product');
    b.output('y', b.op.MatMul([b.input('x', 'float32', ['N', 64]), b.constant('w', normal([64, 32], 1))]));
    const model = await b.build();
    const ranks = async (options: Parameters<typeof lowRank>[0]): Promise<readonly unknown[]> => {
      const { report } = await optimize(model, [lowRank(options)]);
      return (report.steps[0]?.tables?.['layers']?.rows ?? []).map((row) => row[2]);
    };
    expect(await ranks({ ratio: 16 / 32 })).toEqual([16]);
    expect(await ranks({ ratio: 17 / 32 })).toEqual([]);
    expect(await ranks({ ratio: 17 / 32, smallestSaving: 0 })).toEqual([17]);
    expect(await ranks({ ratio: 22 / 32, smallestSaving: 0 })).toEqual([]);
    expect(await ranks({ budget: { parameters: 21 * 96 } })).toEqual([21]);
    const { report } = await optimize(model, [lowRank({ ratio: 17 / 32 })]);
    expect(report.steps[0]?.skipped[0]?.reason).toContain('up to rank 16');
  });

  it('says what it leaves alone', async () => {
    const b = new GraphBuilder('net');
    const x = b.input('x', 'float32', ['N', 4, 8, 8]);
    const grouped = b.op.Conv(
      [x, b.constant('grouped', normal([4, 1, 3, 3], 1))],
      { group: 4 },
      { name: 'grouped' },
    );
    const small = b.op.Conv([grouped, b.constant('small', normal([2, 4, 1, 1], 2))], {}, { name: 'small' });
    const full = b.op.Conv([small, b.constant('full', normal([9, 2, 3, 3], 3))], {}, { name: 'full' });
    const kept = b.op.Conv([full, b.constant('kept', normal([9, 9, 1, 1], 4))], {}, { name: 'kept' });
    const large = b.op.Conv([kept, b.constant('large', normal([20, 9, 3, 3], 5))], {}, { name: 'large' });
    b.output('y', large);
    const { report } = await optimize(await b.build(), [
      lowRank({ energy: 0.999, protect: ['kept'], largestRank: 10 }),
    ]);
    const codes = Object.fromEntries(
      (report.steps[0]?.skipped ?? []).map(({ target, code }) => [target, code]),
    );
    expect(codes).toEqual({
      grouped: 'grouped',
      small: 'no-saving',
      full: 'no-saving',
      kept: 'protected',
      large: 'too-large',
    });
    expect(report.steps[0]?.changed).toBe(false);
  });

  it('leaves shared weights alone and refuses two rules at once', async () => {
    const b = new GraphBuilder('shared');
    const w = b.constant('w', normal([16, 16], 1));
    b.output('y', b.op.MatMul([b.op.MatMul([b.input('x', 'float32', ['N', 16]), w]), w]));
    const { report } = await optimize(await b.build(), [lowRank({ ratio: 0.1 })]);
    expect(report.steps[0]?.skipped.map(({ code }) => code)).toEqual(['shared-weight', 'shared-weight']);
    expect(() => lowRank({ ratio: 0.5, energy: 0.5 })).toThrow(
      expect.objectContaining({ code: 'OPTIONS_INVALID' }),
    );
  });
});
