import { z } from 'zod';
import { type CalibratorChoice, calibratorChoice } from '../calibration/choice.ts';
import type { CalibrationStats } from '../calibration/statistics.ts';
import { calibrationStats } from '../calibration/stats-schema.ts';

/** What quantization-aware training quantizes, and how. All of it is JSON but for calibrators that are values. */
export interface AwareQuantizationOptions {
  /** Bits of weights: signed and symmetric, without the lowest integer; 8 by default. */
  readonly weightBits?: 8 | 4 | undefined;
  /** Bits of activations, or `none` for weights alone; 8 by default. */
  readonly activationBits?: 8 | 4 | 'none' | undefined;
  /** Whether activations have a sign. `auto` (default) is what the target is fastest with, unsigned without one. */
  readonly activationSign?: 'auto' | 'unsigned' | 'signed' | undefined;
  /** One scale for each output channel of a weight (default), or one for all. */
  readonly weightScales?: 'per-channel' | 'per-tensor' | undefined;
  /**
   * Where scales come from. `ema` (default): those of weights from their largest magnitude in every step, those of
   * activations from a moving average of the extremes of batches (Jacob et al., 2018, section 3.1). `lsq`: they learn by
   * gradients (Esser et al., "Learned Step Size Quantization", 2020), scaled by 1 / sqrt(N Q): N is the number of weights
   * of the whole layer, also where each channel has a step, as in torch.ao, not that of a channel. Optimizers that undo
   * such factors (Adam) get a rate for steps instead.
   */
  readonly ranges?: 'ema' | 'lsq' | undefined;
  /** Share of the old range in the moving average; 0.99 by default. */
  readonly rangeDecay?: number | undefined;
  /** Layers that keep 8 bits where others get 4: the first and the last (`ends`, the default), none, or these by name. */
  readonly eightBits?: 'ends' | 'none' | readonly string[] | undefined;
  /** Statistics that ranges start from; found on the context's data by default. */
  readonly stats?: CalibrationStats | undefined;
  /** How first ranges follow from statistics; `min-max` by default, `mse` for activations of 4 bits. */
  readonly calibrator?: CalibratorChoice | undefined;
  /** Samples that first ranges are found on; 256 by default. */
  readonly calibrationSamples?: number | undefined;
  /** See {@link StaticInt8Options.depthwise}: `auto` by default. */
  readonly depthwise?: boolean | 'auto' | undefined;
  /** Whether products of two activations are quantized; off by default. */
  readonly activationProducts?: boolean | undefined;
  /**
   * What becomes of transposed convolutions, which onnxruntime computes in floats: `weights` (default) quantizes their
   * weights, `all` what they read too, `float` nothing.
   */
  readonly transposed?: 'float' | 'weights' | 'all' | undefined;
  /** Matrices with fewer elements stay float; 256 by default. */
  readonly minimumElements?: number | undefined;
  /** See {@link StaticInt8Options.conversionCost}. */
  readonly conversionCost?: number | undefined;
  /** Names of nodes that stay float. */
  readonly exclude?: readonly string[] | undefined;
}

/** {@link AwareQuantizationOptions} with defaults filled in. */
export interface AwareQuantizationSettings {
  /** See {@link AwareQuantizationOptions.weightBits}. */
  readonly weightBits: 8 | 4;
  /** See {@link AwareQuantizationOptions.activationBits}. */
  readonly activationBits: 8 | 4 | 'none';
  /** See {@link AwareQuantizationOptions.activationSign}. */
  readonly activationSign: 'auto' | 'unsigned' | 'signed';
  /** See {@link AwareQuantizationOptions.weightScales}. */
  readonly weightScales: 'per-channel' | 'per-tensor';
  /** See {@link AwareQuantizationOptions.ranges}. */
  readonly ranges: 'ema' | 'lsq';
  /** See {@link AwareQuantizationOptions.rangeDecay}. */
  readonly rangeDecay: number;
  /** See {@link AwareQuantizationOptions.eightBits}. */
  readonly eightBits: 'ends' | 'none' | readonly string[];
  /** See {@link AwareQuantizationOptions.stats}. */
  readonly stats?: CalibrationStats | undefined;
  /** See {@link AwareQuantizationOptions.calibrator}; left out for the default of the bits. */
  readonly calibrator?: CalibratorChoice | undefined;
  /** See {@link AwareQuantizationOptions.calibrationSamples}. */
  readonly calibrationSamples: number;
  /** See {@link AwareQuantizationOptions.depthwise}. */
  readonly depthwise: boolean | 'auto';
  /** See {@link AwareQuantizationOptions.activationProducts}. */
  readonly activationProducts: boolean;
  /** See {@link AwareQuantizationOptions.transposed}. */
  readonly transposed: 'float' | 'weights' | 'all';
  /** See {@link AwareQuantizationOptions.minimumElements}. */
  readonly minimumElements: number;
  /** See {@link AwareQuantizationOptions.conversionCost}; left out for the target's. */
  readonly conversionCost?: number | undefined;
  /** See {@link AwareQuantizationOptions.exclude}. */
  readonly exclude: readonly string[];
}

/** Types of {@link awareFields}. */
export type AwareFields = {
  readonly [Name in keyof AwareQuantizationSettings]-?: z.ZodType<
    AwareQuantizationSettings[Name],
    AwareQuantizationOptions[Name]
  >;
};

/** Fields of the schema, for passes that add theirs. */
export const awareFields: AwareFields = {
  weightBits: z.literal([4, 8]).default(8),
  activationBits: z.union([z.literal([4, 8]), z.literal('none')]).default(8),
  activationSign: z.enum(['auto', 'unsigned', 'signed']).default('auto'),
  weightScales: z.enum(['per-channel', 'per-tensor']).default('per-channel'),
  ranges: z.enum(['ema', 'lsq']).default('ema'),
  rangeDecay: z.number().min(0).lt(1).default(0.99),
  eightBits: z.union([z.enum(['ends', 'none']), z.array(z.string()).readonly()]).default('ends'),
  stats: calibrationStats.optional(),
  calibrator: calibratorChoice.optional(),
  calibrationSamples: z.int().min(1).default(256),
  depthwise: z.union([z.boolean(), z.literal('auto')]).default('auto'),
  activationProducts: z.boolean().default(false),
  transposed: z.enum(['float', 'weights', 'all']).default('weights'),
  minimumElements: z.int().min(1).default(256),
  conversionCost: z.number().min(0).optional(),
  exclude: z.array(z.string()).readonly().default([]),
};

/** Schema of {@link AwareQuantizationOptions}. */
export const awareSchema: z.ZodType<AwareQuantizationSettings, AwareQuantizationOptions> =
  z.strictObject(awareFields);

/** When ranges and normalizations settle, in updates from the start. */
export interface AwareTimes {
  /** Activations are quantized from here on; from the start by default, with `Infinity` only in what ships. */
  readonly quantizeActivationsAt?: number | undefined;
  /** Ranges follow the batches up to here; to the end by default. */
  readonly freezeRangesAt?: number | undefined;
  /**
   * Batch normalization uses statistics of the batch up to here, and its running statistics, which no longer change, from
   * then on; 0 uses the model's own from the start, which is also faster. To the end by default.
   */
  readonly freezeBatchNormAt?: number | undefined;
}
