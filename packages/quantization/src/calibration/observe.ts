import {
  type Backend,
  createRunContext,
  type Dataset,
  type Executable,
  elementsOf,
  errors,
  type Feeds,
  type Model,
  type RunContext,
  type Tensor,
  type Value,
} from '@lithe/core';
import { DEFAULT_BINS, statisticsObserver } from './observers.ts';
import type { CalibrationStats, Observer, TensorStatistics } from './statistics.ts';
import { MOST_BINS } from './stats-schema.ts';

/** How activations are observed. */
export interface ObserveOptions {
  /** Runs the model. */
  readonly backend: Backend;
  /** Names of the values to observe; by default every computed or fed tensor of the main graph that may be float32. */
  readonly values?: readonly string[] | undefined;
  /** At most this many samples; 100 by default. */
  readonly samples?: number | undefined;
  /** Samples per batch; the dataset's choice by default. */
  readonly batchSize?: number | undefined;
  /** Bytes of activations fetched in one run; the model is run as often as it takes for each batch. 256 MiB by default. */
  readonly memoryBytes?: number | undefined;
  /** Bins of the histograms, from 256 to 65,536; 4,096 by default. */
  readonly bins?: number | undefined;
  /**
   * Axis that counts the channels, negative from the end, for each value whose channels are to be told apart; one number
   * for all values. None by default.
   */
  readonly channels?: number | Readonly<Record<string, number>> | undefined;
  /** Makes the observer of a value; {@link statisticsObserver} by default. */
  readonly observer?: ((name: string) => Observer) | undefined;
  /** Randomness, progress, cancellation. */
  readonly context?: RunContext | undefined;
}

/** Makes the observer of each value that has none from the caller. */
function defaultObserver(options: ObserveOptions): (name: string) => Observer {
  const { bins = DEFAULT_BINS, channels } = options;
  if (!Number.isInteger(bins) || bins < 256 || bins > MOST_BINS)
    throw errors.valueOutOfRange('The number of bins', bins, `the whole numbers from 256 to ${MOST_BINS}`);
  return (name) => {
    const axis =
      typeof channels !== 'object' ? channels : Object.hasOwn(channels, name) ? channels[name] : undefined;
    return statisticsObserver({ name, bins, channels: axis });
  };
}

/** The values that may be observed: tensors of unknown type or float32, neither constant nor left out. */
function observable(model: Model, names: readonly string[] | undefined): readonly Value[] {
  const wanted = names === undefined ? undefined : new Set(names);
  const found: Value[] = [];
  for (const value of model.graph.values()) {
    if (value.initializer !== undefined || value.name === '' || value.producer?.is('Constant') === true)
      continue;
    if (wanted !== undefined && !wanted.has(value.name)) continue;
    if (value.type !== undefined && value.type.kind !== 'tensor') continue;
    if (value.dtype === undefined || value.dtype === 'float32') found.push(value);
  }
  return found;
}

/** A model that hands out the observed values, and before them their shapes. */
interface Probe {
  readonly model: Model;
  /** Observed values that a node computes; graph inputs are seen in the feeds. */
  readonly names: readonly string[];
  /** Output that holds the shape of each, in the same order. */
  readonly shapes: readonly string[];
}

function probe(model: Model, values: readonly Value[]): Probe {
  const draft = model.clone();
  const { graph } = draft;
  const computed = values
    .filter((value) => value.producer !== null)
    .map((value) => graph.value(value.name) as Value);
  const shapes = computed.map((value) => graph.addNode({ opType: 'Shape', inputs: [value] }).output());
  graph.setOutputs([...computed, ...shapes]);
  return {
    model: draft,
    names: computed.map((value) => value.name),
    shapes: shapes.map((value) => value.name),
  };
}

