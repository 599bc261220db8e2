import { type Model, ReportBuilder, type Value } from '@lithe/core';
import type { Optimizer, UpdateContext } from '@lithe/training';
import { sparseLayers } from './sparse-layer.ts';

/** Which weights an optimizer holds. */
export interface HeldWeights {
  /** Names of weights, or a test. */
  readonly weights: readonly string[] | ((name: string) => boolean);
}

/**
 * Names of the weights that sparsity is for: kernels of convolutions and matrices of products that nothing else reads.
 *
 * @param protect names of weights and nodes to leave out
 */
export function sparsifiableWeights(model: Model, protect: readonly string[] = []): readonly string[] {
  return sparseLayers(model.graph, protect, new ReportBuilder()).map(({ name }) => name);
}

/** The test that says which weights are meant. */
export function matcher({ weights }: HeldWeights): (name: string) => boolean {
  if (typeof weights === 'function') return weights;
  const names = new Set(weights);
  return (name) => names.has(name);
}

/** A scalar of the parameter's type. */
export const scalarOf = ({ emit, parameter }: UpdateContext, value: number): Value =>
  emit.scalar(value, parameter.dtype ?? 'float32');

/** 1 where a weight is zero for good: kept in a slot, and taken from the weights themselves in the first update. */
export function removedBefore(context: UpdateContext): Value {
  const { emit, parameter, step } = context;
  const zero = emit.op('Equal', [parameter, scalarOf(context, 0)]);
  const first = emit.op('LessOrEqual', [step, emit.scalar(1)]);
  return emit.op('Where', [first, emit.cast(zero, parameter.dtype ?? 'float32'), context.slot('removed')]);
}

/** A value with a number in place of what is removed. */
export const withoutRemoved = (
  context: UpdateContext,
  removed: Value,
  value: Value,
  instead: number,
): Value => {
  const gone = context.emit.op('Greater', [removed, scalarOf(context, 0.5)]);
  return context.emit.op('Where', [gone, scalarOf(context, instead), value]);
};

/**
 * An optimizer that leaves zeros alone: weights that are zero before the first update are exactly zero after every
 * update, whatever gradients, momentum and weight decay say. Without it fine-tuning fills the zeros in again. The masks
 * are part of the training state, so runs resume with them.
 *
 * @param optimizer moves the other weights
 * @example
 * ```ts
 * import { optimize } from '@lithe/core';
 * import { holdZeros, sparsifiableWeights, sparsify } from '@lithe/pruning';
 * import { adamW, crossEntropy, mlp, trainingStep } from '@lithe/training';
 *
 * const { model } = await optimize(await mlp({ inputs: 8, hidden: [16], classes: 4 }), [sparsify({ ratio: 0.8 })]);
 * const optimizer = holdZeros(adamW(), { weights: sparsifiableWeights(model) });
 * const step = await trainingStep(model, { loss: crossEntropy({ logits: 'logits' }), optimizer });
 * step.state.some(({ input }) => input === 'removed:linear1.weight'); // => true
 * ```
 */
export function holdZeros(optimizer: Optimizer, options: HeldWeights): Optimizer {
  const matches = matcher(options);
  return {
    name: `${optimizer.name} with zeros held`,
    weightDecay: optimizer.weightDecay,
    update: (context) => {
      const next = optimizer.update(context);
      if (!matches(context.parameter.name)) return next;
      const removed = removedBefore(context);
      context.setSlot('removed', removed);
      return withoutRemoved(context, removed, next, 0);
    },
    ...(optimizer.finish === undefined ? {} : { finish: optimizer.finish }),
  };
}
