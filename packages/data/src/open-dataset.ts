import { errors } from '@lithe/core';
import { arrayFilesDataset, isArrayFile } from './array-files.ts';
import { type DataFile, type DataLimits, sortFiles } from './byte-source.ts';
import { idxDataset, isIdxFile } from './idx-files.ts';
import type { PlatformDecoder } from './image/image.ts';
import {
  type InputSpec,
  type PreprocessingInput,
  parsePreprocessing,
  preprocessingFor,
} from './image/preprocessing.ts';
import { imageDataset, isImageFile } from './image-files.ts';
import type { IndexedDataset } from './indexed-dataset.ts';
import { findLabels } from './labels.ts';
import type { SampleCache } from './sample-cache.ts';

/** How data is opened. */
export interface OpenDatasetOptions {
  /** Samples per batch; 1 by default. A model that fixes its batch decides itself. */
  readonly batchSize?: number | undefined;
  /** Image preprocessing. It goes before a `preprocessing.json` beside the images, and that before what the model input says. */
  readonly preprocessing?: PreprocessingInput | undefined;
  /** Which pair of IDX files, where there are several: `train`, `t10k`. */
  readonly part?: string | undefined;
  /** Where decoded images are kept. */
  readonly cache?: SampleCache | undefined;
  /** Decoder of image formats beyond PNG and JPEG. */
  readonly platform?: PlatformDecoder | undefined;
  /** Limits on what is read. */
  readonly limits?: DataLimits | undefined;
  /** What to call the data in reports and messages. */
  readonly description?: string | undefined;
}

/**
 * Opens data for a model, whatever form it is in:
 * - `.npz` archives with an array per input (rows are samples, or one feed an archive);
 * - `.npy` files named after the inputs: `<input>.npy`, `<input>_000.npy`, or a folder per sample with `<input>.npy`;
 * - IDX images with their labels (MNIST), gzipped or not;
 * - images, with classes from `labels.csv`, `labels.json` or the names of their folders.
 *
 * Arrays that no input takes become targets. Numbers are converted to the input's dtype where nothing is lost.
 *
 * @param files all files there are, in any order
 * @param inputs the inputs to feed: those of a graph that have no initializer
 * @throws {LitheError} DATA_INVALID when nothing fits, or a file is malformed; LIMIT_EXCEEDED; OPTIONS_INVALID
 *
 * @example
 * ```ts
 * import { Tensor } from '@lithe/core';
 * import { bytesSource, openDataset, writeNpy } from '@lithe/data';
 *
 * const bytes = writeNpy(Tensor.from('float32', [3, 2], new Float32Array([1, 2, 3, 4, 5, 6])));
 * const inputs = [{ name: 'x', dtype: 'float32', shape: ['N', 2] }] as const;
 * const data = await openDataset([{ path: 'x.npy', source: bytesSource(bytes) }], inputs, { batchSize: 2 });
 * const sizes: number[] = [];
 * for await (const batch of data.batches()) sizes.push(batch.size);
 * sizes; // => [2, 1]
 * ```
 */
export async function openDataset(
  files: readonly DataFile[],
  inputs: readonly InputSpec[],
  options: OpenDatasetOptions = {},
): Promise<IndexedDataset> {
  const { description = 'data', batchSize, limits = {} } = options;
  const sorted = sortFiles(files);
  if (inputs.length === 0) throw errors.dataInvalid(description, 'the model takes no inputs.');
  const arrays = sorted.filter(isArrayFile);
  if (arrays.length > 0)
    return withBatchSize(await arrayFilesDataset(arrays, inputs, description, limits), batchSize);
  const idx = sorted.filter(isIdxFile);
  if (idx.length > 0) return idxDataset(idx, onlyInput(inputs, description), { ...options, description });
  const images = sorted.filter(isImageFile);
  if (images.length > 0)
    return openImages(sorted, images, onlyInput(inputs, description), { ...options, description });
  throw errors.dataInvalid(
    description,
    sorted.length === 0
      ? 'there are no files.'
      : `nothing in it is .npy, .npz, IDX or an image; it has ${sorted
          .slice(0, 5)
          .map((file) => file.path)
          .join(', ')}${sorted.length > 5 ? ', …' : ''}.`,
  );
}

async function openImages(
  files: readonly DataFile[],
  images: readonly DataFile[],
  input: InputSpec,
  options: OpenDatasetOptions,
): Promise<IndexedDataset> {
  const beside = files.find((file) => file.path === 'preprocessing.json');
  const found = beside === undefined ? undefined : await readConfig(beside);
  const preprocessing = preprocessingFor(input, { ...found, ...options.preprocessing }, beside?.path);
  const batch = input.shape?.[0];
  return imageDataset(images, {
    input: input.name,
    preprocessing,
    labels: await findLabels(files, images),
    cache: options.cache,
    platform: options.platform,
    limits: options.limits,
    batchSize: options.batchSize,
    description: options.description,
    fixedBatch: typeof batch === 'number' ? batch : undefined,
  });
}

async function readConfig(file: DataFile): Promise<PreprocessingInput> {
  const { size } = file.source;
  if (size > 2 ** 20) throw errors.limitExceeded('configuration bytes', 2 ** 20, size, `File "${file.path}"`);
  let config: unknown;
  try {
    config = JSON.parse(new TextDecoder().decode(await file.source.read(0, size)));
  } catch (cause) {
    throw errors.dataInvalid(file.path, 'it is not JSON.', undefined, cause);
  }
  parsePreprocessing(config, file.path);
  return config as PreprocessingInput;
}

function onlyInput(inputs: readonly InputSpec[], description: string): InputSpec {
  const [input, another] = inputs;
  if (input === undefined || another !== undefined) {
    throw errors.dataInvalid(
      description,
      `images feed a model with one input; this one has ${inputs.map((one) => `"${one.name}"`).join(', ')}.`,
      'Save its inputs as <input>.npy files instead.',
    );
  }
  return input;
}

/** A dataset of the same items with another batch size of its own. */
function withBatchSize(dataset: IndexedDataset, batchSize: number | undefined): IndexedDataset {
  if (batchSize === undefined || !dataset.joinable) return dataset;
  return {
    ...dataset,
    batchSize,
    batches: (how = {}) => dataset.batches({ ...how, batchSize: how.batchSize ?? batchSize }),
  };
}
