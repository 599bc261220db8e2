import { resolve } from 'node:path';
import {
  arrayDataset,
  type Batch,
  concatRows,
  type Dataset,
  errors,
  type Feeds,
  isLitheError,
  type Tensor,
  takeSamples,
} from '@lithe/core';
import { type IndexedDataset, type InputSpec, type PreprocessingInput, shuffled } from '@lithe/data';
import { listFiles, openDataset } from '@lithe/data/node';
import { hashFiles, identityOf } from './identity.ts';
import type { DataFileSource } from './recipe.ts';

/** Samples of a recipe. */
export interface RecipeData {
  /** The samples. */
  readonly data: Dataset;
  /** All samples that are there. */
  readonly all: IndexedDataset;
  /** Whether batches of any size can be read; otherwise the model fixes theirs. */
  readonly joinable: boolean;
  /** What tells these samples from others: their contents and how they are read. */
  identity(signal: AbortSignal): Promise<string>;
}

/** What opening data takes. */
export interface OpenDataOptions {
  /** Folder that paths are relative to. */
  readonly folder: string;
  /** Inputs of the model. */
  readonly inputs: readonly InputSpec[];
  /** Folder where decoded images are kept. */
  readonly cacheFolder?: string | undefined;
}

/** Samples in a batch unless the model fixes it. */
const BATCH_SIZE = 64;

/** Seed of the choice of samples: not that of the recipe, so that all seeds are measured on the same ones. */
const CHOICE_SEED = 0;

/** Bytes of samples that are held in memory rather than read again each time. */
const HELD_BYTES = 2 ** 30;

/**
 * Opens samples.
 *
 * @throws {LitheError} FILE_NOT_FOUND; DATA_INVALID; LIMIT_EXCEEDED
 */
export async function openData(
  source: DataFileSource | string,
  options: OpenDataOptions,
): Promise<RecipeData> {
  const given = typeof source === 'string' ? { path: source } : source;
  const { samples, part, preprocess } = given;
  const location = resolve(options.folder, given.path);
  const file = typeof preprocess === 'string' ? resolve(options.folder, preprocess) : undefined;
  const all = await openDataset(location, options.inputs, {
    description: given.path,
    batchSize: BATCH_SIZE,
    part,
    cacheFolder: options.cacheFolder,
    preprocessingFile: file,
    ...(typeof preprocess === 'object' ? { preprocessing: preprocess as PreprocessingInput } : {}),
  });
  return {
    all,
    data: someOf({ all }, samples),
    joinable: all.joinable,
    identity: async (signal) => {
      const listed = await listFiles(location);
      const files = listed.map((one) => ({ path: one.source.name, label: one.path }));
      if (file !== undefined) files.push({ path: file, label: 'preprocess' });
      const contents = await hashFiles(files, signal);
      return identityOf({ contents, samples, part, preprocess: file === undefined ? preprocess : undefined });
    },
  };
}

/** Some of the samples, chosen by chance: files are often sorted by class. */
export function someOf({ all }: Pick<RecipeData, 'all'>, samples: number | undefined): Dataset {
  if (samples === undefined || samples >= all.size) return all;
  return takeSamples(shuffled(all, CHOICE_SEED), samples);
}

/** Names of the targets of the first sample. */
export async function targetNamesOf(data: Dataset): Promise<readonly string[]> {
  for await (const batch of data.batches({ limit: 1 })) return Object.keys(batch.targets ?? {});
  return [];
}

/**
 * The same samples, in memory: what is measured on is read again for every step. Data that is too large, or whose
 * samples differ in shape, is given back as it is.
 */
export async function held(
  { data, joinable }: Pick<RecipeData, 'data' | 'joinable'>,
  signal: AbortSignal,
): Promise<Dataset> {
  if (!joinable) return data;
  const batches: Batch[] = [];
  let bytes = 0;
  for await (const batch of data.batches({ signal, batchSize: BATCH_SIZE })) {
    batches.push(batch);
    for (const tensor of Object.values(batch.inputs)) bytes += tensor.byteLength;
    if (bytes > HELD_BYTES) return data;
  }
  if (batches.length === 0) throw errors.dataInvalid(data.description, 'it holds no samples.');
  try {
    return arrayDataset(joined(batches), { batchSize: BATCH_SIZE, description: data.description });
  } catch (error) {
    if (isLitheError(error, 'SHAPE_MISMATCH')) return data;
    throw error;
  }
}

function joined(batches: readonly Batch[]): { readonly inputs: Feeds; readonly targets?: Feeds } {
  const join = (pick: (batch: Batch) => Feeds | undefined): Feeds =>
    Object.fromEntries(
      Object.keys(pick(batches[0] as Batch) ?? {}).map((name) => [
        name,
        concatRows(batches.map((batch) => pick(batch)?.[name] as Tensor)),
      ]),
    );
  const inputs = join((batch) => batch.inputs);
  return batches[0]?.targets === undefined ? { inputs } : { inputs, targets: join((batch) => batch.targets) };
}
