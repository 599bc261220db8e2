import type { Dim, TensorType } from '../ir/types.ts';
import { type DType, type DTypeArrays, dtypes, elementsOf } from '../tensor/dtype.ts';
import { Tensor, type TensorSource } from '../tensor/tensor.ts';

/** Most elements of an integer or bool tensor that inference looks into. */
const MAX_INTEGERS = 4096;
/** Most elements of a float tensor that inference looks into: scales, thresholds, small tables. */
const MAX_FLOATS = 256;

/** Whether inference loads a constant: integers that may carry sizes, and a few floats. */
export function isSmall(source: TensorSource): boolean {
  const { category } = dtypes[source.dtype];
  if (category === 'string' || category === 'complex') return false;
  return elementsOf(source.shape) <= (category === 'float' ? MAX_FLOATS : MAX_INTEGERS);
}

/** The elements of a small tensor as numbers. */
export function sizesOfTensor(tensor: Tensor | undefined): readonly Dim[] | undefined {
  return tensor === undefined || !isSmall(tensor) ? undefined : [...tensor.toFloat64Array()];
}

/** Beyond this a number stands for "as far as it goes", and its exact value does not matter. */
const FAR = 2 ** 62;

/** What a dtype can hold of a computed element; `null` when the value would wrap around or is not exact. */
export function elementOf(dtype: DType, value: Dim): Dim {
  if (typeof value !== 'number') return value;
  switch (dtypes[dtype].category) {
    case 'bool':
      return value === 0 ? 0 : 1;
    case 'float':
      if (dtype === 'float64') return value;
      return dtype === 'float32' ? Math.fround(value) : null;
    case 'int':
    case 'uint': {
      if (!Number.isInteger(value)) return null;
      if (!Number.isSafeInteger(value)) return Math.abs(value) >= FAR && dtype === 'int64' ? value : null;
      const [low, high] = dtypes[dtype].range as readonly [bigint, bigint];
      return BigInt(value) >= low && BigInt(value) <= high ? value + 0 : null;
    }
    default:
      return null;
  }
}

/** A tensor with the elements that are known, when all are exact numbers. */
export function tensorOfSizes(
  type: TensorType | undefined,
  sizes: readonly Dim[] | undefined,
): Tensor | undefined {
  if (type?.dtype === undefined || type.shape === undefined || sizes === undefined) return undefined;
  const shape = type.shape as readonly number[];
  if (!shape.every((dim) => typeof dim === 'number') || elementsOf(shape) !== sizes.length) return undefined;
  const { category } = dtypes[type.dtype];
  if (
    !sizes.every((size) => typeof size === 'number' && (category === 'float' || Number.isSafeInteger(size)))
  )
    return undefined;
  const numbers = sizes as readonly number[];
  switch (type.dtype) {
    case 'int64':
      return Tensor.from('int64', shape, BigInt64Array.from(numbers, BigInt));
    case 'uint64':
      return Tensor.from('uint64', shape, BigUint64Array.from(numbers, BigInt));
    case 'float32':
      return Tensor.from('float32', shape, Float32Array.from(numbers));
    case 'float64':
      return Tensor.from('float64', shape, Float64Array.from(numbers));
    case 'int32':
      return Tensor.from('int32', shape, Int32Array.from(numbers));
    case 'uint32':
      return Tensor.from('uint32', shape, Uint32Array.from(numbers));
    case 'int16':
      return Tensor.from('int16', shape, Int16Array.from(numbers));
    case 'uint16':
      return Tensor.from('uint16', shape, Uint16Array.from(numbers));
    case 'int8':
      return Tensor.from('int8', shape, Int8Array.from(numbers));
    case 'uint8':
    case 'bool':
      return Tensor.from(type.dtype, shape, Uint8Array.from(numbers) as DTypeArrays['uint8']);
    default:
      return undefined;
  }
}
