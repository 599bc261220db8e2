import { type Model, type OpSet, standardOps, type Value } from '@lithe/core';
import { Emitter } from '../autodiff/emitter.ts';
import { scalarTensor } from '../autodiff/tensors.ts';
import { type Loss, lossContext } from './loss.ts';

/** A loss that was added to a model. */
export interface AddedLoss {
  /** The loss, a float scalar. */
  readonly value: Value;
  /** Values that no gradient flows back through: what `stop` of a gradient request takes. */
  readonly detached: ReadonlySet<Value>;
}

/**
 * Adds a loss to a model outside training, in place: to look at its gradients, for instance. What the loss compares with
 * becomes inputs of the model. Weights and state of the loss itself stay where they start, and no update was made yet.
 *
 * @param model its shapes must be inferred
 * @throws {LitheError} OPTIONS_INVALID when the loss does not fit the model
 */
export function addLoss(model: Model, loss: Loss, opset: OpSet = standardOps): AddedLoss {
  const { graph } = model;
  const emit = new Emitter(graph, opset, 'loss/');
  const context = lossContext({
    graph,
    emit,
    opsetImports: model.opsetImports,
    step: emit.constant(scalarTensor(0, 'float32')),
    addState: (name, initial) => ({
      input: graph.addInitializer(graph.uniqueName(name), initial),
      finish: () => undefined,
    }),
  });
  return { value: loss.build(context), detached: context.detached };
}
