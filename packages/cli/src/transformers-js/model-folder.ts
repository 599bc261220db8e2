import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { errors } from '@lithe/core';
import type { TransformersJsSettings } from '@lithe/quantization';

type Json = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Largest `config.json` that is read: real ones have a few kilobytes. */
const MAX_CONFIG_BYTES = 2 ** 24;

async function readJson(path: string): Promise<Json | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() !== true) return undefined;
  if (found.size > MAX_CONFIG_BYTES)
    throw errors.limitExceeded('maxConfigBytes', MAX_CONFIG_BYTES, found.size, `The file "${path}"`);
  try {
    const parsed: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (isObject(parsed)) return parsed;
  } catch (cause) {
    throw errors.fileInvalid(path, 'it is not JSON', cause);
  }
  throw errors.fileInvalid(path, 'it holds no JSON object');
}

/** Writes a file under a temporary name, then renames it. */
async function writeJson(path: string, value: unknown): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
  try {
    await writeFile(temporary, `${JSON.stringify(value, undefined, 2)}\n`);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** The folder above the files that transformers.js loads: it looks for models in `onnx/` under `config.json`. */
export function repositoryOf(folder: string): string {
  const path = resolve(folder);
  return basename(path) === 'onnx' ? dirname(path) : path;
}

/**
 * `model_type` of the `config.json` that belongs to a model file: beside it, or above its `onnx` folder.
 *
 * @throws {LitheError} FILE_INVALID when the file is no JSON object
 */
export async function modelTypeOf(modelPath: string): Promise<string | undefined> {
  const folder = dirname(resolve(modelPath));
  for (const place of [folder, repositoryOf(folder)]) {
    const type = (await readJson(join(place, 'config.json')))?.['model_type'];
    if (typeof type === 'string') return type;
  }
  return undefined;
}

/** Writes `quantize_config.json` as the recipe did: what the options came to. */
export async function writeQuantizeConfig(
  repository: string,
  settings: TransformersJsSettings,
): Promise<string> {
  const path = join(repository, 'quantize_config.json');
  await writeJson(path, settings);
  return path;
}

/** What a set says about its external data, for `config.json`. */
export type ExternalDataCounts = Readonly<Record<string, number>>;

/**
 * Notes in the `config.json` of a set how many files of external data belong to each of its models:
 * `transformers.js_config.use_external_data_format`, without which transformers.js does not load them. Entries of other
 * files stay; those of files in `all` that have none any more go.
 *
 * @param all names of all files that were written
 * @returns the path, or `undefined` when there is no `config.json`, or nothing to change
 */
export async function noteExternalData(
  repository: string,
  all: readonly string[],
  counts: ExternalDataCounts,
): Promise<string | undefined> {
  const path = join(repository, 'config.json');
  const config = await readJson(path);
  if (config === undefined) return undefined;
  const own = isObject(config['transformers.js_config']) ? config['transformers.js_config'] : {};
  const known = own['use_external_data_format'];
  const before = isObject(known) ? known : {};
  const kept = Object.entries(before).filter(([name]) => !all.includes(name));
  const after = { ...Object.fromEntries(kept), ...counts };
  if (JSON.stringify(after) === JSON.stringify(before)) return undefined;
  // `true` or a number speaks for all files; entries by name take its place only where there is something to say.
  if (!isObject(known) && known !== undefined && Object.keys(counts).length === 0) return undefined;
  await writeJson(path, {
    ...config,
    'transformers.js_config': { ...own, use_external_data_format: after },
  });
  return path;
}
