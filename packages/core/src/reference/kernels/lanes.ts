import { elementsOf, stridesOf } from '../../tensor/dtype.ts';
import { walk } from '../elements.ts';

/** A tensor seen as lanes: element `j` of lane `i` lies at `bases[i] + offsets[j]`. */
export interface Lanes {
  /** Start of each lane, in the order of the kept axes. */
  readonly bases: Int32Array;
  /** Where the elements of a lane lie, from its start. */
  readonly offsets: Int32Array;
}

/** Lanes over `axes`: one per index of the other axes. */
export function lanesOver(shape: readonly number[], axes: readonly number[]): Lanes {
  const strides = stridesOf(shape);
  const over = new Set(axes);
  const kept = shape.flatMap((_, axis) => (over.has(axis) ? [] : [axis]));
  const inside = shape.flatMap((_, axis) => (over.has(axis) ? [axis] : []));
  return {
    bases: walk(
      kept.map((axis) => shape[axis]!),
      kept.map((axis) => strides[axis]!),
    ),
    offsets: walk(
      inside.map((axis) => shape[axis]!),
      inside.map((axis) => strides[axis]!),
    ),
  };
}

/** A shape as `[before, axis, after]`: element `(o, j, i)` lies at `(o * length + j) * inner + i`. */
export function aroundAxis(
  shape: readonly number[],
  axis: number,
): { outer: number; length: number; inner: number } {
  return {
    outer: elementsOf(shape.slice(0, axis)),
    length: shape[axis]!,
    inner: elementsOf(shape.slice(axis + 1)),
  };
}
