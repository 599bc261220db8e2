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

function dot(a: Float64Array, left: number, right: number, length: number): number {
  let [even, odd] = [0, 0];
  let p = 0;
  for (; p + 2 <= length; p += 2) {
    even += a[left + p]! * a[right + p]!;
    odd += a[left + p + 1]! * a[right + p + 1]!;
  }
  return p < length ? even + odd + a[left + p]! * a[right + p]! : even + odd;
}

/** Cholesky factorization in place, `A = L L'`, row by row; whether A is positive definite. */
function cholesky(a: Float64Array, size: number): boolean {
  for (let row = 0; row < size; row++) {
    const at = row * size;
    for (let column = 0; column < row; column++) {
      const other = column * size;
      a[at + column] = (a[at + column]! - dot(a, at, other, column)) / a[other + column]!;
    }
    const pivot = a[at + row]! - dot(a, at, at, row);
    if (!(pivot > 0) || pivot === Number.POSITIVE_INFINITY) return false;
    a[at + row] = Math.sqrt(pivot);
  }
  return true;
}

function invertLower(lower: Float64Array, size: number): Float64Array {
  const out = new Float64Array(size * size);
  for (let row = 0; row < size; row++) {
    const at = row * size;
    out[at + row] = 1;
    subtractRows({
      target: out,
      targetAt: at,
      length: row,
      factors: lower,
      factorsAt: at,
      depth: row,
      rows: out,
      rowsAt: 0,
      stride: size,
    });
    const pivot = lower[at + row]!;
    for (let column = 0; column <= row; column++) out[at + column]! /= pivot;
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
  return cholesky(a, size) ? invertLower(a, size).reverse() : undefined;
}
