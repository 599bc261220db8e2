import { describe, expect, it } from 'vitest';
import { type Normalizer, normalizeScores, type Reduction, reduceScores } from './reduce.ts';

const close = (actual: Float64Array | undefined, expected: readonly number[]): void => {
  expect(actual?.length).toBe(expected.length);
  for (const [index, value] of expected.entries()) expect(actual?.[index]).toBeCloseTo(value, 6);
};

describe('reduceScores', () => {
  it('makes one score per unit of several', () => {
    const parts = [Float64Array.of(1, 4), Float64Array.of(3, 2)];
    const expected: Readonly<Record<Reduction, readonly number[]>> = {
      mean: [2, 3],
      sum: [4, 6],
      max: [3, 4],
      prod: [3, 8],
      first: [1, 4],
    };
    for (const [reduction, values] of Object.entries(expected))
      close(reduceScores(parts, reduction as Reduction), values);
    expect(reduceScores([], 'mean')).toBeUndefined();
  });
});

describe('normalizeScores', () => {
  it('brings scores to the scale that its name says', () => {
    const scores = Float64Array.of(1, 3, 4);
    const expected: Readonly<Record<Normalizer, readonly number[]>> = {
      none: [1, 3, 4],
      mean: [3 / 8, 9 / 8, 12 / 8],
      sum: [1 / 8, 3 / 8, 4 / 8],
      max: [1 / 4, 3 / 4, 1],
      standardization: [0, 2 / 3, 1],
      // Deviations -5/3, 1/3, 4/3: the variance is 14/9.
      gaussian: [-5 / Math.sqrt(14), 1 / Math.sqrt(14), 4 / Math.sqrt(14)],
      // Each by the sum of those that are at least as large.
      lamp: [1 / 8, 3 / 7, 1],
    };
    for (const [normalizer, values] of Object.entries(expected))
      close(normalizeScores(scores, normalizer as Normalizer), values);
  });

  it('stays finite where all is zero', () => {
    for (const normalizer of ['mean', 'sum', 'max', 'standardization', 'gaussian', 'lamp'] as const)
      expect([...normalizeScores(new Float64Array(3), normalizer)].every(Number.isFinite)).toBe(true);
  });
});
