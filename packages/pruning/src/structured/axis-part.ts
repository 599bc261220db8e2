import type { BoundEnd, Slot } from './axis-model.ts';

/** The part of an axis that is in play: a feature that many layers join on is wide, and what is followed of it narrow. */
export interface AxisPart {
  /** The axis. */
  readonly slot: Slot;
  /** First index of the part. */
  start: number;
  /** Number of each index from there on; -1 where one takes no part. */
  atoms: Int32Array;
}

/** Coordinates of a tie that indices in play have: `flags` from `low` on. */
export interface Marks {
  /** The first coordinate. */
  readonly low: number;
  /** 1 where one is marked. */
  readonly flags: Uint8Array;
}

/** Makes the part of an axis that is in play reach from `from` to `end`, and further where it has to grow again. */
export function reach(state: AxisPart, from: number, end: number): void {
  const { start, atoms, slot } = state;
  const stop = start + atoms.length;
  if (atoms.length > 0 && from >= start && end <= stop) return;
  const isNew = atoms.length === 0;
  const low = isNew ? from : from < start ? Math.max(0, Math.min(from, start - atoms.length)) : start;
  const high = isNew ? end : end > stop ? Math.min(slot.length, Math.max(end, stop + atoms.length)) : stop;
  const grown = new Int32Array(high - low).fill(-1);
  if (!isNew) grown.set(atoms, start - low);
  state.start = low;
  state.atoms = grown;
}

/** The places of an end that are in play, as far as the part of the axis tells. */
export function placesIn(
  { from, coordinates }: BoundEnd,
  state: AxisPart,
): readonly [first: number, end: number] {
  return [
    Math.max(0, state.start - from),
    Math.min(coordinates.length, state.start + state.atoms.length - from),
  ];
}

/** The places of an end from the first to the last whose coordinate is marked; none where the end is 0. */
export function markedPlaces(
  { coordinates, isPlain }: BoundEnd,
  { low, flags }: Marks,
): readonly [number, number] {
  let [first, end] = isPlain
    ? [low, Math.min(coordinates.length, low + flags.length)]
    : [0, coordinates.length];
  while (first < end && flags[(coordinates[first] as number) - low] !== 1) first++;
  while (end > first && flags[(coordinates[end - 1] as number) - low] !== 1) end--;
  return first < end ? [first, end] : [0, 0];
}
