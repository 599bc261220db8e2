import { errors } from '@lithe/core';
import type { GroupLayout } from './group-layout.ts';

function notFinite(what: string, value: number): Error {
  return errors.valueOutOfRange(`An element of ${what}`, value, 'the finite numbers; it cannot be quantized');
}

/**
 * Largest magnitude in each group. About 1 GB/s on one core.
 *
 * @param what names the tensor in messages
 * @throws {LitheError} VALUE_OUT_OF_RANGE when an element is NaN or infinite
 */
export function groupMagnitudes(data: Float32Array, layout: GroupLayout, what: string): Float32Array {
  const { outer, axis, size, inner, groupStride, lanes } = layout;
  const magnitudes = new Float32Array(layout.groups);
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (let first = 0, block = o * groupStride; first < axis; first += size, block++) {
      const rows = Math.min(size, axis - first);
      if (!lanes) {
        let most = magnitudes[block]!;
        for (const end = at + rows * inner; at < end; at++) {
          const value = Math.abs(data[at]!);
          // Written so that NaN enters the branch, which is taken seldom.
          if (!(value <= most)) {
            if (!(value < Number.POSITIVE_INFINITY)) throw notFinite(what, data[at]!);
            most = value;
          }
        }
        magnitudes[block] = most;
        continue;
      }
      const lane = block * inner;
      for (let row = 0; row < rows; row++) {
        for (let i = 0; i < inner; i++, at++) {
          const value = Math.abs(data[at]!);
          if (!(value <= magnitudes[lane + i]!)) {
            if (!(value < Number.POSITIVE_INFINITY)) throw notFinite(what, data[at]!);
            magnitudes[lane + i] = value;
          }
        }
      }
    }
  }
  return magnitudes;
}

/** Smallest and largest element of each group; both include 0. */
export interface GroupRanges {
  /** Smallest, at most 0. */
  readonly minimum: Float32Array;
  /** Largest, at least 0. */
  readonly maximum: Float32Array;
}

/**
 * Range of each group, widened to hold 0.
 *
 * @param what names the tensor in messages
 * @throws {LitheError} VALUE_OUT_OF_RANGE when an element is NaN or infinite
 */
export function groupRanges(data: Float32Array, layout: GroupLayout, what: string): GroupRanges {
  const { outer, axis, size, inner, groupStride, lanes } = layout;
  const minimum = new Float32Array(layout.groups);
  const maximum = new Float32Array(layout.groups);
  const laneStep = lanes ? 1 : 0;
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (let first = 0, block = o * groupStride; first < axis; first += size, block++) {
      const rows = Math.min(size, axis - first);
      const start = lanes ? block * inner : block;
      for (let row = 0; row < rows; row++) {
        for (let i = 0, group = start; i < inner; i++, at++, group += laneStep) {
          const value = data[at]!;
          if (value > maximum[group]!) maximum[group] = value;
          else if (!(value >= minimum[group]!)) {
            if (Number.isNaN(value)) throw notFinite(what, value);
            minimum[group] = value;
          }
        }
      }
    }
  }
  for (let group = 0; group < layout.groups; group++) {
    if (!Number.isFinite(minimum[group]!)) throw notFinite(what, minimum[group]!);
    if (!Number.isFinite(maximum[group]!)) throw notFinite(what, maximum[group]!);
  }
  return { minimum, maximum };
}

/**
 * The element of largest magnitude in each group, with its sign. Four-bit symmetric quantization puts it on the
 * lowest integer, which has no positive counterpart: the step is 1/8 of the magnitude instead of 1/7.5.
 *
 * @param what names the tensor in messages
 * @throws {LitheError} VALUE_OUT_OF_RANGE when an element is NaN or infinite
 */
export function groupExtremes(data: Float32Array, layout: GroupLayout, what: string): Float32Array {
  const { minimum, maximum } = groupRanges(data, layout, what);
  for (let group = 0; group < layout.groups; group++) {
    if (maximum[group]! < -minimum[group]!) maximum[group] = minimum[group]!;
  }
  return maximum;
}
