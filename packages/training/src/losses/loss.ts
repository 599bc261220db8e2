import { type Dim, type DType, errors, type Graph, tensorType, type Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';

/** What a loss is built with. */
export interface LossContext {
  /** Adds nodes to the training graph. */
  readonly emit: Emitter;
  /** The graph. */
  readonly graph: Graph;
  /**
   * A value of the model by name: usually an output.
   *
   * @throws {LitheError} OPTIONS_INVALID when there is none
   */
  value(name: string): Value;
  /**
   * An input for what the model should say. Asking twice for one name gives the same input.
   *
   * @throws {LitheError} OPTIONS_INVALID when the name is taken by a value of another dtype or rank
   */
  target(name: string, dtype: DType, shape: readonly Dim[]): Value;
}

/** A loss: a value that adds nodes to a training graph and gives a scalar. */
export interface Loss {
  /** Name, for reports. */
  readonly name: string;
  /** Adds the loss and gives it, a float scalar. */
  build(context: LossContext): Value;
}

/** Makes the context that losses are built with. */
export function lossContext(graph: Graph, emit: Emitter): LossContext {
  return {
    emit,
    graph,
    value: (name) => {
      const found = graph.value(name);
      if (found === undefined) {
        const outputs = graph.outputs.map((output) => `"${output.name}"`).join(', ');
        throw errors.optionsInvalid(
          'the loss',
          [`The model has no value called "${name}".`],
          `Its outputs are ${outputs}.`,
        );
      }
      return found;
    },
    target: (name, dtype, shape) => {
      const known = graph.value(name);
      if (known === undefined) return graph.addInput(name, tensorType(dtype, shape));
      if (known.dtype === dtype && known.shape?.length === shape.length) return known;
      throw errors.optionsInvalid('the loss', [
        `"${name}" is ${known.dtype} of rank ${known.shape?.length} already, where ${dtype} of rank ${shape.length} is wanted.`,
      ]);
    },
  };
}

/** One part of a {@link weightedSum}. */
export interface WeightedLoss {
  /** The part. */
  readonly loss: Loss;
  /** Its factor. */
  readonly weight: number;
}

/** A sum of losses with factors: task loss and distillation loss, for instance. */
export function weightedSum(parts: readonly WeightedLoss[]): Loss {
  if (parts.length === 0) throw errors.optionsInvalid('weightedSum', ['There is nothing to sum.']);
  return {
    name: parts.map(({ loss, weight }) => `${weight} ${loss.name}`).join(' + '),
    build: (context) => {
      const terms = parts.map(({ loss, weight }) => context.emit.scale(loss.build(context), weight));
      return terms.reduce((left, right) => context.emit.add(left, right));
    },
  };
}
