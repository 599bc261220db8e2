/** A weight as rows, one for each output. */
export interface Rows {
  /** `[count, length]`, row-major. */
  readonly data: Float64Array;
  /** Number of rows. */
  readonly count: number;
  /** Elements of a row. */
  readonly length: number;
  /** Elements that are kept or removed together: positions of a kernel. */
  readonly block: number;
  /** A further number for each row (its bias). */
  readonly extra: Float64Array | undefined;
}

/** Whether one row is another with some blocks left out. */
function isPartOf(small: Rows, row: number, large: Rows, other: number): boolean {
  const { block } = small;
  if (small.extra !== undefined && large.extra !== undefined && small.extra[row] !== large.extra[other])
    return false;
  const end = (other + 1) * large.length;
  let at = other * large.length;
  for (let from = row * small.length; from < (row + 1) * small.length; from += block) {
    let offset = 0;
    for (; at < end; at += block) {
      for (offset = 0; offset < block; offset++)
        if (small.data[from + offset] !== large.data[at + offset]) break;
      if (offset === block) break;
    }
    if (at >= end) return false;
    at += block;
  }
  return true;
}

/** Whether two rows and their biases are equal, so that it does not matter which of them is meant. */
function areEqual({ data, length, extra }: Rows, row: number, other: number): boolean {
  if (extra !== undefined && extra[row] !== extra[other]) return false;
  for (let at = 0; at < length; at++) if (data[row * length + at] !== data[other * length + at]) return false;
  return true;
}

/**
 * Finds which rows of a weight are left in a pruned one, by their contents: rows keep their order and lose blocks.
 *
 * @returns for each row left its number before; `undefined` when the weight has changed in other ways, or when a row (of
 *   zeros, for instance) may be one or another that differ
 */
export function matchRows(pruned: Rows, original: Rows): Int32Array | undefined {
  if (pruned.block !== original.block || pruned.count > original.count) return undefined;
  const found = new Int32Array(pruned.count);
  let other = 0;
  for (let row = 0; row < pruned.count; row++, other++) {
    while (other < original.count && !isPartOf(pruned, row, original, other)) other++;
    if (other === original.count) return undefined;
    found[row] = other;
  }
  // The first places that rows can have were found; they are sure where the last ones are no others.
  let last = original.count - 1;
  for (let row = pruned.count - 1; row >= 0; row--, last--) {
    while (!isPartOf(pruned, row, original, last)) last--;
    if (last !== found[row] && !areEqual(original, last, found[row]!)) return undefined;
  }
  return found;
}
