import { byteLengthOf, type DType, elementsOf, errors, Tensor } from '@lithe/core';

/** Names that the safetensors format gives to dtypes. */
const formatNames: Partial<Record<DType, string>> = {
  float64: 'F64',
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  int64: 'I64',
  int32: 'I32',
  int16: 'I16',
  int8: 'I8',
  uint64: 'U64',
  uint32: 'U32',
  uint16: 'U16',
  uint8: 'U8',
  bool: 'BOOL',
};

const dtypeOf: ReadonlyMap<string, DType> = new Map(
  Object.entries(formatNames).map(([dtype, name]) => [name, dtype as DType]),
);

/** Largest header that is read: a hostile file must not make us parse gigabytes of JSON. The format's own limit. */
const MAX_HEADER_BYTES = 100_000_000;

/** The contents of a safetensors file. */
export interface SafetensorsFile {
  /** Tensors by name. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** Free texts by name. */
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Writes tensors in the safetensors format: the length of a JSON header, the header, and the raw bytes, aligned to 8.
 *
 * @see https://github.com/huggingface/safetensors, "Format"
 * @throws {LitheError} DTYPE_UNSUPPORTED for a dtype that the format has no name for
 */
export function writeSafetensors(file: SafetensorsFile): Uint8Array {
  const header: Record<string, unknown> = {};
  if (Object.keys(file.metadata).length > 0) header['__metadata__'] = file.metadata;
  const entries = Object.entries(file.tensors).sort(([left], [right]) =>
    left < right ? -1 : left > right ? 1 : 0,
  );
  let offset = 0;
  for (const [name, tensor] of entries) {
    const dtype = formatNames[tensor.dtype];
    if (dtype === undefined)
      throw errors.dtypeUnsupported('safetensors', tensor.dtype, Object.keys(formatNames));
    header[name] = { dtype, shape: tensor.shape, data_offsets: [offset, offset + tensor.byteLength] };
    offset += tensor.byteLength;
  }
  let text = JSON.stringify(header);
  const encoder = new TextEncoder();
  text += ' '.repeat((8 - (encoder.encode(text).length % 8)) % 8);
  const head = encoder.encode(text);
  const bytes = new Uint8Array(8 + head.length + offset);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(head.length), true);
  bytes.set(head, 8);
  let at = 8 + head.length;
  for (const [, tensor] of entries) {
    bytes.set(tensor.bytes, at);
    at += tensor.byteLength;
  }
  return bytes;
}

/**
 * Reads a safetensors file. Tensors are views of its bytes.
 *
 * @param name what to call the file in messages
 * @throws {LitheError} FILE_INVALID when it is not such a file
 */
export function readSafetensors(bytes: Uint8Array, name = 'checkpoint'): SafetensorsFile {
  if (bytes.byteLength < 8) throw errors.fileInvalid(name, 'it is too short for safetensors.');
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(Math.min(MAX_HEADER_BYTES, bytes.byteLength - 8)))
    throw errors.fileInvalid(name, 'its header is longer than the file.');
  const start = 8 + Number(length);
  const header = parseHeader(bytes.subarray(8, start), name);
  const data = bytes.subarray(start);
  const tensors: { readonly name: string; readonly begin: number; readonly tensor: Tensor }[] = [];
  for (const [key, entry] of Object.entries(header)) {
    if (key !== '__metadata__') tensors.push({ name: key, ...readTensor(key, entry, data, name) });
  }
  // The format's own rule: no holes, no overlaps, no bytes left over. A name given twice leaves a hole.
  let end = 0;
  for (const { begin, tensor } of tensors.toSorted(
    (left, right) => left.begin - right.begin || left.tensor.byteLength - right.tensor.byteLength,
  )) {
    if (begin !== end) throw errors.fileInvalid(name, 'its tensors overlap or leave holes.');
    end += tensor.byteLength;
  }
  if (end !== data.byteLength) throw errors.fileInvalid(name, 'it has bytes that belong to no tensor.');
  return {
    tensors: Object.fromEntries(tensors.map((item) => [item.name, item.tensor])),
    metadata: readMetadata(header['__metadata__'], name),
  };
}

function readMetadata(entry: unknown, name: string): Record<string, string> {
  if (entry === undefined) return {};
  const isObject = typeof entry === 'object' && entry !== null && !Array.isArray(entry);
  if (!isObject || Object.values(entry).some((value) => typeof value !== 'string')) {
    throw errors.fileInvalid(name, 'its metadata are not texts by name.');
  }
  return entry as Record<string, string>;
}

function parseHeader(bytes: Uint8Array, name: string): Record<string, unknown> {
  try {
    const header: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (typeof header === 'object' && header !== null && !Array.isArray(header))
      return header as Record<string, unknown>;
  } catch (cause) {
    throw errors.fileInvalid(name, 'its header is not JSON.', cause);
  }
  throw errors.fileInvalid(name, 'its header is not a JSON object.');
}

function readTensor(
  key: string,
  entry: unknown,
  data: Uint8Array,
  name: string,
): { readonly begin: number; readonly tensor: Tensor } {
  const { dtype: code, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  const dtype = typeof code === 'string' ? dtypeOf.get(code) : undefined;
  const dims =
    Array.isArray(shape) && shape.every((dim) => Number.isSafeInteger(dim) && (dim as number) >= 0)
      ? (shape as number[])
      : undefined;
  const [begin, end] = Array.isArray(offsets) ? (offsets as unknown[]) : [];
  if (
    dtype === undefined ||
    dims === undefined ||
    !Number.isSafeInteger(begin) ||
    !Number.isSafeInteger(end)
  ) {
    throw errors.fileInvalid(name, `the entry of tensor "${key}" is malformed.`);
  }
  const [from, to] = [begin as number, end as number];
  if (from < 0 || to > data.byteLength || to - from !== byteLengthOf(dtype, elementsOf(dims))) {
    throw errors.fileInvalid(name, `tensor "${key}" does not lie inside the file.`);
  }
  return { begin: from, tensor: Tensor.fromBytes(dtype, dims, data.subarray(from, to)) };
}
