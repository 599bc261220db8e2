import {
  arrayDataset,
  createRng,
  GraphBuilder,
  type Model,
  optimize,
  type StepReport,
  Tensor,
  type Value,
} from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { type SparsifyOptions, type SparsifyReport, sparseGpt, sparsify } from '../src/index.ts';
import { nodeBackend, normal } from './support.ts';

const backend = await nodeBackend();

async function product(weight: Tensor): Promise<Model> {
  const b = new GraphBuilder('product');
  const x = b.input('x', 'float32', ['N', weight.shape[1] as number]);
  b.output('y', b.op.Gemm([x, b.constant('W', weight)], { transB: true }));
  return await b.build();
}

async function run(
  model: Model,
  options: SparsifyOptions,
  x: Tensor,
): Promise<{ weights: Float64Array; report: SparsifyReport }> {
  const data = arrayDataset({ inputs: { x } });
  const result = await optimize(model, [sparsify({ compressedSize: false, samples: 1000, ...options })], {
    backend,
    data,
  });
  const weights = (await (result.model.graph.value('W') as Value).initializer?.load()) as Tensor;
  return {
    weights: weights.toFloat64Array(),
    report: result.report.steps[0] as StepReport & SparsifyReport,
  };
}

/** Inputs that hang together: each is a mixture of few. */
function correlated(rows: number, inputs: number, seed: number): Tensor<'float32'> {
  const rng = createRng(seed);
  const mix = Float64Array.from({ length: inputs * inputs }, () => rng.normal());
  const data = new Float32Array(rows * inputs);
  for (let row = 0; row < rows; row++) {
    const source = Float64Array.from({ length: inputs }, (_, index) => rng.normal() / (1 + index));
    for (let column = 0; column < inputs; column++)
      for (let index = 0; index < inputs; index++)
        data[row * inputs + column]! += mix[column * inputs + index]! * source[index]!;
  }
  return Tensor.from('float32', [rows, inputs], data);
}

/** Sum of squares of the change of x W', in plain loops. */
function outputError(x: Tensor<'float32'>, before: ArrayLike<number>, after: ArrayLike<number>): number {
  const [rows, inputs] = x.shape as [number, number];
  let total = 0;
  for (let output = 0; output < before.length / inputs; output++)
    for (let row = 0; row < rows; row++) {
      let sum = 0;
      for (let column = 0; column < inputs; column++) {
        const index = output * inputs + column;
        sum += x.data[row * inputs + column]! * (after[index]! - before[index]!);
      }
      total += sum * sum;
    }
  return total;
}

/** Solves A z = b by Gaussian elimination with pivoting. */
function solveSystem(a: number[][], b: number[]): number[] {
  const size = b.length;
  const rows = a.map((row, index) => [...row, b[index] as number]);
  for (let pivot = 0; pivot < size; pivot++) {
    rows.sort((left, right) =>
      rows.indexOf(left) < pivot || rows.indexOf(right) < pivot
        ? 0
        : Math.abs(right[pivot] as number) - Math.abs(left[pivot] as number),
    );
    for (let other = 0; other < size; other++) {
      if (other === pivot) continue;
      const factor = (rows[other]![pivot] as number) / (rows[pivot]![pivot] as number);
      for (let column = pivot; column <= size; column++)
        rows[other]![column]! -= factor * (rows[pivot]![column] as number);
    }
  }
  return rows.map((row, index) => (row[size] as number) / (row[index] as number));
}

/** The damped Hessian that the paper takes: 2/n X'X + 0.01 mean diagonal. */
function hessianOf(x: Tensor<'float32'>): number[][] {
  const [rows, inputs] = x.shape as [number, number];
  const h = Array.from({ length: inputs }, (_, i) =>
    Array.from({ length: inputs }, (__, j) => {
      let sum = 0;
      for (let row = 0; row < rows; row++) sum += x.data[row * inputs + i]! * x.data[row * inputs + j]!;
      return (2 * sum) / rows;
    }),
  );
  const mean = h.reduce((sum, row, index) => sum + (row[index] as number) / inputs, 0);
  for (const [index, row] of h.entries()) row[index]! += 0.01 * mean;
  return h;
}

