import { type Batch, errors, Tensor } from '@lithe/core';
import { type DataFile, type DataLimits, defaultMaxBytes, defaultMaxPixels, readAll } from './byte-source.ts';
import { decodeImage } from './image/decode.ts';
import type { PlatformDecoder } from './image/image.ts';
import { preprocessImage } from './image/preprocess.ts';
import type { Preprocessing } from './image/preprocessing.ts';
import { fixBatch, type IndexedDataset, indexedDataset } from './indexed-dataset.ts';
import type { Labels } from './labels.ts';
import { type SampleCache, sampleKey } from './sample-cache.ts';

/** Most bytes of one image file. */
const maxImageBytes = 2 ** 28;

/** Version of the decoding and preprocessing code, in the keys of caches: raised when pixels change. */
const pixelsVersion = 1;

/** Whether a file looks like an image, by its name. */
export function isImageFile(file: DataFile): boolean {
  return /\.(png|jpe?g|webp|gif|bmp|tiff?|avif)$/i.test(file.path);
}

/** What an {@link imageDataset} is made of. */
export interface ImageDatasetOptions {
  /** Name of the model input that takes the images. */
  readonly input: string;
  /** What {@link preprocessingFor} or {@link parsePreprocessing} gave. */
  readonly preprocessing: Preprocessing;
  /** Classes, if known: they become the target `label`, int64 `[batch]`. */
  readonly labels?: Labels | undefined;
  /** Where decoded samples are kept. */
  readonly cache?: SampleCache | undefined;
  /** Decoder of formats beyond PNG and JPEG. */
  readonly platform?: PlatformDecoder | undefined;
  /** Limits. */
  readonly limits?: DataLimits | undefined;
  /** Samples per batch; 1 by default. */
  readonly batchSize?: number | undefined;
  /** Where it came from, for reports. */
  readonly description?: string | undefined;
  /** Samples that the model fixes for one run; open by default. */
  readonly fixedBatch?: number | undefined;
}

/**
 * A dataset of images, one file a sample, decoded and preprocessed when they are read.
 *
 * @throws {LitheError} DATA_INVALID for no images; when reading: DATA_INVALID, LIMIT_EXCEEDED naming the file
 */
export function imageDataset(images: readonly DataFile[], options: ImageDatasetOptions): IndexedDataset {
  const { input, preprocessing, labels, cache, platform, limits = {}, fixedBatch } = options;
  const { maxPixels = defaultMaxPixels, maxBytes = defaultMaxBytes } = limits;
  const description = options.description ?? 'images';
  if (images.length === 0) throw errors.dataInvalid(description, 'there are no images.');
  const load = async (file: DataFile): Promise<Tensor> => {
    const bytes = await readAll(file.source, Math.min(maxBytes, maxImageBytes));
    const decode = async (): Promise<Tensor> =>
      preprocessImage(await decodeImage(bytes, file.source.name, { maxPixels, platform }), preprocessing);
    if (cache === undefined) return decode();
    const key = await sampleKey(bytes, [pixelsVersion, preprocessing]);
    const known = await cache.get(key);
    if (known !== undefined) return known;
    const tensor = await decode();
    await cache.put(key, tensor);
    return tensor;
  };
  const one = async (index: number): Promise<Batch> => {
    const file = images[index] as DataFile;
    const inputs = { [input]: await load(file) };
    const label = labels?.byPath.get(file.path);
    if (label === undefined) return { inputs, size: 1 };
    return {
      inputs,
      targets: { label: Tensor.from('int64', [1], new BigInt64Array([BigInt(label)])) },
      size: 1,
    };
  };
  const dataset = indexedDataset({
    items: images.length,
    batchSize: options.batchSize,
    description,
    item: one,
  });
  return fixedBatch === undefined ? dataset : fixBatch(dataset, fixedBatch);
}
