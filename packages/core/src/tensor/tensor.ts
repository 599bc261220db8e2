import { errors } from '../errors/catalogue.ts';
import {
  byteLengthOf,
  type DType,
  type DTypeArrays,
  dtypes,
  elementsOf,
  type NumericArray,
} from './dtype.ts';
import { fromBfloat16Bits, fromFloat8Bits, fromFloat16Bits } from './half.ts';
import { unpackInt4, unpackUint4 } from './packed4.ts';

/**
 * Something that can give a tensor: one in memory, a byte range of a file or `Blob`, or a computed one. Reading
 * `dtype`, `shape` and `byteLength` does no input or output, so a model larger than memory can be looked at and
 * passed through tensor by tensor.
 */
export interface TensorSource {
  /** Element type. */
  readonly dtype: DType;
  /** Dims, outermost first; `[]` for a scalar. */
  readonly shape: readonly number[];
  /** Bytes the elements take; for `string` the sum of UTF-8 lengths where known, else 0. */
  readonly byteLength: number;
  /**
   * Reads or computes the tensor. Sources do not cache: whoever loads a large tensor lets go of it.
   *
   * @throws {LitheError} FILE_NOT_FOUND or FILE_INVALID when the bytes cannot be had
   */
  load(signal?: AbortSignal): Promise<Tensor>;
}

function viewOf(dtype: DType, bytes: Uint8Array): NumericArray {
  const { byteOffset, byteLength } = bytes;
  const width = Math.max(1, elementWidth(dtype));
  // Typed arrays need alignment; a view into a protobuf may not have it, and only then is a copy made.
  // Not slice(): that of a Node Buffer is another view, not a copy.
  const aligned = byteOffset % width === 0 ? bytes : new Uint8Array(bytes);
  const from = aligned === bytes ? byteOffset : 0;
  const count = byteLength / width;
  const store = aligned.buffer as ArrayBuffer;
  switch (dtype) {
    case 'float32':
    case 'complex64':
      return new Float32Array(store, from, count);
    case 'float64':
    case 'complex128':
      return new Float64Array(store, from, count);
    case 'float16':
    case 'bfloat16':
    case 'uint16':
      return new Uint16Array(store, from, count);
    case 'int16':
      return new Int16Array(store, from, count);
    case 'int8':
      return new Int8Array(store, from, count);
    case 'int32':
      return new Int32Array(store, from, count);
    case 'uint32':
      return new Uint32Array(store, from, count);
    case 'int64':
      return new BigInt64Array(store, from, count);
    case 'uint64':
      return new BigUint64Array(store, from, count);
    default:
      return new Uint8Array(store, from, count);
  }
}

/** Bytes of one slot of the backing array. */
function elementWidth(dtype: DType): number {
  if (dtype === 'complex64') return 4;
  if (dtype === 'complex128') return 8;
  return Math.max(1, dtypes[dtype].bits >> 3);
}

/**
 * An immutable tensor in memory, row-major. Its elements are never written after construction: code that
 * computes makes a new array and a new tensor. A tensor is also the {@link TensorSource} of itself.
 *
 * Hosts are taken to be little-endian, as every JavaScript platform in use is.
 *
 * @typeParam D the element type, where it is known
 *
 * @example
 * ```ts
 * import { Tensor } from '@lithe/core';
 *
 * const weights = Tensor.from('float32', [2, 2], new Float32Array([1, 2, 3, 4]));
 * weights.data[3]; // => 4
 * weights.byteLength; // => 16
 * ```
 */
export class Tensor<D extends DType = DType> implements TensorSource {
  /** Element type. */
  readonly dtype: D;
  /** Dims, outermost first; `[]` for a scalar. */
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly size: number;
  /** Bytes the elements take. */
  readonly byteLength: number;
  readonly #store: Uint8Array | readonly string[];
  #view: DTypeArrays[D] | undefined;

  private constructor(dtype: D, shape: readonly number[], store: Uint8Array | readonly string[]) {
    this.dtype = dtype;
    this.shape = Object.freeze([...shape]);
    this.size = elementsOf(shape);
    this.#store = store;
    this.byteLength = store instanceof Uint8Array ? store.byteLength : utf8Length(store);
  }

  /**
   * A tensor over an array that the caller gives up: it is not copied and must not be written afterwards.
   *
   * @param data the elements in the form that {@link DTypeArrays} lists
   * @throws {LitheError} TENSOR_INVALID when the array's type or length does not fit
   */
  static from<D extends DType>(dtype: D, shape: readonly number[], data: DTypeArrays[D]): Tensor<D> {
    checkShape(shape);
    const elements = elementsOf(shape);
    if (dtype === 'string') {
      if (!Array.isArray(data) || data.length !== elements)
        throw lengthError(dtype, shape, (data as { length: number }).length);
      return new Tensor(dtype, shape, data as unknown as readonly string[]);
    }
    const array = data as NumericArray;
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    if (bytes.byteLength !== byteLengthOf(dtype, elements)) throw lengthError(dtype, shape, array.length);
    const tensor = new Tensor(dtype, shape, bytes);
    const sample = viewOf(dtype, new Uint8Array(0));
    if (sample.constructor.name !== array.constructor.name) {
      throw errors.tensorInvalid(
        `elements of ${dtype} are held in ${sample.constructor.name}, not ${array.constructor.name}`,
      );
    }
    tensor.#view = data;
    return tensor;
  }

