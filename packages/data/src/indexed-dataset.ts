import {
  type Batch,
  type BatchOptions,
  concatRows,
  createRng,
  type Dataset,
  errors,
  type Feeds,
  type Tensor,
} from '@lithe/core';

/**
 * A dataset whose items can be read in any order. An item is the smallest batch: one sample, or as many as the model
 * fixes.
 */
export interface IndexedDataset extends Dataset {
  /** Number of samples. */
  readonly size: number;
  /** Number of items. */
  readonly items: number;
  /** Whether items may be joined to larger batches. Not so where the model fixes its batch. */
  readonly joinable: boolean;
  /** Samples per batch unless the reader asks for another number. */
  readonly batchSize: number;
  /** Reads one item. */
  item(index: number, signal?: AbortSignal): Promise<Batch>;
  /** Reads items `[start, end)` as one batch, where that is cheaper than one by one. */
  range?: ((start: number, end: number, signal?: AbortSignal) => Promise<Batch>) | undefined;
}

/** How an {@link IndexedDataset} is made. */
export interface IndexedDatasetInit {
  /** Number of items. */
  readonly items: number;
  /** Samples in each; 1 by default. */
  readonly samplesPerItem?: number | undefined;
  /** Whether items may be joined; `true` by default. */
  readonly joinable?: boolean | undefined;
  /** Samples per batch unless the reader asks for another number; 1 by default. */
  readonly batchSize?: number | undefined;
  /** Where it came from, for reports. */
  readonly description: string;
  /** Reads one item. */
  item(index: number, signal?: AbortSignal): Promise<Batch>;
  /** Reads several as one batch, where that is cheaper. */
  range?: ((start: number, end: number, signal?: AbortSignal) => Promise<Batch>) | undefined;
}

/**
 * Makes a dataset from a function that reads one item. Where the next item has other shapes, a batch ends early.
 */
export function indexedDataset(init: IndexedDatasetInit): IndexedDataset {
  const { items, samplesPerItem = 1, joinable = true, batchSize = 1, description } = init;
  const dataset: IndexedDataset = {
    size: items * samplesPerItem,
    items,
    joinable,
    batchSize,
    description,
    item: (index, signal) => init.item(index, signal),
    range: init.range,
    batches: (options: BatchOptions = {}) => readBatches(dataset, samplesPerItem, options),
  };
  return dataset;
}

/**
 * A dataset in batches of exactly `samples`, for a model that fixes its batch. Samples at the end that do not fill a
 * batch are left out.
 *
 * @throws {LitheError} DATA_INVALID when there are not enough samples for one batch
 */
export function fixBatch(dataset: IndexedDataset, samples: number): IndexedDataset {
  const items = Math.floor(dataset.items / samples);
  if (items === 0) {
    throw errors.dataInvalid(
      dataset.description,
      `it has ${dataset.items} samples; the model takes ${samples} at a time.`,
    );
  }
  return indexedDataset({
    items,
    samplesPerItem: samples,
    joinable: false,
    batchSize: samples,
    description: dataset.description,
    item: async (index, signal) => {
      const start = index * samples;
      if (dataset.range !== undefined) return dataset.range(start, start + samples, signal);
      const parts: Batch[] = [];
      for (let offset = 0; offset < samples; offset++) parts.push(await dataset.item(start + offset, signal));
      return joinBatches(parts);
    },
  });
}

