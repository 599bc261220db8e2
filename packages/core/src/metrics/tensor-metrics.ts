import type { Tensor } from '../tensor/tensor.ts';
import {
  addDifference,
  cosineOf,
  type DifferenceSums,
  emptySums,
  maxRelativeOf,
  sqnrOf,
} from './difference.ts';

function sumsOf(expected: Tensor, actual: Tensor): DifferenceSums {
  const sums = emptySums();
  addDifference(sums, expected, actual);
  return sums;
}

/**
 * Signal to quantization-noise ratio in decibels: `10 log10(sum e^2 / sum (e - a)^2)`, `e` expected, `a` actual.
 * Infinite when equal; minus infinity when the expected tensor is zero and the actual one is not, or when a NaN or
 * infinity stands on one side only. NaN on both sides counts as equal.
 *
 * @param expected any numeric dtype
 * @param actual the same shape, any numeric dtype
 * @throws {LitheError} SHAPE_MISMATCH when shapes differ; DTYPE_UNSUPPORTED for strings
 *
 * @example
 * ```ts
 * import { sqnrDb, Tensor } from '@lithe/core';
 *
 * const expected = Tensor.from('float32', [2], new Float32Array([3, 4]));
 * const actual = Tensor.from('float32', [2], new Float32Array([3, 4.5]));
 * sqnrDb(expected, actual); // => 20
 * ```
 */
export function sqnrDb(expected: Tensor, actual: Tensor): number {
  return sqnrOf(sumsOf(expected, actual));
}

/**
 * Cosine of the angle between two tensors taken as vectors, in [-1, 1]. 1 when equal (two zero vectors too), 0 when
 * just one is zero, or when a NaN or infinity stands on one side only.
 *
 * @throws {LitheError} SHAPE_MISMATCH when shapes differ; DTYPE_UNSUPPORTED for strings
 */
export function cosineSimilarity(expected: Tensor, actual: Tensor): number {
  return cosineOf(sumsOf(expected, actual));
}

/**
 * Largest absolute difference of two elements; infinite when a NaN or infinity stands on one side only.
 *
 * @throws {LitheError} SHAPE_MISMATCH when shapes differ; DTYPE_UNSUPPORTED for strings
 */
export function maxAbsError(expected: Tensor, actual: Tensor): number {
  return sumsOf(expected, actual).maxAbs;
}

/**
 * {@link maxAbsError} over the largest magnitude of an expected element: an error relative to the scale of the tensor,
 * so that elements near zero do not decide. Infinite when the expected tensor is zero and the actual one is not.
 *
 * @throws {LitheError} SHAPE_MISMATCH when shapes differ; DTYPE_UNSUPPORTED for strings
 */
export function maxRelative(expected: Tensor, actual: Tensor): number {
  return maxRelativeOf(sumsOf(expected, actual));
}
