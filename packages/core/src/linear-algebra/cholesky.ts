import { subtractProduct } from './subtract-product.ts';

const BLOCK = 64;

/** `sum over p of a[aAt + p] b[bAt + p]`. */
function dot(a: Float64Array, aAt: number, bAt: number, length: number): number {
  let even = 0;
  let odd = 0;
  let p = 0;
  for (; p + 2 <= length; p += 2) {
    even += a[aAt + p]! * a[bAt + p]!;
    odd += a[aAt + p + 1]! * a[bAt + p + 1]!;
  }
  return p < length ? even + odd + a[aAt + p]! * a[bAt + p]! : even + odd;
}

/**
 * Takes from four elements of column j, in rows `i..i+3`, the dots of these rows with row j: four sums share the reads of
 * one row.
 */
function subtractDots(a: Float64Array, i: number, j: number, size: number, length: number): void {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  const i0 = i * size;
  const [i1, i2, i3] = [i0 + size, i0 + 2 * size, i0 + 3 * size];
  const jAt = j * size;
  for (let p = 0; p < length; p++) {
    const x = a[jAt + p]!;
    s0 += a[i0 + p]! * x;
    s1 += a[i1 + p]! * x;
    s2 += a[i2 + p]! * x;
    s3 += a[i3 + p]! * x;
  }
  a[i0 + j]! -= s0;
  a[i1 + j]! -= s1;
  a[i2 + j]! -= s2;
  a[i3 + j]! -= s3;
}

/**
 * Cholesky factorization in place, `A = L L'`: L in the lower triangle, row-major; the upper triangle is left as it
 * was. `size^3 / 6` multiply-adds in float64.
 *
 * @param a symmetric, `[size, size]`; only its lower triangle is read
 * @returns whether A is positive definite, as far as rounding lets it be seen; the array is of no use otherwise
 * @see Golub and Van Loan, "Matrix Computations", 4th edition, section 4.2.6
 */
export function cholesky(a: Float64Array, size: number): boolean {
  for (let from = 0; from < size; from += BLOCK) {
    const to = Math.min(size, from + BLOCK);
    // Rows of the panel, less what the columns before it explain.
    for (let j = from; j < to; j++) {
      let i = j;
      for (; i + 4 <= size; i += 4) subtractDots(a, i, j, size, from);
      for (; i < size; i++) a[i * size + j]! -= dot(a, i * size, j * size, from);
    }
    for (let j = from; j < to; j++) {
      const at = j * size;
      const pivot = a[at + j]! - dot(a, at + from, at + from, j - from);
      if (!(pivot > 0) || pivot === Number.POSITIVE_INFINITY) return false;
      const root = Math.sqrt(pivot);
      a[at + j] = root;
      for (let i = j + 1; i < size; i++) {
        a[i * size + j] = (a[i * size + j]! - dot(a, i * size + from, at + from, j - from)) / root;
      }
    }
  }
  return true;
}

/** Inverse of a lower triangular matrix, a new array; what lies above the diagonal is not read. */
export function invertLower(lower: Float64Array, size: number): Float64Array {
  const out = new Float64Array(size * size);
  for (let from = 0; from < size; from += BLOCK) {
    const rows = Math.min(size, from + BLOCK) - from;
    for (let i = from; i < from + rows; i++) out[i * size + i] = 1;
    // What the rows above contribute to these, all at once.
    subtractProduct({
      target: out,
      targetAt: from * size,
      targetStride: size,
      left: lower,
      leftAt: from * size,
      leftStride: size,
      right: out,
      rightAt: 0,
      rightStride: size,
      rows,
      depth: from,
      columns: from,
    });
    for (let i = from; i < from + rows; i++) {
      for (let p = from; p < i; p++) {
        const factor = lower[i * size + p]!;
        for (let c = 0; c <= p; c++) out[i * size + c]! -= factor * out[p * size + c]!;
      }
      const pivot = lower[i * size + i]!;
      for (let c = 0; c <= i; c++) out[i * size + c]! /= pivot;
    }
  }
  return out;
}

/**
 * The upper triangular U with `A^-1 = U' U`, which is what eliminating one variable after the other needs of the
 * inverse. Found without inverting A: with the order of variables reversed, `A = M M'`, and U is `M^-1` reversed back.
 * `size^3 / 3` multiply-adds in float64.
 *
 * @param a positive definite, `[size, size]`, row-major; taken apart
 * @returns `undefined` when it is not positive definite
 */
export function inverseFactor(a: Float64Array, size: number): Float64Array | undefined {
  // Reversing both axes of a row-major square matrix reverses its elements.
  a.reverse();
  if (!cholesky(a, size)) return undefined;
  return invertLower(a, size).reverse();
}
