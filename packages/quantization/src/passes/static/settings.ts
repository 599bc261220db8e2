import { z } from 'zod';
import { type CalibratorChoice, calibratorChoice } from '../../calibration/choice.ts';
import type { CalibrationStats } from '../../calibration/statistics.ts';
import { calibrationStats } from '../../calibration/stats-schema.ts';
import { type RecoveryOptions, type RecoverySettings, recoveryOptions } from '../../recovery/options.ts';

/** Types that activations are quantized to. 16 bits are for other runtimes than onnxruntime, which computes them in floats. */
export type ActivationType = 'uint8' | 'int8' | 'uint16' | 'int16';

/** Options of {@link staticInt8}. */
export interface StaticInt8Options {
  /** Ranges found by {@link observe}; found on the context's data by default. */
  readonly stats?: CalibrationStats | undefined;
  /** How activation ranges follow from statistics; `min-max` by default. */
  readonly calibrator?: CalibratorChoice | undefined;
  /** Samples to observe when no statistics are given; 100 by default. */
  readonly samples?: number | undefined;
  /** Bytes of activations fetched in one run while observing; 256 MiB by default. */
  readonly memoryBytes?: number | undefined;
  /**
   * `qdq` (default): pairs of `QuantizeLinear` and `DequantizeLinear`, which runtimes fuse. `qoperator`: integer
   * operators (`QLinearConv`, `QLinearMatMul`), for runtimes that do not.
   */
  readonly format?: 'qdq' | 'qoperator' | undefined;
  /**
   * With `qoperator`: whether operators of onnxruntime (`com.microsoft.QLinearAdd` and the like) are used too. Without
   * them, the default, such operators run in floats between integer ones, with standard operators only.
   */
  readonly microsoftOperators?: boolean | undefined;
  /**
   * Type of activations. `auto` (default) is what the target is fastest with, and unsigned without a target: on x86,
   * onnxruntime falls back to float where a signed tensor has several readers.
   */
  readonly activations?: 'auto' | ActivationType | undefined;
  /**
   * Whether ranges of activations that go below 0 are made symmetric, with the zero point in the middle, for runtimes
   * that ask for it. Rectified activations keep their zero point at the end. Off by default: it costs accuracy.
   */
  readonly symmetricActivations?: boolean | undefined;
  /**
   * Bits of weights; 8 by default. 4 are for other runtimes than onnxruntime, which expands such weights and computes
   * in floats.
   */
  readonly weightBits?: 4 | 8 | undefined;
  /** One scale for each output channel of a weight (default), or one for all, which some runtimes ask for. */
  readonly weightScales?: 'per-channel' | 'per-tensor' | undefined;
  /**
   * Whether depthwise convolutions are quantized. `auto` (default): where converting around them would cost more than
   * their integer form loses.
   */
  readonly depthwise?: boolean | 'auto' | undefined;
  /** Whether products of two activations (attention) are quantized; off by default. */
  readonly activationProducts?: boolean | undefined;
  /**
   * Whether tables that `Gather` reads rows of are stored as int8 rows; on by default. What is read of them is expanded
   * to floats.
   */
  readonly tables?: boolean | undefined;
  /**
   * What becomes of transposed convolutions, which onnxruntime computes in floats: `float` (default), or `weights`:
   * their weights are stored in integers and expanded in every run.
   */
  readonly transposed?: 'float' | 'weights' | undefined;
  /**
   * Weights in [-64, 64], so that processors without VNNI cannot overflow. `auto`: those of layers that would overflow on
   * the context's data. Off by default. 4-bit weights, and those beside 16-bit activations, are multiplied as floats and
   * stay as they are.
   */
  readonly reducedRange?: boolean | 'auto' | undefined;
  /** Matrices with fewer elements stay float; 256 by default. */
  readonly minimumElements?: number | undefined;
  /**
   * Multiply-accumulates that converting one element between float and integer costs. A convolution or product whose
   * sums are too short to pay for the conversions at its edges stays float; 0 quantizes all. The target's by default,
   * and 48 without a target that knows.
   */
  readonly conversionCost?: number | undefined;
  /** Names of nodes that stay float. */
  readonly exclude?: readonly string[] | undefined;
  /** What is done to win back what integers lost, on the context's data; nothing by default. */
  readonly recovery?: RecoveryOptions | undefined;
}

