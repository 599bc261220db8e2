/** A combination of rows that is taken from another row. */
export interface RowCombination {
  /** Changed. */
  readonly target: Float64Array;
  /** Where in it. */
  readonly targetAt: number;
  /** Elements that change. */
  readonly length: number;
  /** Factors of the rows. */
  readonly factors: Float64Array;
  /** Where they start. */
  readonly factorsAt: number;
  /** Number of rows. */
  readonly depth: number;
  /** The rows. */
  readonly rows: Float64Array;
  /** Where the first starts. */
  readonly rowsAt: number;
  /** Distance between them. */
  readonly stride: number;
}

/** `target[c] -= sum over p of factors[p] rows[p, c]`, four rows at a time. */
export function subtractRows(work: RowCombination): void {
  const { target, targetAt, length, factors, factorsAt, depth, rows, stride } = work;
  let p = 0;
  for (; p + 4 <= depth; p += 4) {
    const a = factors[factorsAt + p]!;
    const b = factors[factorsAt + p + 1]!;
    const c = factors[factorsAt + p + 2]!;
    const d = factors[factorsAt + p + 3]!;
    if (a === 0 && b === 0 && c === 0 && d === 0) continue;
    const r0 = work.rowsAt + p * stride;
    const r1 = r0 + stride;
    const r2 = r1 + stride;
    const r3 = r2 + stride;
    for (let at = 0; at < length; at++)
      target[targetAt + at]! -=
        a * rows[r0 + at]! + b * rows[r1 + at]! + c * rows[r2 + at]! + d * rows[r3 + at]!;
  }
  for (; p < depth; p++) {
    const a = factors[factorsAt + p]!;
    const r0 = work.rowsAt + p * stride;
    for (let at = 0; at < length; at++) target[targetAt + at]! -= a * rows[r0 + at]!;
  }
}

/** Rows that are read again while they are in the cache. */
export const PANEL = 48;
