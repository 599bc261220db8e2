import { createRng } from '@lithe/core';
import { expect, it } from 'vitest';
import { integerRange } from '../parameters/integer-range.ts';
import { plainTools } from '../weights/error-tool.ts';
import { hqq } from './hqq.ts';
import { roundToNearest } from './round-to-nearest.ts';
import type { QuantizedMatrix, WeightMatrix } from './weight-algorithm.ts';

const tools = plainTools(new AbortController().signal);

/** Rows of one block each, with a few large elements. */
function blocks(outputs: number, scheme: WeightMatrix['scheme']): WeightMatrix {
  const rng = createRng(9);
  const data = Float32Array.from({ length: outputs * 32 }, () => rng.normal() * (rng.next() < 0.02 ? 5 : 1));
  return { data, outputs, inputs: 32, blockSize: 32, range: integerRange('uint4'), scheme, what: 'w' };
}

/** The sparse error and the integers of a block, by the formulas of the paper. */
function halfQuadratic(block: Float32Array, scale: number, zero: number, beta: number) {
  const offsets = Array.from(block, (value) => {
    const level = Math.min(15, Math.max(0, Math.round(value / scale + zero)));
    return level - zero;
  });
  const targets = Array.from(block, (value, at) => {
    const error = value / scale - offsets[at]!;
    const size = Math.abs(error);
    const sparse = Math.sign(error) * Math.max(0, size - size ** (0.7 - 1) / beta);
    return value / scale - (size === 0 ? 0 : sparse);
  });
  const error = block.reduce((sum, value, at) => sum + Math.abs(value - offsets[at]! * scale), 0);
  return { offsets, targets, error };
}

const dot = (left: readonly number[], right: readonly number[]): number =>
  left.reduce((sum, value, at) => sum + value * right[at]!, 0);

it.each([1.01, 4])('fits scales as the formulas do, beta growing by %s', (kappa) => {
  const matrix = blocks(40, 'symmetric');
  const start = roundToNearest().quantize(matrix, tools) as QuantizedMatrix;
  const found = hqq({ kappa }).quantize(matrix, tools) as QuantizedMatrix;
  let same = 0;
  for (let row = 0; row < 40; row++) {
    const block = matrix.data.subarray(row * 32, (row + 1) * 32);
    let scale = start.parameters.scales[row]!;
    let state = halfQuadratic(block, scale, 8, 10);
    for (let step = 1, beta = 10 * kappa; step <= 20; step++, beta *= kappa) {
      const next = (scale * dot(state.targets, state.offsets)) / dot(state.offsets, state.offsets);
      const then = halfQuadratic(block, next, 8, beta);
      if (!(then.error < state.error)) break;
      scale = next;
      state = then;
    }
    if (Math.abs(found.parameters.scales[row]! / scale - 1) < 1e-3) same++;
  }
  // The table of powers may stop one or the other a step apart.
  expect(same).toBeGreaterThanOrEqual(37);
});

it('moves zero points to where the formulas lead', () => {
  const matrix = blocks(200, 'asymmetric');
  const start = roundToNearest().quantize(matrix, tools) as QuantizedMatrix;
  const found = hqq().quantize(matrix, tools) as QuantizedMatrix;
  let moved = 0;
  let right = 0;
  for (let row = 0; row < 200; row++) {
    const block = matrix.data.subarray(row * 32, (row + 1) * 32);
    const first = start.parameters.zeroPoints?.[row] ?? Number.NaN;
    const scale = start.parameters.scales[row]!;
    let zero = first;
    let least = Number.POSITIVE_INFINITY;
    for (let step = 0, beta = 10; step < 20; step++, beta *= 1.01) {
      const { offsets, targets, error } = halfQuadratic(block, scale, zero, beta);
      if (!(error < least)) break;
      least = error;
      zero = Math.min(
        15,
        Math.max(
          0,
          zero +
            dot(
              offsets,
              offsets.map(() => 1 / 32),
            ) -
            dot(
              targets,
              targets.map(() => 1 / 32),
            ),
        ),
      );
    }
    const own = found.parameters.zeroPoints?.[row] ?? Number.NaN;
    if (own === first) continue;
    moved++;
    if (own === Math.floor(zero) || own === Math.floor(zero) + 1) right++;
  }
  expect(moved).toBeGreaterThan(20);
  expect(right).toBe(moved);
});
