import type { Batch, BatchOptions, Dataset } from './dataset.ts';

/**
 * A dataset whose batches go through a function: to preprocess, rename inputs, drop targets.
 *
 * @param change gets each batch and gives the one to hand on; it must keep the number of samples
 */
export function mapDataset(dataset: Dataset, change: (batch: Batch) => Batch | Promise<Batch>): Dataset {
  return {
    size: dataset.size,
    description: dataset.description,
    batches: async function* (options: BatchOptions = {}) {
      for await (const batch of dataset.batches(options)) yield await change(batch);
    },
  };
}

/** The first `samples` samples of a dataset. */
export function takeSamples(dataset: Dataset, samples: number): Dataset {
  return {
    size: dataset.size === undefined ? undefined : Math.min(dataset.size, samples),
    description: `${dataset.description}, first ${samples} samples`,
    batches: (options: BatchOptions = {}) =>
      dataset.batches({ ...options, limit: Math.min(options.limit ?? Number.POSITIVE_INFINITY, samples) }),
  };
}
