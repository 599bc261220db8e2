import {
  byteLengthOf,
  type DType,
  type DTypeArrays,
  dtypeFromOnnx,
  dtypes,
  elementsOf,
  errors,
  formatShape,
  Tensor,
  type TensorSource,
} from '@lithe/core';
import { type TensorExtras, tensorExtras } from '../extras.ts';
import { type TensorProto, TensorProto_DataLocation } from '../proto/onnx_pb.ts';
import { propsOf, quoted, type ReadContext } from './context.ts';
import { readExternalTensor } from './external-tensor.ts';
import { decodeUtf8 } from './text.ts';

/**
 * Makes a tensor from its message; the elements are a view of the file where they lie there as raw bytes.
 *
 * @returns `undefined` for an element type that the IR does not know, or texts that are not UTF-8: the caller carries
 *   the message as it is
 * @throws {LitheError} TENSOR_INVALID when dims, dtype and data do not fit
 * @throws {LitheError} LIMIT_EXCEEDED when dims are above the limits
 * @throws {LitheError} FILE_INVALID when the bytes outside the model do not hold it
 */
export function readTensor(proto: TensorProto, context: ReadContext): TensorSource | undefined {
  const what = proto.name === '' ? 'a tensor' : `tensor ${quoted(proto.name)}`;
  if (proto.segment !== undefined)
    throw errors.tensorInvalid(`${what} is a segment of a larger one, which ONNX dropped`);
  const shape = readDims(proto.dims, what, context);
  const dtype = dtypeFromOnnx(proto.dataType);
  if (dtype === undefined) {
    if (proto.dataType === 0) throw errors.tensorInvalid(`${what} has no element type`);
    return undefined;
  }
  let source: TensorSource | undefined;
  if (proto.dataLocation === TensorProto_DataLocation.EXTERNAL) {
    source = readExternalTensor(proto, dtype, shape, what, context);
  } else source = readInline(proto, dtype, shape, what);
  if (source !== undefined) noteExtras(source, proto);
  return source;
}

/** Checks dims: whole numbers that multiply to a sane size. */
export function readDims(dims: readonly bigint[], what: string, context: ReadContext): readonly number[] {
  const { maxRank, maxTensorElements } = context.limits;
  if (dims.length > maxRank)
    throw errors.limitExceeded('maxRank', maxRank, dims.length, `The rank of ${what}`);
  const shape: number[] = [];
  let elements = 1;
  for (const dim of dims) {
    if (dim < 0n) throw errors.tensorInvalid(`${what} has the dim ${dim}`);
    if (dim > BigInt(maxTensorElements)) {
      throw errors.limitExceeded('maxTensorElements', maxTensorElements, dim, `A dim of ${what}`);
    }
    shape.push(Number(dim));
    // Zero dims make the product zero, whatever the others; the others are held to the limit all the same.
    if (dim > 0n) elements *= Number(dim);
    if (elements > maxTensorElements) {
      throw errors.limitExceeded('maxTensorElements', maxTensorElements, elements, `The size of ${what}`);
    }
  }
  return shape;
}

function readInline(
  proto: TensorProto,
  dtype: DType,
  shape: readonly number[],
  what: string,
): TensorSource | undefined {
  const elements = elementsOf(shape);
  if (dtype === 'string') return readStrings(proto, shape, elements, what);
  const typed = typedFieldOf(proto, dtype);
  if (proto.rawData.byteLength > 0) {
    if (typed.length > 0) throw errors.tensorInvalid(`${what} holds its data twice`);
    const expected = byteLengthOf(dtype, elements);
    if (proto.rawData.byteLength !== expected) {
      throw errors.tensorInvalid(
        `${what} (${dtype} ${formatShape(shape)}) takes ${expected} bytes, the file holds ${proto.rawData.byteLength}`,
      );
    }
    return Tensor.fromBytes(dtype, shape, proto.rawData);
  }
  // Checked before anything is allocated: dims are a claim, the data is what there is.
  const expected = slotsOf(dtype, elements);
  if (typed.length !== expected) {
    throw errors.tensorInvalid(
      `${what} (${dtype} ${formatShape(shape)}) takes ${expected} numbers, the file holds ${typed.length}`,
    );
  }
  return Tensor.from(dtype, shape, fill(dtype, typed, what));
}

