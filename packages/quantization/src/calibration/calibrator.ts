import { errors } from '@lithe/core';
import type { IntegerRange } from '../parameters/integer-range.ts';
import type { TensorStatistics, ValueHistogram } from './statistics.ts';

/** The real numbers that the ends of an integer range are to stand for. */
export interface RealRange {
  /** Lower end: 0 or negative. */
  readonly minimum: number;
  /** Upper end: 0 or positive. */
  readonly maximum: number;
}

/**
 * Chooses the range that an activation is quantized to: wide enough that few values are clipped, narrow enough that
 * steps are small. A value: write your own beside those of this package.
 */
export interface Calibrator {
  /** Name, for messages and reports. */
  readonly name: string;
  /** The range for a value of which this was seen. What it gives is checked, and widened to hold 0. */
  range(statistics: TensorStatistics, integers: IntegerRange): RealRange;
}

/**
 * The range that a calibrator chooses, widened to hold 0, so that padding and rectified values stay exact. A value of
 * which nothing finite was seen gets the range of nothing, [0, 0].
 *
 * @throws {LitheError} OPTIONS_INVALID when the statistics lack what the calibrator needs, or when it gives bounds that
 *   are not finite or not in order
 *
 * @example
 * ```ts
 * import { calibratedRange, integerRange, minMaxCalibrator } from '@lithe/quantization';
 *
 * const seen = { minimum: 1, maximum: 6, finite: true };
 * calibratedRange(seen, minMaxCalibrator(), integerRange('uint8')); // => { minimum: 0, maximum: 6 }
 * ```
 */
export function calibratedRange(
  statistics: TensorStatistics,
  calibrator: Calibrator,
  integers: IntegerRange,
): RealRange {
  if (statistics.elements === 0) return { minimum: 0, maximum: 0 };
  const { minimum, maximum } = calibrator.range(statistics, integers);
  if (!Number.isFinite(minimum) || !Number.isFinite(maximum) || minimum > maximum) {
    throw errors.optionsInvalid(`calibrator "${calibrator.name}"`, [
      `It gave the range [${minimum}, ${maximum}].`,
    ]);
  }
  return { minimum: Math.min(0, minimum), maximum: Math.max(0, maximum) };
}

/**
 * The histogram that a calibrator needs.
 *
 * @throws {LitheError} OPTIONS_INVALID when the statistics hold none
 */
export function histogramOf(statistics: TensorStatistics, calibrator: string): ValueHistogram {
  if (statistics.histogram !== undefined) return statistics.histogram;
  throw errors.optionsInvalid(
    `calibrator "${calibrator}"`,
    ['The statistics hold no histogram.'],
    'Observe the model again without an observer of your own, or choose the min-max calibrator.',
  );
}
