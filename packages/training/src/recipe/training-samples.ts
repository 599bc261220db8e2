import {
  type Dataset,
  type DType,
  errors,
  type Feeds,
  isInteger,
  type RunContext,
  Tensor,
} from '@lithe/core';
import type { SampleTable, TableArrays } from '../data/sample-table.ts';

/** How samples are read. */
export interface ReadSamplesOptions {
  /** At most this many samples, from the first; all by default. */
  readonly limit?: number | undefined;
  /** Most bytes that are held; 4 GiB by default. */
  readonly maxBytes?: number | undefined;
  /** Cancellation and progress. */
  readonly context?: Pick<RunContext, 'signal' | 'progress'> | undefined;
}

const BATCH = 256;
const MAX_BYTES = 2 ** 32;

/**
 * Reads a dataset into memory, once and in its order, so that training can take its samples in any order.
 *
 * @throws {LitheError} LIMIT_EXCEEDED when it takes more bytes than are allowed; DATA_INVALID when it holds no samples, or
 *   samples that differ in names, types or shapes
 * @example
 * ```ts
 * import { arrayDataset, Tensor } from '@lithe/core';
 * import { readSamples } from '@lithe/training';
 *
 * const x = Tensor.from('float32', [3, 2], Float32Array.of(0, 1, 2, 3, 4, 5));
 * const { inputs } = await readSamples(arrayDataset({ inputs: { x } }), { limit: 2 });
 * inputs['x']?.shape; // => [2, 2]
 * ```
 */
export async function readSamples(dataset: Dataset, options: ReadSamplesOptions = {}): Promise<TableArrays> {
  const { limit, maxBytes = MAX_BYTES, context } = options;
  const wanted = Math.min(dataset.size ?? Number.POSITIVE_INFINITY, limit ?? Number.POSITIVE_INFINITY);
  const parts = { inputs: new Map<string, Rows>(), targets: new Map<string, Rows>() };
  const named = ({ targets }: { readonly targets?: Feeds | undefined }): Feeds => targets ?? {};
  let samples = 0;
  for await (const batch of dataset.batches({ batchSize: BATCH, limit, signal: context?.signal })) {
    context?.signal.throwIfAborted();
    for (const [group, feeds] of [
      ['inputs', batch.inputs],
      ['targets', named(batch)],
    ] as const) {
      if (samples > 0 && Object.keys(feeds).sort().join() !== [...parts[group].keys()].sort().join())
        throw errors.dataInvalid(dataset.description, `its samples differ in their ${group}.`);
      for (const [name, tensor] of Object.entries(feeds)) {
        const rows = parts[group].get(name) ?? new Rows(tensor, { name, source: dataset.description });
        parts[group].set(name, rows);
        rows.add(tensor, wanted);
      }
    }
    samples += batch.size;
    const bytes = [...parts.inputs.values(), ...parts.targets.values()].reduce(
      (sum, rows) => sum + rows.bytes,
      0,
    );
    if (bytes > maxBytes)
      throw errors.limitExceeded('bytes of training samples in memory', maxBytes, bytes, dataset.description);
    context?.progress({
      task: 'read samples',
      done: samples,
      total: Number.isFinite(wanted) ? wanted : 0,
      label: 'reading samples',
    });
  }
  if (samples === 0) throw errors.dataInvalid(dataset.description, 'it holds no samples.');
  const tensors = (rows: ReadonlyMap<string, Rows>): Feeds =>
    Object.fromEntries([...rows].map(([name, one]) => [name, one.tensor()]));
  return {
    inputs: tensors(parts.inputs),
    ...(parts.targets.size === 0 ? {} : { targets: tensors(parts.targets) }),
  };
}

/** Rows of one tensor, one after the other. */
class Rows {
  readonly #dtype: DType;
  readonly #rest: readonly number[];
  readonly #what: string;
  readonly #source: string;
  #buffer = new Uint8Array(0);
  #used = 0;
  #rows = 0;

  constructor(first: Tensor, { name, source }: { readonly name: string; readonly source: string }) {
    this.#dtype = first.dtype;
    this.#rest = first.shape.slice(1);
    this.#what = name;
    this.#source = source;
    if (first.dtype === 'string' || first.dtype === 'int4' || first.dtype === 'uint4')
      throw errors.dataInvalid(source, `"${name}" is ${first.dtype}, which cannot be trained on.`);
  }

