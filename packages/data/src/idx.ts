import { type DType, elementsOf, errors, Tensor } from '@lithe/core';
import { type ByteSource, bytesSource, type DataLimits, defaultMaxBytes, readAll } from './byte-source.ts';
import { gunzip } from './inflate.ts';
import { type ArrayFile, swapBytes } from './npy.ts';

const types: Readonly<Record<number, readonly [DType, number]>> = {
  8: ['uint8', 1],
  9: ['int8', 1],
  11: ['int16', 2],
  12: ['int32', 4],
  13: ['float32', 4],
  14: ['float64', 8],
};

/**
 * Opens an IDX file, as MNIST comes in, plain or gzipped. A plain one is read row by row, a gzipped one is expanded
 * in memory.
 *
 * @throws {LitheError} DATA_INVALID when it is malformed or cut off; LIMIT_EXCEEDED when it expands to more than the limit
 * @see LeCun, Cortes, Burges, "The MNIST database of handwritten digits", file formats
 */
export async function openIdx(source: ByteSource, limits: DataLimits = {}): Promise<ArrayFile> {
  const { name } = source;
  const { maxBytes = defaultMaxBytes } = limits;
  const start = await source.read(0, Math.min(source.size, 2));
  const plain =
    start[0] === 0x1f && start[1] === 0x8b
      ? bytesSource(gunzip(await readAll(source, maxBytes), name, maxBytes), name)
      : source;
  const head = await plain.read(0, Math.min(plain.size, 4 + 4 * 255));
  const type = types[head[2] ?? 0];
  const rank = head[3] ?? 0;
  if (head[0] !== 0 || head[1] !== 0 || type === undefined)
    throw errors.dataInvalid(name, 'it does not begin like an IDX file.');
  const offset = 4 + 4 * rank;
  if (rank === 0 || head.length < offset) throw errors.dataInvalid(name, 'its header is cut off.');
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis, false));
  const [dtype, itemBytes] = type;
  const total = elementsOf(shape) * itemBytes;
  if (total !== plain.size - offset) {
    throw errors.dataInvalid(
      name,
      `it has ${plain.size - offset} bytes of elements; its shape [${shape.join(', ')}] takes ${total}.`,
    );
  }
  const rowBytes = elementsOf(shape.slice(1)) * itemBytes;
  const read = async (from: number, to: number, rows: readonly number[]): Promise<Tensor> => {
    if (to - from > maxBytes) throw errors.limitExceeded('maxBytes', maxBytes, to - from, `File "${name}"`);
    const bytes = await plain.read(offset + from, offset + to);
    if (bytes.byteLength !== to - from)
      throw errors.dataInvalid(name, 'it became shorter while it was read.');
    return Tensor.fromBytes(dtype, rows, itemBytes > 1 ? swapBytes(bytes, itemBytes) : bytes);
  };
  const count = shape[0] as number;
  return {
    name,
    dtype,
    shape,
    load: () => read(0, total, shape),
    rows: async (from, to) => {
      if (!(from >= 0 && from <= to && to <= count)) {
        throw errors.valueOutOfRange(
          `The end of the rows of "${name}"`,
          to,
          `the ${count} rows from ${from} on`,
        );
      }
      return read(from * rowBytes, to * rowBytes, [to - from, ...shape.slice(1)]);
    },
  };
}

/**
 * Reads an IDX file in memory, plain or gzipped.
 *
 * @throws {LitheError} DATA_INVALID when it is malformed or cut off; LIMIT_EXCEEDED
 */
export async function readIdx(
  bytes: Uint8Array,
  name = 'data.idx',
  limits: DataLimits = {},
): Promise<Tensor> {
  return (await openIdx(bytesSource(bytes, name), limits)).load();
}
