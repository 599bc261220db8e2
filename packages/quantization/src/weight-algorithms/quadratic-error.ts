import type { InputMoments } from './weight-algorithm.ts';

/** Rows that share the reads of H. */
const ROWS = 4;

/** `D H D'` for each row D of a change of weights, in float64: `rows * inputs^2` multiply-adds. */
export function quadraticError(change: Float32Array, moments: InputMoments): Float64Array {
  const { inputs, hessian } = moments;
  const rows = change.length / inputs;
  const errors = new Float64Array(rows);
  const products = new Float64Array(ROWS * inputs);
  for (let first = 0; first < rows; first += ROWS) {
    const count = Math.min(ROWS, rows - first);
    products.fill(0);
    for (let p = 0; p < inputs; p++) {
      const [x0, x1, x2, x3] = [0, 1, 2, 3].map((row) =>
        row < count ? change[(first + row) * inputs + p]! : 0,
      ) as [number, number, number, number];
      const at = p * inputs;
      for (let c = 0; c < inputs; c++) {
        const h = hessian[at + c]!;
        products[c]! += x0 * h;
        products[inputs + c]! += x1 * h;
        products[2 * inputs + c]! += x2 * h;
        products[3 * inputs + c]! += x3 * h;
      }
    }
    for (let row = 0; row < count; row++) {
      let sum = 0;
      const from = (first + row) * inputs;
      for (let c = 0; c < inputs; c++) sum += products[row * inputs + c]! * change[from + c]!;
      errors[first + row] = Math.max(0, sum);
    }
  }
  return errors;
}
