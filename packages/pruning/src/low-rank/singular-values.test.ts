import { createRng } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { type SingularValues, singularValues } from './singular-values.ts';

/** `U diag(s) V'` up to a rank. */
function restored(
  { values, left, right }: SingularValues,
  rows: number,
  columns: number,
  rank = values.length,
): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let place = 0; place < rank; place++)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        out[row * columns + column]! +=
          values[place]! * left[place * rows + row]! * right[place * columns + column]!;
  return out;
}

function random(rows: number, columns: number, seed: number): Float64Array {
  const rng = createRng(seed);
  return Float64Array.from({ length: rows * columns }, () => rng.normal());
}

const distance = (a: Float64Array, b: Float64Array): number =>
  Math.sqrt(a.reduce((sum, value, index) => sum + (value - b[index]!) ** 2, 0));

describe('singularValues', () => {
  it('are those of matrices that are known', () => {
    const two = singularValues(Float64Array.of(3, 0, 4, 5), 2, 2);
    expect(two.values[0]).toBeCloseTo(Math.sqrt(45), 12);
    expect(two.values[1]).toBeCloseTo(Math.sqrt(5), 12);
    // The Hilbert matrix of order 4, symmetric: its eigenvalues (Fettis and Caslin, 1967).
    const hilbert = Float64Array.from(
      { length: 16 },
      (_, index) => 1 / ((index % 4) + Math.floor(index / 4) + 1),
    );
    const { values } = singularValues(hilbert, 4, 4);
    expect(values[0]).toBeCloseTo(1.5002142800592428, 12);
    expect(values[1]).toBeCloseTo(0.16914122022144993, 12);
    expect(values[2]).toBeCloseTo(0.00673827360576074, 12);
    expect(values[3]).toBeCloseTo(0.0000967023040225869, 12);
  });

  it.each([
    [5, 5],
    [4, 30],
    [30, 4],
    [20, 21],
    [1, 6],
  ])('take a matrix of %i x %i apart, and restore it', (rows, columns) => {
    const matrix = random(rows, columns, 7);
    const svd = singularValues(matrix, rows, columns);
    const count = Math.min(rows, columns);
    expect(distance(restored(svd, rows, columns), matrix)).toBeLessThan(
      1e-12 * Math.sqrt(rows * columns) * 10,
    );
    for (let place = 1; place < count; place++)
      expect(svd.values[place]).toBeLessThanOrEqual(svd.values[place - 1]!);
    const [one, other] = [0, count - 1];
    let inner = 0;
    for (let row = 0; row < rows; row++) inner += svd.left[one * rows + row]! * svd.left[other * rows + row]!;
    expect(inner).toBeCloseTo(count === 1 ? 1 : 0, 11);
  });

  it('leave out no more than the rest when truncated (Eckart and Young)', () => {
    const matrix = random(12, 9, 3);
    const svd = singularValues(matrix, 12, 9);
    for (const rank of [1, 4, 8]) {
      const tail = Math.hypot(...svd.values.subarray(rank));
      expect(distance(restored(svd, 12, 9, rank), matrix)).toBeCloseTo(tail, 10);
    }
  });

  it('are zero where rank is missing', () => {
    const column = random(6, 1, 1);
    const row = random(1, 20, 2);
    const matrix = Float64Array.from(
      { length: 120 },
      (_, index) => column[Math.floor(index / 20)]! * row[index % 20]!,
    );
    const { values } = singularValues(matrix, 6, 20);
    expect(values[0]).toBeCloseTo(Math.hypot(...column) * Math.hypot(...row), 10);
    expect(Math.max(...values.subarray(1))).toBeLessThan(1e-12);
    expect(Math.max(...singularValues(new Float64Array(12), 3, 4).values)).toBe(0);
  });

  it('stop when they are told to', () => {
    const signal = AbortSignal.abort(new Error('enough'));
    expect(() => singularValues(random(4, 4, 1), 4, 4, { signal })).toThrow('enough');
  });
});
