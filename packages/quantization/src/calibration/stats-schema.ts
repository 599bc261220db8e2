import { errors } from '@lithe/core';
import { z } from 'zod';
import type { CalibrationStats, ChannelStatistics, TensorStatistics, ValueHistogram } from './statistics.ts';

/** Bins that a histogram may have: what is read from a file is not trusted with more. */
export const MOST_BINS = 65_536;

const count = z.int().min(0);
const numbers = z.array(z.number()).readonly();

const histogram: z.ZodType<ValueHistogram, ValueHistogram> = z
  .strictObject({
    exponent: z.int().min(-149).max(127),
    first: z.int().min(-MOST_BINS).max(0),
    counts: z.array(count).min(1).max(MOST_BINS).readonly(),
  })
  .refine(({ first, counts }) => first + counts.length >= 1, 'must have a bin that begins at 0');

const channels: z.ZodType<ChannelStatistics, ChannelStatistics> = z
  .strictObject({
    axis: z.int(),
    minimum: numbers,
    maximum: numbers,
    mean: numbers,
    meanSquare: numbers,
  })
  .refine(
    (item) => [item.maximum, item.mean, item.meanSquare].every((list) => list.length === item.minimum.length),
    'must have as many of everything as there are channels',
  );

function total(item: ValueHistogram): number {
  let sum = 0;
  for (const bin of item.counts) sum += bin;
  return sum;
}

function covers({ exponent, first, counts }: ValueHistogram, minimum: number, maximum: number): boolean {
  const width = 2 ** exponent;
  return first * width <= minimum && maximum <= (first + counts.length) * width;
}

const tensor: z.ZodType<TensorStatistics, TensorStatistics> = z
  .strictObject({
    minimum: z.number(),
    maximum: z.number(),
    finite: z.boolean(),
    elements: count.optional(),
    zeros: count.optional(),
    mean: z.number().optional(),
    meanSquare: z.number().min(0).optional(),
    histogram: histogram.optional(),
    batches: z
      .strictObject({ minima: numbers, maxima: numbers })
      .refine((item) => item.minima.length === item.maxima.length, 'must have as many minima as maxima')
      .optional(),
    channels: channels.optional(),
  })
  .refine((item) => item.minimum <= item.maximum, 'must have a minimum that does not exceed the maximum')
  .refine((item) => (item.zeros ?? 0) <= (item.elements ?? 0), 'must not have more zeros than elements')
  .refine(
    (item) => item.histogram === undefined || total(item.histogram) === item.elements,
    'must have a histogram of as many values as there are elements',
  )
  .refine(
    (item) => item.histogram === undefined || covers(item.histogram, item.minimum, item.maximum),
    'must have a histogram that covers minimum and maximum',
  );

/** Schema of {@link CalibrationStats}, for options that were read from a file. */
export const calibrationStats: z.ZodType<CalibrationStats, CalibrationStats> = z.strictObject({
  version: z.literal(1),
  samples: z.int().min(1),
  source: z.string(),
  tensors: z.record(z.string(), tensor),
});

/** Problems that are told; a file of garbage has millions. */
const TOLD = 10;

/**
 * Checks statistics that come from a file or another program.
 *
 * @param value what `JSON.parse` made of it
 * @throws {LitheError} OPTIONS_INVALID when it is not of this form, or contradicts itself
 *
 * @example
 * ```ts
 * import { readCalibrationStats } from '@lithe/quantization';
 *
 * const text = '{"version":1,"samples":8,"source":"photos","tensors":{"x":{"minimum":0,"maximum":6,"finite":true}}}';
 * readCalibrationStats(JSON.parse(text)).tensors['x']?.maximum; // => 6
 * ```
 */
export function readCalibrationStats(value: unknown): CalibrationStats {
  const result = calibrationStats.safeParse(value);
  if (result.success) return result.data;
  const { issues } = result.error;
  const told = issues.slice(0, TOLD).map((issue) => `"${issue.path.join('.')}": ${issue.message}.`);
  if (issues.length > TOLD) told.push(`And ${issues.length - TOLD} more.`);
  throw errors.optionsInvalid('calibration statistics', told, 'Observe the model again.');
}
