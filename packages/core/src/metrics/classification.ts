import { errors, formatShape } from '../errors/catalogue.ts';
import type { NumericArray } from '../tensor/dtype.ts';
import { isInteger } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { argmax, numbersOf } from './numbers.ts';

/** Rows of a tensor along its last axis, and how many have the same largest element in both. */
export interface RowAgreement {
  /** Rows compared. */
  readonly rows: number;
  /** Rows whose largest element is at the same place. */
  readonly agreeing: number;
}

/** Counts rows whose largest element is at the same place. A row with NaN agrees only with one whose NaN is there too. */
export function countAgreement(expected: Tensor, actual: Tensor, name = 'actual'): RowAgreement {
  if (expected.shape.join() !== actual.shape.join()) {
    throw errors.outputMismatch(
      name,
      `has shape ${formatShape(actual.shape)}, expected ${formatShape(expected.shape)}`,
    );
  }
  const classes = expected.shape.at(-1);
  if (classes === undefined || classes === 0) return { rows: 0, agreeing: 0 };
  const left = numbersOf(expected, 'Agreement');
  const right = numbersOf(actual, 'Agreement');
  const rows = expected.size / classes;
  let agreeing = 0;
  for (let row = 0; row < rows; row++) {
    const start = row * classes;
    const place = argmax(left, start, start + classes);
    if (place !== argmax(right, start, start + classes)) continue;
    if (Number.isNaN(left[start + place]) === Number.isNaN(right[start + place])) agreeing++;
  }
  return { rows, agreeing };
}

/**
 * Share of rows, in [0, 1], whose largest element is at the same place: top-1 agreement of two tensors of class
 * scores `[…, classes]`. Of equal elements the first counts. 1 when there are no rows.
 *
 * @throws {LitheError} SHAPE_MISMATCH when shapes differ; DTYPE_UNSUPPORTED for strings
 */
export function agreement(expected: Tensor, actual: Tensor): number {
  const { rows, agreeing } = countAgreement(expected, actual);
  return rows === 0 ? 1 : agreeing / rows;
}

/**
 * Share of samples, in [0, 1], whose label is among the `k` largest scores. Of equal scores the lower class counts as
 * the larger, so that constant scores earn nothing; a label whose score is NaN is a miss, and a NaN elsewhere counts
 * as larger.
 *
 * @param scores `[N, classes]`
 * @param labels class indices, an integer tensor of `N` elements
 * @param k how many classes count; 1 by default
 * @throws {LitheError} SHAPE_MISMATCH when ranks or sizes do not fit; VALUE_OUT_OF_RANGE for a label that is no class
 *
 * @example
 * ```ts
 * import { Tensor, topKAccuracy } from '@lithe/core';
 *
 * const scores = Tensor.from('float32', [2, 3], new Float32Array([0.1, 0.7, 0.2, 0.5, 0.2, 0.3]));
 * const labels = Tensor.from('int64', [2], new BigInt64Array([1n, 2n]));
 * topKAccuracy(scores, labels); // => 0.5
 * topKAccuracy(scores, labels, 2); // => 1
 * ```
 */
export function topKAccuracy(scores: Tensor, labels: Tensor, k = 1): number {
  const [samples, classes] = scores.shape;
  if (scores.shape.length !== 2 || samples === undefined || classes === undefined) {
    throw errors.outputMismatch('scores', `has shape ${formatShape(scores.shape)}, expected [N, classes]`);
  }
  if (!isInteger(labels.dtype))
    throw errors.dtypeUnsupported('Labels', labels.dtype, ['int64', 'int32', 'uint8']);
  if (labels.size !== samples) {
    throw errors.outputMismatch(
      'labels',
      `has shape ${formatShape(labels.shape)}, expected ${samples} elements`,
    );
  }
  if (!Number.isSafeInteger(k) || k < 1)
    throw errors.valueOutOfRange('k of topKAccuracy', k, 'the whole numbers from 1');
  const values = numbersOf(scores, 'Top-k accuracy');
  const classOf =
    labels.dtype === 'int4' || labels.dtype === 'uint4'
      ? labels.toFloat64Array()
      : (labels.data as NumericArray);
  let hits = 0;
  for (let sample = 0; sample < samples; sample++) {
    const label = Number(classOf[sample]);
    if (label < 0 || label >= classes) {
      throw errors.valueOutOfRange(`Label ${sample}`, label, `the classes 0 to ${classes - 1}`);
    }
    if (rankOf(values, sample * classes, classes, label) < k) hits++;
  }
  return samples === 0 ? 0 : hits / samples;
}

/** How many classes come before `label`. */
function rankOf(values: Float32Array | Float64Array, start: number, classes: number, label: number): number {
  const score = values[start + label]!;
  if (Number.isNaN(score)) return classes;
  let rank = 0;
  for (let index = 0; index < classes; index++) {
    const other = values[start + index]!;
    if (other > score || Number.isNaN(other) || (other === score && index < label)) rank++;
  }
  return rank;
}
