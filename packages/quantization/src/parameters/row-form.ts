/** How the elements of a stored tensor become rows along which sums run. */
export interface RowForm {
  /** Matrices in the stack. */
  readonly matrices: number;
  /** Rows of each as it is stored. */
  readonly rows: number;
  /** Columns of each as it is stored. */
  readonly columns: number;
  /** Whether sums run down the columns as stored, so that each matrix is transposed. */
  readonly transposed: boolean;
}

/**
 * Transposes each matrix of a stack, `[matrices, rows, columns]` to `[matrices, columns, rows]`, into `out`. Tiles of 16
 * keep the lines that are read in the cache (measured: faster than larger or smaller tiles).
 */
export function transposeStack<T extends Float32Array | Int8Array | Uint8Array | Int32Array>(
  data: T,
  size: Pick<RowForm, 'matrices' | 'rows' | 'columns'>,
  out: T,
): T {
  const { matrices, rows, columns } = size;
  const tile = 16;
  for (let matrix = 0; matrix < matrices; matrix++) {
    const base = matrix * rows * columns;
    for (let r0 = 0; r0 < rows; r0 += tile) {
      const r1 = Math.min(rows, r0 + tile);
      for (let c0 = 0; c0 < columns; c0 += tile) {
        const c1 = Math.min(columns, c0 + tile);
        for (let column = c0; column < c1; column++) {
          const to = base + column * rows;
          for (let row = r0; row < r1; row++) out[to + row] = data[base + row * columns + column]!;
        }
      }
    }
  }
  return out;
}

/** The elements as rows along which sums run; a new array unless they are stored so. */
export function toRows(data: Float32Array, form: RowForm): Float32Array {
  return form.transposed ? transposeStack(data, form, new Float32Array(data.length)) : data;
}

/** Integers of {@link toRows} in the stored order again; a new array unless they are stored so. */
export function fromRows<T extends Float32Array | Int8Array | Uint8Array | Int32Array>(
  data: T,
  form: RowForm,
): T {
  if (!form.transposed) return data;
  const { matrices, rows, columns } = form;
  return transposeStack(data, { matrices, rows: columns, columns: rows }, data.slice() as T);
}
