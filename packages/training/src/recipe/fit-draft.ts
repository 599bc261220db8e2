import {
  type Backend,
  type Dataset,
  errors,
  inferShapes,
  isLitheError,
  type Model,
  type PassContext,
  type ReportBuilder,
  type RunContext,
} from '@lithe/core';
import type { CheckpointStore } from '../checkpoint/store.ts';
import { type SampleTable, sampleTable, type TableArrays } from '../data/sample-table.ts';
import { fit } from '../fit/fit.ts';
import type { EpochRecord, FitOptions, FitResult } from '../fit/fit-options.ts';
import { freshWeights } from '../layers/fresh-weights.ts';
import type { Loss } from '../losses/loss.ts';
import { promoteConstants } from '../step/promote-constants.ts';
import { augmentationOf } from './augment-options.ts';
import { matchesPattern } from './choice.ts';
import { accuracyOnSamples, lossOnSamples } from './evaluate-samples.ts';
import { type TaskLoss, taskLoss } from './loss-options.ts';
import { optimizerOf } from './optimizer-options.ts';
import { scheduleOf } from './schedule-options.ts';
import type { TrainingSettings } from './training-options.ts';
import { readSamples, subsetTable, withTarget } from './training-samples.ts';

/** Samples that a pass trains on. */
export interface TrainingData {
  /** The samples. */
  readonly table: SampleTable;
  /** The same as tensors, targets in the type that the loss takes. */
  readonly arrays: TableArrays;
  /** The loss on labels; `undefined` when the data has none and none was asked for. */
  readonly task: TaskLoss | undefined;
}

/** What a pass that trains needs of its context. */
export interface TrainingResources {
  /** Runs the steps. */
  readonly backend: Backend;
  /** Samples. */
  readonly data: Dataset;
}

/**
 * What a pass that trains needs of its context.
 *
 * @param pass name of the pass, for the error
 * @throws {LitheError} PASS_NEEDS when it is not there
 */
export function trainingResources(pass: string, context: PassContext): TrainingResources {
  const { backend, trainingData: data } = context;
  if (backend === undefined || data === undefined)
    throw errors.passNeeds(
      pass,
      ['backend', 'training-data'].filter((_, at) => [backend, data][at] === undefined),
    );
  return { backend, data };
}

/**
 * Reads the samples that a model is trained on, and makes the loss on their labels.
 *
 * @param model shapes are inferred; nothing else changes
 * @param labels `required` by default; with `optional`, data without targets gives no loss on labels
 * @throws {LitheError} DATA_INVALID when the samples do not fit the model or the loss; LIMIT_EXCEEDED; OPTIONS_INVALID
 */
export async function trainingData(
  model: Model,
  settings: TrainingSettings,
  {
    data,
    context,
    labels = 'required',
  }: {
    readonly data: Dataset;
    readonly context: RunContext;
    readonly labels?: 'required' | 'optional' | undefined;
  },
): Promise<TrainingData> {
  const read = await readSamples(data, { limit: settings.samples, context });
  await inferShapes(model);
  const inputs = inputsFor(model, read, data.description);
  const targets = Object.keys(read.targets ?? {});
  if (labels === 'optional' && targets.length === 0) {
    const arrays = { inputs };
    return { arrays, table: sampleTable(arrays, data.description), task: undefined };
  }
  const mixed = settings.augment.some(({ mixup }) => mixup !== undefined);
  const task = taskLoss(settings.loss, { model, targets, mixed });
  const ignore = settings.loss.name === 'cross-entropy' ? settings.loss.ignoreIndex : undefined;
  const arrays = withTarget({ inputs, targets: read.targets }, task.target, {
    labels: task.labels,
    classes: task.classes,
    ignore,
  });
  // Other targets would be fed to a graph that does not know them.
  const own = {
    inputs,
    targets: Object.fromEntries(
      Object.entries(arrays.targets ?? {}).filter(([name]) => name === task.target),
    ),
  };
  return { arrays: own, table: sampleTable(own, data.description), task };
}

