import {
  type Backend,
  type Dataset,
  type Executable,
  errors,
  type Feeds,
  type Model,
  type RunContext,
  type Tensor,
} from '@lithe/core';

/** Real inputs, and what runs models on them. */
export interface Source {
  /** Runs models. */
  readonly backend: Backend;
  /** Real inputs. */
  readonly data: Dataset;
  /** Samples at most. */
  readonly samples: number;
  /** Samples per batch; the dataset's choice when left out. */
  readonly batchSize: number | undefined;
  /** Progress and cancellation. */
  readonly context: RunContext;
}

/** What a run gives, by name. */
export type Results = Readonly<Record<string, Tensor>>;

/**
 * Compiles models, runs `visit` on each batch, and lets go of the models whatever happens.
 *
 * @throws {LitheError} DATA_INVALID when the dataset is empty, or lacks an input of a model
 */
export async function runBatches(
  models: readonly Model[],
  source: Source,
  visit: (run: (model: number, extra: Feeds) => Promise<Results>, size: number) => Promise<void>,
): Promise<void> {
  const { backend, data, samples: limit, batchSize, context } = source;
  const { signal } = context;
  const executables: Executable[] = [];
  try {
    for (const model of models) executables.push(await backend.compile(model, { signal }));
    let seen = 0;
    for await (const batch of data.batches({ limit, batchSize, signal })) {
      signal.throwIfAborted();
      await visit((model, extra) => {
        const executable = executables[model] as Executable;
        return executable.run(feedsOf({ ...batch.inputs, ...extra }, executable), { signal });
      }, batch.size);
      seen += batch.size;
    }
    if (seen === 0) throw errors.dataInvalid(data.description, 'it holds no samples.');
  } finally {
    for (const executable of executables) await executable.dispose();
  }
}

function feedsOf(all: Feeds, executable: Executable): Feeds {
  return Object.fromEntries(
    executable.inputNames.map((name) => {
      const tensor = all[name];
      if (tensor === undefined)
        throw errors.dataInvalid('batch', `it lacks "${name}", which the model takes.`);
      return [name, tensor];
    }),
  );
}

/** The wanted batch size where every input of a model leaves it open, else the dataset's choice. */
export function openBatchSize(model: Model, wanted: number): number | undefined {
  return model.graph.inputs.every(({ shape }) => typeof shape?.[0] !== 'number') ? wanted : undefined;
}
