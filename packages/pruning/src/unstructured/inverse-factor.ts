import { factorize } from '../recovery/cholesky.ts';

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

/** Inverse of a lower triangular matrix, a new array; what lies above the diagonal is not read. */
function invertLower(lower: Float64Array, size: number): Float64Array {
  const out = new Float64Array(size * size);
  for (let from = 0; from < size; from += PANEL) {
    const to = Math.min(size, from + PANEL);
    for (let panel = 0; panel <= from; panel += PANEL) {
      for (let row = from; row < to; row++) {
        const at = row * size;
        // Rows of the panel end at its diagonal; in the last one, only the rows above are done.
        const depth = Math.min(PANEL, row - panel);
        subtractRows({
          target: out,
          targetAt: at,
          length: panel + depth,
          factors: lower,
          factorsAt: at + panel,
          depth,
          rows: out,
          rowsAt: panel * size,
          stride: size,
        });
        if (panel < from) continue;
        out[at + row] = 1;
        const pivot = lower[at + row]!;
        for (let column = 0; column <= row; column++) out[at + column]! /= pivot;
      }
    }
  }
  return out;
}

/**
 * The upper triangular U with `A^-1 = U' U`, in float64: `size³ / 3` multiply-adds, without the inverse itself. With the
 * order of variables reversed `A = M M'`, and U is `M^-1` reversed back.
 *
 * @param a positive definite, `[size, size]` row-major; taken apart
 * @returns `undefined` when it is not positive definite
 * @see Golub and Van Loan, "Matrix Computations", 4th edition, section 4.2
 */
export function inverseFactor(a: Float64Array, size: number): Float64Array | undefined {
  // Reversing both axes of a row-major square matrix reverses its elements.
  a.reverse();
  return factorize(a, size) ? invertLower(a, size).reverse() : undefined;
}
