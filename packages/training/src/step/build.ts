import { type Model, type StatePair, Tensor, tensorType, type Value } from '@lithe/core';
import { type Emitter, productOf } from '../autodiff/emitter.ts';
import type { TrainingStepOptions } from './training-step.ts';

/** A training step while it is made. */
export interface Build {
  /** The graph under way. */
  readonly model: Model;
  /** Adds nodes to it. */
  readonly emit: Emitter;
  /** What was asked for. */
  readonly options: TrainingStepOptions;
  /** State so far. */
  readonly state: StatePair[];
  /** Outputs of the state so far. */
  readonly outputs: Value[];
}

/** A piece of state: a graph input, and what takes the value that replaces it. */
export interface Slot {
  /** Its value before the step. */
  readonly input: Value;
  /** Sets its value after the step. */
  finish(next: Value): void;
}

/** A constant of the model that became state, though it does not learn by gradients. */
export interface RunningStatistic {
  /** Its value before the step. */
  readonly input: Value;
  /** Its value after it. */
  readonly output: Value;
  /** Where it starts. */
  readonly initial: Tensor;
}

/** Adds a piece of state. */
export function addState(build: Build, name: string, initial: Tensor): Slot {
  const { graph } = build.model;
  const input = graph.addInput(graph.uniqueName(name), tensorType(initial.dtype, initial.shape));
  return { input, finish: (next) => keepState(build, input, next, initial) };
}

/** Makes an input state: `next` replaces it after each step. */
export function keepState(build: Build, input: Value, next: Value, initial: Tensor): void {
  const { graph } = build.model;
  // What the step itself made can be the output as it is; a copy costs a pass over it.
  const own =
    next.producer !== null &&
    next.name.startsWith('train/') &&
    !next.isGraphOutput &&
    !build.outputs.includes(next);
  const output = own ? next : build.emit.op('Identity', [next]);
  graph.rename(output, graph.uniqueName(`next:${input.name}`));
  build.state.push({ input: input.name, output: output.name, initial });
  build.outputs.push(output);
}

/** Zeros of a shape and dtype. */
export function zeros({ dtype, shape }: Pick<Tensor, 'dtype' | 'shape'>): Tensor {
  // Zero has the same bytes in every float format.
  const bytes = { float64: 8, float32: 4, float16: 2, bfloat16: 2 }[dtype as 'float32'];
  return Tensor.fromBytes(dtype, shape, new Uint8Array(productOf(shape) * bytes));
}
