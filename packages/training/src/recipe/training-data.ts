import {
  type Backend,
  type Dataset,
  errors,
  inferShapes,
  type Model,
  type PassContext,
  type RunContext,
} from '@lithe/core';
import { type SampleTable, sampleTable, type TableArrays } from '../data/sample-table.ts';
import { type TaskLoss, taskLoss } from './loss-options.ts';
import type { TrainingSettings } from './training-options.ts';
import { readSamples, withTarget } from './training-samples.ts';
import { type UnseenClasses, unseenClasses } from './unseen-classes.ts';

/** Samples that a pass trains on. */
export interface TrainingData {
  /** The samples. */
  readonly table: SampleTable;
  /** The same as tensors, targets in the type that the loss takes. */
  readonly arrays: TableArrays;
  /** The loss on labels; `undefined` when the data has none and none was asked for. */
  readonly task: TaskLoss | undefined;
  /**
   * Classes that the model scores and that no sample has, where `samples` left samples out: data is often sorted by
   * class, and its first samples are of a few.
   */
  readonly unseen?: UnseenClasses | undefined;
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
 * Reads the samples that a model is trained on, and makes the loss on their labels. Warns where `samples` leaves classes
 * of the model out.
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
  const table = sampleTable(own, data.description);
  const cut = settings.samples !== undefined && (data.size ?? Number.POSITIVE_INFINITY) > table.size;
  const unseen = cut ? unseenClasses(own.targets[task.target], task, table) : undefined;
  if (unseen !== undefined) context.log.warn(unseen.reason);
  return { arrays: own, table, task, ...(unseen === undefined ? {} : { unseen }) };
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
