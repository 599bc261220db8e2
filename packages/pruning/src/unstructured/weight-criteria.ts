import { errors, type Tensor } from '@lithe/core';
import { toMatrix } from './sparse-layer.ts';
import type { SparsityCriterion } from './sparsity-criterion.ts';

/**
 * The size of a weight: |w|, or w² with `norm: 'l2'`. For single weights both choose the same; a block is judged by the
 * mean over its weights, where w² listens more to the largest.
 *
 * @see Han, Pool, Tran and Dally, "Learning both Weights and Connections for Efficient Neural Networks", NIPS 2015
 */
export function weightMagnitude(
  options: { readonly norm?: 'l1' | 'l2' | undefined } = {},
): SparsityCriterion {
  const isSquared = options.norm === 'l2';
  return {
    name: isSquared ? 'l2' : 'l1',
    needs: 'weights',
    scope: 'local',
    score: ({ matrix }) =>
      isSquared ? matrix.map((weight) => weight * weight) : matrix.map((weight) => Math.abs(weight)),
  };
}

/** The first place in ascending numbers that is not below one of them. */
function placeOf(sorted: Float32Array, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * w² as a share of the sum of those of the same layer that are no smaller: what makes sizes comparable between layers,
 * so that all compete. Each layer keeps at least its largest weight. Networks with normalization are where plain sizes
 * are not comparable: any factor on a kernel is undone behind it.
 *
 * @see Lee, Park, Mo, Ahn and Shin, "Layer-adaptive Sparsity for the Magnitude-based Pruning" (LAMP), ICLR 2021,
 *   equation 5
 */
export function lampWeights(): SparsityCriterion {
  return {
    name: 'lamp',
    needs: 'weights',
    scope: 'global',
    score: ({ matrix }) => {
      const squares = matrix.map((weight) => weight * weight);
      const sorted = squares.toSorted();
      const sums = new Float64Array(sorted.length + 1);
      for (let index = sorted.length - 1; index >= 0; index--)
        sums[index] = sums[index + 1]! + sorted[index]!;
      return squares.map((square) => (square === 0 ? 0 : square / sums[placeOf(sorted, square)]!));
    },
  };
}

/**
 * |w| times the norm of the input that it is multiplied with, on calibration data; weights of one output compete with each
 * other. One pass over the data, and no weight but the removed ones changes.
 *
 * @see Sun, Liu, Bair and Kolter, "A Simple and Effective Pruning Approach for Large Language Models" (Wanda), ICLR
 *   2024, equation 1
 */
export function wandaWeights(): SparsityCriterion {
  return {
    name: 'wanda',
    needs: 'input-squares',
    scope: 'row',
    score: ({ matrix, layer, statistics }) => {
      if (statistics === undefined) throw errors.internal(`no statistics of what "${layer.name}" reads`);
      const { inputs, outputs, groups } = layer;
      const scores = new Float32Array(matrix.length);
      const norms = statistics.squares.map((squares) =>
        squares.map((sum) => Math.sqrt(sum / statistics.rows)),
      );
      for (let row = 0; row < outputs; row++) {
        const norm = norms[Math.floor((row * groups) / outputs)] as Float64Array;
        for (let column = 0; column < inputs; column++)
          scores[row * inputs + column] = Math.abs(matrix[row * inputs + column]!) * norm[column]!;
      }
      return scores;
    },
  };
}

/**
 * Scores found elsewhere, one a weight, in the form in which the weight is stored: the largest stay. Movement scores come
 * out of training this way.
 *
 * @param scores by name of the weight; weights without one are left alone
 * @param name for reports
 */
export function givenScores(scores: ReadonlyMap<string, Tensor>, name = 'given'): SparsityCriterion {
  return {
    name,
    needs: 'weights',
    scope: 'local',
    covers: (weight) => scores.has(weight),
    score: ({ layer, matrix }) => {
      const given = scores.get(layer.name);
      if (given === undefined || given.shape.join() !== layer.source.shape.join())
        throw errors.optionsInvalid('sparsify', [
          `The scores of weight "${layer.name}" are ${given === undefined ? 'missing' : given.toString()}; its shape is [${layer.source.shape.join(', ')}].`,
        ]);
      return toMatrix(layer, Float32Array.from(given.toFloat64Array()), new Float32Array(matrix.length));
    },
  };
}