  get bytes(): number {
    return this.#used;
  }

  add(tensor: Tensor, wanted: number): void {
    const { dtype, shape, bytes } = tensor;
    if (dtype !== this.#dtype || shape.slice(1).join() !== this.#rest.join())
      throw errors.dataInvalid(
        this.#source,
        `its samples differ: "${this.#what}" is ${this.#dtype} [${this.#rest.join(', ')}] and ${dtype} [${shape.slice(1).join(', ')}].`,
        'Preprocess them to one shape.',
      );
    const rows = shape[0] ?? 0;
    if (this.#used + bytes.length > this.#buffer.length) {
      const known = Number.isFinite(wanted) && rows > 0 ? (bytes.length / rows) * wanted : 0;
      // A size that is not true must not claim memory before the samples come.
      const room = this.#rows === 0 ? Math.min(known, 2 ** 30) : 2 * this.#buffer.length;
      const larger = new Uint8Array(Math.max(this.#used + bytes.length, room));
      larger.set(this.#buffer.subarray(0, this.#used));
      this.#buffer = larger;
    }
    this.#buffer.set(bytes, this.#used);
    this.#used += bytes.length;
    this.#rows += rows;
  }

  tensor(): Tensor {
    return Tensor.fromBytes(this.#dtype, [this.#rows, ...this.#rest], this.#buffer.subarray(0, this.#used));
  }
}

/**
 * Samples with one target in the type that a loss compares with: class numbers as int64, others as float32.
 *
 * @throws {LitheError} DATA_INVALID when the target does not hold what the loss needs, or a label is no class
 */
export function withTarget(
  arrays: TableArrays,
  name: string,
  {
    labels,
    classes,
    ignore,
  }: {
    /** Whether the target holds class numbers. */
    readonly labels: boolean;
    /** Number of classes, where it is known. */
    readonly classes?: number | undefined;
    /** A label that is no class but allowed. */
    readonly ignore?: number | undefined;
  },
): TableArrays {
  const tensor = arrays.targets?.[name];
  if (tensor === undefined) throw errors.dataInvalid('training data', `it has no target "${name}".`);
  const changed = labels ? asLabels(tensor, name) : asFloats(tensor, name);
  if (labels && classes !== undefined) checkLabels(changed as Tensor<'int64'>, { name, classes, ignore });
  return { ...arrays, targets: { ...arrays.targets, [name]: changed } };
}

function asLabels(tensor: Tensor, name: string): Tensor<'int64'> {
  if (tensor.dtype === 'int64') return tensor as Tensor<'int64'>;
  if (!isInteger(tensor.dtype))
    throw errors.dataInvalid(
      'training data',
      `"${name}" is ${tensor.dtype}, and class numbers are whole numbers.`,
      "For probabilities: loss: { name: 'cross-entropy', targets: 'probabilities' }.",
    );
  return Tensor.from('int64', tensor.shape, BigInt64Array.from(tensor.toFloat64Array(), BigInt));
}

function asFloats(tensor: Tensor, name: string): Tensor {
  if (tensor.dtype === 'float32') return tensor;
  if (tensor.dtype === 'string' || tensor.dtype.startsWith('complex'))
    throw errors.dataInvalid('training data', `"${name}" is ${tensor.dtype}, not a number.`);
  return Tensor.from('float32', tensor.shape, Float32Array.from(tensor.toFloat64Array()));
}

function checkLabels(
  { data }: Tensor<'int64'>,
  {
    name,
    classes,
    ignore,
  }: { readonly name: string; readonly classes: number; readonly ignore: number | undefined },
): void {
  const [none, count] = [BigInt(ignore ?? 0), BigInt(classes)];
  for (let index = 0; index < data.length; index++) {
    const label = data[index]!;
    if ((label >= 0n && label < count) || (ignore !== undefined && label === none)) continue;
    throw errors.dataInvalid(
      'training data',
      `"${name}" of sample ${index} is ${label}, and the model has the classes 0 to ${classes - 1}.`,
    );
  }
}

/** Some samples of a table as a table of their own. */
export function subsetTable(table: SampleTable, indices: Uint32Array): SampleTable {
  return {
    size: indices.length,
    description: `${indices.length} samples of ${table.description}`,
    gather: (rows, signal) =>
      table.gather(
        rows.map((row) => indices[row] ?? 0),
        signal,
      ),
  };
}
