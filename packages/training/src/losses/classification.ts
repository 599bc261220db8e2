import { errors, type Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';
import { classesOf, oneHot } from './building-blocks.ts';
import type { Loss, LossContext } from './loss.ts';

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions {
  /** Output that holds scores before softmax, `[N, C]` or `[N, C, …]`. */
  readonly logits: string;
  /** Name of the target input; `label` by default. */
  readonly target?: string | undefined;
  /**
   * What the target holds: class numbers (int64, `[N]` or `[N, …]`, the default), or a probability for each class in
   * the shape of the scores.
   */
  readonly targets?: 'labels' | 'probabilities' | undefined;
  /** Share of probability spread evenly over all classes (Szegedy et al., 2016); 0 by default. */
  readonly labelSmoothing?: number | undefined;
  /** Samples with this label count for nothing; none by default. Only with labels. */
  readonly ignoreIndex?: number | undefined;
}

/**
 * Cross-entropy of softmax scores with labels or probabilities, averaged over the samples (those that count):
 * -sum_c t_c log softmax(z)_c. With smoothing e, t = (1 - e) onehot + e / C. A label that is neither a class nor ignored
 * makes the loss NaN, at which `fit` stops.
 *
 * @throws {LitheError} OPTIONS_INVALID when an option is out of range, or when probabilities are to be ignored by a label
 */
export function crossEntropy(options: CrossEntropyOptions): Loss {
  const { labelSmoothing = 0, ignoreIndex, target = 'label', targets = 'labels' } = options;
  if (!(labelSmoothing >= 0 && labelSmoothing < 1))
    throw errors.optionsInvalid('crossEntropy', ['"labelSmoothing" must be in [0, 1).']);
  if (ignoreIndex !== undefined && (targets === 'probabilities' || !Number.isInteger(ignoreIndex)))
    throw errors.optionsInvalid('crossEntropy', ['"ignoreIndex" is a whole number, and needs labels.']);
  return {
    name: 'cross-entropy',
    build: (context) => {
      const { emit } = context;
      const logits = context.value(options.logits);
      const shape = logits.shape;
      if (shape === undefined || shape.length < 2) {
        throw errors.optionsInvalid('crossEntropy', [
          `"${logits.name}" must be of shape [N, C] or [N, C, …].`,
        ]);
      }
      const classes = classesOf(logits);
      const logProbabilities = emit.op('LogSoftmax', [logits], { axis: 1 });
      if (targets === 'probabilities') {
        const wanted = context.target(target, logits.dtype ?? 'float32', shape);
        const each = emit.neg(
          emit.sum(emit.mul(smooth(emit, wanted, classes, labelSmoothing), logProbabilities), [1], false),
        );
        return emit.op('ReduceMean', [each], { keepdims: 0 });
      }
      const labels = context.target(target, 'int64', [shape[0] ?? null, ...shape.slice(2)]);
      const wanted = smooth(emit, oneHot(emit, labels, logits), classes, labelSmoothing);
      const dtype = logits.dtype ?? 'float32';
      const ignored =
        ignoreIndex === undefined
          ? undefined
          : emit.op('Equal', [emit.cast(labels, 'int32'), emit.scalar(ignoreIndex, 'int32')]);
      const known = isClass(emit, labels, classes);
      const counts = ignored === undefined ? known : emit.op('Or', [known, ignored]);
      const loss = emit.neg(emit.sum(emit.mul(wanted, logProbabilities), [1], false));
      const each = emit.op('Where', [counts, loss, emit.scalar(Number.NaN, dtype)]);
      if (ignored === undefined) return emit.op('ReduceMean', [each], { keepdims: 0 });
      const counted = emit.mask(emit.op('Not', [ignored]), dtype);
      const total = emit.op('ReduceSum', [emit.mul(each, counted)], { keepdims: 0 });
      const count = emit.op('ReduceSum', [counted], { keepdims: 0 });
      // A batch in which nothing counts has loss 0, not 0 / 0.
      return emit.div(total, emit.op('Max', [count, emit.scalar(1, dtype)]));
    },
  };
}

/** Whether a label is a class. Compared as floats, which every runtime can; class numbers are exact in them. */
function isClass(emit: Emitter, labels: Value, classes: number): Value {
  const numbers = emit.cast(labels, 'float32');
  return emit.op('And', [
    emit.op('GreaterOrEqual', [numbers, emit.scalar(0)]),
    emit.op('Less', [numbers, emit.scalar(classes)]),
  ]);
}

function smooth(emit: Emitter, wanted: Value, classes: number, share: number): Value {
  return share === 0 ? wanted : emit.shift(emit.scale(wanted, 1 - share), share / classes);
}

/** Options of {@link binaryCrossEntropy}. */
export interface BinaryCrossEntropyOptions {
  /** Output that holds scores before the sigmoid. */
  readonly logits: string;
  /** Name of the target input, of the scores' shape, with values in [0, 1]; `target` by default. */
  readonly target?: string | undefined;
}

/**
 * Binary cross-entropy of sigmoid scores, averaged over all elements, in the form that does not overflow:
 * max(z, 0) - z t + log(1 + exp(-|z|)). Its slope is sigmoid(z) - t everywhere.
 */
export function binaryCrossEntropy(options: BinaryCrossEntropyOptions): Loss {
  return {
    name: 'binary cross-entropy',
    build: (context: LossContext) => {
      const { emit } = context;
      const logits = context.value(options.logits);
      const wanted = context.target(
        options.target ?? 'target',
        logits.dtype ?? 'float32',
        logits.shape ?? [],
      );
      const size = emit.op('Abs', [logits]);
      const tail = emit.op('Softplus', [emit.neg(size)]);
      // max(z, 0) as (z + |z|) / 2, whose slope at 0 is 1/2: a head that starts at zeros begins there, and the slope of
      // Relu at 0 would leave half of its gradient out.
      const positive = emit.scale(emit.add(logits, size), 0.5);
      const each = emit.add(emit.sub(positive, emit.mul(logits, wanted)), tail);
      return emit.op('ReduceMean', [each], { keepdims: 0 });
    },
  };
}