  /**
   * A tensor over raw little-endian bytes, as files hold them. No copy is made, except when `data` is first read
   * and the bytes are not aligned.
   *
   * @throws {LitheError} TENSOR_INVALID when the length does not fit, or the dtype is `string`
   */
  static fromBytes<D extends DType>(dtype: D, shape: readonly number[], bytes: Uint8Array): Tensor<D> {
    checkShape(shape);
    if (dtype === 'string') throw errors.tensorInvalid('strings have no raw bytes');
    if (bytes.byteLength !== byteLengthOf(dtype, elementsOf(shape))) {
      throw errors.tensorInvalid(
        `${dtype} of shape [${shape.join(', ')}] takes ${byteLengthOf(dtype, elementsOf(shape))} bytes, not ${bytes.byteLength}`,
      );
    }
    return new Tensor(dtype, shape, bytes);
  }

  /** The elements, in the form that {@link DTypeArrays} lists. Not to be written. */
  get data(): DTypeArrays[D] {
    if (this.#view === undefined) {
      this.#view = (
        this.#store instanceof Uint8Array ? viewOf(this.dtype, this.#store) : this.#store
      ) as DTypeArrays[D];
    }
    return this.#view;
  }

  /**
   * The elements as raw little-endian bytes, without a copy. Not to be written.
   *
   * @throws {LitheError} TENSOR_INVALID for `string`
   */
  get bytes(): Uint8Array {
    if (!(this.#store instanceof Uint8Array)) throw errors.tensorInvalid('strings have no raw bytes');
    return this.#store;
  }

  /** This tensor: it is its own source. */
  load(): Promise<this> {
    return Promise.resolve(this);
  }

  /**
   * The same elements under another shape, without a copy.
   *
   * @throws {LitheError} TENSOR_INVALID when the number of elements differs
   */
  reshape(shape: readonly number[]): Tensor<D> {
    checkShape(shape);
    if (elementsOf(shape) !== this.size) throw lengthError(this.dtype, shape, this.size);
    const tensor = new Tensor(this.dtype, shape, this.#store);
    tensor.#view = this.#view;
    return tensor;
  }

  /**
   * The elements as float64 numbers, whatever the dtype: half and 8-bit floats decoded, nibbles unpacked, bool as
   * 0 and 1. 64-bit integers above 2^53 lose precision. Makes a new array.
   *
   * @throws {LitheError} DTYPE_UNSUPPORTED for `string` and complex
   */
  toFloat64Array(): Float64Array {
    const out = new Float64Array(this.size);
    const data = this.data as NumericArray;
    switch (this.dtype) {
      case 'string':
      case 'complex64':
      case 'complex128':
        throw errors.dtypeUnsupported('Tensor.toFloat64Array', this.dtype, ['real numbers']);
      case 'float16':
        for (let index = 0; index < out.length; index++) out[index] = fromFloat16Bits(data[index] as number);
        return out;
      case 'bfloat16':
        for (let index = 0; index < out.length; index++) out[index] = fromBfloat16Bits(data[index] as number);
        return out;
      case 'float8e4m3fn':
      case 'float8e4m3fnuz':
      case 'float8e5m2':
      case 'float8e5m2fnuz':
        for (let index = 0; index < out.length; index++)
          out[index] = fromFloat8Bits(data[index] as number, this.dtype);
        return out;
      case 'int4':
        out.set(unpackInt4(data as Uint8Array, this.size));
        return out;
      case 'uint4':
        out.set(unpackUint4(data as Uint8Array, this.size));
        return out;
      case 'int64':
      case 'uint64':
        for (let index = 0; index < out.length; index++) out[index] = Number(data[index]);
        return out;
      default:
        out.set(data as Float32Array);
        return out;
    }
  }

  /** A short text: dtype, shape and number of elements. */
  toString(): string {
    return `Tensor(${this.dtype} [${this.shape.join(', ')}])`;
  }
}

function utf8Length(strings: readonly string[]): number {
  let bytes = 0;
  const encoder = new TextEncoder();
  for (const text of strings) bytes += encoder.encode(text).length;
  return bytes;
}

function checkShape(shape: readonly number[]): void {
  for (const dim of shape) {
    if (!Number.isSafeInteger(dim) || dim < 0)
      throw errors.tensorInvalid(`shape [${shape.join(', ')}] has a dim that is not a whole number`);
  }
  if (!Number.isSafeInteger(elementsOf(shape)))
    throw errors.tensorInvalid(`shape [${shape.join(', ')}] has too many elements`);
}

function lengthError(dtype: DType, shape: readonly number[], actual: number): Error {
  return errors.tensorInvalid(
    `${dtype} of shape [${shape.join(', ')}] has ${elementsOf(shape)} elements, the array ${actual}`,
  );
}

/**
 * Makes a lazy tensor from a function, for weights that are computed when they are needed (while a model is
 * written, for instance). Nothing is cached.
 *
 * @param compute gives a tensor of exactly this dtype and shape
 */
export function lazyTensor(
  dtype: DType,
  shape: readonly number[],
  compute: (signal?: AbortSignal) => Tensor | Promise<Tensor>,
): TensorSource {
  checkShape(shape);
  return {
    dtype,
    shape: Object.freeze([...shape]),
    byteLength: byteLengthOf(dtype, elementsOf(shape)),
    async load(signal?: AbortSignal): Promise<Tensor> {
      signal?.throwIfAborted();
      const tensor = await compute(signal);
      if (tensor.dtype !== dtype || tensor.shape.join() !== shape.join()) {
        throw errors.tensorInvalid(
          `a lazy tensor gave ${tensor.toString()}, declared as ${dtype} [${shape.join(', ')}]`,
        );
      }
      return tensor;
    },
  };
}
