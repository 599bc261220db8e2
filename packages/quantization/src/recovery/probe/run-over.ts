import {
  type Backend,
  type Dataset,
  errors,
  type Feeds,
  type Model,
  type PassContext,
  type RunContext,
  type Tensor,
} from '@lithe/core';

/** Real inputs, and what runs a model on them. */
export interface ProbeSource {
  /** Runs the model. */
  readonly backend: Backend;
  /** Inputs. */
  readonly data: Dataset;
  /** At most this many samples. */
  readonly samples: number;
  /** Samples per batch; the dataset's choice by default. */
  readonly batchSize?: number | undefined;
  /** Progress and cancellation. */
  readonly context: RunContext;
}

/**
 * The source that a pass gets from its context.
 *
 * @throws {LitheError} PASS_NEEDS without data or backend
 */
export function probeSource(pass: string, context: PassContext, samples: number): ProbeSource {
  const { backend, data } = context;
  if (backend === undefined || data === undefined) {
    const missing = [...(data === undefined ? ['data'] : []), ...(backend === undefined ? ['backend'] : [])];
    throw errors.passNeeds(pass, missing);
  }
  return { backend, data, samples, context };
}

/** `free` samples per batch where the model leaves its batch open; the data's choice (`undefined`) where it fixes it. */
export function freeBatchSize(model: Model, free: number): number | undefined {
  const { inputs } = model.graph;
  return inputs.length > 0 && inputs.every(({ shape }) => typeof shape?.[0] !== 'number') ? free : undefined;
}

/** What {@link runOver} does with each batch. */
export interface RunOverOptions {
  /** Names the work in progress events. */
  readonly task: string;
  /** Takes the outputs of one batch. They are not kept. */
  visit(results: Readonly<Record<string, Tensor>>, size: number): void;
}

/**
 * Runs a model on every batch of a source that holds samples and hands out the results, one batch at a time.
 *
 * @returns number of samples
 * @throws {LitheError} DATA_INVALID when there are none; BACKEND_FAILED when the runtime fails
 */
export async function runOver(model: Model, source: ProbeSource, options: RunOverOptions): Promise<number> {
  const { backend, data, samples: limit, batchSize, context } = source;
  const { signal } = context;
  const executable = await backend.compile(model, { signal });
  let samples = 0;
  try {
    for await (const batch of data.batches({ batchSize, limit, signal })) {
      signal.throwIfAborted();
      // Means and extremes of nothing are not defined.
      if (batch.size === 0) continue;
      // A dataset may hold more than the model takes.
      const feeds: Feeds = Object.fromEntries(
        Object.entries(batch.inputs).filter(([name]) => executable.inputNames.includes(name)),
      );
      options.visit(await executable.run(feeds, { signal }), batch.size);
      samples += batch.size;
      context.progress({ task: options.task, done: samples, total: Math.min(limit, data.size ?? limit) });
    }
  } finally {
    await executable.dispose();
  }
  if (samples === 0) throw errors.dataInvalid(data.description, 'it holds no samples to calibrate with.');
  return samples;
}
