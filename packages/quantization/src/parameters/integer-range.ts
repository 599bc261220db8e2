import { dtypes } from '@lithe/core';

/** Integer types that values are quantized to. */
export type QuantizedDType = 'int4' | 'uint4' | 'int8' | 'uint8' | 'int16' | 'uint16' | 'int32';

/** The integers that quantized values may take. */
export interface IntegerRange {
  /** Type they are stored in. */
  readonly dtype: QuantizedDType;
  /** Smallest. */
  readonly low: number;
  /** Largest. */
  readonly high: number;
}

/** Which part of a type's range is used. */
export interface RangeOptions {
  /**
   * `full`: all of it. `narrow`: a signed type without its lowest value, so that it is symmetric (int8 becomes
   * [-127, 127]). `reduced`: 7 of 8 bits (int8 [-64, 64], uint8 [0, 127]), so that sums of two products cannot
   * saturate 16 bits on processors without VNNI. `full` by default.
   */
  readonly extent?: 'full' | 'narrow' | 'reduced' | undefined;
}

/**
 * The range of a type. `reduced` halves the largest value and, as onnxruntime does, keeps int8 at [-64, 64].
 *
 * @example
 * ```ts
 * import { integerRange } from '@lithe/quantization';
 *
 * integerRange('int8', { extent: 'narrow' }).low; // => -127
 * integerRange('uint8', { extent: 'reduced' }).high; // => 127
 * ```
 */
export function integerRange(dtype: QuantizedDType, options: RangeOptions = {}): IntegerRange {
  const [low, high] = (dtypes[dtype].range as readonly [bigint, bigint]).map(Number) as [number, number];
  switch (options.extent ?? 'full') {
    case 'narrow':
      return { dtype, low: low < 0 ? -high : low, high };
    case 'reduced':
      return low < 0 ? { dtype, low: low / 2, high: -low / 2 } : { dtype, low: 0, high: (high - 1) / 2 };
    case 'full':
      return { dtype, low, high };
  }
}
