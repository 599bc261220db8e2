import { Tensor } from '@lithe/core';
import { expect, it } from 'vitest';
import { klDivergence, scoreKindOf } from './divergence.ts';

const table = (...rows: readonly (readonly number[])[]): Tensor<'float32'> =>
  Tensor.from('float32', [rows.length, rows[0]?.length ?? 0], Float32Array.from(rows.flat()));

it('is that of the class probabilities, worked out by hand', () => {
  const options = { kind: 'logits', name: 'y' } as const;
  // Softmax of [0, 0] is [1/2, 1/2], of [0, log 3] it is [1/4, 3/4]: (log 2 + log 2/3) / 2.
  const { sum, rows } = klDivergence(table([0, 0], [5, 6]), table([7, 7 + Math.log(3)], [-1, 0]), options);
  expect(rows).toBe(2);
  expect(sum).toBeCloseTo((Math.log(2) + Math.log(2 / 3)) / 2, 6);
  const probabilities = { kind: 'probabilities', name: 'y' } as const;
  expect(klDivergence(table([0.5, 0.5]), table([0.25, 0.75]), probabilities).sum).toBeCloseTo(
    (Math.log(2) + Math.log(2 / 3)) / 2,
    6,
  );
});

it('stays finite where integers turned a small probability into none, and is infinite for NaN', () => {
  const options = { kind: 'probabilities', name: 'y' } as const;
  const { sum } = klDivergence(table([0.99, 0.01]), table([1, 0]), options);
  expect(sum).toBeGreaterThan(0.09);
  expect(sum).toBeLessThan(0.12);
  expect(klDivergence(table([0.5, 0.5]), table([Number.NaN, 0.5]), options).sum).toBe(
    Number.POSITIVE_INFINITY,
  );
  const logits = { kind: 'logits', name: 'y' } as const;
  expect(klDivergence(table([1, 2]), table([Number.POSITIVE_INFINITY, 2]), logits).sum).toBe(
    Number.POSITIVE_INFINITY,
  );
});

it('refuses outputs of another shape', () => {
  expect(() => klDivergence(table([1, 2]), table([1, 2, 3]), { kind: 'logits', name: 'y' })).toThrow(
    expect.objectContaining({ code: 'SHAPE_MISMATCH' }),
  );
});

it('knows tables of scores, distributions of any rank, and what is neither', () => {
  expect(scoreKindOf(table([1, -2, 3]), false)).toBe('logits');
  expect(scoreKindOf(table([0.25, 0.75], [1, 0]), false)).toBe('probabilities');
  const steps = Tensor.from('float32', [1, 2, 2], Float32Array.of(0.5, 0.5, 0.1, 0.9));
  expect(scoreKindOf(steps, false)).toBe('probabilities');
  const features = Tensor.from('float32', [1, 2, 2], Float32Array.of(5, 0.5, 0.1, 0.9));
  expect(scoreKindOf(features, false)).toBe('none');
  expect(scoreKindOf(features, true)).toBe('logits');
  expect(scoreKindOf(table([1], [2]), true)).toBe('none');
});