describe('sparseGpt', () => {
  it('chooses by what a weight costs on the data, not by its size', async () => {
    // Independent inputs of squares 100 and 0.01: losing 2 costs 0.04, losing 1 costs 100.
    const x = Tensor.from('float32', [4, 2], Float32Array.of(10, 0.1, -10, 0.1, 10, -0.1, -10, -0.1));
    const { weights } = await run(
      await product(Tensor.from('float32', [1, 2], Float32Array.of(1, 2))),
      { criterion: 'sparse-gpt', ratio: 0.5 },
      x,
    );
    expect([...weights]).toEqual([1, 0]);
  });

  it('is the optimal brain surgeon column by column: brute force on a tiny matrix', async () => {
    // With blocks of one column, zeros are chosen among rows alone, and each removal moves the columns behind to the
    // minimum of the damped error with all that went before held: a linear system each, solved by elimination.
    const inputs = 5;
    const weight = normal([4, inputs], 2);
    const x = correlated(40, inputs, 3);
    const { weights } = await run(
      await product(weight),
      { criterion: sparseGpt({ blockSize: 1 }), ratio: 0.5 },
      x,
    );
    const h = hessianOf(x);
    const expected = Array.from({ length: 4 }, (_, row) =>
      Array.from({ length: inputs }, (__, column) => weight.data[row * inputs + column] as number),
    );
    for (let column = 0; column < inputs; column++) {
      const smallest = [0, 1, 2, 3]
        .toSorted(
          (a, b) => Math.abs(expected[a]![column] as number) - Math.abs(expected[b]![column] as number),
        )
        .slice(0, 2);
      for (const row of smallest) {
        // minimize (d_c = -w, d_rest free) over columns behind: H_rest,rest d_rest = w H_rest,c
        const w = expected[row]![column] as number;
        const rest = Array.from({ length: inputs - column - 1 }, (_, index) => column + 1 + index);
        const moves = solveSystem(
          rest.map((i) => rest.map((j) => h[i]![j] as number)),
          rest.map((i) => w * (h[i]![column] as number)),
        );
        expected[row]![column] = 0;
        for (const [index, i] of rest.entries()) expected[row]![i]! += moves[index] as number;
      }
    }
    for (const [row, line] of expected.entries())
      for (const [column, value] of line.entries())
        expect(weights[row * inputs + column]).toBeCloseTo(value, 4);
  });

  it.each([
    { ratio: 0.5, seed: 1 },
    { ratio: 0.8, seed: 2 },
    { ratio: 0.25, seed: 3 },
    { pattern: '2:4' as const, seed: 4 },
    { pattern: '1:4' as const, seed: 5 },
    { pattern: '4:8' as const, seed: 6 },
  ])('leaves less error than removing the smallest: %o', async ({ seed, ...options }) => {
    const weight = normal([12, 160], seed);
    const x = correlated(400, 160, seed);
    const magnitude = await run(await product(weight), { ...options, criterion: 'l1' }, x);
    const { weights, report } = await run(await product(weight), { ...options, criterion: 'sparse-gpt' }, x);
    const [own, theirs] = [weights, magnitude.weights].map((after) => outputError(x, weight.data, after));
    expect(own as number).toBeLessThan(0.5 * (theirs as number));
    expect(report.layers[0]?.errorShare).toBeCloseTo((own as number) / (theirs as number), 3);
    expect(report.layers[0]?.zeros).toBe(magnitude.report.layers[0]?.zeros);
  });

  it('holds N:M in every group', async () => {
    const { weights } = await run(
      await product(normal([6, 32], 7)),
      { criterion: 'sparse-gpt', pattern: '2:4' },
      correlated(100, 32, 8),
    );
    for (let from = 0; from < weights.length; from += 4)
      expect([...weights.subarray(from, from + 4)].filter((value) => value !== 0)).toHaveLength(2);
  });

  it('removes what reads nothing first, and says when samples are few', async () => {
    const x = normal([3, 8], 4);
    const data = x.data.map((value, index) => (index % 2 === 0 ? 0 : value));
    const weight = normal([2, 8], 5);
    const { weights, report } = await run(
      await product(weight),
      { criterion: 'sparse-gpt', ratio: 0.5 },
      Tensor.from('float32', [3, 8], data),
    );
    for (let index = 0; index < 16; index++)
      expect(weights[index]).toBeCloseTo(index % 2 === 0 ? 0 : (weight.data[index] as number), 6);
    expect(report.applied.join(' ')).toMatch(/3 rows for sums of 8/);
  });

  it('treats grouped convolutions group by group', async () => {
    const b = new GraphBuilder('conv');
    const x = b.input('x', 'float32', ['N', 8, 6, 6]);
    const weight = normal([8, 4, 3, 3], 3);
    b.output('y', b.op.Conv([x, b.constant('W', weight)], { group: 2, pads: [1, 1, 1, 1] }));
    const model = await b.build();
    const feed = normal([20, 8, 6, 6], 9);
    const error = async (criterion: 'l1' | 'sparse-gpt'): Promise<number> => {
      const result = await optimize(model, [sparsify({ criterion, ratio: 0.6 })], {
        backend,
        data: arrayDataset({ inputs: { x: feed } }),
      });
      const outputs = await Promise.all(
        [model, result.model].map(async (one) => {
          const executable = await backend.compile(one);
          const { y } = await executable.run({ x: feed });
          await executable.dispose();
          return y?.data as Float32Array;
        }),
      );
      const [left, right] = outputs as [Float32Array, Float32Array];
      return left.reduce((sum, value, index) => sum + (value - right[index]!) ** 2, 0);
    };
    expect(await error('sparse-gpt')).toBeLessThan(await error('l1'));
  });

  it('takes the shares of layers from a global ranking by LAMP where it is asked to', async () => {
    const b = new GraphBuilder('two');
    const x = b.input('x', 'float32', ['N', 16]);
    // Heavy tails: a few weights have most of the norm, and the many others may go, whatever their scale is.
    const tails = normal([16, 16], 1).data.map((weight) => weight ** 5);
    const hidden = b.op.MatMul([x, b.constant('A', Tensor.from('float32', [16, 16], tails))]);
    b.output('y', b.op.MatMul([hidden, b.constant('B', normal([16, 16], 2))]));
    const zeros = async (criterion: 'lamp' | 'sparse-gpt'): Promise<readonly number[]> => {
      const { report } = await optimize(
        await b.build(),
        [sparsify({ criterion, ratio: 0.5, scope: 'global' })],
        {
          backend,
          data: arrayDataset({ inputs: { x: correlated(50, 16, 3) } }),
        },
      );
      return (report.steps[0] as StepReport & SparsifyReport).layers.map((layer) => layer.zeros);
    };
    const expected = await zeros('lamp');
    expect(expected[0]).toBeGreaterThan(160);
    expect(await zeros('sparse-gpt')).toEqual(expected);
  });

  it('refuses settings out of range', () => {
    expect(() => sparseGpt({ damping: 0 })).toThrow(/damping/);
    expect(() => sparseGpt({ blockSize: 0.5 })).toThrow(/block size/);
  });
});
