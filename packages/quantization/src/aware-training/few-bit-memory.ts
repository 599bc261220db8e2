import { constantOf, type Dim, dtypes, type Graph, type Value } from '@lithe/core';
import type { AffineParameters } from '../parameters/affine.ts';
import type { IntegerRange } from '../parameters/integer-range.ts';
import type { RangeGroup } from './range-groups.ts';

/** Whether integers are stored in 4 bits. */
export function fewBits({ dtype }: IntegerRange): boolean {
  return dtypes[dtype].bits === 4;
}

/**
 * Holds activations of 4 bits in bytes, all of them, where one may have the shape of something that takes a byte for each
 * element: onnxruntime 1.30 gives the memory of the first to the second, which takes twice as much, and so overwrites
 * others. The levels are the same; what is quantized must be held to them before.
 */
export function levelsInBytes(
  graph: Graph,
  groups: readonly RangeGroup[],
  values: ReadonlyMap<Value, AffineParameters>,
): readonly RangeGroup[] {
  const few = new Set(groups.filter(({ integers }) => fewBits(integers)).map(({ key }) => key));
  if (few.size === 0) return groups;
  const small: Value[] = [];
  const whole = [...graph.values()].filter(
    (value) => value.producer !== null && constantOf(value) === undefined && takesByte(value),
  );
  for (const [value, key] of values) (few.has(key) ? small : whole).push(value);
  if (!small.some(({ shape }) => whole.some((other) => mayEqual(shape, other.shape)))) return groups;
  return groups.map((group) => ({ ...group, integers: inBytes(group.integers) }));
}

const takesByte = ({ dtype }: Value): boolean => dtype !== undefined && dtypes[dtype].bits === 8;

function mayEqual(left: readonly Dim[] | undefined, right: readonly Dim[] | undefined): boolean {
  if (left === undefined || right === undefined) return true;
  return (
    left.length === right.length &&
    left.every((size, axis) => {
      const other = right[axis];
      return typeof size !== 'number' || typeof other !== 'number' || size === other;
    })
  );
}

function inBytes(integers: IntegerRange): IntegerRange {
  if (!fewBits(integers)) return integers;
  return { ...integers, dtype: integers.low < 0 ? 'int8' : 'uint8' };
}
