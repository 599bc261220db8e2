import type { Backend, Model, RunContext, RunOptions } from '@lithe/core';
import type { CheckpointStore } from '../checkpoint/store.ts';
import type { Augmentation } from '../data/augment.ts';
import type { TrainingStepOptions } from '../step/training-step.ts';
import type { Schedule } from './schedule.ts';

/** What is known after an epoch. */
export interface EpochRecord {
  /** Number of the epoch, from 1. */
  readonly epoch: number;
  /** Mean training loss over its samples. */
  readonly loss: number;
  /** Learning rate of its last step. */
  readonly learningRate: number;
  /** What `evaluate` gave; `undefined` without it. */
  readonly metric?: number | undefined;
  /** Time its steps took, since the start or the last resumption; evaluation is left out. */
  readonly milliseconds: number;
}

/** What is known after a step. */
export interface StepRecord {
  /** Number of the step, from 1. */
  readonly step: number;
  /** Steps of the whole run. */
  readonly steps: number;
  /** Number of the epoch, from 1. */
  readonly epoch: number;
  /** Training loss of the batch. */
  readonly loss: number;
  /** Learning rate of the step. */
  readonly learningRate: number;
  /** Time it took. */
  readonly milliseconds: number;
  /** Time that the rest of the run should take, evaluation left out. */
  readonly remainingMilliseconds: number;
  /** Factor on the loss in the step; only with `mixedPrecision`. */
  readonly lossScale?: number | undefined;
  /** Whether the step changed nothing because a gradient was not finite; only with `mixedPrecision`. */
  readonly skipped?: boolean | undefined;
}

/** How `fit` trains. */
export interface FitOptions extends TrainingStepOptions, RunOptions {
  /** Runs the training step. It must keep state between runs (feature `state`). */
  readonly backend: Backend;
  /** Base learning rate. */
  readonly learningRate: number;
  /** Factor on it for each step; constant by default. */
  readonly schedule?: Schedule | undefined;
  /** Passes over the samples. */
  readonly epochs: number;
  /** Samples per step. */
  readonly batchSize: number;
  /** Whether a last batch that is not full is left out; `true` by default, for it would count for more. */
  readonly dropLast?: boolean | undefined;
  /** Changes made to each batch, in order. */
  readonly augment?: readonly Augmentation[] | undefined;
  /** Measures the model after each epoch, with averaged weights where there are any; larger is better. */
  readonly evaluate?: ((model: Model, context: RunContext) => Promise<number>) | undefined;
  /** Stops after this many epochs without a better metric; never by default. */
  readonly patience?: number | undefined;
  /** Whether the weights of the best epoch are given back rather than the last; `true` with `evaluate`. */
  readonly keepBest?: boolean | undefined;
  /**
   * Where checkpoints go. A run that finds one there goes on from it, to the same result; a finished one gives its
   * result at once. A run that is cancelled leaves one.
   */
  readonly checkpoint?: CheckpointStore | undefined;
  /** Steps between checkpoints; one at the end of each epoch by default. */
  readonly checkpointEvery?: number | undefined;
  /** Told after each epoch. */
  readonly onEpoch?: ((record: EpochRecord) => void) | undefined;
  /** Told after each step. */
  readonly onStep?: ((record: StepRecord) => void) | undefined;
}

/** What `fit` gives. */
export interface FitResult {
  /** The trained model, in inference form. */
  readonly model: Model;
  /** One entry per epoch. */
  readonly history: readonly EpochRecord[];
  /** Epoch whose weights the model has. */
  readonly epoch: number;
}

/** Options of `fit` that write metrics as JSON lines: spread them into the others. */
export interface MetricLines {
  /** Writes `{"type":"step",…}`. */
  readonly onStep: (record: StepRecord) => void;
  /** Writes `{"type":"epoch",…}`. */
  readonly onEpoch: (record: EpochRecord) => void;
}

/**
 * Metrics as JSON lines: one object per step and per epoch, with `type` beside the fields of {@link StepRecord} and
 * {@link EpochRecord}.
 *
 * @param write takes each line, its line feed included
 * @example
 * ```ts
 * import { metricLines } from '@lithe/training';
 *
 * let text = '';
 * const { onEpoch } = metricLines((line) => {
 *   text += line;
 * });
 * onEpoch({ epoch: 1, loss: 0.5, learningRate: 0.01, milliseconds: 12 });
 * text; // => '{"type":"epoch","epoch":1,"loss":0.5,"learningRate":0.01,"milliseconds":12}\n'
 * ```
 */
export function metricLines(write: (line: string) => void): MetricLines {
  const line = (type: string, record: object): void => write(`${JSON.stringify({ type, ...record })}\n`);
  return { onStep: (record) => line('step', record), onEpoch: (record) => line('epoch', record) };
}
