import { z } from 'zod';
import { type WeightAlgorithmName, weightAlgorithm } from '../../weight-algorithms/named.ts';
import type { WeightAlgorithm } from '../../weight-algorithms/weight-algorithm.ts';
import type { Resolved } from '../resolved.ts';

/** How the integers of weights are chosen, and on what data. */
export interface AlgorithmOptions {
  /**
   * How the integers are chosen: `roundToNearest()` (default), `hqq()`, `gptq()`, `awq()` or your own. A name stands
   * for the algorithm with its default options. `gptq` and `awq` need data and a backend.
   */
  readonly algorithm?: WeightAlgorithmName | WeightAlgorithm | undefined;
  /** Samples that `gptq` and `awq` see at most; 128 by default. */
  readonly samples?: number | undefined;
  /**
   * Bytes that what is known of activations may take at once: 12 K² for sums of length K. The data runs as often as it
   * takes. 512 MiB by default.
   */
  readonly memoryBytes?: number | undefined;
}

/** Whether a value has what a {@link WeightAlgorithm} has. */
function isAlgorithm(value: unknown): value is WeightAlgorithm {
  const found = value as Partial<WeightAlgorithm> | null;
  return (
    typeof found === 'object' &&
    typeof found?.name === 'string' &&
    typeof found.quantize === 'function' &&
    (found.needs === 'weights' || found.needs === 'input-moments')
  );
}

/** {@link AlgorithmOptions} with defaults filled in. */
export interface AlgorithmSettings {
  /** The algorithm, also where a name was given. */
  readonly algorithm: WeightAlgorithm;
  /** See {@link AlgorithmOptions.samples}. */
  readonly samples: number;
  /** See {@link AlgorithmOptions.memoryBytes}. */
  readonly memoryBytes: number;
}

/** Schemas of {@link AlgorithmOptions}, option by option. */
export const algorithmOptions: {
  readonly [K in keyof AlgorithmSettings]: z.ZodType<AlgorithmSettings[K], AlgorithmOptions[K]>;
} = {
  algorithm: z
    .union([
      z.enum(['rtn', 'hqq', 'gptq', 'awq']),
      z.custom<WeightAlgorithm>(isAlgorithm, 'not "rtn", "hqq", "gptq", "awq" or a weight algorithm'),
    ])
    .default('rtn')
    .transform(weightAlgorithm),
  samples: z.int().min(1).default(128),
  memoryBytes: z
    .int()
    .min(1)
    .default(2 ** 29),
};

/** Options of `weightOnly`. */
export interface WeightOnlyOptions extends AlgorithmOptions {
  /** Bits per weight; 4 by default. */
  readonly bits?: 4 | 8 | undefined;
  /** Elements that share a scale: 16, 32, 64, 128 or 256; 32 by default. */
  readonly blockSize?: 16 | 32 | 64 | 128 | 256 | undefined;
  /** Zero point in the middle of the range (default), or one of its own for each block: more exact, a little larger. */
  readonly symmetric?: boolean | undefined;
  /**
   * `matmul-nbits` (default): onnxruntime's `com.microsoft.MatMulNBits`. `dequantize-linear`: the standard operator of
   * opset 21 with blocks, which any runtime of that opset reads.
   */
  readonly format?: 'matmul-nbits' | 'dequantize-linear' | undefined;
  /**
   * Embedding tables (`Gather` along the first axis of a constant). `auto` (default): one that is also the weight of a
   * product is stored once, for both; others stay float. `int8`, `int4`: others are quantized too, as
   * `com.microsoft.GatherBlockQuantized`, or gathered in 8 bits and expanded in the standard format. `float`: all stay
   * float, tied ones beside their product's own copy.
   */
  readonly embeddings?: 'auto' | 'int8' | 'int4' | 'float' | undefined;
  /**
   * Least precision in which `MatMulNBits` may compute: 0 unset, 1 float32, 2 float16, 3 bfloat16, 4 int8. 4 by
   * default: on a CPU the others are several times slower.
   */
  readonly accuracyLevel?: 0 | 1 | 2 | 3 | 4 | undefined;
  /** Weights with fewer elements stay float; 1024 by default. */
  readonly minimumElements?: number | undefined;
  /** Names of nodes whose weights stay float. */
  readonly exclude?: readonly string[] | undefined;
}

/** Options of `weightOnly` with defaults filled in. */
export interface WeightOnlySettings
  extends Omit<Resolved<WeightOnlyOptions>, keyof AlgorithmSettings>,
    AlgorithmSettings {}

/** Schema of {@link WeightOnlyOptions}. */
export const weightOnlyOptions: z.ZodType<WeightOnlySettings, WeightOnlyOptions> = z.strictObject({
  bits: z.union([z.literal(4), z.literal(8)]).default(4),
  blockSize: z
    .union([z.literal(16), z.literal(32), z.literal(64), z.literal(128), z.literal(256)])
    .default(32),
  symmetric: z.boolean().default(true),
  format: z.enum(['matmul-nbits', 'dequantize-linear']).default('matmul-nbits'),
  embeddings: z.enum(['auto', 'int8', 'int4', 'float']).default('auto'),
  accuracyLevel: z.union([z.literal(0), z.literal(1), z.literal(2), z.literal(3), z.literal(4)]).default(4),
  minimumElements: z.int().min(1).default(1024),
  exclude: z.array(z.string()).readonly().default([]),
  ...algorithmOptions,
});
