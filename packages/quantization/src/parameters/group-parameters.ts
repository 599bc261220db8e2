import { asymmetricParameters, SMALLEST_SCALE, symmetricParameters } from './affine.ts';
import type { GroupLayout } from './group-layout.ts';
import type { IntegerRange } from './integer-range.ts';
import { groupExtremes, groupMagnitudes, groupRanges } from './reduce.ts';

/**
 * How a group's scale follows from its elements. `symmetric`: zero point in the middle, the largest magnitude on the
 * end of the range. `extreme`: symmetric, the element of largest magnitude (with its sign) on the lowest integer, as
 * onnxruntime's 4-bit quantizer does; the scale may be negative. `asymmetric`: the range from smallest to largest.
 */
export type GroupScheme = 'symmetric' | 'extreme' | 'asymmetric';

/** Parameters of every group. */
export interface GroupParameters {
  /** Scale of each group. */
  readonly scales: Float32Array;
  /** Zero point of each group; `undefined` when all are the middle of the range. */
  readonly zeroPoints: Int32Array | undefined;
  /** The zero point where {@link zeroPoints} is left out. */
  readonly middle: number;
}

/** How {@link groupParameters} works. */
export interface GroupParameterOptions {
  /** Integers used. */
  readonly range: IntegerRange;
  /** How scales follow from the elements. */
  readonly scheme: GroupScheme;
  /** Names the tensor in messages. */
  readonly what: string;
}

/**
 * Parameters of each group of a tensor.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when an element is NaN or infinite
 */
export function groupParameters(
  data: Float32Array,
  layout: GroupLayout,
  options: GroupParameterOptions,
): GroupParameters {
  const { range, scheme, what } = options;
  const middle = Math.ceil((range.low + range.high) / 2) + 0;
  const scales = new Float32Array(layout.groups);
  if (scheme === 'asymmetric') {
    const { minimum, maximum } = groupRanges(data, layout, what);
    const zeroPoints = new Int32Array(layout.groups);
    for (let group = 0; group < layout.groups; group++) {
      const { scale, zeroPoint } = asymmetricParameters(minimum[group]!, maximum[group]!, range);
      scales[group] = scale;
      zeroPoints[group] = zeroPoint;
    }
    return { scales, zeroPoints, middle };
  }
  if (scheme === 'extreme') {
    const extremes = groupExtremes(data, layout, what);
    const steps = middle - range.low;
    for (let group = 0; group < layout.groups; group++) {
      const scale = -extremes[group]! / steps;
      scales[group] = Math.abs(scale) < SMALLEST_SCALE ? 1 : scale;
    }
    return { scales, zeroPoints: undefined, middle };
  }
  const magnitudes = groupMagnitudes(data, layout, what);
  for (let group = 0; group < layout.groups; group++)
    scales[group] = symmetricParameters(magnitudes[group]!, range).scale;
  return { scales, zeroPoints: undefined, middle };
}