async function* readBatches(
  dataset: IndexedDataset,
  samplesPerItem: number,
  options: BatchOptions,
): AsyncGenerator<Batch> {
  const { batchSize = dataset.batchSize, limit = Number.POSITIVE_INFINITY, signal } = options;
  if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
    throw errors.valueOutOfRange('The batch size', batchSize, 'the whole numbers from 1');
  }
  const items = Math.min(dataset.items, Math.floor(limit / samplesPerItem));
  const step = dataset.joinable ? Math.max(1, Math.floor(batchSize / samplesPerItem)) : 1;
  for (let start = 0; start < items; start += step) {
    signal?.throwIfAborted();
    const end = Math.min(start + step, items);
    if (dataset.range !== undefined && end - start > 1) {
      yield await dataset.range(start, end, signal);
      continue;
    }
    let waiting: Batch[] = [];
    for (let index = start; index < end; index++) {
      signal?.throwIfAborted();
      const item = await dataset.item(index, signal);
      if (waiting[0] !== undefined && !alike(waiting[0], item)) {
        yield joinBatches(waiting);
        waiting = [];
      }
      waiting.push(item);
    }
    if (waiting.length > 0) yield joinBatches(waiting);
  }
}

function alike(left: Batch, right: Batch): boolean {
  return Object.entries(left.inputs).every(
    ([name, tensor]) => right.inputs[name]?.shape.slice(1).join() === tensor.shape.slice(1).join(),
  );
}

/** Joins batches whose tensors differ in their first axis only. */
export function joinBatches(batches: readonly Batch[]): Batch {
  const [first] = batches;
  if (first === undefined || batches.length === 1) return first as Batch;
  const join = (pick: (batch: Batch) => Feeds | undefined): Feeds =>
    Object.fromEntries(
      Object.keys(pick(first) ?? {}).map((name) => [
        name,
        concatRows(batches.map((batch) => pick(batch)?.[name] as Tensor)),
      ]),
    );
  const size = batches.reduce((sum, batch) => sum + batch.size, 0);
  const inputs = join((batch) => batch.inputs);
  return first.targets === undefined
    ? { inputs, size }
    : { inputs, targets: join((batch) => batch.targets), size };
}

/** Some items of a dataset, in the order given. */
export function subset(
  dataset: IndexedDataset,
  indices: ArrayLike<number>,
  description: string,
): IndexedDataset {
  return indexedDataset({
    items: indices.length,
    samplesPerItem: dataset.items === 0 ? 1 : dataset.size / dataset.items,
    joinable: dataset.joinable,
    batchSize: dataset.batchSize,
    description,
    item: (index, signal) => dataset.item(indices[index] as number, signal),
  });
}

function permutation(items: number, seed: number): Float64Array {
  const order = Float64Array.from({ length: items }, (_, index) => index);
  createRng(seed).fork('shuffle').shuffle(order);
  return order;
}

/** The items of a dataset in a random order, the same for the same seed. */
export function shuffled(dataset: IndexedDataset, seed: number): IndexedDataset {
  return subset(dataset, permutation(dataset.items, seed), `${dataset.description}, shuffled (seed ${seed})`);
}

/**
 * Splits a dataset in two by chance: each item is in exactly one part, the same one for the same seed.
 *
 * @param options `fraction` of the items that the first part gets, in [0, 1]; `seed`, 0 by default
 * @throws {LitheError} VALUE_OUT_OF_RANGE for another fraction
 */
export function split(
  dataset: IndexedDataset,
  options: SplitOptions,
): readonly [first: IndexedDataset, second: IndexedDataset] {
  const { fraction, seed = 0 } = options;
  if (!(fraction >= 0 && fraction <= 1))
    throw errors.valueOutOfRange('The fraction of a split', fraction, '[0, 1]');
  const order = permutation(dataset.items, seed);
  const count = Math.round(dataset.items * fraction);
  // Sorted, so that each part reads its files in their order.
  const part = (from: number, to: number, label: string): IndexedDataset =>
    subset(
      dataset,
      order.slice(from, to).sort(),
      `${dataset.description}, ${label} part of a split (seed ${seed})`,
    );
  return [part(0, count, 'first'), part(count, dataset.items, 'second')];
}

/** How {@link split} divides. */
export interface SplitOptions {
  /** Share of the items that the first part gets, in [0, 1]. */
  readonly fraction: number;
  /** Seed; 0 by default. */
  readonly seed?: number | undefined;
}
