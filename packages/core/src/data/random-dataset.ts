import { createRng, type Rng } from '../context/rng.ts';
import { errors, formatShape } from '../errors/catalogue.ts';
import type { Model } from '../ir/model.ts';
import { formatType, type TensorType } from '../ir/types.ts';
import type { Value } from '../ir/value.ts';
import { type DType, dtypes, elementsOf } from '../tensor/dtype.ts';
import { toBfloat16Bits, toFloat8Bits, toFloat16Bits } from '../tensor/half.ts';
import { packNibbles } from '../tensor/packed4.ts';
import { Tensor } from '../tensor/tensor.ts';
import { resolveBatching } from './array-dataset.ts';
import type { BatchOptions, Dataset } from './dataset.ts';

/** What a {@link randomDataset} is made of. */
export interface RandomDatasetOptions {
  /** Sizes of symbolic dims by name: `{ N: 1, sequence: 128 }`. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /** Whole shapes by input name, before anything declared: `{ x: [1, 3, 320, 320] }`. */
  readonly shapes?: Readonly<Record<string, readonly number[]>> | undefined;
  /** Inputs with fixed contents, by name: a sample rate, a mask. */
  readonly values?: Readonly<Record<string, Tensor>> | undefined;
  /** Seed; 0 by default. */
  readonly seed?: number | undefined;
  /** Number of batches when the model fixes its batch, else of samples; 1 by default. */
  readonly samples?: number | undefined;
  /** Distribution of floats: standard normal (default) or uniform in [0, 1). */
  readonly floats?: 'normal' | 'uniform' | undefined;
  /** Whole numbers are drawn from [0, bound); 10 by default, 2 for `bool`. */
  readonly integerBound?: number | undefined;
}

/** A dataset of random inputs. */
export interface RandomDataset extends Dataset {
  /** What to tell whoever trusts a result on random inputs, as full sentences. */
  readonly warnings: readonly string[];
}

interface RandomInput {
  readonly name: string;
  readonly dtype: DType;
  /** Dims; `null` stands for the batch, which the reader may choose. */
  readonly shape: readonly (number | null)[];
  readonly fixed: Tensor | undefined;
}

/**
 * Seeded random inputs of the declared shapes of a model, for latency and a first look at drift where there is no
 * data. Random input misleads: a detector sees nothing in noise, and token ids mean nothing; `warnings` says so.
 *
 * A batch dim (a symbol or unknown dim that comes first in an input, and that symbol wherever else it stands) may be
 * left open: readers choose it, 1 by default. Any other dim that is not a number must be given.
 *
 * @throws {LitheError} OPTIONS_INVALID naming every dim that is missing; DATA_INVALID for an input that is no tensor
 *
 * @example
 * ```ts
 * import { Graph, Model, randomDataset, tensorType } from '@lithe/core';
 *
 * const graph = new Graph();
 * graph.addInput('x', tensorType('float32', ['N', 3, 'H', 'W']));
 * const data = randomDataset(new Model({ graph }), { dims: { H: 8, W: 8 }, seed: 1 });
 * const shapes: (readonly number[])[] = [];
 * for await (const batch of data.batches()) shapes.push(batch.inputs['x']!.shape);
 * shapes; // => [[1, 3, 8, 8]]
 * ```
 */
export function randomDataset(model: Model, options: RandomDatasetOptions = {}): RandomDataset {
  const { seed = 0, samples = 1 } = options;
  const problems: string[] = [];
  const values = model.graph.inputs.filter(
    (value) => value.initializer === undefined || options.values?.[value.name] !== undefined,
  );
  const sizes: Sizes = { dims: boundDims(values, options), batch: batchSymbols(values) };
  const inputs = values.map((value) => describe(value, sizes, options, problems));
  if (problems.length > 0) {
    throw errors.optionsInvalid('random inputs', problems, 'Give the sizes, or a whole shape for the input.');
  }
  const open = inputs.some((input) => input.shape.includes(null));
  const literal = inputs.find((input) => input.fixed === undefined)?.shape[0] ?? 1;
  return {
    size: open ? samples : samples * literal,
    description: `random inputs (seed ${seed})`,
    warnings: warningsOf(inputs),
    batches: async function* (how: BatchOptions = {}) {
      const { batchSize, limit } = resolveBatching(undefined, how);
      const rng = createRng(seed).fork('random-inputs');
      const step = open ? batchSize : literal;
      const total = Math.min(limit, open ? samples : samples * literal);
      for (let done = 0; done < total; done += step) {
        how.signal?.throwIfAborted();
        const size = open ? Math.min(step, total - done) : literal;
        const feeds = inputs.map((input) => [input.name, make(input, size, rng, options)] as const);
        yield { inputs: Object.fromEntries(feeds), size };
      }
    },
  };
}

