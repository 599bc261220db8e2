import { errors } from '@lithe/core';
import type { IntegerRange } from './integer-range.ts';
import { roundHalfEven } from './rounding.ts';

/** Scale and zero point of an affine quantization: `real = (integer - zeroPoint) * scale`. */
export interface AffineParameters {
  /** Step between neighbouring integers: a positive float32 number. */
  readonly scale: number;
  /** The integer that stands for 0 exactly. */
  readonly zeroPoint: number;
}

/** Smallest normal float32 number. A smaller scale would lose precision or vanish in the runtime. */
export const SMALLEST_SCALE: number = 2 ** -126;

function checked(minimum: number, maximum: number): void {
  if (!Number.isFinite(minimum) || !Number.isFinite(maximum)) {
    const wrong = Number.isFinite(minimum) ? maximum : minimum;
    throw errors.valueOutOfRange('A bound of the range to quantize', wrong, 'the finite numbers');
  }
}

/**
 * Parameters that cover [minimum, maximum] with the whole integer range. The range is widened to hold 0, so that
 * padding and rectified values stay exact. The scale is computed in float64 and stored as float32; the zero point
 * is rounded half to even. A range too small for a normal float32 scale gives scale 1 and the zero point of 0.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when a bound is not finite
 * @see Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
 *   2018, section 2.1; `compute_scale_zp` of onnxruntime for the floor of the scale
 *
 * @example
 * ```ts
 * import { asymmetricParameters, integerRange } from '@lithe/quantization';
 *
 * asymmetricParameters(0, 255, integerRange('uint8')).scale; // => 1
 * asymmetricParameters(-1, 1, integerRange('uint8')).zeroPoint; // => 128
 * ```
 */
export function asymmetricParameters(
  minimum: number,
  maximum: number,
  range: IntegerRange,
): AffineParameters {
  checked(minimum, maximum);
  const low = Math.min(0, minimum);
  const high = Math.max(0, maximum);
  const scale = (high - low) / (range.high - range.low);
  if (scale < SMALLEST_SCALE) return { scale: 1, zeroPoint: Math.min(Math.max(0, range.low), range.high) };
  const zeroPoint = roundHalfEven(range.low - low / scale);
  return { scale: Math.fround(scale), zeroPoint: Math.min(Math.max(zeroPoint, range.low), range.high) };
}

/**
 * Parameters that cover [-magnitude, magnitude] with the zero point in the middle of the integer range: 0 for
 * signed types, 128 for uint8.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when the magnitude is not finite
 */
export function symmetricParameters(magnitude: number, range: IntegerRange): AffineParameters {
  checked(0, magnitude);
  const zeroPoint = roundHalfEven((range.high + range.low) / 2) + 0;
  const scale = (2 * Math.abs(magnitude)) / (range.high - range.low);
  return scale < SMALLEST_SCALE ? { scale: 1, zeroPoint } : { scale: Math.fround(scale), zeroPoint };
}
