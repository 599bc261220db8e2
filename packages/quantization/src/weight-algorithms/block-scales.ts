import { SMALLEST_SCALE } from '../parameters/affine.ts';
import { type GroupLayout, groupLayout } from '../parameters/group-layout.ts';
import { type GroupParameters, groupParameters } from '../parameters/group-parameters.ts';
import { HALF_EVEN } from '../parameters/rounding.ts';
import type { WeightMatrix } from './weight-algorithm.ts';

/** The blocks of a weight, as the kernels of parameters know them. */
export function blocksOf(matrix: WeightMatrix): GroupLayout {
  return groupLayout([matrix.outputs, matrix.inputs], {
    kind: 'per-block',
    axis: 1,
    size: matrix.blockSize,
  });
}

/** Shares of a block's range that {@link searchedParameters} tries beside the whole of it. */
const SHARES: readonly number[] = Array.from({ length: 19 }, (_, index) => 0.95 - index * 0.025);

/** How often the scale is fitted to the integers, at most. */
const FITS = 3;

/** Scale and zero point of one block. */
export interface BlockParameters {
  /** Scale. */
  scale: number;
  /** Zero point. */
  zero: number;
}

/** What a block is searched with. */
export interface BlockSearch {
  /** Smallest and largest integer. */
  readonly low: number;
  /** See {@link low}. */
  readonly high: number;
  /** Weight of the squared error of each input channel; all alike when left out. */
  readonly importance: Float64Array | undefined;
  /** Whether the zero point moves. */
  readonly zeroMoves: boolean;
}

/** Squared error of one block; stops counting at `least`. */
function blockError(
  data: Float32Array | Float64Array,
  at: { readonly from: number; readonly to: number; readonly channel: number },
  search: BlockSearch,
  tried: { readonly scale: number; readonly zero: number; readonly least: number },
): number {
  const { from, to, channel } = at;
  const { low, high, importance } = search;
  const { scale, zero, least } = tried;
  let error = 0;
  for (let element = from; element < to && error < least; element++) {
    const value = data[element]!;
    let level = Math.fround(value / scale) + HALF_EVEN - HALF_EVEN + zero;
    level = level > high ? high : level < low ? low : level;
    const difference = value - (level - zero) * scale;
    error += difference * difference * (importance === undefined ? 1 : importance[channel + element - from]!);
  }
  return error;
}

/** The scale with the least squared error for the integers that the block has now. */
function fittedScale(
  data: Float32Array | Float64Array,
  at: { readonly from: number; readonly to: number; readonly channel: number },
  search: BlockSearch,
  found: BlockParameters,
): number {
  const { from, to, channel } = at;
  const { low, high, importance } = search;
  const { scale, zero } = found;
  let product = 0;
  let square = 0;
  for (let element = from; element < to; element++) {
    const value = data[element]!;
    let level = Math.fround(value / scale) + HALF_EVEN - HALF_EVEN + zero;
    level = (level > high ? high : level < low ? low : level) - zero;
    const weight = importance === undefined ? level : level * importance[channel + element - from]!;
    product += value * weight;
    square += level * weight;
  }
  return Math.fround(product / square);
}

/**
 * Narrows the range of one block, `data[from..to]`, where that lowers the squared error of the whole block: the few
 * elements outside are clipped, all others get smaller steps. Then fits the scale to the integers, by least squares.
 *
 * @param found the parameters of the whole range; the better ones are written to it
 * @param channel input channel of `data[from]`, for the importance
 */
export function narrowBlock(
  data: Float32Array | Float64Array,
  at: { readonly from: number; readonly to: number; readonly channel: number },
  search: BlockSearch,
  found: BlockParameters,
): void {
  const { low, high, zeroMoves } = search;
  const whole = found.scale;
  const wholeZero = found.zero;
  let least = Number.POSITIVE_INFINITY;
  const take = (scale: number, zero: number): boolean => {
    const error = blockError(data, at, search, { scale, zero, least });
    if (!(error < least)) return false;
    least = error;
    found.scale = scale;
    found.zero = zero;
    return true;
  };
  for (let index = -1; index < SHARES.length; index++) {
    const scale = index < 0 ? whole : Math.fround(whole * SHARES[index]!);
    // The zero point lies where the range begins: (low - zero) * scale is its lower end, which shrinks alike, so the
    // number of steps below zero stays. It is only tried one step to either side, where rounding may fall otherwise.
    const first = zeroMoves && index >= 0 ? Math.max(low, wholeZero - 1) : wholeZero;
    const last = zeroMoves && index >= 0 ? Math.min(high, wholeZero + 1) : wholeZero;
    for (let zero = first; zero <= last; zero++) take(scale, zero);
  }
  for (let turn = 0; turn < FITS; turn++) {
    const scale = fittedScale(data, at, search, found);
    if (!(Math.abs(scale) >= SMALLEST_SCALE) || !take(scale, found.zero)) return;
  }
}

/** Mean square of each input channel, from the diagonal of H. */
export function importanceOf(matrix: WeightMatrix): Float64Array | undefined {
  const { moments, inputs } = matrix;
  if (moments === undefined) return undefined;
  return Float64Array.from({ length: inputs }, (_, channel) => moments.hessian[channel * (inputs + 1)]!);
}

/** Parameters of every block from its range alone. */
export function rangeParameters(matrix: WeightMatrix): GroupParameters {
  const { range, scheme, what } = matrix;
  return groupParameters(matrix.data, blocksOf(matrix), { range, scheme, what });
}

/**
 * Parameters of every block with the share of its range that has the least squared error, weighted by what the input
 * channels are on calibration data where that is known.
 */
export function searchedParameters(matrix: WeightMatrix): GroupParameters {
  const parameters = rangeParameters(matrix);
  const { data, outputs, inputs, blockSize, range, scheme } = matrix;
  const blocks = Math.ceil(inputs / blockSize);
  const search: BlockSearch = {
    low: range.low,
    high: range.high,
    importance: importanceOf(matrix),
    zeroMoves: scheme === 'asymmetric',
  };
  const scales = parameters.scales.slice();
  const zeroPoints = parameters.zeroPoints?.slice();
  const found = { scale: 1, zero: 0 };
  for (let row = 0, group = 0; row < outputs; row++) {
    for (let block = 0; block < blocks; block++, group++) {
      const channel = block * blockSize;
      const from = row * inputs + channel;
      const to = row * inputs + Math.min(inputs, channel + blockSize);
      found.scale = scales[group]!;
      found.zero = zeroPoints === undefined ? parameters.middle : zeroPoints[group]!;
      narrowBlock(data, { from, to, channel }, search, found);
      scales[group] = found.scale;
      if (zeroPoints !== undefined) zeroPoints[group] = found.zero;
    }
  }
  return { scales, zeroPoints, middle: parameters.middle };
}
