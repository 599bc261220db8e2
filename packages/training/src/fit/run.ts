import type { Model, RunContext } from '@lithe/core';
import type { SampleTable } from '../data/sample-table.ts';
import type { TrainingStep } from '../step/training-step.ts';
import type { FitOptions } from './fit-options.ts';
import type { RunIdentity } from './run-identity.ts';

/** A run that does not change while it goes on. */
export interface Run {
  /** The model as it was given. */
  readonly model: Model;
  /** What it is trained on. */
  readonly data: SampleTable;
  /** How. */
  readonly options: FitOptions;
  /** Randomness, progress, cancellation, time. */
  readonly context: RunContext;
  /** The step. */
  readonly step: TrainingStep;
  /** Tells it from other runs. */
  readonly identity: RunIdentity;
  /** Steps in an epoch. */
  readonly stepsPerEpoch: number;
}
