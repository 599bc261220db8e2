import { type Batch, errors, type Feeds, formatShape, sliceRows, type Tensor } from '@lithe/core';
import { castTo } from './cast.ts';
import type { InputSpec } from './image/preprocessing.ts';
import { type IndexedDataset, indexedDataset } from './indexed-dataset.ts';
import type { ArrayFile } from './npy.ts';

/** A tensor in memory, read like a file. */
export function tensorArray(name: string, tensor: Tensor): ArrayFile {
  return {
    name,
    dtype: tensor.dtype,
    shape: tensor.shape,
    load: () => Promise.resolve(tensor),
    rows: (start, end) => Promise.resolve(sliceRows(tensor, start, end)),
  };
}

/**
 * How an array feeds an input: `rows`, some of its first axis at a time; `stack`, one complete feed after another;
 * `sample`, one sample without the batch axis; `whole`, as it is, every time.
 */
interface Feeding {
  readonly input: InputSpec;
  readonly array: ArrayFile;
  readonly role: 'rows' | 'stack' | 'sample' | 'whole';
  /** Rows of one item. */
  readonly step: number;
  /** Items it is good for; `undefined` for any number. */
  readonly items: number | undefined;
  /** Whether the model leaves its batch open, so that items may be joined. */
  readonly open: boolean;
}

type Dims = readonly (number | string | null)[];

const matches = (actual: readonly number[], declared: Dims): boolean =>
  actual.length === declared.length &&
  actual.every((dim, axis) => typeof declared[axis] !== 'number' || declared[axis] === dim);

function feedingOf(input: InputSpec, array: ArrayFile): Feeding {
  const { shape } = array;
  const declared = input.shape;
  const rows = shape[0] ?? 1;
  const feeding = { input, array };
  if (declared === undefined) {
    if (shape.length === 0) return { ...feeding, role: 'whole', step: 1, items: undefined, open: false };
    return { ...feeding, role: 'rows', step: 1, items: rows, open: true };
  }
  const [batch] = declared;
  if (matches(shape, declared) && (declared.length === 0 || typeof batch === 'number')) {
    return {
      ...feeding,
      role: 'whole',
      step: typeof batch === 'number' ? batch : 1,
      items: undefined,
      open: false,
    };
  }
  if (shape.length === declared.length && matches(shape.slice(1), declared.slice(1))) {
    const step = typeof batch === 'number' ? batch : 1;
    if (step > 0 && rows % step === 0)
      return { ...feeding, role: 'rows', step, items: rows / step, open: typeof batch !== 'number' };
  }
  if (shape.length === declared.length + 1 && matches(shape.slice(1), declared)) {
    return {
      ...feeding,
      role: 'stack',
      step: typeof batch === 'number' ? batch : (shape[1] ?? 1),
      items: rows,
      open: false,
    };
  }
  if (
    declared.length > 0 &&
    (typeof batch !== 'number' || batch === 1) &&
    matches(shape, declared.slice(1))
  ) {
    return { ...feeding, role: 'sample', step: 1, items: undefined, open: typeof batch !== 'number' };
  }
  throw errors.dataInvalid(
    array.name,
    `its shape ${formatShape(shape)} does not fit input "${input.name}" of shape ${formatShape(declared)}.`,
    'The first axis is the sample; the others must be those of the input.',
  );
}

async function read(feeding: Feeding, start: number, end: number): Promise<Tensor> {
  const { array, role, step, input } = feeding;
  let tensor: Tensor;
  if (role === 'rows') tensor = await array.rows(start * step, end * step);
  else if (role === 'stack') tensor = (await array.rows(start, end)).reshape(array.shape.slice(1));
  else if (role === 'sample') tensor = (await array.load()).reshape([1, ...array.shape]);
  else tensor = await array.load();
  return input.dtype === undefined ? tensor : castTo(tensor, input.dtype, array.name);
}

/** The name a target goes by: `labels` and `label` are one. */
const targetName = (name: string): string =>
  name === 'labels' || name === 'targets' ? name.slice(0, -1) : name;

