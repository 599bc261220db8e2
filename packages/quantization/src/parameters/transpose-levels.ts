/** A stack of matrices. */
export interface MatrixStack {
  /** Number of matrices. */
  readonly matrices: number;
  /** Rows of each. */
  readonly rows: number;
  /** Columns of each. */
  readonly columns: number;
}

/** Transposes each matrix of a stack of 8-bit integers, in tiles that stay in the cache. */
export function transposeLevels(levels: Int8Array, stack: MatrixStack): Int8Array {
  const { matrices, rows, columns } = stack;
  const out = new Int8Array(levels.length);
  const tile = 64;
  for (let matrix = 0; matrix < matrices; matrix++) {
    const base = matrix * rows * columns;
    for (let r0 = 0; r0 < rows; r0 += tile) {
      const r1 = Math.min(rows, r0 + tile);
      for (let c0 = 0; c0 < columns; c0 += tile) {
        const c1 = Math.min(columns, c0 + tile);
        for (let column = c0; column < c1; column++) {
          for (let row = r0; row < r1; row++)
            out[base + column * rows + row] = levels[base + row * columns + column]!;
        }
      }
    }
  }
  return out;
}
