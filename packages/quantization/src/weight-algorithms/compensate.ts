import { subtractProduct } from '@lithe/core';
import { asymmetricParameters, SMALLEST_SCALE } from '../parameters/affine.ts';
import type { IntegerArray } from '../parameters/kernels.ts';
import { HALF_EVEN } from '../parameters/rounding.ts';
import { type BlockSearch, importanceOf, narrowBlock } from './block-scales.ts';
import type { WeightMatrix } from './weight-algorithm.ts';

/** Input channels that are rounded before the rest of a row is moved. */
const COLUMNS = 128;

/** Rows that go through together. */
const ROWS = 64;

/** What {@link compensate} works with. */
export interface Compensation {
  /** `H^-1 = U' U`, `[K, K]`, channels in {@link order}. */
  readonly upper: Float64Array;
  /** Input channel at each place. */
  readonly order: Int32Array;
  /** Scales and zero points of each block; written unless {@link scales} is `given`. */
  readonly parameters: {
    readonly scales: Float32Array;
    readonly zeroPoints: Int32Array | undefined;
    readonly middle: number;
  };
  /** Where the integers go. */
  readonly levels: IntegerArray;
  /** Whether the scales of a block are those given, or found from the weights as they are when it comes up. */
  readonly scales: 'given' | 'range' | 'search';
  /** Cancellation. */
  readonly signal: AbortSignal;
}

/** Scale and zero point of a block of weights that have moved since the start. */
function blockParameters(
  matrix: WeightMatrix,
  weights: Float64Array,
  at: { readonly from: number; readonly to: number; readonly channel: number },
  search: BlockSearch | undefined,
): { scale: number; zero: number } {
  const { range, scheme } = matrix;
  let low = 0;
  let high = 0;
  for (let index = at.from; index < at.to; index++) {
    const value = weights[index]!;
    if (value < low) low = value;
    else if (value > high) high = value;
  }
  const middle = Math.ceil((range.low + range.high) / 2);
  const found = { scale: 1, zero: middle };
  if (scheme === 'asymmetric') {
    const { scale, zeroPoint } = asymmetricParameters(low, high, range);
    found.scale = scale;
    found.zero = zeroPoint;
  } else {
    const scale =
      scheme === 'extreme'
        ? Math.fround(-(high < -low ? low : high) / (middle - range.low))
        : Math.fround((2 * Math.max(high, -low)) / (range.high - range.low));
    found.scale = Math.abs(scale) < SMALLEST_SCALE ? 1 : scale;
  }
  if (search !== undefined) narrowBlock(weights, at, search, found);
  return found;
}

/**
 * Rounds a weight channel by channel and lets the channels behind make up for each error: algorithm 1 of GPTQ, a few
 * rows at a time, since rows do not depend on each other.
 *
 * @returns the damped squared error of each row, `D (H + lambda I) D'`
 */
export function compensate(matrix: WeightMatrix, work: Compensation): Float64Array {
  const { data, outputs, inputs: size, blockSize, range, scheme } = matrix;
  const { upper, order, parameters, levels, signal } = work;
  const { scales, zeroPoints } = parameters;
  const { low, high } = range;
  const blocks = Math.ceil(size / blockSize);
  const dynamic = work.scales !== 'given';
  const search: BlockSearch | undefined =
    work.scales === 'search'
      ? { low, high, importance: importanceOf(matrix), zeroMoves: scheme === 'asymmetric' }
      : undefined;
  // A whole number of blocks: one that is split between two runs would get scales for weights that are yet to be moved.
  const step = blockSize * Math.max(1, Math.floor(COLUMNS / blockSize));
  const weights = new Float64Array(ROWS * size);
  const errors = new Float64Array(ROWS * step);
  const damped = new Float64Array(outputs);
  for (let first = 0; first < outputs; first += ROWS) {
    signal.throwIfAborted();
    const rows = Math.min(ROWS, outputs - first);
    for (let row = 0; row < rows; row++) {
      const from = (first + row) * size;
      for (let place = 0; place < size; place++) weights[row * size + place] = data[from + order[place]!]!;
    }
    for (let start = 0; start < size; start += step) {
      const end = Math.min(size, start + step);
      for (let row = 0; row < rows; row++) {
        const at = row * size;
        const line = (first + row) * size;
        let sum = 0;
        for (let place = start; place < end; place++) {
          const channel = order[place]!;
          const block = Math.floor(channel / blockSize);
          const group = (first + row) * blocks + block;
          if (dynamic && place % blockSize === 0) {
            const to = at + Math.min(size, place + blockSize);
            const found = blockParameters(matrix, weights, { from: at + place, to, channel }, search);
            scales[group] = found.scale;
            if (zeroPoints !== undefined) zeroPoints[group] = found.zero;
          }
          const scale = scales[group]!;
          const zero = zeroPoints === undefined ? parameters.middle : zeroPoints[group]!;
          const weight = weights[at + place]!;
          let level = weight / scale + HALF_EVEN - HALF_EVEN + zero;
          level = level > high ? high : level < low ? low : level;
          levels[line + channel] = level;
          const pivot = place * size;
          const error = (weight - Math.fround((level - zero) * scale)) / upper[pivot + place]!;
          errors[row * step + place - start] = error;
          sum += error * error;
          for (let next = place + 1; next < end; next++) weights[at + next]! -= error * upper[pivot + next]!;
        }
        damped[first + row]! += sum;
      }
      subtractProduct({
        target: weights,
        targetAt: end,
        targetStride: size,
        left: errors,
        leftAt: 0,
        leftStride: step,
        right: upper,
        rightAt: start * size + end,
        rightStride: size,
        rows,
        depth: end - start,
        columns: size - end,
      });
    }
  }
  return damped;
}
