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
 * Solves `x A = b` for each row of b in place, with A factorized as `L L'`.
 *
 * @param lower the Cholesky factor of A, `[size, size]`; what lies above the diagonal is not read
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
