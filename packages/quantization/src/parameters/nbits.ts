import { errors } from '@lithe/core';
import { groupLayout } from './group-layout.ts';
import { type GroupParameters, groupParameters } from './group-parameters.ts';
import { integerRange } from './integer-range.ts';
import { quantizeGroups } from './kernels.ts';
import { toRows } from './row-form.ts';

/** What `com.microsoft.MatMulNBits` reads beside the activations. */
export interface NBitsWeight {
  /** Packed integers `[N, blocks, blockSize * bits / 8]`, the even element of K in the low nibble. */
  readonly packed: Uint8Array;
  /** Scales `[N * blocks]`. */
  readonly scales: Float32Array;
  /** Packed zero points `[N * ceil(blocks * bits / 8)]`; `undefined` when all are `2^(bits - 1)`, the operator's default. */
  readonly zeroPoints: Uint8Array | undefined;
  /** Blocks along K; the last is filled up with zeros. */
  readonly blocks: number;
}

/** The sizes of a matrix product's weight. */
export interface ProductSize {
  /** Length of the sums. */
  readonly k: number;
  /** Number of columns of the result. */
  readonly n: number;
  /** Whether the elements come as `[N, K]` instead of `[K, N]`. */
  readonly transposed: boolean;
}

/** How weights are packed for `MatMulNBits`. */
export interface NBitsOptions {
  /** Bits per weight. */
  readonly bits: 4 | 8;
  /** Elements of K that share a scale: a power of two from 16 on. */
  readonly blockSize: number;
  /** Zero point in the middle of the range, or one of its own for each block. */
  readonly symmetric: boolean;
  /** Names the tensor in messages. */
  readonly what: string;
}

/** A weight in unsigned integers, one row per output channel. */
export interface LevelRows {
  /** The integers, `[N, K]`. */
  readonly levels: Uint8Array;
  /** Scales and zero points, block by block along each row. */
  readonly parameters: GroupParameters;
}

/** What {@link packLevels} is told of a weight. */
export interface PackingOptions {
  /** Bits per weight. */
  readonly bits: 4 | 8;
  /** Elements of K that share a scale. */
  readonly blockSize: number;
}

function checkBlockSize(blockSize: number): void {
  if (blockSize < 16 || (blockSize & (blockSize - 1)) !== 0)
    throw errors.valueOutOfRange('The block size', blockSize, 'the powers of two from 16 on');
}

/** Fills each row up to whole blocks with the zero point of its last block, which stands for 0. */
function padLevels(
  rows: LevelRows,
  size: { readonly n: number; readonly k: number; readonly padded: number },
) {
  const { n, k, padded } = size;
  if (k === padded) return rows.levels;
  const { zeroPoints, middle } = rows.parameters;
  const groups = rows.parameters.scales.length / n;
  const out = new Uint8Array(n * padded);
  for (let row = 0; row < n; row++) {
    out.set(rows.levels.subarray(row * k, (row + 1) * k), row * padded);
    out.fill(zeroPoints?.[(row + 1) * groups - 1] ?? middle, row * padded + k, (row + 1) * padded);
  }
  return out;
}

/**
 * Brings quantized rows into the layout of `MatMulNBits`. The array of levels is given up: it may be written.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when the block size cannot be used
 */
export function packLevels(
  rows: LevelRows,
  size: Pick<ProductSize, 'k' | 'n'>,
  options: PackingOptions,
): NBitsWeight {
  const { bits, blockSize } = options;
  checkBlockSize(blockSize);
  const { k, n } = size;
  const blocks = Math.ceil(k / blockSize);
  const levels = padLevels(rows, { n, k, padded: blocks * blockSize });
  const { zeroPoints, scales } = rows.parameters;
  return {
    packed: bits === 4 ? packInPlace(levels) : levels,
    scales,
    zeroPoints: zeroPoints === undefined ? undefined : packZeroPoints(zeroPoints, { n, blocks, bits }),
    blocks,
  };
}

/**
 * Rounds the weight of a matrix product to nearest, into the layout of `MatMulNBits`. Symmetric blocks put their
 * element of largest magnitude on the lowest integer, so the step is 1/8 (1/128) of it.
 *
 * @param data `[K, N]` as `MatMul` reads it, or `[N, K]` with `transposed`
 * @throws {LitheError} VALUE_OUT_OF_RANGE when an element is NaN or infinite, or the block size cannot be used
 */
export function packNBits(data: Float32Array, size: ProductSize, options: NBitsOptions): NBitsWeight {
  const { bits, blockSize, symmetric, what } = options;
  checkBlockSize(blockSize);
  const { k, n, transposed } = size;
  const rows = toRows(data, { matrices: 1, rows: k, columns: n, transposed: !transposed });
  const range = integerRange(bits === 4 ? 'uint4' : 'uint8');
  const layout = groupLayout([n, k], { kind: 'per-block', axis: 1, size: blockSize });
  const parameters = groupParameters(rows, layout, {
    range,
    scheme: symmetric ? 'extreme' : 'asymmetric',
    what,
  });
  const levels = quantizeGroups(rows, layout, { parameters, range }) as Uint8Array;
  return packLevels({ levels, parameters }, size, { bits, blockSize });
}

/** Packs nibbles into the front half of the array itself: reading runs ahead of writing. */
function packInPlace(levels: Uint8Array): Uint8Array {
  const bytes = levels.length >> 1;
  for (let byte = 0, at = 0; byte < bytes; byte++, at += 2)
    levels[byte] = levels[at]! | (levels[at + 1]! << 4);
  return levels.slice(0, bytes);
}

function packZeroPoints(
  zeroPoints: Int32Array,
  size: { readonly n: number; readonly blocks: number; readonly bits: 4 | 8 },
): Uint8Array {
  const { n, blocks, bits } = size;
  if (bits === 8) return Uint8Array.from(zeroPoints);
  const width = (blocks + 1) >> 1;
  const packed = new Uint8Array(n * width);
  for (let row = 0; row < n; row++) {
    for (let block = 0; block < blocks; block++) {
      packed[row * width + (block >> 1)]! |= zeroPoints[row * blocks + block]! << ((block & 1) * 4);
    }
  }
  return packed;
}
