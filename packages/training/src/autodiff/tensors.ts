import { type Dim, type DType, Tensor, toBfloat16Bits, toFloat16Bits } from '@lithe/core';

/** A scalar of a float or integer dtype. */
export function scalarTensor(value: number, dtype: DType): Tensor {
  switch (dtype) {
    case 'int64':
      return Tensor.from('int64', [], BigInt64Array.of(BigInt(value)));
    case 'int32':
      return Tensor.from('int32', [], Int32Array.of(value));
    default:
      return floatTensor([], [value], dtype);
  }
}

/** A tensor of a float dtype. */
export function floatTensor(shape: readonly number[], values: ArrayLike<number>, dtype: DType): Tensor {
  switch (dtype) {
    case 'float64':
      return Tensor.from('float64', shape, Float64Array.from(values));
    case 'float16':
      return Tensor.from('float16', shape, Uint16Array.from(values, toFloat16Bits));
    case 'bfloat16':
      return Tensor.from('bfloat16', shape, Uint16Array.from(values, toBfloat16Bits));
    default:
      return Tensor.from('float32', shape, Float32Array.from(values));
  }
}

/** The product of dims: the number of elements. */
export function productOf(dims: readonly number[]): number {
  let product = 1;
  for (const dim of dims) product *= dim;
  return product;
}

/** Whether two shapes are known to be the same. */
export function sameDims(left: readonly Dim[] | undefined, right: readonly Dim[] | undefined): boolean {
  if (left === undefined || right === undefined || left.length !== right.length) return false;
  return left.every((dim, axis) => dim !== null && dim === right[axis]);
}
