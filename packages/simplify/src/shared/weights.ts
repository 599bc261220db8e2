import {
  type DType,
  errors,
  lazyTensor,
  Tensor,
  type TensorSource,
  toBfloat16Bits,
  toFloat16Bits,
} from '@lithe/core';

/** Above this a changed weight is computed when it is written, not held in memory. */
const LAZY_BYTES = 32 * 1024 * 1024;

/** Dtypes whose constants can be folded into each other. */
export const foldableDTypes: readonly DType[] = ['float32', 'float64', 'float16', 'bfloat16'];

/**
 * Makes a floating-point tensor from float64 numbers, rounded to nearest even.
 *
 * @throws {LitheError} DTYPE_UNSUPPORTED for a dtype that is not in {@link foldableDTypes}
 */
export function fromFloat64(dtype: DType, shape: readonly number[], numbers: Float64Array): Tensor {
  switch (dtype) {
    case 'float32':
      return Tensor.from('float32', shape, Float32Array.from(numbers));
    case 'float64':
      return Tensor.from('float64', shape, numbers);
    case 'float16':
      return Tensor.from('float16', shape, Uint16Array.from(numbers, toFloat16Bits));
    case 'bfloat16':
      return Tensor.from('bfloat16', shape, Uint16Array.from(numbers, toBfloat16Bits));
    default:
      throw errors.dtypeUnsupported('Folding constants', dtype, foldableDTypes);
  }
}

/** Whether every element is finite. */
export function allFinite(numbers: Float64Array): boolean {
  for (let index = 0; index < numbers.length; index++) if (!Number.isFinite(numbers[index])) return false;
  return true;
}

/**
 * Applies `change` to the elements of a weight: at once for small ones, and for large ones whenever it is loaded.
 *
 * @param change edits the elements in place
 * @returns the new weight, or `undefined` when an element would not be finite in its dtype (at-once weights only)
 */
export async function mapWeight(
  source: TensorSource,
  change: (numbers: Float64Array) => void,
): Promise<TensorSource | undefined> {
  const compute = (tensor: Tensor): Tensor => {
    const numbers = tensor.toFloat64Array();
    change(numbers);
    return fromFloat64(source.dtype, source.shape, numbers);
  };
  if (source.byteLength > LAZY_BYTES) {
    return lazyTensor(source.dtype, source.shape, async (signal) => compute(await source.load(signal)));
  }
  const before = await source.load();
  const after = compute(before);
  return allFinite(after.toFloat64Array()) ? after : undefined;
}
