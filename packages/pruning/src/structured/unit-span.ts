/** The units of a stretch of an axis. Indices outside of it belong to none. */
export interface UnitSpan {
  /** First index of the stretch. */
  readonly start: number;
  /** The unit of each index from there on; -1 where an index belongs to none. */
  readonly units: Int32Array;
}

/** The unit of an index of the axis; -1 where it belongs to none. */
export function unitAt({ start, units }: UnitSpan, index: number): number {
  return units[index - start] ?? -1;
}

/** The unit of each index of an axis of `length` indices; -1 where an index belongs to none. */
export function unitsOf({ start, units }: UnitSpan, length: number): Int32Array {
  const all = new Int32Array(length).fill(-1);
  all.set(units, start);
  return all;
}
