import {
  type Backend,
  type Batch,
  createRunContext,
  type Executable,
  errors,
  type Feeds,
  type Model,
  type RunContext,
  type RunOptions,
  Tensor,
} from '@lithe/core';
import type { CheckpointStore } from '../checkpoint/store.ts';
import type { Augmentation } from '../data/augment.ts';
import type { SampleTable } from '../data/sample-table.ts';
import { type TrainingStep, type TrainingStepOptions, trainingStep } from '../step/training-step.ts';
import { maskFeeds } from './dropout-masks.ts';
import { type Progressed, packCheckpoint, unpackCheckpoint } from './fit-checkpoint.ts';
import { constantSchedule, type Schedule } from './schedule.ts';
import { trainedModel } from './trained-model.ts';

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
  /** Time it took. */
  readonly milliseconds: number;
}

/** How {@link fit} trains. */
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
  /** Measures the model after each epoch; larger is better. */
  readonly evaluate?: ((model: Model, context: RunContext) => Promise<number>) | undefined;
  /** Stops after this many epochs without a better metric; never by default. */
  readonly patience?: number | undefined;
  /** Whether the weights of the best epoch are given back rather than the last; `true` with `evaluate`. */
  readonly keepBest?: boolean | undefined;
  /** Where checkpoints go. A run that finds one there goes on from it, to the same result. */
  readonly checkpoint?: CheckpointStore | undefined;
  /** Steps between checkpoints; one at the end of each epoch by default. */
  readonly checkpointEvery?: number | undefined;
  /** Told after each epoch. */
  readonly onEpoch?: ((record: EpochRecord) => void) | undefined;
  /** Told after each step: for metrics as JSON lines. */
  readonly onStep?: ((record: StepRecord) => void) | undefined;
}

/** What is known after a step. */
export interface StepRecord {
  /** Number of the step, from 1. */
  readonly step: number;
  /** Number of the epoch, from 1. */
  readonly epoch: number;
  /** Training loss of the batch. */
  readonly loss: number;
  /** Learning rate of the step. */
  readonly learningRate: number;
}

/** What {@link fit} gives. */
export interface FitResult {
  /** The trained model, in inference form. */
  readonly model: Model;
  /** One entry per epoch. */
  readonly history: readonly EpochRecord[];
  /** Epoch whose weights the model has. */
  readonly epoch: number;
}

interface Run {
  readonly model: Model;
  readonly data: SampleTable;
  readonly options: FitOptions;
  readonly context: RunContext;
  readonly step: TrainingStep;
  readonly executable: Executable;
  readonly stepsPerEpoch: number;
}

/**
 * Trains a model. Weights and optimizer slots stay on the device; only batches go in and losses come out. Samples are
 * shuffled anew in each epoch by the seed, and the next batch is prepared while a step runs. The same seed and data
 * give the same weights, and a run that was killed goes on from its checkpoint to the same weights as an unbroken one.
 *
 * @param model the model; it is not changed
 * @param data what it is trained on
 * @throws {LitheError} OPTIONS_INVALID; OP_UNSUPPORTED when the model cannot be differentiated; FILE_INVALID when the
 *   checkpoint is of another run
 */
export async function fit(model: Model, data: SampleTable, options: FitOptions): Promise<FitResult> {
  const context = createRunContext(options);
  const { batchSize, dropLast = true } = options;
  const stepsPerEpoch = dropLast ? Math.floor(data.size / batchSize) : Math.ceil(data.size / batchSize);
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw errors.optionsInvalid('fit', ['"batchSize" must be a whole number above 0.']);
  if (stepsPerEpoch === 0)
    throw errors.optionsInvalid('fit', [`${data.size} samples do not fill one batch of ${batchSize}.`]);
  const step = await trainingStep(model, options);
  const executable = await options.backend.compile(step.model, { state: step.state, signal: context.signal });
  try {
    return await train({ model, data, options, context, step, executable, stepsPerEpoch });
  } finally {
    await executable.dispose();
  }
}

async function train(run: Run): Promise<FitResult> {
  const { options, context, executable, stepsPerEpoch } = run;
  const progressed: Progressed = {
    step: 0,
    epochLoss: 0,
    history: [],
    best: undefined,
    bestState: undefined,
  };
  await resume(run, progressed);
  const total = options.epochs * stepsPerEpoch;
  let started = context.now();
  for (let epoch = Math.floor(progressed.step / stepsPerEpoch); epoch < options.epochs; epoch++) {
    const order = shuffledOrder(run, epoch);
    let next = prepare(run, order, epoch, progressed.step);
    while (progressed.step < (epoch + 1) * stepsPerEpoch) {
      context.signal.throwIfAborted();
      const feeds = await next;
      const running = executable.run(feeds, { signal: context.signal, outputs: [run.step.loss] });
      // The next batch is gathered while this step runs on its own thread.
      next =
        progressed.step + 1 < (epoch + 1) * stepsPerEpoch
          ? prepare(run, order, epoch, progressed.step + 1)
          : next;
      await record(run, progressed, epoch, await running);
      context.progress({
        task: 'fit',
        done: progressed.step,
        total,
        label: `epoch ${epoch + 1} of ${options.epochs}`,
      });
    }
    await endEpoch(run, progressed, epoch, context.now() - started);
    started = context.now();
    if (shouldStop(options, progressed)) break;
  }
  return finish(run, progressed);
}

