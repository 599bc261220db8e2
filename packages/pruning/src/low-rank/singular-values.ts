/** `A = U diag(s) V'`, singular values from the largest down. */
export interface SingularValues {
  /** `[count]`, with count the smaller of rows and columns. */
  readonly values: Float64Array;
  /** Left singular vectors as rows, `[count, rows]`. */
  readonly left: Float64Array;
  /** Right singular vectors as rows, `[count, columns]`. */
  readonly right: Float64Array;
}

/** How {@link singularValues} may be stopped, and says how far it is. */
export interface SvdOptions {
  /** Cancellation, checked for every row. */
  readonly signal?: AbortSignal | undefined;
  /** Called after each sweep with the largest cosine between two rows that it met. */
  readonly onSweep?: ((sweep: number, cosine: number) => void) | undefined;
}

const LARGEST_SWEEPS = 40;
/** Rows whose cosine is below this count as orthogonal. */
const ORTHOGONAL = 1e-13;

/**
 * Turns two rows until they are orthogonal, and the same two rows of the turns with them.
 *
 * @returns the cosine between them before
 */
function turn(
  a: Float64Array,
  columns: number,
  turns: Float64Array,
  size: number,
  p: number,
  q: number,
): number {
  let [alpha, beta, gamma] = [0, 0, 0];
  const atP = p * columns;
  const atQ = q * columns;
  for (let i = 0; i < columns; i++) {
    const x = a[atP + i]!;
    const y = a[atQ + i]!;
    alpha += x * x;
    beta += y * y;
    gamma += x * y;
  }
  const cosine = Math.abs(gamma) / Math.sqrt(alpha * beta);
  // A row of zeros is orthogonal to all others.
  if (!(cosine > ORTHOGONAL)) return 0;
  const zeta = (beta - alpha) / (2 * gamma);
  const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
  const c = 1 / Math.hypot(1, tangent);
  const s = c * tangent;
  for (let i = 0; i < columns; i++) {
    const x = a[atP + i]!;
    const y = a[atQ + i]!;
    a[atP + i] = c * x - s * y;
    a[atQ + i] = s * x + c * y;
  }
  for (let i = p * size, j = q * size, end = i + size; i < end; i++, j++) {
    const x = turns[i]!;
    const y = turns[j]!;
    turns[i] = c * x - s * y;
    turns[j] = s * x + c * y;
  }
  return cosine;
}

/** Makes rows orthogonal in place by Jacobi rotations; gives the product of the rotations. */
function orthogonalize(a: Float64Array, rows: number, columns: number, options: SvdOptions): Float64Array {
  const turns = new Float64Array(rows * rows);
  for (let row = 0; row < rows; row++) turns[row * (rows + 1)] = 1;
  for (let sweep = 0; sweep < LARGEST_SWEEPS; sweep++) {
    let largest = 0;
    for (let p = 0; p < rows - 1; p++) {
      options.signal?.throwIfAborted();
      for (let q = p + 1; q < rows; q++) largest = Math.max(largest, turn(a, columns, turns, rows, p, q));
    }
    options.onSweep?.(sweep + 1, largest);
    if (largest <= ORTHOGONAL) break;
  }
  return turns;
}

/** A lower triangular L with `A = L Q` and orthonormal rows of Q in place of A, by Gram-Schmidt, done twice. */
function triangularize(a: Float64Array, rows: number, columns: number, signal?: AbortSignal): Float64Array {
  const lower = new Float64Array(rows * rows);
  for (let row = 0; row < rows; row++) {
    signal?.throwIfAborted();
    const at = row * columns;
    let before = 0;
    for (let i = 0; i < columns; i++) before += a[at + i]! * a[at + i]!;
    // Twice is enough (Giraud, Langou and Rozloznik, 2005).
    for (let pass = 0; pass < 2; pass++) {
      for (let other = 0; other < row; other++) {
        const from = other * columns;
        let product = 0;
        for (let i = 0; i < columns; i++) product += a[at + i]! * a[from + i]!;
        if (product === 0) continue;
        lower[row * rows + other]! += product;
        for (let i = 0; i < columns; i++) a[at + i]! -= product * a[from + i]!;
      }
    }
    let norm = 0;
    for (let i = 0; i < columns; i++) norm += a[at + i]! * a[at + i]!;
    const isNew = norm > before * 1e-28;
    const root = isNew ? Math.sqrt(norm) : 0;
    lower[row * (rows + 1)] = root;
    for (let i = 0; i < columns; i++) a[at + i] = isNew ? a[at + i]! / root : 0;
  }
  return lower;
}

/** `left [n, k] right [k, m]`. */
function product(left: Float64Array, right: Float64Array, inner: number, columns: number): Float64Array {
  const rows = left.length / inner;
  const out = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < inner; k++) {
      const factor = left[row * inner + k]!;
      if (factor === 0) continue;
      const from = k * columns;
      const to = row * columns;
      for (let i = 0; i < columns; i++) out[to + i]! += factor * right[from + i]!;
    }
  }
  return out;
}

/** For no more rows than columns. */
function wide(matrix: Float64Array, rows: number, columns: number, options: SvdOptions): SingularValues {
  const basis = matrix.slice();
  // A matrix much wider than high: rotations of its triangle cost less, and converge sooner.
  const isLong = columns > 1.2 * rows;
  const core = isLong ? triangularize(basis, rows, columns, options.signal) : basis;
  const width = isLong ? rows : columns;
  const turns = orthogonalize(core, rows, width, options);
  const norms = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let i = row * width; i < (row + 1) * width; i++) sum += core[i]! * core[i]!;
    norms[row] = Math.sqrt(sum);
  }
  const order = Array.from(norms, (_, row) => row).sort((one, two) => norms[two]! - norms[one]!);
  const values = new Float64Array(rows);
  const left = new Float64Array(rows * rows);
  const units = new Float64Array(rows * width);
  for (const [place, row] of order.entries()) {
    const norm = norms[row]!;
    values[place] = norm;
    left.set(turns.subarray(row * rows, (row + 1) * rows), place * rows);
    if (norm === 0) continue;
    for (let i = 0; i < width; i++) units[place * width + i] = core[row * width + i]! / norm;
  }
  return { values, left, right: isLong ? product(units, basis, rows, columns) : units };
}

/**
 * The singular value decomposition by one-sided Jacobi rotations, in float64: relatively accurate for small singular
 * values too. At most 40 sweeps of `rows^2 columns` multiplications (6 to 10 are usual). Vectors of singular values that
 * are zero are zeros.
 *
 * @param matrix `[rows, columns]`, row-major; is not changed
 * @see Demmel and Veselic, "Jacobi's Method is More Accurate than QR", SIAM J. Matrix Anal. Appl. 13, 1992
 */
export function singularValues(
  matrix: Float64Array,
  rows: number,
  columns: number,
  options: SvdOptions = {},
): SingularValues {
  if (rows <= columns) return wide(matrix, rows, columns, options);
  const flipped = new Float64Array(matrix.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      flipped[column * rows + row] = matrix[row * columns + column]!;
  const { values, left, right } = wide(flipped, columns, rows, options);
  return { values, left: right, right: left };
}
