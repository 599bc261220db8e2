import { readFile } from 'node:fs/promises';
import { errors, type Tensor } from '@lithe/core';
import { readAll } from '../byte-source.ts';
import type { InputSpec } from '../image/preprocessing.ts';
import type { IndexedDataset } from '../indexed-dataset.ts';
import { openNpy } from '../npy.ts';
import { readNpz } from '../npz.ts';
import { type OpenDatasetOptions, openDataset as openFiles } from '../open-dataset.ts';
import { fileSource, listFiles } from './files.ts';
import { folderCache } from './folder-cache.ts';
import { sharpDecoder } from './sharp.ts';

/** How data at a path is opened. */
export interface OpenPathOptions extends Omit<OpenDatasetOptions, 'cache'> {
  /** A folder in which decoded images are kept between runs. */
  readonly cacheFolder?: string | undefined;
  /** A JSON file with the image preprocessing, where it does not lie beside the images. */
  readonly preprocessingFile?: string | undefined;
}

/**
 * Opens the data at a path for a model: a folder, or one `.npz`, `.npy`, IDX or image file. What is recognized is said
 * at `openDataset` of `@lithe/data`.
 *
 * @param location a folder or file
 * @param inputs the inputs to feed: those of a graph that have no initializer
 * @throws {LitheError} FILE_NOT_FOUND; DATA_INVALID when nothing fits or a file is malformed; LIMIT_EXCEEDED
 */
export async function openDataset(
  location: string,
  inputs: readonly InputSpec[],
  options: OpenPathOptions = {},
): Promise<IndexedDataset> {
  const { cacheFolder, preprocessingFile, ...rest } = options;
  const files = await listFiles(location);
  const config = preprocessingFile === undefined ? undefined : await readJson(preprocessingFile);
  return openFiles(files, inputs, {
    description: location,
    platform: sharpDecoder,
    ...rest,
    ...(cacheFolder === undefined ? {} : { cache: folderCache(cacheFolder) }),
    ...(config === undefined ? {} : { preprocessing: { ...config, ...rest.preprocessing } }),
  });
}

async function readJson(file: string): Promise<object> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw errors.fileNotFound(file, cause instanceof Error ? `${cause.message}.` : String(cause), cause);
  }
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (cause) {
    throw errors.dataInvalid(file, 'it is not JSON.', undefined, cause);
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw errors.dataInvalid(file, 'it is not a JSON object.');
  return config;
}

/**
 * Reads an NPY file.
 *
 * @throws {LitheError} FILE_NOT_FOUND; DATA_INVALID; LIMIT_EXCEEDED
 */
export async function loadNpy(file: string): Promise<Tensor> {
  return (await openNpy(await fileSource(file))).load();
}

/**
 * Reads an NPZ file: its arrays by name.
 *
 * @throws {LitheError} FILE_NOT_FOUND; DATA_INVALID; LIMIT_EXCEEDED
 */
export async function loadNpz(file: string): Promise<Readonly<Record<string, Tensor>>> {
  return readNpz(await readAll(await fileSource(file)), file);
}