/** The order in which an epoch reads the samples. */
function shuffledOrder({ data, context }: Run, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length: data.size }, (_, index) => index);
  context.rng.fork(`order:${epoch}`).shuffle(order);
  return order;
}

function rateAt({ options, stepsPerEpoch }: Run, step: number, epoch: number): number {
  const schedule = options.schedule ?? constantSchedule();
  return options.learningRate * schedule({ step, steps: options.epochs * stepsPerEpoch, epoch });
}

/** Everything one step is fed. Depends on the seed and the number of the step alone. */
async function prepare(run: Run, order: Uint32Array, epoch: number, step: number): Promise<Feeds> {
  const { options, data, context, stepsPerEpoch } = run;
  const start = (step - epoch * stepsPerEpoch) * options.batchSize;
  const indices = order.subarray(start, Math.min(start + options.batchSize, order.length));
  const rng = context.rng.fork(`step:${step}`);
  let batch: Batch = await data.gather(indices, context.signal);
  for (const change of options.augment ?? []) batch = change(batch, rng);
  return {
    ...batch.inputs,
    ...batch.targets,
    ...maskFeeds(run.step.masks, batch.size, rng),
    [run.step.learningRate]: Tensor.from('float32', [], Float32Array.of(rateAt(run, step, epoch))),
  };
}

async function record(run: Run, progressed: Progressed, epoch: number, results: Feeds): Promise<void> {
  const { options, step, stepsPerEpoch } = run;
  const loss = (results[step.loss] as Tensor).toFloat64Array()[0] as number;
  if (!Number.isFinite(loss)) {
    throw errors.backendFailed(
      options.backend.name,
      `the loss of step ${progressed.step + 1} is ${loss}: the learning rate may be too large.`,
    );
  }
  options.onStep?.({
    step: progressed.step + 1,
    epoch: epoch + 1,
    loss,
    learningRate: rateAt(run, progressed.step, epoch),
  });
  progressed.step++;
  progressed.epochLoss += loss;
  const { checkpointEvery } = options;
  const atEnd = progressed.step % stepsPerEpoch === 0;
  if (checkpointEvery !== undefined && !atEnd && progressed.step % checkpointEvery === 0)
    await save(run, progressed);
}

async function endEpoch(
  run: Run,
  progressed: Progressed,
  epoch: number,
  milliseconds: number,
): Promise<void> {
  const { options, executable, step, context, stepsPerEpoch } = run;
  const state =
    options.evaluate === undefined
      ? undefined
      : await executable.readState([...step.parameters, ...step.statistics]);
  const metric =
    state === undefined ? undefined : await options.evaluate?.(trainedModel(run.model, state), context);
  const entry: EpochRecord = {
    epoch: epoch + 1,
    loss: progressed.epochLoss / stepsPerEpoch,
    learningRate: rateAt(run, progressed.step - 1, epoch),
    milliseconds,
    ...(metric === undefined ? {} : { metric }),
  };
  progressed.history.push(entry);
  progressed.epochLoss = 0;
  if (metric !== undefined && metric > (progressed.best?.metric ?? Number.NEGATIVE_INFINITY)) {
    progressed.best = { epoch: epoch + 1, metric };
    progressed.bestState = state;
  }
  options.onEpoch?.(entry);
  await save(run, progressed);
}

function shouldStop({ patience }: FitOptions, { best, history }: Progressed): boolean {
  if (patience === undefined || best === undefined) return false;
  return history.length - best.epoch >= patience;
}

async function save({ options, executable }: Run, progressed: Progressed): Promise<void> {
  if (options.checkpoint === undefined) return;
  await options.checkpoint.write(packCheckpoint(await executable.readState(), progressed));
}

async function resume({ options, executable, context }: Run, progressed: Progressed): Promise<void> {
  const bytes = await options.checkpoint?.read(context.signal);
  if (bytes === undefined) return;
  const restored = unpackCheckpoint(bytes);
  await executable.writeState(restored.state);
  Object.assign(progressed, restored.progressed);
}

async function finish(run: Run, progressed: Progressed): Promise<FitResult> {
  const { step, executable, options } = run;
  const { best, bestState, history } = progressed;
  if (best !== undefined && bestState !== undefined && options.keepBest !== false) {
    return { model: trainedModel(run.model, bestState), history, epoch: best.epoch };
  }
  const state = await executable.readState([...step.parameters, ...step.statistics]);
  return { model: trainedModel(run.model, state), history, epoch: history.length };
}
