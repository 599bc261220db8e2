import { errors, Tensor, type Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';

/**
 * Number of classes of scores `[N, C, …]`.
 *
 * @throws {LitheError} OPTIONS_INVALID when it is not known
 */
export function classesOf(scores: Value): number {
  const classes = scores.shape?.[1];
  if (typeof classes !== 'number') {
    throw errors.optionsInvalid('the loss', [`The number of classes of "${scores.name}" is not known.`]);
  }
  return classes;
}

/**
 * 1 where a class is the label, else 0, in the shape and type of the scores. A label that is no class, such as -1, has
 * no 1. For losses of one's own, beside those of this package.
 *
 * @param labels class numbers, int64 or int32, `[N, …]`
 * @param scores what has a place for each class, `[N, C, …]`
 * @throws {LitheError} OPTIONS_INVALID when the number of classes is not known
 */
export function oneHot(emit: Emitter, labels: Value, scores: Value): Value {
  const classes = classesOf(scores);
  const shape = scores.shape?.map((_, axis) => (axis === 1 ? classes : 1)) ?? [];
  const numbers = Tensor.from(
    'int32',
    shape,
    Int32Array.from({ length: classes }, (_, index) => index),
  );
  const spread = emit.op('Unsqueeze', [emit.cast(labels, 'int32'), emit.ints([1])]);
  return emit.mask(emit.op('Equal', [emit.constant(numbers), spread]), scores.dtype ?? 'float32');
}

/**
 * The Huber loss between two values of one shape, averaged over all elements: with d their distance, d^2 / 2 for
 * d <= delta, else delta (d - delta / 2). With c = min(d, delta) that is c (d - c / 2).
 *
 * @param delta where the square turns into a line, above 0
 * @see Huber, "Robust Estimation of a Location Parameter", 1964
 */
export function huberBetween(emit: Emitter, left: Value, right: Value, delta = 1): Value {
  const distance = emit.op('Abs', [emit.sub(left, right)]);
  const clamped = emit.op('Min', [distance, emit.scalar(delta, distance.dtype ?? 'float32')]);
  const each = emit.mul(clamped, emit.sub(distance, emit.scale(clamped, 0.5)));
  return emit.op('ReduceMean', [each], { keepdims: 0 });
}
