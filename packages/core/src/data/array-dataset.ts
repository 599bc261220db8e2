import { errors, formatShape } from '../errors/catalogue.ts';
import type { Batch, BatchOptions, Dataset, Feeds } from './dataset.ts';
import { sliceRows } from './rows.ts';

/** All samples of an {@link arrayDataset}. Every tensor has the samples as its first axis. */
export interface ArraySamples {
  /** Model inputs by name, `[samples, …]`. */
  readonly inputs: Feeds;
  /** What the model should say, by name, `[samples, …]`. */
  readonly targets?: Feeds | undefined;
}

/** How a dataset is described and batched. */
export interface DatasetOptions {
  /** Samples per batch unless the reader asks for another number; 1 by default. */
  readonly batchSize?: number | undefined;
  /** Where the data came from, for reports. */
  readonly description?: string | undefined;
}

/** The batch size and limit that hold: those of the reader before those of the dataset. */
export function resolveBatching(
  own: number | undefined,
  options: BatchOptions,
): { readonly batchSize: number; readonly limit: number } {
  const batchSize = options.batchSize ?? own ?? 1;
  const limit = options.limit ?? Number.POSITIVE_INFINITY;
  if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
    throw errors.valueOutOfRange('The batch size', batchSize, 'the whole numbers from 1');
  }
  if (!(limit >= 0)) throw errors.valueOutOfRange('The limit of samples', limit, 'the whole numbers from 0');
  return { batchSize, limit: Math.floor(limit) };
}

/** Rows of every tensor. */
export function sliceFeeds(feeds: Feeds, start: number, end: number): Feeds {
  return Object.fromEntries(
    Object.entries(feeds).map(([name, tensor]) => [name, sliceRows(tensor, start, end)]),
  );
}

/** Rows of a batch. */
export function sliceBatch(batch: Omit<Batch, 'size'>, start: number, end: number): Batch {
  return {
    inputs: sliceFeeds(batch.inputs, start, end),
    ...(batch.targets === undefined ? {} : { targets: sliceFeeds(batch.targets, start, end) }),
    size: end - start,
  };
}

/**
 * A dataset of tensors in memory. Batches share their elements.
 *
 * @throws {LitheError} DATA_INVALID when there is no input, or tensors differ in their number of samples
 *
 * @example
 * ```ts
 * import { arrayDataset, Tensor } from '@lithe/core';
 *
 * const x = Tensor.from('float32', [5, 2], new Float32Array(10));
 * const sizes: number[] = [];
 * for await (const batch of arrayDataset({ inputs: { x } }, { batchSize: 2 }).batches()) sizes.push(batch.size);
 * sizes; // => [2, 2, 1]
 * ```
 */
export function arrayDataset(samples: ArraySamples, options: DatasetOptions = {}): Dataset {
  const description = options.description ?? 'tensors in memory';
  const named = [...Object.entries(samples.inputs), ...Object.entries(samples.targets ?? {})];
  const size = named[0]?.[1].shape[0];
  if (Object.keys(samples.inputs).length === 0) throw errors.dataInvalid(description, 'it has no inputs.');
  for (const [name, tensor] of named) {
    if (tensor.shape[0] === undefined || tensor.shape[0] !== size) {
      throw errors.dataInvalid(
        description,
        `"${name}" of shape ${formatShape(tensor.shape)} does not hold ${size ?? 'any'} samples like "${named[0]?.[0]}".`,
        'The first axis of every tensor is the sample.',
      );
    }
  }
  const total = size as number;
  resolveBatching(options.batchSize, {});
  return {
    size: total,
    description,
    batches: async function* (how: BatchOptions = {}) {
      const { batchSize, limit } = resolveBatching(options.batchSize, how);
      const end = Math.min(total, limit);
      for (let start = 0; start < end; start += batchSize) {
        how.signal?.throwIfAborted();
        yield sliceBatch(samples, start, Math.min(start + batchSize, end));
      }
    },
  };
}
