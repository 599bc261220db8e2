import { createRng } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { packNBits } from './nbits.ts';

/** Expands the layout as the operator's specification words it. */
function unpack(
  weight: ReturnType<typeof packNBits>,
  size: { k: number; n: number; bits: 4 | 8; blockSize: number },
): Float32Array {
  const { k, n, bits, blockSize } = size;
  const out = new Float32Array(k * n);
  const zeroWidth = Math.ceil((weight.blocks * bits) / 8);
  const nibble = (bytes: Uint8Array, index: number): number => (bytes[index >> 1]! >> ((index & 1) * 4)) & 15;
  for (let column = 0; column < n; column++) {
    for (let row = 0; row < k; row++) {
      const block = Math.floor(row / blockSize);
      const at = (column * weight.blocks + block) * blockSize + (row % blockSize);
      const level = bits === 4 ? nibble(weight.packed, at) : weight.packed[at]!;
      const zeros = weight.zeroPoints?.subarray(column * zeroWidth, (column + 1) * zeroWidth);
      const zero = zeros === undefined ? 2 ** (bits - 1) : bits === 4 ? nibble(zeros, block) : zeros[block]!;
      out[row * n + column] = (level - zero) * weight.scales[column * weight.blocks + block]!;
    }
  }
  return out;
}

describe('MatMulNBits weights', () => {
  it('hold the numbers of a block worked out by hand', () => {
    // One column of 16: the extreme -8 gives scale 1, so w + 8 is stored.
    const column = Float32Array.from([-8, 7, 0, 1, -1, 2.5, 3.5, -2.5, 0, 0, 0, 0, 0, 0, 0, 4]);
    const packed = packNBits(
      column,
      { k: 16, n: 1, transposed: false },
      { bits: 4, blockSize: 16, symmetric: true, what: 'w' },
    );
    expect([...packed.scales]).toEqual([1]);
    expect([...packed.packed]).toEqual([0xf0, 0x98, 0xa7, 0x6c, 0x88, 0x88, 0x88, 0xc8]);
    expect(packed.zeroPoints).toBeUndefined();
  });

  for (const bits of [4, 8] as const) {
    for (const symmetric of [true, false]) {
      it(`come back within a step with ${bits} bits ${symmetric ? 'symmetric' : 'asymmetric'}, K filled up to whole blocks`, () => {
        const rng = createRng(5);
        const size = { k: 50, n: 7, bits, blockSize: 16 } as const;
        const data = Float32Array.from({ length: 350 }, () => rng.normal());
        const packed = packNBits(
          data,
          { ...size, transposed: false },
          { bits, blockSize: 16, symmetric, what: 'w' },
        );
        expect(packed.packed.length).toBe((7 * 4 * 16 * bits) / 8);
        const back = unpack(packed, size);
        const step = bits === 4 ? 4 / 7 : 4 / 127;
        data.forEach((value, index) => {
          expect(Math.abs(value - back[index]!)).toBeLessThan(step);
        });
        const turned = new Float32Array(350);
        for (let row = 0; row < 50; row++)
          for (let column = 0; column < 7; column++) turned[column * 50 + row] = data[row * 7 + column]!;
        const other = packNBits(
          turned,
          { ...size, transposed: true },
          { bits, blockSize: 16, symmetric, what: 'w' },
        );
        expect(other).toEqual(packed);
      });
    }
  }

  it('need a block size that the operator takes', () => {
    const data = new Float32Array(24);
    const size = { k: 24, n: 1, transposed: false };
    expect(() => packNBits(data, size, { bits: 4, blockSize: 24, symmetric: true, what: 'w' })).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
  });
});
