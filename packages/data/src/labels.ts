import { errors } from '@lithe/core';
import type { DataFile } from './byte-source.ts';

/** Classes of images. */
export interface Labels {
  /** Class of each image, by path. */
  readonly byPath: ReadonlyMap<string, number>;
  /** Names of the classes in order, where they have names. */
  readonly classes: readonly string[] | undefined;
}

const maxLabelBytes = 2 ** 26;

/**
 * Finds the classes of images: from `labels.json` (`{ "cat/1.png": 3 }` or names), from `labels.csv` (`path,label`
 * lines, with or without a head line), or from the names of the folders they lie in, sorted. `undefined` where there
 * is none of these.
 *
 * @throws {LitheError} DATA_INVALID when a label file is malformed or misses an image
 */
export async function findLabels(
  files: readonly DataFile[],
  images: readonly DataFile[],
): Promise<Labels | undefined> {
  const json = files.find((file) => file.path === 'labels.json');
  if (json !== undefined) return fromEntries(parseJson(await readText(json), json.path), images, json.path);
  const csv = files.find((file) => file.path === 'labels.csv');
  if (csv !== undefined) return fromEntries(parseCsv(await readText(csv)), images, csv.path);
  const folders = images.map((image) => image.path.slice(0, Math.max(0, image.path.indexOf('/'))));
  if (new Set(folders).size < 2 || folders.includes('')) return undefined;
  return fromEntries(
    new Map(images.map((image, index) => [image.path, folders[index] as string])),
    images,
    'folders',
  );
}

async function readText(file: DataFile): Promise<string> {
  const { size } = file.source;
  if (size > maxLabelBytes)
    throw errors.limitExceeded('label bytes', maxLabelBytes, size, `File "${file.path}"`);
  return new TextDecoder().decode(await file.source.read(0, size));
}

function parseJson(text: string, name: string): ReadonlyMap<string, string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw errors.dataInvalid(name, 'it is not JSON.', undefined, cause);
  }
  const entries =
    typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? Object.entries(parsed) : [];
  if (
    entries.length === 0 ||
    entries.some(([, label]) => typeof label !== 'string' && typeof label !== 'number')
  ) {
    throw errors.dataInvalid(name, 'it does not map paths of images to classes, as in { "cat/1.png": 3 }.');
  }
  return new Map(entries.map(([path, label]) => [path, String(label)]));
}

function parseCsv(text: string): ReadonlyMap<string, string> {
  const labels = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const [, path, label] = /^\s*"?(.+?)"?\s*[,;\t]\s*"?([^",;\t]*?)"?\s*$/.exec(line) ?? [];
    if (path !== undefined && label !== undefined) labels.set(path, label);
  }
  return labels;
}

function fromEntries(labels: ReadonlyMap<string, string>, images: readonly DataFile[], name: string): Labels {
  const found = images.map((image) => {
    const label = labels.get(image.path) ?? labels.get(image.path.slice(image.path.lastIndexOf('/') + 1));
    if (label === undefined) throw errors.dataInvalid(name, `it has no class for image "${image.path}".`);
    return [image.path, label] as const;
  });
  if (name !== 'folders' && found.every(([, label]) => /^\d{1,9}$/.test(label))) {
    return { byPath: new Map(found.map(([path, label]) => [path, Number(label)])), classes: undefined };
  }
  const classes = [...new Set(found.map(([, label]) => label))].sort();
  const indexOf = new Map(classes.map((label, index) => [label, index]));
  return { byPath: new Map(found.map(([path, label]) => [path, indexOf.get(label) as number])), classes };
}
