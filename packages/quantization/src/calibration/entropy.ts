import { errors } from '@lithe/core';
import type { IntegerRange } from '../parameters/integer-range.ts';
import { type Calibrator, histogramOf } from './calibrator.ts';
import type { TensorStatistics, ValueHistogram } from './statistics.ts';

/** Options of {@link entropyCalibrator}. */
export interface EntropyOptions {
  /** At most this many bins of magnitudes; a finer histogram is merged to it. 2,048 by default. */
  readonly bins?: number | undefined;
  /**
   * Least share of the values other than 0 that is not clipped; 0.9999 by default, 0 for the divergence alone. Where one
   * value makes up much of a tensor, such as the background of a page, divergence alone clips up to a quarter of it.
   */
  readonly coverage?: number | undefined;
}

/** Counts of magnitudes, zeros left out. */
interface Magnitudes {
  readonly counts: Float64Array;
  /** Width of a bin. */
  readonly width: number;
}

function magnitudesOf(histogram: ValueHistogram, zeros: number, bins: number): Magnitudes {
  const { exponent, first, counts } = histogram;
  const reach = Math.max(-first, first + counts.length);
  let merged = 1;
  while (Math.ceil(reach / merged) > bins) merged *= 2;
  const folded = new Float64Array(Math.ceil(reach / merged));
  for (let bin = 0; bin < counts.length; bin++) {
    const at = first + bin;
    folded[Math.floor((at < 0 ? -1 - at : at) / merged)]! += counts[bin]!;
  }
  // Zero is an integer of its own at any scale, so that however many there are, they say nothing about the range.
  folded[0] = Math.max(0, folded[0]! - zeros);
  return { counts: folded, width: merged * 2 ** exponent };
}

/** Running sums over bins, each one longer than the bins. */
interface Sums {
  readonly values: Float64Array;
  readonly filled: Float64Array;
  /** Sum of `n log n`. */
  readonly entropy: Float64Array;
}

const timesLog = (count: number): number => (count > 0 ? count * Math.log(count) : 0);

function sumsOf(counts: Float64Array): Sums {
  const values = new Float64Array(counts.length + 1);
  const filled = new Float64Array(counts.length + 1);
  const entropy = new Float64Array(counts.length + 1);
  for (let bin = 0; bin < counts.length; bin++) {
    const count = counts[bin]!;
    values[bin + 1] = values[bin]! + count;
    filled[bin + 1] = filled[bin]! + (count > 0 ? 1 : 0);
    entropy[bin + 1] = entropy[bin]! + timesLog(count);
  }
  return { values, filled, entropy };
}

/**
 * Divergence of the magnitudes clipped to the first `kept` bins (P, what is beyond counted in the last of them) from
 * the same bins at the resolution of `levels` integers (Q: their sum spread evenly over the bins that are filled).
 *
 * With p and q not normalised, `KL = (sum p log p - sum p log q) / P - log P + log Q`.
 */
function divergence(counts: Float64Array, sums: Sums, kept: number, levels: number): number {
  const { values, filled, entropy } = sums;
  const all = values[counts.length]!;
  const inside = values[kept]!;
  const beyond = all - inside;
  const last = counts[kept - 1]!;
  let cross = 0;
  let start = 0;
  for (let level = 1; level <= levels; level++) {
    const end = Math.floor((level * kept) / levels);
    const sum = values[end]! - values[start]!;
    const tail = level === levels ? beyond : 0;
    if (sum > 0) {
      // The last bin is filled by what is clipped even where nothing of its own is in it.
      const bins = filled[end]! - filled[start]! + (tail > 0 && last === 0 ? 1 : 0);
      cross += (sum + tail) * Math.log(sum / bins);
    } else if (tail > 0) return Number.POSITIVE_INFINITY;
    start = end;
  }
  const own = entropy[kept]! - timesLog(last) + timesLog(last + beyond);
  return (own - cross) / all - Math.log(all) + Math.log(inside);
}

/** How many integers lie between 0 and the end of the range [-low, high] at its larger side. */
function levelsFor(threshold: number, statistics: TensorStatistics, integers: IntegerRange): number {
  const span =
    Math.min(threshold, Math.max(0, -statistics.minimum)) +
    Math.min(threshold, Math.max(0, statistics.maximum));
  return Math.max(1, Math.round(((integers.high - integers.low) * threshold) / span));
}

/**
 * The threshold T for which the magnitudes, clipped at T, lose least information when they are rounded to the integers:
 * least Kullback-Leibler divergence over all T on the grid of the histogram. The range is [-T, T], cut to what was
 * seen. Two-sided int8 and uint8 have 128 levels between 0 and T, one-sided ones 255.
 *
 * Differs from the source in that at least a share of the values is kept (`coverage`), in that exact zeros do not count (they need no resolution; rectified activations are full of
 * them), in that the bins of a level are divided evenly rather than the rest going to the last, and in the levels of
 * one-sided values. Where there are no more bins than levels, as for 16 bits, nothing is clipped.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when `bins` is not a whole number from 256 to 65,536, or `coverage` is not in
 *   [0, 1]
 * @see Migacz, "8-bit Inference with TensorRT", GPU Technology Conference 2017
 */
export function entropyCalibrator(options: EntropyOptions = {}): Calibrator {
  const { bins = 2048, coverage = 0.9999 } = options;
  const name = 'entropy';
  if (!Number.isInteger(bins) || bins < 256 || bins > 65_536)
    throw errors.valueOutOfRange('The number of bins', bins, 'the whole numbers from 256 to 65,536');
  if (!(coverage >= 0 && coverage <= 1)) throw errors.valueOutOfRange('The coverage', coverage, '[0, 1]');
  return {
    name,
    range: (statistics, integers) => {
      const histogram = histogramOf(statistics, name);
      const { minimum, maximum } = statistics;
      const { counts, width } = magnitudesOf(histogram, statistics.zeros ?? 0, bins);
      const sums = sumsOf(counts);
      if (sums.values[counts.length] === 0) return { minimum, maximum };
      let best = counts.length;
      let least = Number.POSITIVE_INFINITY;
      for (let kept = 1; kept <= counts.length; kept++) {
        const levels = levelsFor(kept * width, statistics, integers);
        const inside = sums.values[kept] as number;
        if (kept < levels || inside === 0 || inside < coverage * (sums.values[counts.length] as number))
          continue;
        const found = divergence(counts, sums, kept, levels);
        // Of equals the widest, which clips least.
        if (found <= least) {
          least = found;
          best = kept;
        }
      }
      const threshold = best * width;
      return { minimum: Math.max(minimum, -threshold), maximum: Math.min(maximum, threshold) };
    },
  };
}
