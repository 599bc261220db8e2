import {
  type DType,
  dtypes,
  errors,
  isFloat,
  isInteger,
  packNibbles,
  Tensor,
  toBfloat16Bits,
  toFloat16Bits,
} from '@lithe/core';

/**
 * Converts a tensor that was read to the dtype that a model takes: numbers to floats (NumPy saves float64 where
 * nobody asked), integers and bool to integers that hold every value.
 *
 * @param name for messages
 * @throws {LitheError} DATA_INVALID where values would be lost: floats to integers, integers out of range, text
 */
export function castTo(tensor: Tensor, dtype: DType, name: string): Tensor {
  const from = tensor.dtype;
  if (from === dtype) return tensor;
  const refuse = (why: string): Error =>
    errors.dataInvalid(name, `it is ${from}, and cannot become the ${dtype} that the model takes${why}.`);
  const whole = isInteger(from) || from === 'bool';
  if (!(isFloat(from) || whole)) throw refuse('');
  const { shape } = tensor;
  if (isFloat(dtype)) {
    const values = tensor.toFloat64Array();
    if (dtype === 'float32') return Tensor.from(dtype, shape, Float32Array.from(values));
    if (dtype === 'float64') return Tensor.from(dtype, shape, values);
    if (dtype === 'float16') return Tensor.from(dtype, shape, Uint16Array.from(values, toFloat16Bits));
    if (dtype === 'bfloat16') return Tensor.from(dtype, shape, Uint16Array.from(values, toBfloat16Bits));
    throw refuse('');
  }
  const { range } = dtypes[dtype];
  if (!whole || range === undefined) throw refuse('');
  const wide =
    from === 'int64' || from === 'uint64' ? BigInt64Array.from((tensor as Tensor<'int64'>).data) : undefined;
  if (wide !== undefined || dtype === 'int64' || dtype === 'uint64') {
    const data =
      from === 'int64' || from === 'uint64'
        ? (tensor as Tensor<'int64' | 'uint64'>).data
        : BigInt64Array.from(tensor.toFloat64Array(), BigInt);
    for (const value of data) if (value < range[0] || value > range[1]) throw refuse(`: it holds ${value}`);
    if (dtype === 'int64') return Tensor.from(dtype, shape, BigInt64Array.from(data));
    if (dtype === 'uint64') return Tensor.from(dtype, shape, BigUint64Array.from(data));
    return fromNumbers(Float64Array.from(data as BigInt64Array, Number), dtype, shape);
  }
  const values = tensor.toFloat64Array();
  const [low, high] = [Number(range[0]), Number(range[1])];
  for (const value of values) if (value < low || value > high) throw refuse(`: it holds ${value}`);
  return fromNumbers(values, dtype, shape);
}

function fromNumbers(values: Float64Array, dtype: DType, shape: readonly number[]): Tensor {
  switch (dtype) {
    case 'int8':
      return Tensor.from(dtype, shape, Int8Array.from(values));
    case 'int16':
      return Tensor.from(dtype, shape, Int16Array.from(values));
    case 'uint16':
      return Tensor.from(dtype, shape, Uint16Array.from(values));
    case 'int32':
      return Tensor.from(dtype, shape, Int32Array.from(values));
    case 'uint32':
      return Tensor.from(dtype, shape, Uint32Array.from(values));
    case 'int4':
    case 'uint4':
      return Tensor.from(dtype, shape, packNibbles(Int8Array.from(values)));
    case 'bool':
      return Tensor.from(dtype, shape, Uint8Array.from(values));
    default:
      return Tensor.from('uint8', shape, Uint8Array.from(values));
  }
}
