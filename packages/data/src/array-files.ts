import { errors, type Tensor } from '@lithe/core';
import { arrayGroup, concatDatasets, tensorArray } from './array-group.ts';
import { type DataFile, type DataLimits, readAll } from './byte-source.ts';
import type { InputSpec } from './image/preprocessing.ts';
import type { IndexedDataset } from './indexed-dataset.ts';
import { type ArrayFile, openNpy } from './npy.ts';
import { readNpz } from './npz.ts';

const targetNames = new Set(['label', 'labels', 'target', 'targets']);
/** File names cannot hold what names of inputs may: `x:0` is looked for as `x_0`. */
const asFileName = (name: string): string => name.replace(/[^\w.-]/g, '_');
const folderOf = (path: string): string => path.slice(0, path.lastIndexOf('/') + 1);
const stemOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1).replace(/\.np[yz]$/i, '');

/** Whether these files are arrays. */
export function isArrayFile(file: DataFile): boolean {
  return /\.np[yz]$/i.test(file.path);
}

/**
 * A dataset of NPZ archives, or of NPY files that are named after the inputs: one file an input (`x.npy`), one folder
 * a sample (`000/x.npy`), or numbered files (`x_000.npy`). For a model with one input, any names do.
 */
export async function arrayFilesDataset(
  files: readonly DataFile[],
  inputs: readonly InputSpec[],
  description: string,
  limits: DataLimits,
): Promise<IndexedDataset> {
  const archives = files.filter((file) => /\.npz$/i.test(file.path));
  const plain = files.filter((file) => /\.npy$/i.test(file.path));
  const parts: IndexedDataset[] = [];
  for (const file of archives) parts.push(await archiveDataset(file, inputs, limits));
  for (const [label, group] of groupsOf(plain, inputs, description)) {
    const arrays = new Map<string, ArrayFile>();
    for (const [name, file] of group) arrays.set(name, await openNpy(file.source, limits));
    parts.push(arrayGroup(arrays, inputs, label));
  }
  return concatDatasets(parts, description);
}

/** An archive keeps only its shapes in memory; its arrays are read again for each item, the last one kept. */
async function archiveDataset(
  file: DataFile,
  inputs: readonly InputSpec[],
  limits: DataLimits,
): Promise<IndexedDataset> {
  let held: WeakRef<Readonly<Record<string, Tensor>>> | undefined;
  const open = async (): Promise<Readonly<Record<string, Tensor>>> => {
    const known = held?.deref();
    if (known !== undefined) return known;
    const arrays = await readNpz(await readAll(file.source, limits.maxBytes), file.source.name, limits);
    held = new WeakRef(arrays);
    return arrays;
  };
  const arrays = new Map<string, ArrayFile>();
  for (const [name, tensor] of Object.entries(await open())) {
    const again = async (): Promise<Tensor> => (await open())[name] as Tensor;
    const shell = tensorArray(`${file.source.name}/${name}`, tensor);
    arrays.set(name, {
      name: shell.name,
      dtype: tensor.dtype,
      shape: tensor.shape,
      load: again,
      rows: async (start, end) => tensorArray(shell.name, await again()).rows(start, end),
    });
  }
  const [only] = inputs;
  const [first] = [...arrays].filter(([name]) => !targetNames.has(name));
  if (
    inputs.length === 1 &&
    only !== undefined &&
    first !== undefined &&
    !arrays.has(only.name) &&
    arrays.size <= 2
  ) {
    arrays.set(only.name, first[1]);
    arrays.delete(first[0]);
  }
  return arrayGroup(arrays, inputs, file.path);
}

/** Which files belong together: by folder and number. */
function groupsOf(
  files: readonly DataFile[],
  inputs: readonly InputSpec[],
  description: string,
): ReadonlyMap<string, ReadonlyMap<string, DataFile>> {
  const groups = new Map<string, Map<string, DataFile>>();
  const names = new Map(inputs.map((input) => [asFileName(input.name), input.name]));
  const put = (key: string, name: string, file: DataFile): void => {
    const group = groups.get(key) ?? new Map<string, DataFile>();
    if (group.has(name))
      throw errors.dataInvalid(
        file.path,
        `"${name}" of the same sample is also in ${group.get(name)?.path}.`,
      );
    group.set(name, file);
    groups.set(key, group);
  };
  let matched = false;
  for (const file of files) {
    const stem = stemOf(file.path);
    const [, base = stem, number = ''] = names.has(stem) ? [] : (/^(.*?)[_.-]?(\d+)$/.exec(stem) ?? []);
    const input = names.get(base);
    matched ||= input !== undefined;
    put(`${folderOf(file.path)}${number}`, input ?? base, file);
  }
  if (matched || files.length === 0) return groups;
  const [only] = inputs;
  if (inputs.length !== 1 || only === undefined) {
    throw errors.dataInvalid(
      description,
      `no file is named after an input; the inputs are ${inputs.map((input) => `"${input.name}"`).join(', ')}.`,
      'Name each file <input>.npy, <input>_000.npy, or put the inputs of each sample in a folder of its own.',
    );
  }
  groups.clear();
  for (const file of files) {
    if (!targetNames.has(stemOf(file.path))) put(file.path, only.name, file);
  }
  return groups;
}
