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
  layer: LayerSize,
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
    const { covariance, cross, inputSum, residualSum } = groupMoments(layer, moments, group);
    if (hasBias) {
      const [x, e] = [aboutMean(inputSum, count), aboutMean(residualSum, count)];
      shift(covariance, x, x, count);
      shift(cross, e, x, count);
      for (const sum of residualSum) residual -= (sum * sum) / count;
    }
    const solved = solveGroup(covariance, cross, inputs, options.ridge);
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

/** How large a layer is. */
export type LayerSize = Pick<LinearLayer, 'groups' | 'outputs' | 'inputs'>;

/** The sums of one group, as {@link ResidualMoments} has them of all. */
export interface GroupMoments {
  /** Sum of x x', `[inputs, inputs]`. */
  readonly covariance: Float64Array;
  /** Sum of e x', `[outputs, inputs]`. */
  readonly cross: Float64Array;
  /** Sum of x. */
  readonly inputSum: Float64Array;
  /** Sum of e. */
  readonly residualSum: Float64Array;
}

/** Copies of the sums of one group, less those of some of the positions. */
export function groupMoments(
  { outputs, inputs }: LayerSize,
  moments: ResidualMoments,
  group: number,
  without?: GroupMoments,
): GroupMoments {
  const part = (all: Float64Array, size: number, less: Float64Array | undefined): Float64Array => {
    const sums = all.slice(group * size, (group + 1) * size);
    if (less !== undefined) for (let index = 0; index < size; index++) sums[index]! -= less[index]!;
    return sums;
  };
  return {
    covariance: part(moments.inputs, inputs * inputs, without?.covariance),
    cross: part(moments.cross, outputs * inputs, without?.cross),
    inputSum: part(moments.inputSum, inputs, without?.inputSum),
    residualSum: part(moments.residualSum, outputs, without?.residualSum),
  };
}

/** A vector over positions: its sum, and the point that it is looked at from. */
export interface Shifted {
  /** Over all positions. */
  readonly sum: Float64Array;
  /** Taken from each. */
  readonly origin: Float64Array;
}

/** Looked at from its mean. */
export const aboutMean = (sum: Float64Array, count: number): Shifted => ({
  sum,
  origin: sum.map((value) => value / count),
});

/** Turns sums of products into sums of products of differences from the origins. */
export function shift(products: Float64Array, left: Shifted, right: Shifted, count: number): void {
  const columns = right.sum.length;
  for (let row = 0; row < left.sum.length; row++) {
    const origin = left.origin[row]!;
    const rest = left.sum[row]! - count * origin;
    for (let column = 0; column < columns; column++)
      products[row * columns + column]! -= origin * right.sum[column]! + rest * right.origin[column]!;
  }
}

/**
 * The ridge regression of one group; no correction where the inputs are zero, or no ridge up to 1 makes the matrix positive
 * definite.
 *
 * @param from the ridge, as a share of the mean of the diagonal
 */
export function solveGroup(
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
export function change(
  weight: Float64Array,
  covariance: Float64Array,
  cross: Float64Array,
  inputs: number,
): number {
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
