import { errors } from '../errors/catalogue.ts';
import type { Tensor } from '../tensor/tensor.ts';

/**
 * The elements of a tensor as numbers, without a copy where the dtype allows. Complex numbers stay interleaved.
 *
 * @throws {LitheError} DTYPE_UNSUPPORTED for `string`
 */
export function numbersOf(tensor: Tensor, what: string): Float32Array | Float64Array {
  switch (tensor.dtype) {
    case 'string':
      throw errors.dtypeUnsupported(what, tensor.dtype, ['any numeric dtype']);
    case 'float32':
    case 'complex64':
      return tensor.data as Float32Array;
    case 'float64':
    case 'complex128':
      return tensor.data as Float64Array;
    default:
      return tensor.toFloat64Array();
  }
}

/** Index of the largest element of `values[start, end)`; the first of equals. A NaN counts as the largest. */
export function argmax(values: Float32Array | Float64Array, start: number, end: number): number {
  let best = start;
  let largest = values[start]!;
  if (Number.isNaN(largest)) return 0;
  for (let index = start + 1; index < end; index++) {
    const value = values[index]!;
    if (value > largest) {
      largest = value;
      best = index;
    } else if (Number.isNaN(value)) return index - start;
  }
  return best - start;
}
