import { cholesky } from '@lithe/core';
import type { LinearLayer } from './linear-layer.ts';
import type { ResidualMoments } from './residual-moments.ts';
import { solveRows } from './solve-rows.ts';

/** What is added to a layer so that its outputs come closest to what they should be. */
export interface Correction {
  /** Added to the weight, `[groups * outputs, inputs]`. */
  readonly weight: Float64Array;
  /** Added to the bias, `[groups * outputs]`; zeros without one. */
  readonly bias: Float64Array;
  /** Sum of squared residuals that is left, on the same data. */
  readonly residual: number;
  /** The ridge that was used, as a share of the mean square of an input. */
  readonly ridge: number;
}

/** A ridge for layers with fewer positions than inputs: what the data do not tell stays as it is. */
const RIDGE_OF_FEW = 1e-2;

/**
 * Solves `min over D of sum |e - D x|^2 + ridge m |D|^2`, with m the mean square of an input: the ridge regression of what
 * the outputs lack on what the layer reads. Where the matrix is not positive definite, the ridge grows tenfold.
 *
 * @param rows the weight as it is: a correction is what is left of it in float32
 * @param hasBias whether there is a bias to correct as well
 * @see He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, section 3.1, the
 *   reconstruction of feature maps
 */
export function solveRidge(
  layer: LinearLayer,
  moments: ResidualMoments,
  options: { readonly ridge: number; readonly rows: Float64Array; readonly hasBias: boolean },
): Correction {
  const { groups, outputs, inputs } = layer;
  const { count } = moments;
  const { rows, hasBias } = options;
  const weight = new Float64Array(groups * outputs * inputs);
  const bias = new Float64Array(groups * outputs);
  let { residual } = moments;
  let largest = 0;
  for (let group = 0; group < groups; group++) {
    const covariance = moments.inputs.slice(group * inputs * inputs, (group + 1) * inputs * inputs);
    const cross = moments.cross.slice(group * outputs * inputs, (group + 1) * outputs * inputs);
    const inputSum = moments.inputSum.subarray(group * inputs, (group + 1) * inputs);
    const residualSum = moments.residualSum.subarray(group * outputs, (group + 1) * outputs);
    if (hasBias) {
      centre(covariance, inputSum, inputSum, count);
      centre(cross, residualSum, inputSum, count);
      for (const sum of residualSum) residual -= (sum * sum) / count;
    }
    const from = count < inputs ? Math.max(options.ridge, RIDGE_OF_FEW) : options.ridge;
    const solved = solveGroup(covariance, cross, inputs, from);
    largest = Math.max(largest, solved.ridge);
    const at = group * outputs * inputs;
    for (let index = 0; index < solved.weight.length; index++) {
      const before = rows[at + index]!;
      weight[at + index] = Math.fround(before + solved.weight[index]!) - before;
    }
    residual += change(weight.subarray(at, at + outputs * inputs), covariance, cross, inputs);
    if (!hasBias) continue;
    for (let output = 0; output < outputs; output++) {
      let sum = residualSum[output]!;
      for (let input = 0; input < inputs; input++)
        sum -= weight[at + output * inputs + input]! * inputSum[input]!;
      bias[group * outputs + output] = sum / count;
    }
  }
  return { weight, bias, residual: Math.max(0, residual), ridge: largest };
}

/** Turns sums of products into sums of products of differences from the mean. */
function centre(products: Float64Array, left: Float64Array, right: Float64Array, count: number): void {
  const columns = right.length;
  for (let row = 0; row < left.length; row++) {
    const factor = left[row]! / count;
    for (let column = 0; column < columns; column++)
      products[row * columns + column]! -= factor * right[column]!;
  }
}

function solveGroup(
  covariance: Float64Array,
  cross: Float64Array,
  inputs: number,
  from: number,
): { readonly weight: Float64Array; readonly ridge: number } {
  let trace = 0;
  for (let index = 0; index < inputs; index++) trace += covariance[index * (inputs + 1)]!;
  const none = { weight: new Float64Array(cross.length), ridge: 0 };
  if (!(trace > 0)) return none;
  const mean = trace / inputs;
  for (let ridge = from; ridge <= 1; ridge = Math.max(ridge * 10, 1e-12)) {
    const matrix = covariance.slice();
    for (let index = 0; index < inputs; index++) matrix[index * (inputs + 1)]! += ridge * mean;
    if (!cholesky(matrix, inputs)) continue;
    const weight = cross.slice();
    solveRows(matrix, inputs, weight);
    return { weight, ridge };
  }
  return none;
}

/** How a correction D changes the sum of squares: `tr(D C D') - 2 tr(D X')`. */
function change(weight: Float64Array, covariance: Float64Array, cross: Float64Array, inputs: number): number {
  let total = 0;
  for (let at = 0; at < weight.length; at += inputs) {
    for (let row = 0; row < inputs; row++) {
      const factor = weight[at + row]!;
      if (factor === 0) continue;
      let sum = -2 * cross[at + row]!;
      const from = row * inputs;
      for (let column = 0; column < inputs; column++)
        sum += covariance[from + column]! * weight[at + column]!;
      total += factor * sum;
    }
  }
  return total;
}
