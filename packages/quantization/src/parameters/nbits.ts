import { errors } from '@lithe/core';
import { groupLayout } from './group-layout.ts';
import { type GroupScheme, groupParameters } from './group-parameters.ts';
import { integerRange } from './integer-range.ts';
import { quantizeGroups } from './kernels.ts';

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

/**
 * Transposes `[K, N]` (row-major) to `[N, padded]`, `padded` at least K; the rest of each row is zero. Tiles of 16 keep
 * the lines that are read in the cache (measured: faster than a buffered square, or than larger or smaller tiles).
 */
function transposeTo(
  data: Float32Array,
  rows: number,
  columns: { readonly from: number; readonly padded: number },
): Float32Array {
  const { from, padded } = columns;
  const out = new Float32Array(from * padded);
  const tile = 16;
  for (let k0 = 0; k0 < rows; k0 += tile) {
    const k1 = Math.min(rows, k0 + tile);
    for (let n0 = 0; n0 < from; n0 += tile) {
      const n1 = Math.min(from, n0 + tile);
      for (let n = n0; n < n1; n++) {
        const base = n * padded;
        for (let k = k0; k < k1; k++) out[base + k] = data[k * from + n]!;
      }
    }
  }
  return out;
}

function padRows(
  data: Float32Array,
  rows: number,
  columns: { readonly from: number; readonly padded: number },
): Float32Array {
  const { from, padded } = columns;
  if (from === padded) return data;
  const out = new Float32Array(rows * padded);
  for (let row = 0; row < rows; row++) out.set(data.subarray(row * from, (row + 1) * from), row * padded);
  return out;
}

/**
 * Quantizes the weight of a matrix product into the layout of `MatMulNBits`. Symmetric blocks put their element of
 * largest magnitude on the lowest integer, so the step is 1/8 (1/128) of it.
 *
 * @param data `[K, N]` as `MatMul` reads it, or `[N, K]` with `transposed`
 * @throws {LitheError} VALUE_OUT_OF_RANGE when an element is NaN or infinite, or the block size cannot be used
 */
export function packNBits(data: Float32Array, size: ProductSize, options: NBitsOptions): NBitsWeight {
  const { bits, blockSize, symmetric, what } = options;
  if (blockSize < 16 || (blockSize & (blockSize - 1)) !== 0) {
    throw errors.valueOutOfRange('The block size', blockSize, 'the powers of two from 16 on');
  }
  const { k, n } = size;
  const blocks = Math.ceil(k / blockSize);
  const padded = blocks * blockSize;
  const rows = size.transposed
    ? padRows(data, n, { from: k, padded })
    : transposeTo(data, k, { from: n, padded });
  const range = integerRange(bits === 4 ? 'uint4' : 'uint8');
  const layout = groupLayout([n, padded], { kind: 'per-block', axis: 1, size: blockSize });
  const scheme: GroupScheme = symmetric ? 'extreme' : 'asymmetric';
  const parameters = groupParameters(rows, layout, { range, scheme, what });
  const levels = quantizeGroups(rows, layout, { parameters, range }) as Uint8Array;
  return {
    packed: bits === 4 ? packInPlace(levels) : levels,
    scales: parameters.scales,
    zeroPoints:
      parameters.zeroPoints === undefined
        ? undefined
        : packZeroPoints(parameters.zeroPoints, { n, blocks, bits }),
    blocks,
  };
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