function readStrings(
  proto: TensorProto,
  shape: readonly number[],
  elements: number,
  what: string,
): TensorSource | undefined {
  if (proto.rawData.byteLength > 0) throw errors.tensorInvalid(`${what} holds texts as raw bytes`);
  if (proto.stringData.length !== elements) {
    throw errors.tensorInvalid(`${what} takes ${elements} texts, the file holds ${proto.stringData.length}`);
  }
  const texts: string[] = [];
  for (const bytes of proto.stringData) {
    const text = decodeUtf8(bytes);
    if (text === undefined) return undefined;
    texts.push(text);
  }
  return Tensor.from('string', shape, texts);
}

/** Numbers that `elements` elements take in the typed field of their dtype. */
function slotsOf(dtype: DType, elements: number): number {
  if (dtypes[dtype].category === 'complex') return 2 * elements;
  return dtypes[dtype].bits === 4 ? Math.ceil(elements / 2) : elements;
}

/** The field that holds elements of this dtype when they are not raw: the table at `TensorProto.DataType`. */
function typedFieldOf(proto: TensorProto, dtype: DType): readonly number[] | readonly bigint[] {
  switch (dtype) {
    case 'float32':
    case 'complex64':
      return proto.floatData;
    case 'float64':
    case 'complex128':
      return proto.doubleData;
    case 'int64':
      return proto.int64Data;
    case 'uint32':
    case 'uint64':
      return proto.uint64Data;
    default:
      return proto.int32Data;
  }
}

function fill<D extends DType>(dtype: D, typed: readonly (number | bigint)[], what: string): DTypeArrays[D] {
  const make = (): Float32Array | Float64Array | BigInt64Array | BigUint64Array | undefined => {
    switch (dtype) {
      case 'float32':
      case 'complex64':
        return new Float32Array(typed as readonly number[]);
      case 'float64':
      case 'complex128':
        return new Float64Array(typed as readonly number[]);
      case 'int64':
        return new BigInt64Array(typed as readonly bigint[] as bigint[]);
      case 'uint64':
        return new BigUint64Array(typed as readonly bigint[] as bigint[]);
      default:
        return undefined;
    }
  };
  return (make() ?? fillWords(dtype, typed, what)) as DTypeArrays[D];
}

/** Small integers and bit patterns, one to a word of 32 (for `uint32` 64) bits. */
function fillWords(
  dtype: DType,
  typed: readonly (number | bigint)[],
  what: string,
): Uint8Array | Int8Array | Uint16Array | Int16Array | Int32Array | Uint32Array {
  const out = wordsOf(dtype, typed.length);
  const bits = out.BYTES_PER_ELEMENT * 8;
  const signed = dtypes[dtype].category === 'int' && dtypes[dtype].bits !== 4;
  // A byte of two nibbles may be written as signed: ONNX's own helper for int4 does that.
  const low = signed ? -(2 ** (bits - 1)) : dtypes[dtype].bits === 4 ? -128 : 0;
  const high = dtype === 'bool' ? 1 : signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  for (let index = 0; index < typed.length; index++) {
    const value = Number(typed[index]);
    if (value < low || value > high)
      throw errors.tensorInvalid(`${what} holds ${value}, which is no ${dtype}`);
    out[index] = value;
  }
  return out;
}

function wordsOf(
  dtype: DType,
  length: number,
): Uint8Array | Int8Array | Uint16Array | Int16Array | Int32Array | Uint32Array {
  switch (dtype) {
    case 'int8':
      return new Int8Array(length);
    case 'int16':
      return new Int16Array(length);
    case 'uint16':
    case 'float16':
    case 'bfloat16':
      return new Uint16Array(length);
    case 'int32':
      return new Int32Array(length);
    case 'uint32':
      return new Uint32Array(length);
    default:
      return new Uint8Array(length);
  }
}

function noteExtras(source: TensorSource, proto: TensorProto): void {
  const unknown = proto.$unknown ?? [];
  const docString = proto.docString === '' ? undefined : proto.docString;
  if (
    proto.name === '' &&
    docString === undefined &&
    proto.metadataProps.length === 0 &&
    unknown.length === 0
  )
    return;
  const extras: TensorExtras = { name: proto.name, docString, props: propsOf(proto.metadataProps), unknown };
  tensorExtras.set(source, extras);
}
