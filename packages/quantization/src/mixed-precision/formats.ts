import type { StepList } from '@lithe/core';
import { z } from 'zod';
import type { CalibrationStats } from '../calibration/statistics.ts';
import { foldableWeights } from '../passes/foldable-weights.ts';
import { staticInt8 } from '../passes/static-int8.ts';
import { weightOnly } from '../passes/weight-only.ts';

/** What a format may ask for. */
export interface FormatContext {
  /** Statistics of the float model's activations: observed when first asked for, and once. */
  stats(): Promise<CalibrationStats>;
}

/** A way to store or compute layers in fewer bits. A value: write your own beside those of this package. */
export interface PrecisionFormat {
  /** Name, for reports. */
  readonly name: string;
  /** Steps that put a model in this format, except for the nodes that are named. */
  steps(exclude: readonly string[], context: FormatContext): StepList | Promise<StepList>;
}

/**
 * Formats of this package by name. `foldable-int8`, `foldable-int4`: {@link foldableWeights}. `matmul-int8`,
 * `matmul-int4`: {@link weightOnly} with `MatMulNBits`. `static-int8`: {@link staticInt8}, every layer that is asked for.
 */
export type PrecisionFormatName =
  | 'foldable-int8'
  | 'foldable-int4'
  | 'matmul-int8'
  | 'matmul-int4'
  | 'static-int8';

/** A format: one of this package by name, or any as a value. */
export type PrecisionFormatChoice = PrecisionFormatName | PrecisionFormat;

const named: Readonly<Record<PrecisionFormatName, PrecisionFormat['steps']>> = {
  'foldable-int8': (exclude) => [foldableWeights({ bits: 8, exclude })],
  'foldable-int4': (exclude) => [foldableWeights({ bits: 4, exclude })],
  'matmul-int8': (exclude) => [weightOnly({ bits: 8, exclude, minimumElements: 256 })],
  'matmul-int4': (exclude) => [weightOnly({ bits: 4, exclude, minimumElements: 256 })],
  'static-int8': async (exclude, context) => [
    // What pays is not asked layer by layer: that is the search's to decide.
    staticInt8({ exclude, stats: await context.stats(), conversionCost: 0, depthwise: true }),
  ],
};

/** The format that was chosen. */
export function precisionFormatOf(choice: PrecisionFormatChoice): PrecisionFormat {
  return typeof choice === 'string' ? { name: choice, steps: named[choice] } : choice;
}

/** Schema of {@link PrecisionFormatChoice}. */
export const precisionFormatChoice: z.ZodType<PrecisionFormatChoice, PrecisionFormatChoice> = z.union([
  z.enum(['foldable-int8', 'foldable-int4', 'matmul-int8', 'matmul-int4', 'static-int8']),
  z.custom<PrecisionFormat>(
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      typeof (value as Partial<PrecisionFormat>).name === 'string' &&
      typeof (value as Partial<PrecisionFormat>).steps === 'function',
    'must be a format or the name of one',
  ),
]);
