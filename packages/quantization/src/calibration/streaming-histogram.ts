import type { ValueHistogram } from './statistics.ts';

/** Width of the narrowest bin as a power of two: the smallest float32 number above 0. */
export const SMALLEST_EXPONENT = -149;

/** Sums over some values. */
export interface Moments {
  /** How many they are. */
  readonly elements: number;
  /** Their sum. */
  readonly sum: number;
  /** Sum of their squares. */
  readonly squares: number;
}

/** Counts values in a fixed number of bins, whatever their range turns out to be. */
export interface StreamingHistogram {
  /** Makes room for values in [minimum, maximum]. What is counted must be covered before. */
  cover(minimum: number, maximum: number): void;
  /** Counts values, and sums them on the way. NaN and infinity are left out. */
  count(data: Float32Array, finite: boolean): Moments;
  /** What was counted. */
  result(): ValueHistogram;
}

/**
 * A histogram in fixed memory. Bins are as wide as the smallest power of two with which `bins` of them reach from the
 * smallest value (or 0) to the largest (or 0). When a batch exceeds the range, neighbouring bins merge in pairs until it
 * fits. Bins lie on multiples of their width, so merging loses nothing, and the result depends neither on the order of
 * the batches nor on how values are divided among them.
 *
 * Between half and all of the bins are in use. Memory is `8 * bins` bytes.
 */
export function streamingHistogram(bins: number): StreamingHistogram {
  const counts = new Float64Array(bins);
  let exponent = SMALLEST_EXPONENT;
  let inverse = 2 ** -exponent;
  // Bins in use, in widths: [first, last].
  let first = 0;
  let last = 0;

  const merge = (to: number): void => {
    const factor = 2 ** (to - exponent);
    const target = Math.floor(first / factor);
    // Bins only move towards 0, so that the pass from 0 outwards in place never overwrites one that is still to move.
    for (let side = 0; side < 2; side++) {
      const step = side === 0 ? 1 : -1;
      const end = side === 0 ? last : first;
      for (let bin = side === 0 ? 0 : -1; step * (end - bin) >= 0; bin += step) {
        const amount = counts[bin - first]!;
        counts[bin - first] = 0;
        counts[Math.floor(bin / factor) - first]! += amount;
      }
    }
    exponent = to;
    inverse = 2 ** -exponent;
    counts.copyWithin(0, target - first, Math.floor(last / factor) - first + 1);
    last = Math.floor(last / factor);
    first = target;
    counts.fill(0, last - first + 1);
  };

  return {
    cover: (minimum, maximum) => {
      const low = Math.min(0, minimum);
      const high = Math.max(0, maximum);
      let to = exponent;
      const span = (width: number): number =>
        Math.max(Math.floor(last * 2 ** (exponent - to)), Math.floor(high / width)) -
        Math.min(Math.floor(first * 2 ** (exponent - to)), Math.floor(low / width));
      while (span(2 ** to) >= bins) to++;
      if (to > exponent) merge(to);
      const width = 2 ** exponent;
      const newFirst = Math.min(first, Math.floor(low / width));
      if (newFirst < first) {
        counts.copyWithin(first - newFirst, 0, last - first + 1);
        counts.fill(0, 0, first - newFirst);
        first = newFirst;
      }
      last = Math.max(last, Math.floor(high / width));
    },
    count: (data, finite) => {
      const scale = inverse;
      const offset = first;
      let sum = 0;
      let squares = 0;
      // No branch on the values: half of them being 0 makes one slow.
      for (let index = 0; finite && index < data.length; index++) {
        const value = data[index]!;
        counts[Math.floor(value * scale) - offset]!++;
        sum += value;
        squares += value * value;
      }
      if (finite) return { elements: data.length, sum, squares };
      let elements = 0;
      for (let index = 0; index < data.length; index++) {
        const value = data[index]!;
        if (value - value !== 0) continue;
        elements++;
        counts[Math.floor(value * scale) - offset]!++;
        sum += value;
        squares += value * value;
      }
      return { elements, sum, squares };
    },
    result: () => ({ exponent, first, counts: Array.from(counts.subarray(0, last - first + 1)) }),
  };
}