/** Splits names into runs of at most `budget` bytes; a tensor larger than that is a run of its own. */
function chunksOf(
  names: readonly string[],
  bytes: readonly number[],
  budget: number,
): readonly (readonly string[])[] {
  const chunks: string[][] = [];
  let room = 0;
  names.forEach((name, index) => {
    const size = bytes[index]!;
    if (chunks.length === 0 || size > room) {
      chunks.push([]);
      room = budget;
    }
    chunks[chunks.length - 1]!.push(name);
    room -= size;
  });
  return chunks;
}

/** What the model takes of a batch: a dataset may hold more. */
function feedsOf(inputs: Feeds, executable: Executable | undefined): Feeds {
  if (executable === undefined) return inputs;
  return Object.fromEntries(Object.entries(inputs).filter(([name]) => executable.inputNames.includes(name)));
}

async function sizesOf(executable: Executable, feeds: Feeds, found: Probe): Promise<readonly number[]> {
  const shapes = await executable.run(feeds, { outputs: found.shapes });
  return found.shapes.map((name) => 4 * elementsOf([...(shapes[name] as Tensor<'int64'>).data].map(Number)));
}

/**
 * Runs a model on real inputs and reduces each activation to statistics, batch by batch: extremes, moments and a
 * histogram, from which any {@link Calibrator} finds a range. Nothing is collected: a run fetches at most `memoryBytes`
 * of activations, a batch is run again for the rest of them, and statistics take 48 KiB a value however much they see.
 *
 * @param model is not changed
 * @throws {LitheError} DATA_INVALID when the dataset is empty, or a value's number of channels changes;
 *   VALUE_OUT_OF_RANGE when `bins` or a channel axis is; BACKEND_FAILED when the runtime fails
 */
export async function observe(
  model: Model,
  data: Dataset,
  options: ObserveOptions,
): Promise<CalibrationStats> {
  const {
    backend,
    samples: limit = 100,
    batchSize,
    memoryBytes = 2 ** 28,
    observer: make = defaultObserver(options),
  } = options;
  const context = options.context ?? createRunContext();
  const { signal } = context;
  const values = observable(model, options.values);
  const observers = new Map(values.map((value) => [value.name, make(value.name)]));
  const fed = new Set(values.filter((value) => value.producer === null).map((value) => value.name));
  const found = probe(model, values);
  // Without a computed value to look at, the feeds tell all.
  const executable = found.names.length === 0 ? undefined : await backend.compile(found.model, { signal });
  const other = new Set<string>();
  let samples = 0;
  try {
    let plan: { readonly key: string; readonly chunks: readonly (readonly string[])[] } | undefined;
    for await (const batch of data.batches({ batchSize, limit, signal })) {
      signal.throwIfAborted();
      const feeds = feedsOf(batch.inputs, executable);
      const key = Object.values(feeds)
        .map((tensor) => tensor.shape.join('x'))
        .join();
      if (executable !== undefined && plan?.key !== key) {
        plan = { key, chunks: chunksOf(found.names, await sizesOf(executable, feeds, found), memoryBytes) };
      }
      const take = (name: string, tensor: Tensor): void => {
        if (tensor.dtype === 'float32')
          observers.get(name)?.update(tensor.data as Float32Array, tensor.shape);
        else other.add(name);
      };
      for (const [name, tensor] of Object.entries(batch.inputs)) if (fed.has(name)) take(name, tensor);
      for (const outputs of executable === undefined ? [] : (plan?.chunks ?? [])) {
        signal.throwIfAborted();
        const results = await (executable as Executable).run(feeds, { outputs, signal });
        for (const name of outputs) take(name, results[name] as Tensor);
      }
      samples += batch.size;
      context.progress({ task: 'calibrate', done: samples, total: Math.min(limit, data.size ?? limit) });
    }
  } finally {
    await executable?.dispose();
  }
  if (samples === 0) throw errors.dataInvalid(data.description, 'it holds no samples to calibrate with.');
  const tensors: Record<string, TensorStatistics> = Object.fromEntries(
    [...observers].filter(([name]) => !other.has(name)).map(([name, item]) => [name, item.result()]),
  );
  return { version: 1, samples, source: data.description, tensors };
}
