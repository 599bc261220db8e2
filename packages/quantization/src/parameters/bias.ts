import { errors } from '@lithe/core';
import { SMALLEST_SCALE } from './affine.ts';
import { HALF_EVEN } from './rounding.ts';

/** Largest int32, less the rounding of a float32 quotient near it, so that a bias on the edge still fits. */
export const INT32_ROOM: number = 2 ** 31 - 2 ** 8;

/**
 * Raises weight scales where the bias would not fit int32 at the scale that integer arithmetic forces on it, the
 * product of input and weight scale. The weights of such a channel are tiny beside the bias, so that coarser steps
 * cost nothing.
 *
 * @param weightScales one per channel, or one for all; changed in place
 * @returns number of scales raised
 * @throws {LitheError} VALUE_OUT_OF_RANGE when an element of the bias is NaN or infinite
 */
export function raiseScalesForBias(
  weightScales: Float32Array,
  bias: Float32Array,
  inputScale: number,
): number {
  let raised = 0;
  const perChannel = weightScales.length > 1;
  for (let channel = 0; channel < bias.length; channel++) {
    const group = perChannel ? channel : 0;
    const value = bias[channel]!;
    if (!Number.isFinite(value)) {
      const allowed = 'the finite numbers; it cannot be quantized';
      throw errors.valueOutOfRange(`Element ${channel} of a bias`, value, allowed);
    }
    const least = Math.abs(value) / (INT32_ROOM * inputScale);
    if (weightScales[group]! >= least) continue;
    // Rounding to float32 may go down; one step up keeps the bias inside.
    weightScales[group] = least * (1 + 2 ** -22);
    raised++;
  }
  return raised;
}

/**
 * Lowers the scale of channels without weights, so that {@link raiseScalesForBias} finds the one that holds their bias
 * best: the scale 1 that a range of nothing gets would round the bias of a pruned channel to whole input steps.
 *
 * @param weightScales one per channel; changed in place
 * @param magnitudes largest magnitude of each channel's weights
 */
export function freeScalesOfEmptyChannels(
  weightScales: Float32Array,
  magnitudes: Float32Array,
  bias: Float32Array,
): void {
  for (let channel = 0; channel < magnitudes.length; channel++) {
    if (magnitudes[channel] === 0 && bias[channel] !== 0) weightScales[channel] = SMALLEST_SCALE;
  }
}

/** A bias as int32 at scale `inputScale * weightScale`, zero point 0, as integer convolutions add it. */
export interface QuantizedBias {
  /** The integers, `[channels]`. */
  readonly values: Int32Array;
  /** Their scales: one per channel, or one for all. */
  readonly scales: Float32Array;
}

/** Quantizes a bias. Call {@link raiseScalesForBias} before, so that it fits. */
export function quantizeBias(
  bias: Float32Array,
  inputScale: number,
  weightScales: Float32Array,
): QuantizedBias {
  const scales = new Float32Array(weightScales.length);
  for (let group = 0; group < scales.length; group++) scales[group] = inputScale * weightScales[group]!;
  const values = new Int32Array(bias.length);
  const step = scales.length > 1 ? 1 : 0;
  for (let channel = 0, group = 0; channel < bias.length; channel++, group += step) {
    const level = bias[channel]! / scales[group]! + HALF_EVEN - HALF_EVEN;
    values[channel] = Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, level));
  }
  return { values, scales };
}
