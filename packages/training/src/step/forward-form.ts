import { constantOf, errors, type Graph, type OpSet, type Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';
import type { Build, RunningStatistic } from './build.ts';
import { sortNodes } from './sort-nodes.ts';

/** A value that follows the batches while a model is trained, and is part of the trained model. */
export interface StatisticState {
  /** Its value before the step. */
  readonly input: Value;
  /** Sets its value after the step; to be called once. */
  finish(next: Value): void;
}

/** What a {@link ForwardForm} works with. */
export interface ForwardContext {
  /** The forward part of the step: a copy of the model, with its names. */
  readonly graph: Graph;
  /** Adds nodes at the end of the graph. Earlier nodes may read them: the graph is sorted afterwards. */
  readonly emit: Emitter;
  /** Operators that are known. */
  readonly opset: OpSet;
  /**
   * A value of the model by name.
   *
   * @throws {LitheError} OPTIONS_INVALID when there is none
   */
  value(name: string): Value;
  /** Number of updates made before this step, a float32 scalar. */
  step(): Value;
  /**
   * Makes a constant of the model one that follows the batches, as running statistics do: state during training, by its
   * name a constant of the trained model.
   *
   * @throws {LitheError} OPTIONS_INVALID when the model has no such constant
   */
  statistic(name: string): Promise<StatisticState>;
  /**
   * Counts a constant of the model among the weights that may learn, where that does not show by what reads it.
   *
   * @throws {LitheError} OPTIONS_INVALID when the model has no such constant
   */
  weight(name: string): void;
  /** No gradient flows back through the value. */
  stop(value: Value): void;
}

/**
 * Changes the forward part of a training step into what it computes in training only, as batch normalization uses the
 * statistics of the batch there: fake quantization whose ranges follow the batches, for instance. The trained model
 * keeps its inference form.
 */
export interface ForwardForm {
  /** Name, for messages. */
  readonly name: string;
  /** Edits the graph. Values that the loss may look at must keep their names. */
  build(context: ForwardContext): void | Promise<void>;
}

/** What forms left behind. */
export interface BuiltForms {
  /** Constants that became state. */
  readonly statistics: readonly RunningStatistic[];
  /** Weights beside those that are found. */
  readonly weights: readonly Value[];
  /** Values that no gradient flows back through. */
  readonly stopped: ReadonlySet<Value>;
}

/** Lets each form edit the forward part. */
export async function buildForms(
  build: Build,
  forms: readonly ForwardForm[],
  { step, opset }: { readonly step: Value; readonly opset: OpSet },
): Promise<BuiltForms> {
  const { graph } = build.model;
  const statistics: RunningStatistic[] = [];
  const weights = new Set<Value>();
  const stopped = new Set<Value>();
  for (const form of forms) {
    const constant = (name: string): Value => {
      const found = graph.value(name);
      if (found?.initializer !== undefined && constantOf(found) !== undefined) return found;
      throw errors.optionsInvalid(form.name, [`The model has no constant called "${name}".`]);
    };
    await form.build({
      graph,
      emit: build.emit,
      opset,
      value: (name) => {
        const found = graph.value(name);
        if (found === undefined)
          throw errors.optionsInvalid(form.name, [`The model has no value called "${name}".`]);
        return found;
      },
      step: () => step,
      weight: (name) => void weights.add(constant(name)),
      statistic: async (name) => {
        const input = constant(name);
        const initial = await (input.initializer as NonNullable<Value['initializer']>).load();
        const { type } = input;
        graph.setInputs([...graph.inputs, input]);
        graph.setInitializer(input, undefined);
        input.type = type;
        return { input, finish: (output) => void statistics.push({ input, output, initial }) };
      },
      stop: (value) => void stopped.add(value),
    });
  }
  sortNodes(graph);
  return { statistics, weights: [...weights], stopped };
}
