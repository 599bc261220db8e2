import type { Tensor } from '../tensor/tensor.ts';

/** Named tensors: what a model is fed, or gives. */
export type Feeds = Readonly<Record<string, Tensor>>;

/** One batch of a dataset. Every tensor has the batch as its first axis. */
export interface Batch {
  /** Model inputs by name, `[batch, …]`. */
  readonly inputs: Feeds;
  /** What the model should say, by name (`label`: int64 `[batch]` for classification). */
  readonly targets?: Feeds | undefined;
  /** Number of samples in the batch; the last one may be smaller. */
  readonly size: number;
}

/** How batches are read. */
export interface BatchOptions {
  /** Samples per batch; the dataset's own choice by default. */
  readonly batchSize?: number | undefined;
  /** At most this many samples. */
  readonly limit?: number | undefined;
  /** Cancellation. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A source of samples that can be read again and again. Reading streams: nothing requires all samples in memory.
 */
export interface Dataset {
  /** Number of samples, if known. */
  readonly size: number | undefined;
  /** Where it came from, for reports. */
  readonly description: string;
  /** Reads from the start, in a fixed order. */
  batches(options?: BatchOptions): AsyncIterable<Batch>;
}
