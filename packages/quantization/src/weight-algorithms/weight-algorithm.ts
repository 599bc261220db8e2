import type { GroupParameters, GroupScheme } from '../parameters/group-parameters.ts';
import type { IntegerRange } from '../parameters/integer-range.ts';
import type { IntegerArray } from '../parameters/kernels.ts';

/**
 * What the inputs of a matrix product were on calibration data, reduced to what algorithms need of it.
 *
 * The error that a change D of the weights (a row of `inputs` elements) makes in the product, squared and averaged
 * over the rows of activations, is `D H D' / 2`.
 */
export interface InputMoments {
  /** Length of the sums, K. */
  readonly inputs: number;
  /** Rows of activations that were seen: tokens, not samples. */
  readonly rows: number;
  /** `H = 2 / rows * sum x x'`, `[K, K]` row-major, symmetric. */
  readonly hessian: Float64Array;
  /** Mean magnitude of each input channel, `[K]`. */
  readonly meanMagnitude: Float64Array;
}

/** A weight to be quantized, one row per output channel. */
export interface WeightMatrix {
  /** The elements, `[outputs, inputs]` row-major. Not to be written. */
  readonly data: Float32Array;
  /** Number of rows, N. */
  readonly outputs: number;
  /** Length of the rows and of the sums, K. */
  readonly inputs: number;
  /** Neighbours in a row that share a scale; the last block of a row may be shorter. */
  readonly blockSize: number;
  /** Integers that may be used. */
  readonly range: IntegerRange;
  /** Where the zero point lies: `extreme` and `symmetric` in the middle, `asymmetric` a whole number per block. */
  readonly scheme: GroupScheme;
  /** What it is multiplied with; absent where no data was asked for, or where it is no factor of a product. */
  readonly moments?: InputMoments | undefined;
  /** Names the weight in messages. */
  readonly what: string;
}

/** A weight in integers. */
export interface QuantizedMatrix {
  /** The integers, `[outputs, inputs]`. */
  readonly levels: IntegerArray;
  /** Scale and zero point of each block, block by block along each row. */
  readonly parameters: GroupParameters;
  /**
   * Sum over the rows of `D H D'` on the calibration data, of this result and of rounding to nearest, where the
   * algorithm knows both. For the report.
   */
  readonly error?:
    | {
        /** Of this result. */
        readonly own: number;
        /** Of rounding to nearest. */
        readonly roundToNearest: number;
      }
    | undefined;
  /** What the user should know, as full sentences: they go into the report. */
  readonly notes?: readonly string[] | undefined;
}

/** What an algorithm may use. */
export interface WeightTools {
  /** Cancellation. */
  readonly signal: AbortSignal;
  /**
   * `D H D'` for each row D of a change of weights `[rows, moments.inputs]`. Runs on the backend where there is one,
   * in float32.
   */
  error(change: Float32Array, moments: InputMoments): Promise<Float64Array>;
}

/** Products that read the same input, such as query, key and value of an attention. */
export interface ProductGroup {
  /** Their weights; each has the {@link moments} of the group. */
  readonly matrices: readonly WeightMatrix[];
  /** What they are multiplied with. */
  readonly moments: InputMoments;
}

/**
 * A way to choose the integers of weights. A value: the built-in ones are made by `roundToNearest`, `hqq`, `gptq` and
 * `awq`, and third parties write their own against this interface.
 *
 * @example
 * ```ts
 * import { roundToNearest, type WeightAlgorithm, weightOnly } from '@lithe/quantization';
 *
 * // Rounds half of what it is given to nearest, and says so.
 * const mine: WeightAlgorithm = {
 *   name: 'acme/half',
 *   settings: {},
 *   needs: 'weights',
 *   quantize: async (matrix, tools) => ({
 *     ...(await roundToNearest().quantize(matrix, tools)),
 *     notes: ['Nothing was halved.'],
 *   }),
 * };
 * weightOnly({ algorithm: mine }).name; // => 'quantization/weight-only'
 * ```
 */
export interface WeightAlgorithm {
  /** Name, for reports: `rtn`, `gptq`, or `vendor/name`. */
  readonly name: string;
  /** Its options after validation, for reports. Plain data. */
  readonly settings: Readonly<Record<string, unknown>>;
  /**
   * What {@link quantize} reads. `weights`: nothing else, so that weights are read and quantized one at a time while
   * the model is written. `input-moments`: what the products are fed on calibration data; results are then held in
   * memory until the model is written.
   */
  readonly needs: 'weights' | 'input-moments';
  /**
   * Whether a product is calibrated on what comes out of the quantized products before it, instead of the float ones.
   * Runs the data once for each input that products share. `false` by default.
   */
  readonly sequential?: boolean | undefined;
  /**
   * Chooses factors, one for each input channel, by which the weights are multiplied and the activations divided
   * before rounding: the products stay what they are. Asks for calibration data by being there.
   *
   * @returns `[inputs]` positive factors, or `undefined` to leave the group as it is
   */
  scaleInputs?(group: ProductGroup, tools: WeightTools): Promise<Float32Array | undefined>;
  /** Chooses the integers of one weight. Must not keep or change the matrix. */
  quantize(matrix: WeightMatrix, tools: WeightTools): QuantizedMatrix | Promise<QuantizedMatrix>;
}