/** What is known of symbolic dims. */
interface Sizes {
  /** Sizes by symbol. */
  readonly dims: ReadonlyMap<string, number>;
  /** Symbols that stand for the batch. */
  readonly batch: ReadonlySet<string>;
}

const own = <T>(record: Readonly<Record<string, T>> | undefined, name: string): T | undefined =>
  record !== undefined && Object.hasOwn(record, name) ? record[name] : undefined;

/** Sizes of symbols: those given, and those that follow from whole shapes and fixed contents. */
function boundDims(values: readonly Value[], options: RandomDatasetOptions): Map<string, number> {
  const bound = new Map<string, number>();
  for (const value of values) {
    const shape = own(options.values, value.name)?.shape ?? own(options.shapes, value.name);
    if (shape?.length !== value.shape?.length) continue;
    value.shape?.forEach((dim, axis) => {
      if (typeof dim === 'string') bound.set(dim, shape?.[axis] as number);
    });
  }
  for (const [symbol, size] of Object.entries(options.dims ?? {})) bound.set(symbol, size);
  return bound;
}

/** Symbols that come first in an input. */
function batchSymbols(values: readonly Value[]): Set<string> {
  const symbols = new Set<string>();
  for (const { shape } of values) if (typeof shape?.[0] === 'string') symbols.add(shape[0]);
  return symbols;
}

function describe(
  value: Value,
  sizes: Sizes,
  options: RandomDatasetOptions,
  problems: string[],
): RandomInput {
  const { name, type } = value;
  const fixed = own(options.values, name);
  if (fixed !== undefined) return { name, dtype: fixed.dtype, shape: fixed.shape, fixed };
  if (type?.kind !== 'tensor' || type.dtype === undefined) {
    throw errors.dataInvalid(
      'random inputs',
      `input "${name}" is of type ${formatType(type)}, not a tensor of known dtype.`,
    );
  }
  const given = own(options.shapes, name);
  if (given !== undefined && type.shape !== undefined && !fits(given, type.shape)) {
    problems.push(
      `Input "${name}" is declared as ${formatType(type)}; shape ${formatShape(given)} does not fit.`,
    );
  }
  const shape = given ?? resolve(name, type, sizes, problems);
  if (elementsOf(shape.map((dim) => dim ?? 1)) > 2 ** 31)
    problems.push(`Input "${name}" of shape ${formatShape(shape)} is too large.`);
  return { name, dtype: type.dtype, shape, fixed: undefined };
}

function fits(given: readonly number[], declared: readonly (number | string | null)[]): boolean {
  return (
    given.length === declared.length &&
    given.every((dim, axis) => typeof declared[axis] !== 'number' || declared[axis] === dim)
  );
}

function resolve(
  name: string,
  type: TensorType,
  { dims, batch }: Sizes,
  problems: string[],
): (number | null)[] {
  if (type.shape === undefined) {
    problems.push(`Input "${name}" has no declared shape.`);
    return [];
  }
  return type.shape.map((dim, axis) => {
    if (typeof dim === 'number') return dim;
    const size = dim === null ? undefined : dims.get(dim);
    if (size !== undefined) {
      if (!Number.isSafeInteger(size) || size < 0) problems.push(`Dim "${dim}" cannot be ${size}.`);
      return size;
    }
    if (axis === 0 || (dim !== null && batch.has(dim))) return null;
    problems.push(`Dim ${axis} (${dim === null ? 'unknown' : `"${dim}"`}) of input "${name}" is not given.`);
    return 1;
  });
}

function make(input: RandomInput, size: number, rng: Rng, options: RandomDatasetOptions): Tensor {
  if (input.fixed !== undefined) return input.fixed;
  return randomTensor(
    input.dtype,
    input.shape.map((dim) => dim ?? size),
    rng,
    options,
  );
}