/**
 * A dataset of arrays that belong together, one for each input. Arrays that no input takes become targets, where they
 * have as many rows as there are samples.
 *
 * @param arrays by name
 * @throws {LitheError} DATA_INVALID when an input has no array, shapes do not fit, or arrays differ in their samples
 */
export function arrayGroup(
  arrays: ReadonlyMap<string, ArrayFile>,
  inputs: readonly InputSpec[],
  description: string,
): IndexedDataset {
  const feedings = inputs.map((input) => {
    const array = arrays.get(input.name);
    if (array === undefined) {
      throw errors.dataInvalid(
        description,
        `it has no array for input "${input.name}"; it has ${[...arrays.keys()].join(', ')}.`,
      );
    }
    return feedingOf(input, array);
  });
  const counted = feedings.filter((feeding) => feeding.items !== undefined);
  const items = counted[0]?.items ?? 1;
  const other = counted.find((feeding) => feeding.items !== items);
  if (other !== undefined) {
    throw errors.dataInvalid(
      description,
      `"${other.array.name}" holds ${other.items} samples, "${counted[0]?.array.name}" holds ${items}.`,
    );
  }
  const leading = counted[0] ?? feedings.find((feeding) => feeding.array.shape.length > 0);
  const samplesPerItem = leading?.step ?? 1;
  const joinable = feedings.every((feeding) => feeding.open && (feeding.role === 'rows' || items === 1));
  const taken = new Set(inputs.map((input) => input.name));
  const targets = [...arrays].filter(
    ([name, array]) => !taken.has(name) && array.shape[0] === items * samplesPerItem,
  );
  const batch = async (start: number, end: number): Promise<Batch> => {
    const feeds = await Promise.all(
      feedings.map(async (one) => [one.input.name, await read(one, start, end)] as const),
    );
    const size = (end - start) * samplesPerItem;
    const given: Feeds = Object.fromEntries(feeds);
    if (targets.length === 0) return { inputs: given, size };
    const wanted = await Promise.all(
      targets.map(
        async ([name, array]) =>
          [targetName(name), await target(name, array, start * samplesPerItem, size)] as const,
      ),
    );
    return { inputs: given, targets: Object.fromEntries(wanted), size };
  };
  return indexedDataset({
    items,
    samplesPerItem,
    joinable,
    description,
    item: (index) => batch(index, index + 1),
    range: joinable && feedings.every((feeding) => feeding.role === 'rows') ? batch : undefined,
  });
}

async function target(name: string, array: ArrayFile, start: number, size: number): Promise<Tensor> {
  const tensor = await array.rows(start, start + size);
  const isLabel = targetName(name) === 'label' && array.shape.length === 1 && /^u?int/.test(array.dtype);
  return isLabel ? castTo(tensor, 'int64', array.name) : tensor;
}

/** Datasets one behind the other. */
export function concatDatasets(parts: readonly IndexedDataset[], description: string): IndexedDataset {
  const [first] = parts;
  if (first === undefined) throw errors.dataInvalid(description, 'it holds no samples.');
  if (parts.length === 1) return { ...first, description };
  const ends: number[] = [];
  let items = 0;
  for (const part of parts) {
    items += part.items;
    ends.push(items);
  }
  const samplesPerItem = first.items === 0 ? 1 : first.size / first.items;
  const find = (index: number): Promise<Batch> => {
    let low = 0;
    let high = ends.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((ends[middle] as number) > index) high = middle;
      else low = middle + 1;
    }
    const part = parts[low] as IndexedDataset;
    return part.item(index - ((ends[low] as number) - part.items));
  };
  const joinable = parts.every((part) => part.joinable);
  if (!parts.every((part) => part.items === 0 || part.size / part.items === samplesPerItem)) {
    throw errors.dataInvalid(
      description,
      'its files hold different numbers of samples for one run of the model.',
    );
  }
  return indexedDataset({ items, samplesPerItem, joinable, description, item: find });
}
