import type { Dim, Value } from '@lithe/core';

/** Rank, if it is known. */
export function rankOf(value: Value | null): number | undefined {
  return value?.shape?.length;
}

/** Whether two shapes are known to be equal: equal numbers, or equal symbols. */
export function sameShape(left: readonly Dim[] | undefined, right: readonly Dim[] | undefined): boolean {
  if (left === undefined || right === undefined || left.length !== right.length) return false;
  return left.every((dim, axis) => dim !== null && dim === right[axis]);
}

/** Whether two values are known to have the same dtype and shape. */
export function sameType(left: Value, right: Value): boolean {
  return left.dtype !== undefined && left.dtype === right.dtype && sameShape(left.shape, right.shape);
}

/** Whether both ranks are known and equal: what element-wise work with scalars must not change. */
export function sameRank(left: Value, right: Value): boolean {
  return rankOf(left) !== undefined && rankOf(left) === rankOf(right);
}

/** A non-negative axis, or `undefined` when it is out of range. */
export function normalizeAxis(axis: number, rank: number): number | undefined {
  const positive = axis < 0 ? axis + rank : axis;
  return positive >= 0 && positive < rank ? positive : undefined;
}

/**
 * How a constant of shape `shape` varies over `axis` of a tensor of rank `rank` that it is broadcast against: not at
 * all (1 element), or per index of that axis. `undefined` when it varies elsewhere or would raise the rank.
 */
export function spanOnAxis(shape: readonly number[], rank: number, axis: number): number | undefined {
  if (shape.length > rank) return undefined;
  const own = axis - (rank - shape.length);
  let span = 1;
  for (let index = 0; index < shape.length; index++) {
    if (shape[index] === 1) continue;
    if (index !== own) return undefined;
    span = shape[index] as number;
  }
  return span;
}
