import { errors } from '@lithe/core';
import { type Calibrator, histogramOf } from './calibrator.ts';
import type { TensorStatistics, ValueHistogram } from './statistics.ts';

/** Options of {@link percentileCalibrator}. */
export interface PercentileOptions {
  /** Percent of the values that are kept, above 50 and at most 100; 99.999 by default. */
  readonly percentile?: number | undefined;
}

/** The number below which `share` of the values lie, taken as even within a bin. */
function quantile(histogram: ValueHistogram, elements: number, share: number): number {
  const { exponent, first, counts } = histogram;
  const wanted = share * elements;
  let below = 0;
  for (let bin = 0; bin < counts.length; bin++) {
    const here = counts[bin]!;
    if (here > 0 && below + here >= wanted)
      return (first + bin + Math.max(0, wanted - below) / here) * 2 ** exponent;
    below += here;
  }
  return (first + counts.length) * 2 ** exponent;
}

const within = (value: number, { minimum, maximum }: TensorStatistics): number =>
  Math.min(maximum, Math.max(minimum, value));

/**
 * The range that keeps a share of the values and clips the rest, the same number at both ends. Zeros count as values.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when the percentile is not above 50 and at most 100
 */
export function percentileCalibrator(options: PercentileOptions = {}): Calibrator {
  const { percentile = 99.999 } = options;
  const name = 'percentile';
  if (!(percentile > 50 && percentile <= 100))
    throw errors.valueOutOfRange('The percentile', percentile, 'the numbers above 50 up to 100');
  const cut = (100 - percentile) / 200;
  return {
    name,
    range: (statistics) => {
      const histogram = histogramOf(statistics, name);
      const elements = statistics.elements ?? 0;
      return {
        minimum: within(quantile(histogram, elements, cut), statistics),
        maximum: within(quantile(histogram, elements, 1 - cut), statistics),
      };
    },
  };
}
