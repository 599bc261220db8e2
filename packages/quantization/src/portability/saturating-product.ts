/** Matrices of 8-bit integers to multiply. */
export interface BytesProduct {
  /** Rows of the left one, unsigned, row after row: `[rows, k]`. */
  readonly left: Uint8Array;
  /** Columns of the right one, signed, column after column: `[columns, k]`. */
  readonly right: Int8Array;
  /** Rows of the left matrix. */
  readonly rows: number;
  /** Columns of the right matrix. */
  readonly columns: number;
  /** Length of the sums. */
  readonly k: number;
}

/** Sums of a product of 8-bit integers, with and without saturation. */
export interface SaturatedSums {
  /** Sums as 32-bit arithmetic gives them, `[rows, columns]`. */
  readonly exact: Int32Array;
  /** Sums as processors without VNNI give them. */
  readonly saturated: Int32Array;
  /** Pairs of products whose sum left 16 bits. */
  readonly pairs: number;
  /** Sums that such a pair is part of. */
  readonly sums: number;
}

/**
 * Multiplies unsigned by signed 8-bit integers as x86 processors without VNNI do: `vpmaddubsw` multiplies neighbours and
 * adds the two products into 16 bits, which saturate at [-32768, 32767]; `vpmaddwd` then adds in 32 bits.
 *
 * Which products are neighbours follows onnxruntime's kernels (MLAS, `U8S8` for AVX2 and AVX-512 without VNNI), which
 * pack the sum in groups of four: elements 0 and 1, 2 and 3, and so on along `k`; a last one without neighbour is alone.
 *
 * @example
 * ```ts
 * import { multiplySaturating } from '@lithe/quantization';
 *
 * // 255 * 127 + 255 * 127 = 64770 does not fit 16 bits.
 * const left = Uint8Array.of(255, 255, 255);
 * const right = Int8Array.of(127, 127, 127);
 * const { exact, saturated } = multiplySaturating({ left, right, rows: 1, columns: 1, k: 3 });
 * exact[0]; // => 97155
 * saturated[0]; // => 65152
 * ```
 */
export function multiplySaturating({ left, right, rows, columns, k }: BytesProduct): SaturatedSums {
  const exact = new Int32Array(rows * columns);
  const saturated = new Int32Array(rows * columns);
  const even = k - (k % 2);
  const risky = new Int32Array(even / 2);
  let pairs = 0;
  let sums = 0;
  for (let column = 0; column < columns; column++) {
    const b = column * k;
    const found = riskyPairs(right, b, even, risky);
    for (let row = 0; row < rows; row++) {
      const a = row * k;
      let sum = 0;
      for (let index = 0; index < k; index++) sum = (sum + left[a + index]! * right[b + index]!) | 0;
      let excess = 0;
      let hits = 0;
      for (let at = 0; at < found; at++) {
        const index = risky[at]!;
        const pair = left[a + index]! * right[b + index]! + left[a + index + 1]! * right[b + index + 1]!;
        if (pair > 32767) {
          excess += pair - 32767;
          hits++;
        } else if (pair < -32768) {
          excess += pair + 32768;
          hits++;
        }
      }
      exact[row * columns + column] = sum;
      saturated[row * columns + column] = sum - excess;
      pairs += hits;
      if (hits > 0) sums++;
    }
  }
  return { exact, saturated, pairs, sums };
}

/** Where pairs of weights begin whose sum of products can leave 16 bits at all, of the largest levels; their number. */
function riskyPairs(right: Int8Array, from: number, even: number, into: Int32Array): number {
  let found = 0;
  for (let index = 0; index < even; index += 2) {
    const [first, second] = [right[from + index]!, right[from + index + 1]!];
    const above = Math.max(first, 0) + Math.max(second, 0);
    const below = Math.min(first, 0) + Math.min(second, 0);
    if (255 * above > 32767 || 255 * below < -32768) into[found++] = index;
  }
  return found;
}