function warningsOf(inputs: readonly RandomInput[]): readonly string[] {
  const warnings = ['Inputs are random: latency is meaningful, drift and accuracy on real data may differ.'];
  for (const { name, dtype, fixed } of inputs) {
    if (fixed !== undefined || dtypes[dtype].category === 'float' || dtype === 'bool') continue;
    warnings.push(
      `Input "${name}" is ${dtype}: random ${dtype === 'string' ? 'texts' : 'small whole numbers'} stand in for what may be ids, lengths or a sample rate.`,
    );
  }
  return warnings;
}

/**
 * A tensor of random elements: floats normal or uniform, whole numbers in `[0, bound)`, bool 0 or 1, strings short.
 *
 * @param options distribution, as in {@link RandomDatasetOptions}
 */
export function randomTensor(
  dtype: DType,
  shape: readonly number[],
  rng: Rng,
  options: Pick<RandomDatasetOptions, 'floats' | 'integerBound'> = {},
): Tensor {
  const elements = elementsOf(shape);
  const { integerBound = 10 } = options;
  const draw = options.floats === 'uniform' ? rng.next : rng.normal;
  const fill = <A extends { [index: number]: number; readonly length: number }>(
    array: A,
    next: () => number,
  ): A => {
    for (let index = 0; index < array.length; index++) array[index] = next();
    return array;
  };
  const whole = (): number =>
    rng.integer(Math.min(integerBound, dtype === 'int4' ? 8 : dtype === 'uint4' ? 16 : 128));
  const wide = (): number => rng.integer(integerBound);
  switch (dtype) {
    case 'float32':
      return Tensor.from(dtype, shape, fill(new Float32Array(elements), draw));
    case 'complex64':
      return Tensor.from(dtype, shape, fill(new Float32Array(2 * elements), draw));
    case 'float64':
      return Tensor.from(dtype, shape, fill(new Float64Array(elements), draw));
    case 'complex128':
      return Tensor.from(dtype, shape, fill(new Float64Array(2 * elements), draw));
    case 'float16':
      return Tensor.from(
        dtype,
        shape,
        fill(new Uint16Array(elements), () => toFloat16Bits(draw())),
      );
    case 'bfloat16':
      return Tensor.from(
        dtype,
        shape,
        fill(new Uint16Array(elements), () => toBfloat16Bits(draw())),
      );
    case 'float8e4m3fn':
    case 'float8e4m3fnuz':
    case 'float8e5m2':
    case 'float8e5m2fnuz':
      return Tensor.from(
        dtype,
        shape,
        fill(new Uint8Array(elements), () => toFloat8Bits(draw(), dtype, true)),
      );
    case 'int4':
    case 'uint4':
      return Tensor.from(dtype, shape, packNibbles(fill(new Uint8Array(elements), whole)));
    case 'int8':
      return Tensor.from(dtype, shape, fill(new Int8Array(elements), whole));
    case 'uint8':
      return Tensor.from(
        dtype,
        shape,
        fill(new Uint8Array(elements), () => rng.integer(Math.min(integerBound, 256))),
      );
    case 'int16':
      return Tensor.from(dtype, shape, fill(new Int16Array(elements), wide));
    case 'uint16':
      return Tensor.from(dtype, shape, fill(new Uint16Array(elements), wide));
    case 'int32':
      return Tensor.from(dtype, shape, fill(new Int32Array(elements), wide));
    case 'uint32':
      return Tensor.from(dtype, shape, fill(new Uint32Array(elements), wide));
    case 'int64':
      return Tensor.from(
        dtype,
        shape,
        BigInt64Array.from({ length: elements }, () => BigInt(wide())),
      );
    case 'uint64':
      return Tensor.from(
        dtype,
        shape,
        BigUint64Array.from({ length: elements }, () => BigInt(wide())),
      );
    case 'bool':
      return Tensor.from(
        dtype,
        shape,
        fill(new Uint8Array(elements), () => rng.integer(2)),
      );
    case 'string':
      return Tensor.from(
        dtype,
        shape,
        Array.from({ length: elements }, () => `text ${wide()}`),
      );
  }
}
