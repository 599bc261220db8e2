import {
  type Backend,
  type Batch,
  createDrift,
  type Dataset,
  type Executable,
  errors,
  type Feeds,
  type Model,
  type Tensor,
} from '@lithe/core';
import { klDivergence, type ScoreKind, scoreKindOf } from './divergence.ts';

/** How far a model's outputs are from the original's, on the same inputs. */
export interface Deviation {
  /**
   * One number, 0 when equal: the mean Kullback-Leibler divergence in nats of outputs that hold class scores; the power
   * of the difference over the power of the signal of other outputs. Of several outputs the worst counts.
   */
  readonly drift: number;
  /** Signal to noise in decibels, worst output. */
  readonly sqnrDb: number;
  /** Share of rows of class scores whose largest element is at the same place. */
  readonly top1Agreement?: number | undefined;
}

/** What a {@link comparison} takes. */
export interface ComparisonOptions {
  /** Runs the models. */
  readonly backend: Backend;
  /** At most this many samples. */
  readonly samples: number;
  /** Samples per batch; the dataset's choice by default. */
  readonly batchSize?: number | undefined;
  /** Outputs that hold class scores along their last axis, whatever their rank. */
  readonly scores: readonly string[];
  /** Bytes of inputs and expected outputs that are kept; the rest is read and computed again each time. */
  readonly memoryBytes: number;
  /** Cancellation. */
  readonly signal: AbortSignal;
}

/** Compares models with the original one on the same samples. */
export interface Comparison extends AsyncDisposable {
  /** Samples that are compared. */
  readonly samples: number;
  /** What drift measures: divergence where any output holds class scores. */
  readonly measure: 'kl-divergence' | 'noise-to-signal';
  /** Runs a model on the samples. */
  measureModel(model: Model): Promise<Deviation>;
}

interface Expected {
  readonly inputs: Feeds;
  readonly outputs: Feeds;
  readonly size: number;
}

const bytesOf = (feeds: Feeds): number =>
  Object.values(feeds).reduce((sum, tensor) => sum + tensor.byteLength, 0);

/** What a model takes of a batch: a dataset may hold more. */
function feedsFor(batch: Batch, executable: Executable): Feeds {
  return Object.fromEntries(
    Object.entries(batch.inputs).filter(([name]) => executable.inputNames.includes(name)),
  );
}

/**
 * Runs the original model once on the first samples of a dataset and keeps what it gave, as far as memory allows.
 *
 * @throws {LitheError} DATA_INVALID when the dataset is empty; BACKEND_FAILED when the runtime fails
 */
export async function comparison(
  original: Model,
  data: Dataset,
  options: ComparisonOptions,
): Promise<Comparison> {
  const { backend, samples: limit, batchSize, signal } = options;
  const reference = await backend.compile(original, { signal });
  const kinds = new Map<string, ScoreKind>();
  const kept: Expected[] = [];
  let bytes = 0;
  let samples = 0;

  const expect = async (batch: Batch): Promise<Expected> => {
    signal.throwIfAborted();
    const inputs = feedsFor(batch, reference);
    return { inputs, outputs: await reference.run(inputs, { signal }), size: batch.size };
  };
  async function* everything(): AsyncIterable<Expected> {
    yield* kept;
    if (kept.reduce((sum, item) => sum + item.size, 0) >= samples && samples > 0) return;
    let index = 0;
    for await (const batch of data.batches({ limit, batchSize, signal })) {
      if (index++ >= kept.length) yield await expect(batch);
    }
  }

  try {
    let full = false;
    for await (const item of everything()) {
      for (const [name, tensor] of Object.entries(item.outputs)) {
        const kind = scoreKindOf(tensor, options.scores.includes(name));
        const before = kinds.get(name);
        // What looks like a distribution in one batch must in all.
        kinds.set(name, before === undefined || before === kind ? kind : 'none');
      }
      samples += item.size;
      bytes += bytesOf(item.inputs) + bytesOf(item.outputs);
      full ||= bytes > options.memoryBytes;
      if (!full) kept.push(item);
    }
    if (samples === 0) throw errors.dataInvalid(data.description, 'it holds no samples to compare on.');
  } catch (error) {
    await reference.dispose();
    throw error;
  }

  const measureModel = async (model: Model): Promise<Deviation> => {
    const executable = await backend.compile(model, { signal });
    const drift = createDrift({ scores: options.scores });
    const divergences = new Map<string, { sum: number; rows: number }>();
    try {
      for await (const { inputs, outputs, size } of everything()) {
        signal.throwIfAborted();
        const actual = await executable.run(inputs, { signal });
        drift.add(outputs, actual, size);
        for (const [name, kind] of kinds) {
          if (kind === 'none') continue;
          const { sum, rows } = klDivergence(
            outputs[name] as Tensor<'float32'>,
            actual[name] as Tensor<'float32'>,
            { kind, name },
          );
          const total = divergences.get(name) ?? { sum: 0, rows: 0 };
          divergences.set(name, { sum: total.sum + sum, rows: total.rows + rows });
        }
      }
    } finally {
      await executable.dispose();
    }
    const result = drift.result();
    let worst = 0;
    for (const [name, { sqnrDb }] of Object.entries(result.outputs)) {
      const divergence = divergences.get(name);
      const noise = 10 ** (-sqnrDb / 10);
      worst = Math.max(
        worst,
        divergence === undefined ? noise : divergence.sum / Math.max(1, divergence.rows),
      );
    }
    const { sqnrDb, top1Agreement } = result;
    return { drift: worst, sqnrDb, ...(top1Agreement === undefined ? {} : { top1Agreement }) };
  };
  return {
    samples,
    measure: [...kinds.values()].some((kind) => kind !== 'none') ? 'kl-divergence' : 'noise-to-signal',
    measureModel,
    [Symbol.asyncDispose]: () => reference.dispose(),
  };
}
