import { errors, type Value } from '@lithe/core';
import { huberBetween } from './building-blocks.ts';
import type { Loss, LossContext } from './loss.ts';

/** Options of losses that compare an output with a target of its shape. */
export interface RegressionOptions {
  /** Output to compare. */
  readonly output: string;
  /** Name of the target input; `target` by default. */
  readonly target?: string | undefined;
}

function pair(
  context: LossContext,
  options: RegressionOptions,
): { readonly output: Value; readonly wanted: Value } {
  const output = context.value(options.output);
  const wanted = context.target(options.target ?? 'target', output.dtype ?? 'float32', output.shape ?? []);
  return { output, wanted };
}

/** Mean squared error over all elements. */
export function meanSquaredError(options: RegressionOptions): Loss {
  return {
    name: 'mean squared error',
    build: (context) => {
      const { emit } = context;
      const { output, wanted } = pair(context, options);
      const difference = emit.sub(output, wanted);
      return emit.op('ReduceMean', [emit.mul(difference, difference)], { keepdims: 0 });
    },
  };
}

/** Options of {@link huber}. */
export interface HuberOptions extends RegressionOptions {
  /** Where the square turns into a line; 1 by default. */
  readonly delta?: number | undefined;
}

/**
 * Huber loss, averaged over all elements: d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2) (Huber, 1964).
 */
export function huber(options: HuberOptions): Loss {
  const { delta = 1 } = options;
  if (!(delta > 0)) throw errors.optionsInvalid('huber', ['"delta" must be above 0.']);
  return {
    name: 'Huber',
    build: (context) => {
      const { output, wanted } = pair(context, options);
      return huberBetween(context.emit, output, wanted, delta);
    },
  };
}

/** Options of {@link klDivergence}. */
export interface KlOptions {
  /** Output that holds scores before softmax, `[N, C]`. */
  readonly logits: string;
  /** Name of the target input, probabilities of the scores' shape; `target` by default. */
  readonly target?: string | undefined;
}

/**
 * Kullback-Leibler divergence from softmax scores to target probabilities, summed over classes, averaged over the batch: sum t (log t - log p), with 0 log 0 = 0.
 *
 * @throws {LitheError} OPTIONS_INVALID when it is built on scores of another rank
 */
export function klDivergence(options: KlOptions): Loss {
  return {
    name: 'KL divergence',
    build: (context) => {
      const { emit } = context;
      const { output: logits, wanted } = pair(context, { output: options.logits, target: options.target });
      if (logits.shape?.length !== 2)
        throw errors.optionsInvalid('klDivergence', [`"${logits.name}" must be of shape [N, C].`]);
      const dtype = logits.dtype ?? 'float32';
      const safe = emit.op('Max', [wanted, emit.scalar(1e-30, dtype)]);
      const difference = emit.sub(emit.op('Log', [safe]), emit.op('LogSoftmax', [logits], { axis: -1 }));
      return emit.op('ReduceMean', [emit.sum(emit.mul(wanted, difference), [-1], false)], { keepdims: 0 });
    },
  };
}

/** Cosine distance, 1 - cos of the angle along the last axis, averaged. */
export function cosineDistance(options: RegressionOptions): Loss {
  return {
    name: 'cosine distance',
    build: (context) => {
      const { emit } = context;
      const { output, wanted } = pair(context, options);
      const norm = (value: Value): Value =>
        emit.op('Sqrt', [emit.shift(emit.sum(emit.mul(value, value), [-1], false), 1e-12)]);
      const cosine = emit.div(
        emit.sum(emit.mul(output, wanted), [-1], false),
        emit.mul(norm(output), norm(wanted)),
      );
      return emit.sub(
        emit.scalar(1, output.dtype ?? 'float32'),
        emit.op('ReduceMean', [cosine], { keepdims: 0 }),
      );
    },
  };
}