function inputsFor(model: Model, read: TableArrays, description: string): TableArrays['inputs'] {
  const wanted = model.graph.inputs.filter((input) => input.initializer === undefined);
  return Object.fromEntries(
    wanted.map(({ name }) => {
      const tensor = read.inputs[name];
      if (tensor === undefined)
        throw errors.dataInvalid(
          description,
          `it has no "${name}" for the model, only ${Object.keys(read.inputs)
            .map((one) => `"${one}"`)
            .join(', ')}.`,
          'Give each array the name of the input it is for.',
        );
      return [name, tensor];
    }),
  );
}

/** What {@link fitDraft} trains by. */
export interface FitDraftRequest {
  /** Samples and the loss on their labels. */
  readonly data: TrainingData;
  /** What is minimized; the loss on labels by default. */
  readonly loss?: Loss | undefined;
  /** Runs the steps. */
  readonly backend: Backend;
  /** What the pass does beyond the settings: groups, rules, what learns. */
  readonly fit?: Partial<Omit<FitOptions, 'loss' | 'backend'>> | undefined;
  /** Takes what happened. */
  readonly report: ReportBuilder;
}

/**
 * Trains the draft of a pass in place, by settings that are data: fresh weights where they are asked for, a share of the
 * samples kept aside, checkpoints in the store `checkpoint` of the context, progress, and the table `epochs` of the
 * report. A checkpoint of another run, such as one with other options, is dropped with a warning. The same seed gives
 * the same weights.
 *
 * @throws {LitheError} as `fit` does
 */
export async function fitDraft(
  draft: Model,
  settings: TrainingSettings,
  context: PassContext,
  request: FitDraftRequest,
): Promise<FitResult> {
  const { data, backend, report } = request;
  if (settings.initialize) await drawAnew(draft, context, report);
  const { train, held } = split(data.table, settings.validation, context);
  const loss = request.loss ?? data.task?.loss;
  if (loss === undefined) throw errors.internal('there is nothing to minimize');
  const { trainable } = settings;
  const options: FitOptions = {
    ...pick(settings),
    loss,
    backend,
    optimizer: optimizerOf(settings.optimizer),
    schedule: scheduleOf(settings.schedule),
    augment: settings.augment.map((one) =>
      augmentationOf(one, { classes: data.task?.classes, target: data.task?.target ?? 'label' }),
    ),
    ...(trainable === undefined ? {} : { trainable: (name) => matchesPattern(name, trainable) }),
    ...(held === undefined ? {} : { evaluate: evaluation(draft, held, { settings, request, loss }) }),
    seed: Math.floor(context.rng.fork('fit').next() * 2 ** 32),
    signal: context.signal,
    onProgress: context.progress,
    log: context.log,
    now: context.now,
    opset: context.opset,
    ...request.fit,
  };
  const result = await fitOrBeginAnew(draft, train, options, context);
  takeWeights(draft, result.model);
  describe(report, result, { train, held, settings });
  return result;
}

async function drawAnew(draft: Model, context: PassContext, report: ReportBuilder): Promise<void> {
  const { drawn, left } = await freshWeights(draft, { rng: context.rng.fork('initialize') });
  report.apply(`draw ${drawn.length} weights anew`);
  for (const { name, reason } of left) report.skip(name, 'not-drawn', reason);
}

function split(
  table: SampleTable,
  share: number | undefined,
  context: PassContext,
): { readonly train: SampleTable; readonly held: SampleTable | undefined } {
  if (share === undefined) return { train: table, held: undefined };
  const order = Uint32Array.from({ length: table.size }, (_, index) => index);
  context.rng.fork('validation').shuffle(order);
  const count = Math.min(table.size - 1, Math.max(1, Math.round(share * table.size)));
  return {
    held: subsetTable(table, order.slice(0, count).sort()),
    train: subsetTable(table, order.slice(count).sort()),
  };
}

function pick(
  settings: TrainingSettings,
): Pick<
  FitOptions,
  | 'epochs'
  | 'batchSize'
  | 'learningRate'
  | 'patience'
  | 'checkpointEvery'
  | 'mixedPrecision'
  | 'checkpointing'
  | 'clipNorm'
  | 'clipValue'
  | 'emaDecay'
  | 'accumulate'
