import { errors } from '../errors/catalogue.ts';
import {
  type DType,
  type DTypeArrays,
  dtypes,
  elementsOf,
  type NumericArray,
  stridesOf,
} from '../tensor/dtype.ts';
import { toBfloat16Bits, toFloat8Bits, toFloat16Bits } from '../tensor/half.ts';
import { packNibbles, unpackInt4, unpackUint4 } from '../tensor/packed4.ts';
import { Tensor } from '../tensor/tensor.ts';

/** Elements of a tensor one a slot (complex: two), for operators that only move them. */
export type Store = NumericArray | string[];

/** Whether the dtype is computed with `bigint`. */
export function isWide(dtype: DType): dtype is 'int64' | 'uint64' {
  return dtype === 'int64' || dtype === 'uint64';
}

/** Slots that an element takes in a {@link Store}: 2 for complex numbers. */
export function slotsOf(dtype: DType): number {
  return dtypes[dtype].category === 'complex' ? 2 : 1;
}

/** The elements of a tensor, nibbles unpacked. Not to be written. */
export function storeOf(tensor: Tensor): Store {
  if (tensor.dtype === 'int4') return unpackInt4(tensor.data as Uint8Array, tensor.size);
  if (tensor.dtype === 'uint4') return unpackUint4(tensor.data as Uint8Array, tensor.size);
  return tensor.data as Store;
}

/** A new store for `elements` elements: zeros, or empty strings. */
export function makeStore(dtype: DType, elements: number): Store {
  const slots = elements * slotsOf(dtype);
  switch (dtype) {
    case 'string':
      return new Array<string>(elements).fill('');
    case 'float32':
    case 'complex64':
      return new Float32Array(slots);
    case 'float64':
    case 'complex128':
      return new Float64Array(slots);
    case 'float16':
    case 'bfloat16':
    case 'uint16':
      return new Uint16Array(slots);
    case 'int16':
      return new Int16Array(slots);
    case 'int8':
    case 'int4':
      return new Int8Array(slots);
    case 'int32':
      return new Int32Array(slots);
    case 'uint32':
      return new Uint32Array(slots);
    case 'int64':
      return new BigInt64Array(slots);
    case 'uint64':
      return new BigUint64Array(slots);
    default:
      return new Uint8Array(slots);
  }
}

/** The tensor of a store; nibbles are packed. */
export function fromStore(dtype: DType, shape: readonly number[], store: Store): Tensor {
  const data = dtype === 'int4' || dtype === 'uint4' ? packNibbles(store as Int8Array) : store;
  return Tensor.from(dtype, shape, data as DTypeArrays[DType]);
}

/**
 * Rounds numbers to a dtype: floats to nearest, ties to even; integers towards zero and modulo their range, as
 * two's complement arithmetic wraps; bool by "is not zero".
 *
 * @throws {LitheError} DTYPE_UNSUPPORTED for strings and complex numbers
 */
export function fromNumbers(dtype: DType, shape: readonly number[], values: Float64Array): Tensor {
  const out = makeStore(dtype, values.length);
  switch (dtype) {
    case 'float16':
      for (let index = 0; index < values.length; index++) out[index] = toFloat16Bits(values[index]!);
      break;
    case 'bfloat16':
      for (let index = 0; index < values.length; index++) out[index] = toBfloat16Bits(values[index]!);
      break;
    case 'float8e4m3fn':
    case 'float8e4m3fnuz':
    case 'float8e5m2':
    case 'float8e5m2fnuz':
      for (let index = 0; index < values.length; index++)
        out[index] = toFloat8Bits(values[index]!, dtype, true);
      break;
    case 'int64':
    case 'uint64':
      for (let index = 0; index < values.length; index++) out[index] = toBigint(values[index]!);
      break;
    case 'bool':
      for (let index = 0; index < values.length; index++) out[index] = values[index] === 0 ? 0 : 1;
      break;
    case 'string':
    case 'complex64':
    case 'complex128':
      throw errors.dtypeUnsupported('Rounding to a dtype', dtype, ['real numbers']);
    default:
      (out as Float32Array).set(values);
  }
  return fromStore(dtype, shape, out);
}

function toBigint(value: number): bigint {
  if (!Number.isFinite(value)) return value > 0 ? 2n ** 63n - 1n : value < 0 ? -(2n ** 63n) : 0n;
  return BigInt(Math.trunc(value));
}

/** The elements of a 64-bit integer tensor, or of any other real one converted, as bigints. */
export function toBigints(tensor: Tensor): BigInt64Array | BigUint64Array {
  if (isWide(tensor.dtype)) return tensor.data as BigInt64Array | BigUint64Array;
  const numbers = tensor.toFloat64Array();
  const out = new BigInt64Array(numbers.length);
  for (let index = 0; index < numbers.length; index++) out[index] = toBigint(numbers[index]!);
  return out;
}

