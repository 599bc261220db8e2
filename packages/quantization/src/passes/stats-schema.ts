import { z } from 'zod';
import type { CalibrationStats } from '../calibration/statistics.ts';

/** Schema of {@link CalibrationStats}, for options that were read from a file. */
export const calibrationStats: z.ZodType<CalibrationStats, CalibrationStats> = z.object({
  version: z.literal(1),
  method: z.literal('min-max'),
  samples: z.int().min(1),
  source: z.string(),
  tensors: z.record(z.string(), z.object({ minimum: z.number(), maximum: z.number(), finite: z.boolean() })),
});
