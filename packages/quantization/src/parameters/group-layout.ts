import { elementsOf, errors } from '@lithe/core';
import type { Granularity } from './granularity.ts';

/**
 * How the elements of a row-major tensor fall into groups that share a scale, in a form that needs no index
 * arithmetic per element. The tensor is `[outer, axis, inner]`; `size` indices of the middle axis form a block.
 *
 * - `lanes` false: the elements of a block lie next to each other and share group `o * groupStride + block`.
 * - `lanes` true: element `i` of an inner row belongs to group `(o * groupStride + block) * inner + i`.
 */
export interface GroupLayout {
  /** Whether neighbours along the inner axis belong to different groups. */
  readonly lanes: boolean;
  /** Product of the dims before the axis. */
  readonly outer: number;
  /** Dim of the axis. */
  readonly axis: number;
  /** Indices of the axis per block; the last block may be shorter. */
  readonly size: number;
  /** Product of the dims behind the axis. */
  readonly inner: number;
  /** Blocks per outer index; 0 where all outer indices share the groups. */
  readonly groupStride: number;
  /** Number of groups. */
  readonly groups: number;
  /** Shape of the scales as `DequantizeLinear` wants them: `[]`, `[channels]`, or the tensor's with the axis in blocks. */
  readonly scaleShape: readonly number[];
}

/**
 * Lays a shape out in groups.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when the axis is not one of the shape, or the block size not a positive
 *   whole number
 */
export function groupLayout(shape: readonly number[], granularity: Granularity): GroupLayout {
  if (granularity.kind === 'per-tensor') {
    const inner = elementsOf(shape);
    return { lanes: false, outer: 1, axis: 1, size: 1, inner, groupStride: 0, groups: 1, scaleShape: [] };
  }
  const index = granularity.axis < 0 ? granularity.axis + shape.length : granularity.axis;
  if (!Number.isInteger(index) || index < 0 || index >= shape.length) {
    throw errors.valueOutOfRange(
      'The quantization axis',
      granularity.axis,
      `the axes of [${shape.join(', ')}]`,
    );
  }
  const outer = elementsOf(shape.slice(0, index));
  const axis = shape[index]!;
  const inner = elementsOf(shape.slice(index + 1));
  if (granularity.kind === 'per-channel') {
    if (inner === 1) {
      return {
        lanes: true,
        outer,
        axis: 1,
        size: 1,
        inner: axis,
        groupStride: 0,
        groups: axis,
        scaleShape: [axis],
      };
    }
    return { lanes: false, outer, axis, size: 1, inner, groupStride: 0, groups: axis, scaleShape: [axis] };
  }
  const { size } = granularity;
  if (!Number.isSafeInteger(size) || size < 1)
    throw errors.valueOutOfRange('The block size', size, 'the positive whole numbers');
  const blocks = Math.ceil(axis / size);
  return {
    lanes: inner > 1,
    outer,
    axis,
    size,
    inner,
    groupStride: blocks,
    groups: outer * blocks * inner,
    scaleShape: shape.map((dim, at) => (at === index ? blocks : dim)),
  };
}
