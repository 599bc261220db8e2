const BLOCK = 48;

/** `sum over p of a[i + p] b[j + p]`. */
function dot(a: Float64Array, i: number, b: Float64Array, j: number, length: number): number {
  let [s0, s1] = [0, 0];
  let p = 0;
  for (; p + 2 <= length; p += 2) {
    s0 += a[i + p]! * b[j + p]!;
    s1 += a[i + p + 1]! * b[j + p + 1]!;
  }
  return p < length ? s0 + s1 + a[i + p]! * b[j + p]! : s0 + s1;
}

/**
 * Factorizes a symmetric matrix in place, `A = L L'`: L in the lower triangle of the row-major array. Rows are taken in
 * blocks, so that those above stay in the cache. `size^3 / 6` multiply-adds.
 *
 * @returns whether A is positive definite as far as rounding lets it be seen; the array is of no use otherwise
 * @see Golub and Van Loan, "Matrix Computations", 4th edition, section 4.2
 */
export function factorize(a: Float64Array, size: number): boolean {
  for (let from = 0; from < size; from += BLOCK) {
    const to = Math.min(size, from + BLOCK);
    for (let j = 0; j < to; j++) {
      const atJ = j * size;
      if (j >= from) {
        const pivot = a[atJ + j]! - dot(a, atJ, a, atJ, j);
        if (!(pivot > 0) || pivot === Number.POSITIVE_INFINITY) return false;
        a[atJ + j] = Math.sqrt(pivot);
      }
      const diagonal = a[atJ + j]!;
      for (let i = Math.max(from, j + 1); i < to; i++) {
        const atI = i * size;
        a[atI + j] = (a[atI + j]! - dot(a, atI, a, atJ, j)) / diagonal;
      }
    }
  }
  return true;
}

/**
 * Solves `x A = b` for each row of b in place, with A factorized.
 *
 * @param lower what {@link factorize} left, `[size, size]`
 * @param b `[rows, size]`
 */
export function solveRows(lower: Float64Array, size: number, b: Float64Array): void {
  const upper = new Float64Array(size * size);
  for (let i = 0; i < size; i++) for (let j = 0; j <= i; j++) upper[j * size + i] = lower[i * size + j]!;
  for (let at = 0; at < b.length; at += size) {
    for (let i = 0; i < size; i++) {
      b[at + i] = (b[at + i]! - dot(lower, i * size, b, at, i)) / lower[i * size + i]!;
    }
    for (let i = size - 1; i >= 0; i--) {
      const rest = dot(upper, i * size + i + 1, b, at + i + 1, size - i - 1);
      b[at + i] = (b[at + i]! - rest) / lower[i * size + i]!;
    }
  }
}
