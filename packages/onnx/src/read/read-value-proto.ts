import { BinaryReader, type WireType } from '@bufbuild/protobuf/wire';
import { errors, Tensor } from '@lithe/core';
import { defaultReadLimits, type ReadLimits } from '../limits.ts';
import { decodeMessage } from '../proto/decode.ts';
import { TensorProtoSchema } from '../proto/onnx_pb.ts';
import { readTensor } from './read-tensor.ts';

/** A sequence of values, as a `SequenceProto` file holds it. */
export interface SequenceData {
  /** Tag. */
  readonly kind: 'sequence';
  /** What it holds, in order. */
  readonly items: readonly ValueData[];
}

/** A value that may be absent, as an `OptionalProto` file holds it. */
export interface OptionalData {
  /** Tag. */
  readonly kind: 'optional';
  /** What it holds; `null` when it is absent. */
  readonly value: ValueData | null;
}

/** What a value file (`input_0.pb`) may hold. */
export type ValueData = Tensor | SequenceData | OptionalData;

/** Which message a value file holds: the files themselves do not tell. */
export type ValueDataKind = 'tensor' | 'sequence' | 'optional';

/** Options of {@link readTensorProto} and {@link readValueProto}. */
export interface ReadValueOptions {
  /** Limits to raise (or lower). */
  readonly limits?: Partial<ReadLimits> | undefined;
  /** Name of the file, for messages. Default `value`. */
  readonly name?: string | undefined;
}

/**
 * Reads a serialized `TensorProto`, as the `.pb` files beside ONNX test models hold it. The elements are a view of
 * `bytes` where they are raw.
 *
 * @throws {LitheError} FILE_INVALID when it is not an ONNX tensor
 * @throws {LitheError} TENSOR_INVALID when the data does not fit its dims
 * @throws {LitheError} LIMIT_EXCEEDED when it is larger than the limits allow
 */
export function readTensorProto(bytes: Uint8Array, options: ReadValueOptions = {}): Tensor {
  const limits = { ...defaultReadLimits, ...options.limits };
  const file = options.name ?? 'value';
  const proto = decodeMessage(TensorProtoSchema, bytes, limits, file);
  const tensor = readTensor(proto, { file, limits, irVersion: 0, external: new Map() });
  if (!(tensor instanceof Tensor))
    throw errors.fileInvalid(file, `it holds elements of type ${proto.dataType}, which are not read here.`);
  return tensor;
}

/**
 * Reads a serialized `TensorProto`, `SequenceProto` or `OptionalProto` (onnx-data.proto).
 *
 * @throws {LitheError} FILE_INVALID when it is no such message, or holds a map or a sparse tensor
 * @throws {LitheError} TENSOR_INVALID when the data of a tensor does not fit its dims
 * @throws {LitheError} LIMIT_EXCEEDED when it is larger or deeper than the limits allow
 */
export function readValueProto(
  bytes: Uint8Array,
  kind: ValueDataKind,
  options: ReadValueOptions = {},
): ValueData {
  return readValue(bytes, kind, { options, depth: 0 });
}

interface Reading {
  readonly options: ReadValueOptions;
  readonly depth: number;
}

function readValue(bytes: Uint8Array, kind: ValueDataKind, reading: Reading): ValueData {
  const { maxDepth } = { ...defaultReadLimits, ...reading.options.limits };
  const file = reading.options.name ?? 'value';
  if (reading.depth > maxDepth)
    throw errors.limitExceeded('maxDepth', maxDepth, reading.depth, `File "${file}"`);
  if (kind === 'tensor') return readTensorProto(bytes, reading.options);
  const inner = { options: reading.options, depth: reading.depth + 1 };
  const items = fieldsOf(bytes, file).flatMap(([field, payload]) => {
    // In both messages: 1 name, 2 element type, 3 tensor, 4 sparse tensor, 5 sequence, 6 map, 7 optional.
    if (field === 3) return [readValue(payload, 'tensor', inner)];
    if (field === 5) return [readValue(payload, 'sequence', inner)];
    if (field === 7) return [readValue(payload, 'optional', inner)];
    if (field === 4 || field === 6)
      throw errors.fileInvalid(file, 'it holds a map or a sparse tensor, which are not read here.');
    return [];
  });
  return kind === 'sequence' ? { kind, items } : { kind, value: items.at(-1) ?? null };
}

/** The length-delimited fields of a message, by number. */
function fieldsOf(bytes: Uint8Array, file: string): [number, Uint8Array][] {
  const lengthDelimited: WireType = 2;
  try {
    const reader = new BinaryReader(bytes);
    const fields: [number, Uint8Array][] = [];
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag();
      if (type === lengthDelimited) fields.push([field, reader.bytes()]);
      else reader.skip(type, field);
    }
    return fields;
  } catch (cause) {
    throw errors.fileInvalid(
      file,
      `it is not an ONNX protobuf: ${cause instanceof Error ? cause.message : String(cause)}.`,
      cause,
    );
  }
}