/** Options of {@link staticInt8} with defaults filled in. */
export interface StaticInt8Settings {
  /** See {@link StaticInt8Options.stats}. */
  readonly stats?: CalibrationStats | undefined;
  /** See {@link StaticInt8Options.calibrator}. */
  readonly calibrator: CalibratorChoice;
  /** See {@link StaticInt8Options.samples}. */
  readonly samples: number;
  /** See {@link StaticInt8Options.memoryBytes}. */
  readonly memoryBytes: number;
  /** See {@link StaticInt8Options.format}. */
  readonly format: 'qdq' | 'qoperator';
  /** See {@link StaticInt8Options.microsoftOperators}. */
  readonly microsoftOperators: boolean;
  /** See {@link StaticInt8Options.activations}. */
  readonly activations: 'auto' | ActivationType;
  /** See {@link StaticInt8Options.symmetricActivations}. */
  readonly symmetricActivations: boolean;
  /** See {@link StaticInt8Options.weightBits}. */
  readonly weightBits: 4 | 8;
  /** See {@link StaticInt8Options.weightScales}. */
  readonly weightScales: 'per-channel' | 'per-tensor';
  /** See {@link StaticInt8Options.depthwise}. */
  readonly depthwise: boolean | 'auto';
  /** See {@link StaticInt8Options.activationProducts}. */
  readonly activationProducts: boolean;
  /** See {@link StaticInt8Options.tables}. */
  readonly tables: boolean;
  /** See {@link StaticInt8Options.transposed}. */
  readonly transposed: 'float' | 'weights';
  /** See {@link StaticInt8Options.reducedRange}. */
  readonly reducedRange: boolean | 'auto';
  /** See {@link StaticInt8Options.minimumElements}. */
  readonly minimumElements: number;
  /** See {@link StaticInt8Options.conversionCost}; left out for the target's. */
  readonly conversionCost?: number | undefined;
  /** See {@link StaticInt8Options.exclude}. */
  readonly exclude: readonly string[];
  /** See {@link StaticInt8Options.recovery}. */
  readonly recovery?: RecoverySettings | undefined;
}

/** Schema of the options. */
export const staticInt8Schema: z.ZodType<StaticInt8Settings, StaticInt8Options> = z
  .strictObject({
    stats: calibrationStats.optional(),
    calibrator: calibratorChoice.default('min-max'),
    samples: z.int().min(1).default(100),
    memoryBytes: z
      .int()
      .min(1)
      .default(2 ** 28),
    format: z.enum(['qdq', 'qoperator']).default('qdq'),
    microsoftOperators: z.boolean().default(false),
    activations: z.enum(['auto', 'uint8', 'int8', 'uint16', 'int16']).default('auto'),
    symmetricActivations: z.boolean().default(false),
    weightBits: z.literal([4, 8]).default(8),
    weightScales: z.enum(['per-channel', 'per-tensor']).default('per-channel'),
    depthwise: z.union([z.boolean(), z.literal('auto')]).default('auto'),
    activationProducts: z.boolean().default(false),
    tables: z.boolean().default(true),
    transposed: z.enum(['float', 'weights']).default('float'),
    reducedRange: z.union([z.boolean(), z.literal('auto')]).default(false),
    minimumElements: z.int().min(1).default(256),
    conversionCost: z.number().min(0).optional(),
    exclude: z.array(z.string()).readonly().default([]),
    recovery: recoveryOptions.optional(),
  })
  .refine((options) => options.format === 'qdq' || options.weightBits === 8, {
    error: 'Integer operators take 8-bit weights; 4-bit weights need the format qdq.',
  })
  .refine((options) => options.format === 'qdq' || !/16/.test(options.activations), {
    error: 'Integer operators take 8-bit activations; 16-bit activations need the format qdq.',
  });