/**
 * The elements of an integer tensor that holds sizes, axes or indices.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when one is not a safe integer
 */
export function toIntegers(tensor: Tensor): number[] {
  const numbers = Array.from(tensor.toFloat64Array());
  for (const number of numbers) {
    if (!Number.isSafeInteger(number)) {
      // Slice takes INT64_MAX to mean "to the end": keep the sign and the size, give up the last digits.
      if (Number.isInteger(number)) continue;
      throw errors.valueOutOfRange('An index', number, 'the whole numbers');
    }
  }
  return numbers;
}

/** A tensor of int64 elements. */
export function int64Tensor(shape: readonly number[], values: readonly number[]): Tensor<'int64'> {
  const out = new BigInt64Array(values.length);
  for (let index = 0; index < out.length; index++) out[index] = BigInt(values[index]!);
  return Tensor.from('int64', shape, out);
}

/** The axis counted from the front; `undefined` when it is out of range. */
export function normalAxis(axis: number, rank: number): number | undefined {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) return undefined;
  return axis < 0 ? axis + rank : axis;
}

/** The shape that shapes broadcast to (numpy rules); `undefined` when they do not. */
export function broadcastShapes(shapes: readonly (readonly number[])[]): number[] | undefined {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  const out = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    for (let axis = 0; axis < shape.length; axis++) {
      const at = rank - shape.length + axis;
      const dim = shape[axis]!;
      if (dim === 1 || dim === out[at]) continue;
      if (out[at] !== 1) return undefined;
      out[at] = dim;
    }
  }
  return out;
}

/**
 * Walks an output shape and gives, for each of its elements in row-major order, `offset + sum(index * stride)`.
 *
 * @param strides one per output axis, in elements; 0 repeats, negative walks backwards
 */
export function walk(shape: readonly number[], strides: readonly number[], offset = 0): Int32Array {
  const total = elementsOf(shape);
  const out = new Int32Array(total);
  if (total === 0) return out;
  const rank = shape.length;
  if (rank === 0) {
    out[0] = offset;
    return out;
  }
  const counter = new Int32Array(rank);
  const inner = shape[rank - 1]!;
  const step = strides[rank - 1]!;
  let base = offset;
  for (let at = 0; at < total; ) {
    for (let index = 0, source = base; index < inner; index++, source += step) out[at++] = source;
    for (let axis = rank - 2; axis >= 0; axis--) {
      counter[axis]!++;
      base += strides[axis]!;
      if (counter[axis]! < shape[axis]!) break;
      base -= strides[axis]! * shape[axis]!;
      counter[axis] = 0;
    }
  }
  return out;
}

/** Source positions of a tensor of `shape` broadcast to `out`; `undefined` when the two are the same. */
export function broadcastWalk(shape: readonly number[], out: readonly number[]): Int32Array | undefined {
  if (shape.length === out.length && shape.every((dim, axis) => dim === out[axis])) return undefined;
  const own = stridesOf(shape);
  const strides = out.map((_, axis) => {
    const at = axis - (out.length - shape.length);
    return at < 0 || shape[at] === 1 ? 0 : own[at]!;
  });
  return walk(out, strides);
}

/**
 * A tensor whose element `i` is element `positions[i]` of `tensor`; a negative position gives zero (an empty
 * string), or `fill`.
 */
export function take(
  tensor: Tensor,
  positions: Int32Array,
  shape: readonly number[],
  fill?: number | bigint | string,
): Tensor {
  const source = storeOf(tensor);
  const out = makeStore(tensor.dtype, positions.length);
  if (slotsOf(tensor.dtype) === 2) {
    const from = source as Float64Array;
    const to = out as Float64Array;
    for (let index = 0; index < positions.length; index++) {
      const position = positions[index]! * 2;
      if (position < 0) continue;
      to[index * 2] = from[position]!;
      to[index * 2 + 1] = from[position + 1]!;
    }
    return fromStore(tensor.dtype, shape, out);
  }
  for (let index = 0; index < positions.length; index++) {
    const position = positions[index]!;
    if (position >= 0) out[index] = source[position]!;
    else if (fill !== undefined) out[index] = fill;
  }
  return fromStore(tensor.dtype, shape, out);
}

/** The elements of tensors of one dtype, one behind the other, as a vector. */
export function joinFlat(tensors: readonly Tensor[]): Tensor {
  const { dtype } = tensors[0]!;
  const total = tensors.reduce((sum, tensor) => sum + tensor.size, 0);
  const out = makeStore(dtype, total);
  let at = 0;
  for (const tensor of tensors) {
    const source = storeOf(tensor);
    for (let slot = 0; slot < source.length; slot++) out[at++] = source[slot]!;
  }
  return fromStore(dtype, [total], out);
}

/** Whether two shapes are the same. */
export function sameShape(left: readonly number[], right: readonly number[]): boolean {
  return left.length === right.length && left.every((dim, axis) => dim === right[axis]);
}
