import { errors, formatShape } from '../errors/catalogue.ts';
import { byteLengthOf, type DType, dtypes, elementsOf } from '../tensor/dtype.ts';
import { packNibbles, unpackUint4 } from '../tensor/packed4.ts';
import { Tensor } from '../tensor/tensor.ts';

const isPacked = (dtype: DType): boolean => dtypes[dtype].bits === 4;

/**
 * Rows `[start, end)` of a tensor along its first axis. Shares the elements, except for 4-bit types and strings.
 *
 * @throws {LitheError} SHAPE_MISMATCH for a scalar; VALUE_OUT_OF_RANGE when the rows are not there
 */
export function sliceRows(tensor: Tensor, start: number, end: number): Tensor {
  const [rows, ...rest] = tensor.shape;
  if (rows === undefined) throw errors.outputMismatch('rows', 'is a scalar and has no rows');
  if (!(start >= 0 && start <= end && end <= rows)) {
    throw errors.valueOutOfRange('The end of the rows', end, `the ${rows} rows from ${start} on`);
  }
  const shape = [end - start, ...rest];
  const width = elementsOf(rest);
  const { dtype } = tensor;
  if (dtype === 'string') {
    return Tensor.from(dtype, shape, (tensor as Tensor<'string'>).data.slice(start * width, end * width));
  }
  if (isPacked(dtype)) {
    const nibbles = unpackUint4(tensor.bytes, tensor.size).subarray(start * width, end * width);
    return Tensor.fromBytes(dtype, shape, packNibbles(nibbles));
  }
  const bytes = byteLengthOf(dtype, width);
  return Tensor.fromBytes(dtype, shape, tensor.bytes.subarray(start * bytes, end * bytes));
}

function checkAlike(tensors: readonly Tensor[], from: number): Tensor {
  const [first] = tensors;
  if (first === undefined) throw errors.tensorInvalid('there are no tensors to join');
  for (const other of tensors) {
    const alike =
      other.dtype === first.dtype &&
      other.shape.length === first.shape.length &&
      other.shape.every((dim, axis) => axis < from || dim === first.shape[axis]);
    if (!alike) {
      throw errors.outputMismatch(
        'rows',
        `is ${other.dtype}${formatShape(other.shape)} and cannot be joined to ${first.dtype}${formatShape(first.shape)}`,
      );
    }
  }
  return first;
}

function join(dtype: DType, shape: readonly number[], tensors: readonly Tensor[]): Tensor {
  if (dtype === 'string')
    return Tensor.from(
      dtype,
      shape,
      tensors.flatMap((tensor) => (tensor as Tensor<'string'>).data),
    );
  if (isPacked(dtype)) {
    const nibbles = new Uint8Array(elementsOf(shape));
    let start = 0;
    for (const tensor of tensors) {
      nibbles.set(unpackUint4(tensor.bytes, tensor.size), start);
      start += tensor.size;
    }
    return Tensor.fromBytes(dtype, shape, packNibbles(nibbles));
  }
  const bytes = new Uint8Array(byteLengthOf(dtype, elementsOf(shape)));
  let start = 0;
  for (const tensor of tensors) {
    bytes.set(tensor.bytes, start);
    start += tensor.byteLength;
  }
  return Tensor.fromBytes(dtype, shape, bytes);
}

/**
 * Joins tensors of one dtype along their first axis: `[2, 3]` and `[1, 3]` give `[3, 3]`.
 *
 * @throws {LitheError} SHAPE_MISMATCH when dtypes or the other axes differ; TENSOR_INVALID for none
 */
export function concatRows(tensors: readonly Tensor[]): Tensor {
  const first = checkAlike(tensors, 1);
  if (first.shape.length === 0) throw errors.outputMismatch('rows', 'is a scalar and has no rows');
  if (tensors.length === 1) return first;
  const rows = tensors.reduce((sum, tensor) => sum + (tensor.shape[0] as number), 0);
  return join(first.dtype, [rows, ...first.shape.slice(1)], tensors);
}

/**
 * Stacks tensors of one dtype and shape along a new first axis: two of `[3]` give `[2, 3]`.
 *
 * @throws {LitheError} SHAPE_MISMATCH when dtypes or shapes differ; TENSOR_INVALID for none
 */
export function stackRows(tensors: readonly Tensor[]): Tensor {
  const first = checkAlike(tensors, 0);
  return join(first.dtype, [tensors.length, ...first.shape], tensors);
}
