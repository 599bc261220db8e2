import { errors } from '@lithe/core';

/**
 * The 16 levels of NF4, each an equal share of a normal distribution, with 0 among them.
 *
 * @see Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", 2023, appendix E
 */
export const normalFloat4Levels: readonly number[] = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

/** Half-way between neighbouring levels; a number on the border takes the lower one. */
const borders = Float32Array.from(
  normalFloat4Levels.slice(1),
  (level, index) => (level + normalFloat4Levels[index]!) / 2,
);

/** What `com.microsoft.MatMulBnb4` reads beside the activations. */
export interface NormalFloat4Weight {
  /** Codes, two a byte, the first in the high nibble: `ceil(elements / 2)` bytes. */
  readonly packed: Uint8Array;
  /** The largest magnitude of each block. */
  readonly magnitudes: Float32Array;
}

/** The code of a number in [-1, 1]: four comparisons. */
function codeOf(value: number): number {
  let code = value > borders[7]! ? 8 : 0;
  if (value > borders[code + 3]!) code += 4;
  if (value > borders[code + 1]!) code += 2;
  if (value > borders[code]!) code += 1;
  return code;
}

/**
 * Quantizes a flat run of numbers to NF4 in blocks: each block is divided by its largest magnitude and each number takes
 * the nearest level.
 *
 * @param data the weight `[N, K]`, flat: blocks run on over the ends of rows
 * @param what names the tensor in messages
 * @throws {LitheError} VALUE_OUT_OF_RANGE when an element is NaN or infinite
 */
export function quantizeNormalFloat4(
  data: Float32Array,
  blockSize: number,
  what: string,
): NormalFloat4Weight {
  const blocks = Math.ceil(data.length / blockSize);
  const packed = new Uint8Array((data.length + 1) >> 1);
  const magnitudes = new Float32Array(blocks);
  for (let block = 0, first = 0; block < blocks; block++, first += blockSize) {
    const end = Math.min(data.length, first + blockSize);
    let most = 0;
    for (let at = first; at < end; at++) {
      const magnitude = Math.abs(data[at]!);
      if (!(magnitude < Number.POSITIVE_INFINITY)) {
        throw errors.valueOutOfRange(
          `An element of ${what}`,
          data[at]!,
          'the finite numbers; it cannot be quantized',
        );
      }
      if (magnitude > most) most = magnitude;
    }
    magnitudes[block] = most;
    const factor = most === 0 ? 0 : 1 / most;
    for (let at = first; at < end; at++)
      packed[at >> 1]! |= codeOf(data[at]! * factor) << ((at & 1) === 0 ? 4 : 0);
  }
  return { packed, magnitudes };
}