> {
  const { epochs, batchSize, learningRate, patience, checkpointEvery, mixedPrecision } = settings;
  const { checkpointing, clipNorm, clipValue, emaDecay, accumulate } = settings;
  return {
    epochs,
    batchSize,
    learningRate,
    patience,
    checkpointEvery,
    mixedPrecision,
    checkpointing,
    clipNorm,
    clipValue,
    emaDecay,
    accumulate,
  };
}

/** Accuracy where there is one class number for each sample, else the loss with its sign turned. */
function evaluation(
  draft: Model,
  held: SampleTable,
  {
    settings,
    request,
    loss,
  }: { readonly settings: TrainingSettings; readonly request: FitDraftRequest; readonly loss: Loss },
): NonNullable<FitOptions['evaluate']> {
  const { task } = request.data;
  const { backend } = request;
  const scores = task?.labels === true ? draft.graph.value(task.output)?.shape : undefined;
  return async (model, { signal }) => {
    const how = { backend, batchSize: settings.batchSize, signal };
    return task !== undefined && scores?.length === 2
      ? await accuracyOnSamples(model, held, { ...how, output: task.output, target: task.target })
      : -(await lossOnSamples(model, held, { ...how, loss }));
  };
}

async function fitOrBeginAnew(
  draft: Model,
  table: SampleTable,
  options: FitOptions,
  context: PassContext,
): Promise<FitResult> {
  const checkpoint = context.store('checkpoint');
  if (checkpoint === undefined) return await fit(draft, table, options);
  try {
    return await fit(draft, table, { ...options, checkpoint });
  } catch (error) {
    if (!isLitheError(error, 'CHECKPOINT_MISMATCH')) throw error;
    context.log.warn(`${error.message} Training begins anew.`);
    const fresh: CheckpointStore = { ...checkpoint, read: () => Promise.resolve(undefined) };
    return await fit(draft, table, { ...options, checkpoint: fresh });
  }
}

/** Gives the draft the weights of its trained copy. */
function takeWeights(draft: Model, trained: Model): void {
  promoteConstants(draft.graph);
  for (const { name, initializer } of trained.graph.initializers) {
    const own = draft.graph.value(name);
    if (own === undefined || initializer === undefined || own.initializer === initializer) continue;
    draft.graph.setInitializer(own, initializer);
  }
}

function describe(
  report: ReportBuilder,
  { history, epoch }: FitResult,
  {
    train,
    held,
    settings,
  }: {
    readonly train: SampleTable;
    readonly held: SampleTable | undefined;
    readonly settings: TrainingSettings;
  },
): void {
  const [first, last] = [history[0], history.at(-1)];
  report.apply(
    `train ${history.length} of ${settings.epochs} epochs on ${train.size} samples, loss ${shown(first?.loss)} to ${shown(last?.loss)}`,
  );
  report.metric('samples', train.size, 'samples');
  report.metric('epochs', history.length, 'epochs');
  report.metric('loss', last?.loss ?? Number.NaN, '');
  if (held !== undefined) {
    report.metric('validation', history[epoch - 1]?.metric ?? Number.NaN, '');
    report.metric('epoch taken', epoch, '');
  }
  report.table('epochs', epochsTable(history));
}

const shown = (value: number | undefined): string => (value === undefined ? '?' : value.toPrecision(4));

/** Epochs as a table of a report: loss, learning rate and, where it was measured, the metric of each. */
export function epochsTable(history: readonly EpochRecord[]): Parameters<ReportBuilder['table']>[1] {
  const measured = history.some(({ metric }) => metric !== undefined);
  return {
    title: 'Epochs',
    columns: ['epoch', 'loss', 'learning rate', ...(measured ? ['metric'] : [])].map((name) => ({
      name,
      unit: '',
    })),
    rows: history.map(({ epoch, loss, learningRate, metric }) => [
      epoch,
      loss,
      learningRate,
      ...(measured ? [metric ?? ''] : []),
    ]),
    plot: { kind: 'line', x: 'epoch', y: measured ? ['loss', 'metric'] : ['loss'] },
  };
}
