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

/** The update of one parameter among those of all. */
export interface ParameterUpdate {
  /** What it was made with. */
  readonly context: UpdateContext;
  /** The parameter after the step, as {@link Optimizer.update} gave it. */
  readonly next: Value;
}

/** An optimizer: a value that adds the nodes of one parameter's update and gives the parameter after the step. */
export interface Optimizer {
  /** Name, for reports. */
  readonly name: string;
  /** Weight decay of parameters whose group names none. */
  readonly weightDecay: number;
  /** Whether the size of an update does not depend on the size of the gradients, as in Adam; `false` by default. */
  readonly scaleInvariant?: boolean | undefined;
  /** Adds the update. */
  update(context: UpdateContext): Value;
  /**
   * Looks at the updates of all parameters together, once each is made, and gives the parameters after the step in the
   * same order: for what parameters compete for. Without it every parameter becomes what {@link update} gave.
   */
  finish?(updates: readonly ParameterUpdate[]): readonly Value[];
}
