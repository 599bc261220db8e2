import { type DType, elementsOf, errors, Tensor } from '@lithe/core';
import { type ByteSource, bytesSource, type DataLimits, defaultMaxBytes } from './byte-source.ts';
import { maxHeaderBytes, type NpyHeader, parseNpyHeader } from './npy-header.ts';

/** An array that is read row by row: of an NPY or IDX file. */
export interface ArrayFile {
  /** Name, for messages. */
  readonly name: string;
  /** Element type. */
  readonly dtype: DType;
  /** Dims, outermost first. */
  readonly shape: readonly number[];
  /**
   * Reads rows `[start, end)` of the first axis, `[end - start, …]`.
   *
   * @throws {LitheError} LIMIT_EXCEEDED when they take more than the limit
   */
  rows(start: number, end: number): Promise<Tensor>;
  /**
   * Reads all of it.
   *
   * @throws {LitheError} LIMIT_EXCEEDED when it takes more than the limit
   */
  load(): Promise<Tensor>;
}

/**
 * Opens an NPY file: reads its header, and rows when they are asked for. Arrays in Fortran order are read whole.
 *
 * @throws {LitheError} DATA_INVALID when it is malformed, cut off, or holds what is no tensor
 */
export async function openNpy(source: ByteSource, limits: DataLimits = {}): Promise<ArrayFile> {
  const { name } = source;
  const { maxBytes = defaultMaxBytes } = limits;
  const header = parseNpyHeader(await source.read(0, Math.min(source.size, maxHeaderBytes)), name);
  const { shape, dtype, itemBytes, offset } = header;
  const total = elementsOf(shape) * itemBytes;
  if (offset + total !== source.size) {
    throw errors.dataInvalid(
      name,
      `it has ${source.size - offset} bytes of elements; its shape [${shape.join(', ')}] takes ${total}.`,
      'The file may be cut off, or hold several arrays one behind the other.',
    );
  }
  const rowBytes = elementsOf(shape.slice(1)) * itemBytes;
  const read = async (start: number, end: number, rows: readonly number[]): Promise<Tensor> => {
    if (end - start > maxBytes)
      throw errors.limitExceeded('maxBytes', maxBytes, end - start, `File "${name}"`);
    const bytes = await source.read(offset + start, offset + end);
    if (bytes.byteLength !== end - start)
      throw errors.dataInvalid(name, 'it became shorter while it was read.');
    return decode(header, rows, bytes);
  };
  let whole: Promise<Tensor> | undefined;
  const load = (): Promise<Tensor> => read(0, total, shape);
  return {
    name,
    dtype,
    shape,
    load,
    rows: async (start, end) => {
      const [count] = shape;
      if (count === undefined || !(start >= 0 && start <= end && end <= count)) {
        throw errors.valueOutOfRange(
          `The end of the rows of "${name}"`,
          end,
          `the ${count ?? 0} rows from ${start} on`,
        );
      }
      const rows = [end - start, ...shape.slice(1)];
      if (!header.fortran || shape.length === 1) return read(start * rowBytes, end * rowBytes, rows);
      whole ??= load();
      const tensor = await whole;
      if (tensor.dtype === 'string') {
        const width = elementsOf(shape.slice(1));
        return Tensor.from(
          'string',
          rows,
          (tensor as Tensor<'string'>).data.slice(start * width, end * width),
        );
      }
      return Tensor.fromBytes(dtype, rows, tensor.bytes.subarray(start * rowBytes, end * rowBytes));
    },
  };
}

/**
 * Reads an NPY file in memory: all numeric dtypes, bool and text, versions 1 to 3, either byte order, C or Fortran
 * order. The tensor shares the bytes where nothing had to be converted.
 *
 * @throws {LitheError} DATA_INVALID when it is malformed, cut off, or holds what is no tensor; LIMIT_EXCEEDED
 */
export async function readNpy(
  bytes: Uint8Array,
  name = 'array.npy',
  limits: DataLimits = {},
): Promise<Tensor> {
  return (await openNpy(bytesSource(bytes, name), limits)).load();
}

function decode(header: NpyHeader, shape: readonly number[], bytes: Uint8Array): Tensor {
  const { dtype, itemBytes, unitBytes, fortran, bigEndian, text } = header;
  const swapped = bigEndian && unitBytes > 1 ? swapBytes(bytes, unitBytes) : bytes;
  const ordered = fortran && shape.length > 1 ? toRowMajor(swapped, shape, itemBytes) : swapped;
  if (text !== undefined)
    return Tensor.from('string', shape, decodeTexts(ordered, elementsOf(shape), header));
  if (dtype === 'bool') {
    // Any byte but 0 is true; a tensor holds 0 and 1 only.
    return Tensor.from(
      'bool',
      shape,
      ordered.some((byte) => byte > 1) ? ordered.map((byte) => (byte === 0 ? 0 : 1)) : ordered,
    );
  }
  return Tensor.fromBytes(dtype, shape, ordered);
}

