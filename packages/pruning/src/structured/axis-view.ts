/**
 * How the indices of an axis are numbered in a tie: which coordinate each index has. Indices of different axes that
 * have the same coordinate belong together. A view works in both directions: from an index to its coordinate, and from
 * a coordinate to all of its indices.
 */
export type AxisView =
  | {
      /** Tag. */
      readonly kind: 'block';
      /** First index that takes part; 0 by default. */
      readonly start?: number | undefined;
      /** Number of indices that take part; all from `start` on by default. */
      readonly length?: number | undefined;
      /** Length of a run of indices with one coordinate; 1 by default. */
      readonly inner?: number | undefined;
      /** Number of coordinates, after which they start again at 0; as many as there are runs by default. */
      readonly size?: number | undefined;
    }
  | {
      /** Tag. */
      readonly kind: 'list';
      /** The coordinate of each index. */
      readonly coordinates: readonly number[];
    };

/** The indices of an axis that take part in a view: the first one, and how many. */
export function windowIn(
  view: AxisView | undefined,
  length: number,
): readonly [start: number, count: number] {
  if (view?.kind !== 'block') return [0, length];
  const start = Math.min(view.start ?? 0, length);
  return [start, Math.min(view.length ?? length, length - start)];
}

/** Coordinates of the indices that take part, in order. */
export function windowCoordinates(view: AxisView | undefined, length: number): Int32Array {
  const [, count] = windowIn(view, length);
  const coordinates = new Int32Array(count);
  if (view?.kind === 'list') {
    for (let index = 0; index < count; index++) coordinates[index] = view.coordinates[index] ?? -1;
    return coordinates;
  }
  const inner = view?.inner ?? 1;
  const size = view?.size ?? Math.ceil(count / inner);
  for (let index = 0; index < count; index++) coordinates[index] = Math.floor(index / inner) % size;
  return coordinates;
}

/**
 * The coordinate of each index of an axis: `floor((index - start) / inner) mod size` for a block.
 *
 * @param view how the axis is numbered; each index is its own coordinate where it is left out
 * @param length length of the axis
 * @returns one entry per index; -1 where the index takes no part
 * @example
 * ```ts
 * import { coordinatesOf } from '@lithe/pruning';
 *
 * // Six columns of three heads of two: which head is it?
 * [...coordinatesOf({ kind: 'block', inner: 2 }, 6)]; // => [0, 0, 1, 1, 2, 2]
 * // The same columns by their place in a head.
 * [...coordinatesOf({ kind: 'block', size: 2 }, 6)]; // => [0, 1, 0, 1, 0, 1]
 * ```
 */
export function coordinatesOf(view: AxisView | undefined, length: number): Int32Array {
  const coordinates = new Int32Array(length).fill(-1);
  coordinates.set(windowCoordinates(view, length), windowIn(view, length)[0]);
  return coordinates;
}

/** Indices `start` to `start + length - 1`, numbered from 0. */
export function windowOf(start: number, length: number): AxisView {
  return { kind: 'block', start, length };
}

/** Runs of `inner` indices, numbered 0 to `size - 1` and again from 0. */
export function factorOf(size: number, inner = 1): AxisView {
  return { kind: 'block', size, inner };
}
