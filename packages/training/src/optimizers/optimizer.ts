import type { Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';

/** What an optimizer updates one parameter with. */
export interface UpdateContext {
  /** Adds nodes to the training graph. */
  readonly emit: Emitter;
  /** The parameter before the step. */
  readonly parameter: Value;
  /** Its gradient. */
  readonly gradient: Value;
  /** Learning rate of this step, a scalar. */
  readonly learningRate: Value;
  /** Number of this step, from 1, a scalar. */
  readonly step: Value;
  /** Weight decay of this parameter's group. */
  readonly weightDecay: number;
  /** A slot of the optimizer that lives as long as the parameter and has its shape; zeros at first. */
  slot(name: string): Value;
  /** What a slot holds after the step. */
  setSlot(name: string, value: Value): void;
}

/** An optimizer: a value that adds the nodes of one parameter's update and gives the parameter after the step. */
export interface Optimizer {
  /** Name, for reports. */
  readonly name: string;
  /** Weight decay of parameters whose group names none. */
  readonly weightDecay: number;
  /** Adds the update. */
  update(context: UpdateContext): Value;
}
