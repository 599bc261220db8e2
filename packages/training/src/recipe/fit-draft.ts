import {
  type Backend,
  errors,
  isLitheError,
  type Model,
  type PassContext,
  type ReportBuilder,
} from '@lithe/core';
import type { CheckpointStore } from '../checkpoint/store.ts';
import type { SampleTable } from '../data/sample-table.ts';
import { fit } from '../fit/fit.ts';
import type { FitOptions, FitResult } from '../fit/fit-options.ts';
import { freshWeights } from '../layers/fresh-weights.ts';
import type { Loss } from '../losses/loss.ts';
import { inferenceNorms } from '../step/inference-norms.ts';
import { promoteConstants } from '../step/promote-constants.ts';
import { augmentationOf } from './augment-options.ts';
import { matchesPattern } from './choice.ts';
import { epochsTable } from './epochs-table.ts';
import { accuracyOnSamples, lossOnSamples } from './evaluate-samples.ts';
import { optimizerOf } from './optimizer-options.ts';
import { scheduleOf } from './schedule-options.ts';
import type { TrainingData } from './training-data.ts';
import type { TrainingSettings } from './training-options.ts';
import { subsetTable } from './training-samples.ts';

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
 * report. A checkpoint of another run, such as one with other options, and one that is damaged, is dropped with a warning.
 * The same seed gives the same weights.
 *
 * @throws {LitheError} as `fit` does; DATA_INVALID when a share of a single sample is to be kept aside; OPTIONS_INVALID
 *   when a pattern of `trainable` matches no constant of the model
 */
export async function fitDraft(
  draft: Model,
  settings: TrainingSettings,
  context: PassContext,
  request: FitDraftRequest,
): Promise<FitResult> {
  const { data, backend, report } = request;
  if (data.unseen !== undefined) {
    const { classes, reason } = data.unseen;
    report.skip(classes.length === 1 ? '1 class' : `${classes.length} classes`, 'classes-unseen', reason);
  }
  if (settings.initialize) await drawAnew(draft, context, report);
  const { train, held } = split(data.table, settings.validation, context);
  const loss = request.loss ?? data.task?.loss;
  if (loss === undefined) throw errors.internal('there is nothing to minimize');
  const { trainable } = settings;
  if (trainable !== undefined) checkPatterns(draft, trainable);
  const options: FitOptions = {
    epochs: settings.epochs,
    batchSize: settings.batchSize,
    learningRate: settings.learningRate,
    patience: settings.patience,
    checkpointEvery: settings.checkpointEvery,
    mixedPrecision: settings.mixedPrecision,
    checkpointing: settings.checkpointing,
    frozenStatistics: settings.frozenStatistics,
    clipNorm: settings.clipNorm,
    clipValue: settings.clipValue,
    emaDecay: settings.emaDecay,
    accumulate: settings.accumulate,
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
  for (const name of inferenceNorms(draft.graph).changed) report.apply(`bring "${name}" into inference form`);
  describe(report, result, { train, held, settings });
  return result;
}

/** A pattern that matches nothing is a slip: what it should have named would stay as it is without a word. */
function checkPatterns({ graph }: Model, patterns: readonly string[]): void {
  const names = Array.from(graph.initializers, ({ name }) => name);
  for (const node of graph.nodes()) if (node.constantSource() !== undefined) names.push(node.output().name);
  const idle = patterns.filter((pattern) => !names.some((name) => matchesPattern(name, [pattern])));
  if (idle.length > 0)
    throw errors.optionsInvalid(
      'trainable',
      idle.map((pattern) => `No weight of the model is called "${pattern}".`),
      `Weights of the model are ${names
        .slice(0, 5)
        .map((name) => `"${name}"`)
        .join(', ')}${names.length > 5 ? ' and others' : ''}.`,
    );
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
  if (table.size < 2)
    throw errors.dataInvalid(
      table.description,
      'it is a single sample, of which no share can be kept aside.',
    );
  const order = Uint32Array.from({ length: table.size }, (_, index) => index);
  context.rng.fork('validation').shuffle(order);
  const count = Math.min(table.size - 1, Math.max(1, Math.round(share * table.size)));
  return {
    held: subsetTable(table, order.slice(0, count).sort()),
    train: subsetTable(table, order.slice(count).sort()),
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
    if (!isLitheError(error, 'CHECKPOINT_MISMATCH') && !isLitheError(error, 'FILE_INVALID')) throw error;
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
