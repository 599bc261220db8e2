import { errors } from '../errors/catalogue.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type DatasetOptions, resolveBatching } from './array-dataset.ts';
import type { Batch, BatchOptions, Dataset, Feeds } from './dataset.ts';
import { stackRows } from './rows.ts';

/** One sample. Tensors have no batch axis. */
export interface Sample {
  /** Model inputs by name. */
  readonly inputs: Feeds;
  /** What the model should say, by name. */
  readonly targets?: Feeds | undefined;
}

/** How an {@link iterableDataset} is described and batched. */
export interface IterableDatasetOptions extends DatasetOptions {
  /** Number of samples, if known. */
  readonly size?: number | undefined;
}

/**
 * A dataset that reads its samples one after another, never holding more than a batch. A batch ends early where the
 * next sample has other shapes, so images of different sizes can follow each other.
 *
 * @param read starts reading from the first sample; called anew for every pass over the data
 *
 * @example
 * ```ts
 * import { iterableDataset, Tensor } from '@lithe/core';
 *
 * const dataset = iterableDataset(
 *   function* () {
 *     for (let n = 0; n < 3; n++) yield { inputs: { x: Tensor.from('float32', [1], new Float32Array([n])) } };
 *   },
 *   { batchSize: 2 },
 * );
 * const shapes: (readonly number[])[] = [];
 * for await (const batch of dataset.batches()) shapes.push(batch.inputs['x']!.shape);
 * shapes; // => [[2, 1], [1, 1]]
 * ```
 */
export function iterableDataset(
  read: (signal: AbortSignal | undefined) => Iterable<Sample> | AsyncIterable<Sample>,
  options: IterableDatasetOptions = {},
): Dataset {
  const description = options.description ?? 'samples one by one';
  resolveBatching(options.batchSize, {});
  return {
    size: options.size,
    description,
    batches: async function* (how: BatchOptions = {}) {
      const { batchSize, limit } = resolveBatching(options.batchSize, how);
      if (limit === 0) return;
      let waiting: Sample[] = [];
      let count = 0;
      for await (const sample of read(how.signal)) {
        how.signal?.throwIfAborted();
        const [first] = waiting;
        if (first !== undefined && (waiting.length === batchSize || !alike(first, sample))) {
          yield stackSamples(waiting, description);
          waiting = [];
        }
        waiting.push(sample);
        count++;
        if (count >= limit) break;
      }
      if (waiting.length > 0) yield stackSamples(waiting, description);
    },
  };
}

/** Whether two samples have tensors of the same shapes. */
function alike(left: Sample, right: Sample): boolean {
  return sameShapes(left.inputs, right.inputs) && sameShapes(left.targets ?? {}, right.targets ?? {});
}

function sameShapes(left: Feeds, right: Feeds): boolean {
  return Object.entries(left).every(([name, tensor]) => {
    const other = right[name];
    return other === undefined || other.shape.join() === tensor.shape.join();
  });
}

function stackSamples(samples: readonly Sample[], description: string): Batch {
  const [first] = samples as readonly [Sample];
  const inputs = stackFeeds(first.inputs, samples, (sample) => sample.inputs, description);
  if (first.targets === undefined) return { inputs, size: samples.length };
  const targets = stackFeeds(first.targets, samples, (sample) => sample.targets ?? {}, description);
  return { inputs, targets, size: samples.length };
}

function stackFeeds(
  first: Feeds,
  samples: readonly Sample[],
  pick: (sample: Sample) => Feeds,
  description: string,
): Feeds {
  const stacked: Record<string, Tensor> = {};
  for (const name of Object.keys(first)) {
    stacked[name] = stackRows(
      samples.map((sample) => {
        const tensor = pick(sample)[name];
        if (tensor === undefined)
          throw errors.dataInvalid(description, `a sample has no "${name}", another has.`);
        return tensor;
      }),
    );
  }
  return stacked;
}
