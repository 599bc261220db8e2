import { describe, expect, it } from 'vitest';
import { createRng } from '../context/rng.ts';
import { cholesky, inverseFactor, invertLower } from './cholesky.ts';

/** `B B' + I` of a random B: positive definite. */
function positive(size: number, seed: number): Float64Array {
  const rng = createRng(seed);
  const b = Float64Array.from({ length: size * size }, () => rng.normal());
  const a = new Float64Array(size * size);
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) {
      let sum = i === j ? 1 : 0;
      for (let p = 0; p < size; p++) sum += b[i * size + p]! * b[j * size + p]!;
      a[i * size + j] = sum;
    }
  return a;
}

/** Largest difference between `left right` and the identity or a given matrix. */
function gap(
  left: (i: number, p: number) => number,
  right: (p: number, j: number) => number,
  size: number,
  expected: (i: number, j: number) => number,
): number {
  let most = 0;
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) {
      let sum = 0;
      for (let p = 0; p < size; p++) sum += left(i, p) * right(p, j);
      most = Math.max(most, Math.abs(sum - expected(i, j)));
    }
  return most;
}

describe('the Cholesky factorization', () => {
  it('gives the factor worked out by hand', () => {
    // [[4, 2, 2], [2, 5, 3], [2, 3, 6]] = L L' with L = [[2], [1, 2], [1, 1, 2]].
    const a = Float64Array.of(4, 2, 2, 2, 5, 3, 2, 3, 6);
    expect(cholesky(a, 3)).toBe(true);
    expect([a[0], a[3], a[4], a[6], a[7], a[8]]).toEqual([2, 1, 2, 1, 1, 2]);
    expect([...invertLower(a, 3)]).toEqual([0.5, 0, 0, -0.25, 0.5, 0, -0.125, -0.25, 0.5]);
  });

  it('finds out that a matrix is not positive definite', () => {
    expect(cholesky(Float64Array.of(1, 2, 2, 1), 2)).toBe(false);
    expect(cholesky(Float64Array.of(Number.NaN), 1)).toBe(false);
    expect(inverseFactor(Float64Array.of(0), 1)).toBeUndefined();
    expect(inverseFactor(Float64Array.of(1, 2, 2, 1), 2)).toBeUndefined();
  });

  // Sizes within a block, of several, and not a multiple of what loops are unrolled by.
  for (const size of [1, 2, 7, 47, 48, 49, 64, 65, 97, 131, 150]) {
    it(`multiplies back to the matrix and its inverse at size ${size}`, () => {
      const a = positive(size, 3);
      const lower = a.slice();
      expect(cholesky(lower, size)).toBe(true);
      const l = (i: number, j: number): number => (j > i ? 0 : lower[i * size + j]!);
      expect(
        gap(
          l,
          (p, j) => l(j, p),
          size,
          (i, j) => a[i * size + j]!,
        ),
      ).toBeLessThan(1e-9);
      const upper = inverseFactor(a.slice(), size) as Float64Array;
      const u = (i: number, j: number): number => upper[i * size + j]!;
      for (let i = 0; i < size; i++) for (let j = 0; j < i; j++) expect(u(i, j)).toBe(0);
      // U' U A = I.
      const product = new Float64Array(size * size);
      for (let i = 0; i < size; i++)
        for (let j = 0; j < size; j++)
          for (let p = 0; p < size; p++) product[i * size + j]! += u(p, i) * u(p, j);
      expect(
        gap(
          (i, p) => product[i * size + p]!,
          (p, j) => a[p * size + j]!,
          size,
          (i, j) => (i === j ? 1 : 0),
        ),
      ).toBeLessThan(5e-10);
    });
  }
});