/** A copy with the bytes of every unit turned round. */
export function swapBytes(bytes: Uint8Array, unitBytes: number): Uint8Array {
  const swapped = new Uint8Array(bytes.length);
  for (let start = 0; start < bytes.length; start += unitBytes) {
    for (let index = 0; index < unitBytes; index++)
      swapped[start + index] = bytes[start + unitBytes - 1 - index]!;
  }
  return swapped;
}

/** Brings elements from Fortran order into C order. */
function toRowMajor(bytes: Uint8Array, shape: readonly number[], itemBytes: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  const rank = shape.length;
  const strides = new Array<number>(rank);
  let stride = itemBytes;
  for (let axis = 0; axis < rank; axis++) {
    strides[axis] = stride;
    stride *= shape[axis] as number;
  }
  const position = new Array<number>(rank).fill(0);
  let from = 0;
  for (let to = 0; to < out.length; to += itemBytes) {
    for (let index = 0; index < itemBytes; index++) out[to + index] = bytes[from + index]!;
    for (let axis = rank - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      position[axis]!++;
      if (position[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      position[axis] = 0;
    }
  }
  return out;
}

function decodeTexts(bytes: Uint8Array, elements: number, { text, itemBytes }: NpyHeader): string[] {
  const texts: string[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const utf8 = new TextDecoder();
  for (let index = 0; index < elements; index++) {
    const start = index * itemBytes;
    if (text === 'bytes') {
      let end = start + itemBytes;
      while (end > start && bytes[end - 1] === 0) end--;
      texts.push(utf8.decode(bytes.subarray(start, end)));
      continue;
    }
    let word = '';
    for (let at = start; at < start + itemBytes; at += 4) {
      const code = view.getUint32(at, true);
      if (code === 0) break;
      word += code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
    }
    texts.push(word);
  }
  return texts;
}

const descrOf: Partial<Record<DType, string>> = {
  bool: '|b1',
  int8: '|i1',
  uint8: '|u1',
  int16: '<i2',
  uint16: '<u2',
  int32: '<i4',
  uint32: '<u4',
  int64: '<i8',
  uint64: '<u8',
  float16: '<f2',
  float32: '<f4',
  float64: '<f8',
  complex64: '<c8',
  complex128: '<c16',
};

/**
 * Writes a tensor as an NPY file (version 1.0, little-endian, C order), as NumPy does.
 *
 * @throws {LitheError} DTYPE_UNSUPPORTED for what NumPy has no type for: bfloat16, float8, 4-bit integers
 *
 * @example
 * ```ts
 * import { Tensor } from '@lithe/core';
 * import { readNpy, writeNpy } from '@lithe/data';
 *
 * const bytes = writeNpy(Tensor.from('int8', [2, 1], new Int8Array([1, 2])));
 * const tensor = await readNpy(bytes);
 * tensor.shape; // => [2, 1]
 * ```
 */
export function writeNpy(tensor: Tensor): Uint8Array {
  const body = tensor.dtype === 'string' ? encodeTexts(tensor as Tensor<'string'>) : tensor.bytes;
  const descr =
    tensor.dtype === 'string'
      ? `<U${tensor.size === 0 ? 1 : body.byteLength / 4 / tensor.size}`
      : descrOf[tensor.dtype];
  if (descr === undefined) {
    throw errors.dtypeUnsupported('writeNpy()', tensor.dtype, [...Object.keys(descrOf), 'string']);
  }
  const dims = tensor.shape.length === 1 ? `${tensor.shape[0]},` : tensor.shape.join(', ');
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${dims}), }`;
  const header = `${dict}${' '.repeat(63 - ((10 + dict.length) % 64))}\n`;
  const bytes = new Uint8Array(10 + header.length + body.byteLength);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 0xff, header.length >> 8]);
  for (let index = 0; index < header.length; index++) bytes[10 + index] = header.charCodeAt(index);
  bytes.set(body, 10 + header.length);
  return bytes;
}

function encodeTexts(tensor: Tensor<'string'>): Uint8Array {
  const codes = tensor.data.map((text) =>
    Array.from(text, (character) => character.codePointAt(0) as number),
  );
  const width = codes.reduce((most, word) => Math.max(most, word.length), 1);
  const words = new Uint32Array(codes.length * width);
  codes.forEach((word, index) => {
    words.set(word, index * width);
  });
  return new Uint8Array(words.buffer);
}
