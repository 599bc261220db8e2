import { type Dim, type DType, errors, type Graph, type Tensor, tensorType, type Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';

/** What a loss is built with. */
export interface LossContext {
  /** Adds nodes to the training graph. */
  readonly emit: Emitter;
  /** The graph. */
  readonly graph: Graph;
  /** Operator domains of the training model and their versions: to be added to by a loss that brings others in. */
  readonly opsetImports: Map<string, number>;
  /**
   * A value of the model by name: usually an output.
   *
   * @throws {LitheError} OPTIONS_INVALID when there is none
   */
  value(name: string): Value;
  /**
   * An input for what the model should say. Asking twice for one name gives the same input.
   *
   * @throws {LitheError} OPTIONS_INVALID when the name is taken by an input of another dtype or rank, or by a value that is
   *   no input
   */
  target(name: string, dtype: DType, shape: readonly Dim[]): Value;
  /**
   * A weight of the loss itself, which learns with the model's and is left behind when training ends: a projection
   * between two sizes of features, for instance. Asking twice for one name gives the same weight.
   *
   * @param name made unique by the prefix `loss:`
   * @param initial where it starts, of a float dtype
   */
  parameter(name: string, initial: Tensor): Value;
  /**
   * A value that the loss carries from step to step without a gradient, such as a memory of features.
   *
   * @param name made unique by the prefix `loss:`
   * @param initial where it starts
   */
  state(name: string, initial: Tensor): LossState;
  /** The value as a constant: no gradient flows back through the result. */
  detach(value: Value): Value;
  /** Number of updates made before this step, a float32 scalar: for weights that grow or fade with time. */
  step(): Value;
}

/** A value that a loss carries from step to step. */
export interface LossState {
  /** Its value before the step. */
  readonly input: Value;
  /** Sets its value after the step; to be called once. */
  finish(next: Value): void;
}

/** A loss: a value that adds nodes to a training graph and gives a scalar. */
export interface Loss {
  /** Name, for reports. */
  readonly name: string;
  /** Adds the loss and gives it, a float scalar. */
  build(context: LossContext): Value;
}

/** A {@link LossContext}, and what a loss asked it for. */
export interface BuiltLossContext extends LossContext {
  /** Weights of the loss. */
  readonly parameters: readonly Value[];
  /** Values that no gradient flows back through. */
  readonly detached: ReadonlySet<Value>;
}

/** Begins the names of what belongs to a loss. */
const LOSS_PARAMETER = 'loss:';

/** What a context is made from. */
export interface LossSurroundings {
  /** The graph. */
  readonly graph: Graph;
  /** Adds nodes to it. */
  readonly emit: Emitter;
  /** Operator domains of the model. */
  readonly opsetImports: Map<string, number>;
  /** The count of updates. */
  readonly step: Value;
  /** Adds a piece of state. */
  addState(name: string, initial: Tensor): LossState;
}

/** Makes the context that losses are built with. */
export function lossContext({
  graph,
  emit,
  opsetImports,
  step,
  addState,
}: LossSurroundings): BuiltLossContext {
  const parameters: Value[] = [];
  const detached = new Set<Value>();
  return {
    emit,
    graph,
    opsetImports,
    parameters,
    detached,
    step: () => step,
    detach: (value) => {
      const constant = emit.op('Identity', [value]);
      detached.add(constant);
      return constant;
    },
    state: (name, initial) => addState(`${LOSS_PARAMETER}${name}`, initial),
    parameter: (name, initial) => {
      const wanted = `${LOSS_PARAMETER}${name}`;
      const known = parameters.find((value) => value.name === wanted);
      if (known !== undefined) return known;
      const value = graph.addInitializer(graph.uniqueName(wanted), initial);
      parameters.push(value);
      return value;
    },
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
      if (!known.isGraphInput)
        throw errors.optionsInvalid(
          'the loss',
          [`The model itself makes or holds "${name}": what it should say cannot be fed under this name.`],
          'Give the target of the loss, and that of the data, another name.',
        );
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
