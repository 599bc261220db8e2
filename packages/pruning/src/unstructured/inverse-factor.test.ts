import { createRng } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { inverseFactor } from './inverse-factor.ts';

describe('inverseFactor', () => {
  it.each([1, 2, 47, 48, 49, 97, 150])("gives U with A U'U = I at size %i", (size) => {
    const rng = createRng(size);
    const m = Float64Array.from({ length: size * size }, () => rng.normal());
    const a = new Float64Array(size * size);
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++) {
        let sum = i === j ? 1 : 0;
        for (let k = 0; k < size; k++) sum += m[i * size + k]! * m[j * size + k]!;
        a[i * size + j] = sum;
      }
    const u = inverseFactor(a.slice(), size) as Float64Array;
    const inverse = (i: number, j: number): number => {
      let sum = 0;
      for (let k = 0; k < size; k++) sum += u[k * size + i]! * u[k * size + j]!;
      return sum;
    };
    for (let i = 0; i < size; i++) for (let j = 0; j < i; j++) expect(u[i * size + j]! + 0).toBe(0);
    const column = Math.floor(size / 2);
    const found = Float64Array.from({ length: size }, (_, index) => inverse(index, column));
    for (let i = 0; i < size; i++) {
      let sum = 0;
      for (let k = 0; k < size; k++) sum += a[i * size + k]! * found[k]!;
      expect(sum).toBeCloseTo(i === column ? 1 : 0, 9);
    }
  });

  it('tells when a matrix is not positive definite', () => {
    expect(inverseFactor(Float64Array.of(1, 2, 2, 1), 2)).toBeUndefined();
    expect(inverseFactor(Float64Array.of(0), 1)).toBeUndefined();
  });
});
