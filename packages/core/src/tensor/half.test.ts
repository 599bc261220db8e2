import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Float8DType,
  float8Table,
  fromBfloat16Bits,
  fromFloat8Bits,
  fromFloat16Bits,
  toBfloat16Bits,
  toFloat8Bits,
  toFloat16Bits,
} from './half.ts';

/** The value of IEEE-style bits, written from the definition and not from the code under test. */
function decode(bits: number, exponentBits: number, mantissaBits: number): number {
  const sign = bits >> (exponentBits + mantissaBits) === 0 ? 1 : -1;
  const exponent = (bits >> mantissaBits) & (2 ** exponentBits - 1);
  const mantissa = bits & (2 ** mantissaBits - 1);
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return mantissa === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
  return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
}

/** Rounds to the nearest of all finite values of a format by bisection over its ordered positive codes, ties to even. */
function nearest(value: number, codes: number, decoded: (code: number) => number): number {
  const magnitude = Math.abs(value);
  let low = 0;
  let high = codes;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (decoded(middle) <= magnitude) low = middle;
    else high = middle;
  }
  // Differences of neighbours are exact in float64: all formats here have far fewer bits.
  const below = magnitude - decoded(low);
  const above = decoded(low + 1) - magnitude;
  return above < below || (above === below && low % 2 === 1) ? low + 1 : low;
}

/** The patterns of `[0, count)` for which `holds` does not. Asserting each one by one takes seconds. */
function wrong(count: number, holds: (bits: number) => boolean): number[] {
  const found: number[] = [];
  for (let bits = 0; bits < count; bits++) if (!holds(bits)) found.push(bits);
  return found;
}

/** Whether halves between all neighbours below `largest` round to even, and what is beside them to the nearer one. */
function wrongHalves(
  largest: number,
  decoded: (bits: number) => number,
  encode: (value: number) => number,
): number[] {
  return wrong(largest, (bits) => {
    const half = (decoded(bits) + decoded(bits + 1)) / 2;
    const even = bits % 2 === 0 ? bits : bits + 1;
    // Off by far less than float32 can tell: rounding twice would call it a tie.
    const speck = half * 2 ** -50;
    return (
      encode(half) === even &&
      encode(-half) === (even | 0x8000) &&
      encode(half + speck) === bits + 1 &&
      encode(half - speck) === bits
    );
  });
}

describe('float16', () => {
  it('decodes all 65,536 patterns to the value that their bits define', () => {
    expect(wrong(65536, (bits) => Object.is(fromFloat16Bits(bits), decode(bits, 5, 10)))).toEqual([]);
  });

  it('encodes every value to its own pattern, NaN to a NaN', () => {
    const isOwn = (bits: number): boolean => {
      const value = fromFloat16Bits(bits);
      if (Number.isNaN(value)) return Number.isNaN(fromFloat16Bits(toFloat16Bits(value)));
      return toFloat16Bits(value) === bits;
    };
    expect(wrong(65536, isOwn)).toEqual([]);
  });

  it('rounds halves between neighbours to even, and what is beside them to the nearer one', () => {
    expect(wrongHalves(0x7bff, fromFloat16Bits, toFloat16Bits)).toEqual([]);
  });

  it('overflows to infinity from half a step beyond the largest, and underflows to signed zero', () => {
    expect(toFloat16Bits(65519.999999)).toBe(0x7bff);
    expect(toFloat16Bits(65520)).toBe(0x7c00);
    expect(toFloat16Bits(-1e300)).toBe(0xfc00);
    expect(toFloat16Bits(Infinity)).toBe(0x7c00);
    expect(toFloat16Bits(2 ** -25)).toBe(0);
    expect(toFloat16Bits(2 ** -25 * (1 + 2 ** -50))).toBe(1);
    expect(toFloat16Bits(-1e-300)).toBe(0x8000);
    expect(toFloat16Bits(-0)).toBe(0x8000);
  });

  it('rounds any float64 to the nearest value', () => {
    fc.assert(
      fc.property(fc.double({ min: -65000, max: 65000, noNaN: true }), (value) => {
        const code = nearest(value, 0x7c00, (index) => decode(index, 5, 10));
        expect(toFloat16Bits(value) & 0x7fff).toBe(code);
      }),
      { seed: 1, numRuns: 5000 },
    );
  });
});

describe('bfloat16', () => {
  it('decodes all 65,536 patterns to the value that their bits define', () => {
    expect(wrong(65536, (bits) => Object.is(fromBfloat16Bits(bits), decode(bits, 8, 7)))).toEqual([]);
  });

  it('encodes every value to its own pattern, NaN to a NaN', () => {
    const isOwn = (bits: number): boolean => {
      const value = fromBfloat16Bits(bits);
      if (Number.isNaN(value)) return Number.isNaN(fromBfloat16Bits(toBfloat16Bits(value)));
      return toBfloat16Bits(value) === bits;
    };
    expect(wrong(65536, isOwn)).toEqual([]);
  });

  it('rounds halves between neighbours to even, and what is beside them to the nearer one', () => {
    expect(wrongHalves(0x7f7f, fromBfloat16Bits, toBfloat16Bits)).toEqual([]);
  });

  it('overflows to infinity and underflows to signed zero', () => {
    expect(toBfloat16Bits(1e300)).toBe(0x7f80);
    expect(toBfloat16Bits(3.4e38)).toBe(0x7f80);
    expect(toBfloat16Bits(3.389e38)).toBe(0x7f7f);
    expect(toBfloat16Bits(-1e-300)).toBe(0x8000);
  });
});

describe('float8', () => {
  /** Values of the ONNX specification, "Float stored in 8 bits", and of Micikevicius et al., table 1. */
  const facts: readonly {
    readonly dtype: Float8DType;
    readonly values: readonly (readonly [bits: number, value: number])[];
  }[] = [
    {
      dtype: 'float8e4m3fn',
      values: [
        [0x00, 0],
        [0x80, -0],
        [0x01, 2 ** -9],
        [0x07, 0.875 * 2 ** -6],
        [0x08, 2 ** -6],
        [0x38, 1],
        [0x3c, 1.5],
        [0x7e, 448],
        [0xfe, -448],
        [0x7f, NaN],
        [0xff, NaN],
        [0x78, 256],
      ],
    },
    {
      dtype: 'float8e5m2',
      values: [
        [0x00, 0],
        [0x80, -0],
        [0x01, 2 ** -16],
        [0x03, 0.75 * 2 ** -14],
        [0x04, 2 ** -14],
        [0x3c, 1],
        [0x7b, 57344],
        [0xfb, -57344],
        [0x7c, Infinity],
        [0xfc, -Infinity],
        [0x7d, NaN],
        [0x7e, NaN],
        [0xff, NaN],
      ],
    },
    {
      dtype: 'float8e4m3fnuz',
      values: [
        [0x00, 0],
        [0x80, NaN],
        [0x01, 2 ** -10],
        [0x07, 0.875 * 2 ** -7],
        [0x08, 2 ** -7],
        [0x40, 1],
        [0x7f, 240],
        [0xff, -240],
      ],
    },
    {
      dtype: 'float8e5m2fnuz',
      values: [
        [0x00, 0],
        [0x80, NaN],
        [0x01, 2 ** -17],
        [0x03, 0.75 * 2 ** -15],
        [0x04, 2 ** -15],
        [0x40, 1],
        [0x7f, 57344],
        [0xff, -57344],
      ],
    },
  ];

  for (const { dtype, values } of facts) {
    it(`${dtype} has the values of the specification`, () => {
      for (const [bits, value] of values)
        expect(Object.is(fromFloat8Bits(bits, dtype), value), `0x${bits.toString(16)}`).toBe(true);
      expect(float8Table(dtype).length).toBe(256);
    });

    it(`${dtype} encodes each of its values to its own pattern`, () => {
      for (let bits = 0; bits < 256; bits++) {
        const value = fromFloat8Bits(bits, dtype);
        if (Number.isNaN(value)) expect(fromFloat8Bits(toFloat8Bits(value, dtype, true), dtype)).toBeNaN();
        else if (Number.isFinite(value)) {
          expect(toFloat8Bits(value, dtype, true)).toBe(bits);
          expect(toFloat8Bits(value, dtype, false)).toBe(bits);
        }
      }
    });

    it(`${dtype} rounds to nearest, ties to even`, () => {
      const table = float8Table(dtype);
      const largest = { float8e4m3fn: 0x7e, float8e5m2: 0x7b, float8e4m3fnuz: 0x7f, float8e5m2fnuz: 0x7f }[
        dtype
      ];
      for (let bits = 0; bits < largest; bits++) {
        const half = ((table[bits] as number) + (table[bits + 1] as number)) / 2;
        const even = bits % 2 === 0 ? bits : bits + 1;
        expect(toFloat8Bits(half, dtype, true)).toBe(even);
        expect(toFloat8Bits(half * (1 + 2 ** -40), dtype, true)).toBe(bits + 1);
        expect(toFloat8Bits(half * (1 - 2 ** -40), dtype, true)).toBe(bits);
        const negative = toFloat8Bits(-half, dtype, true);
        expect(negative).toBe(even === 0 && dtype.endsWith('uz') ? 0 : even | 0x80);
      }
    });
  }

  it('saturates, or gives infinity or NaN, as the Cast operator says', () => {
    const results = (value: number): number[][] =>
      facts.map(({ dtype }) => [
        fromFloat8Bits(toFloat8Bits(value, dtype, true), dtype),
        fromFloat8Bits(toFloat8Bits(value, dtype, false), dtype),
      ]);
    expect(results(1e6)).toEqual([
      [448, NaN],
      [57344, Infinity],
      [240, NaN],
      [57344, NaN],
    ]);
    expect(results(-Infinity)).toEqual([
      [-448, NaN],
      [-57344, -Infinity],
      [-240, NaN],
      [-57344, NaN],
    ]);
    // Just below half a step beyond the largest, it is still the largest.
    expect(fromFloat8Bits(toFloat8Bits(463.9, 'float8e4m3fn', false), 'float8e4m3fn')).toBe(448);
    expect(fromFloat8Bits(toFloat8Bits(61439, 'float8e5m2', false), 'float8e5m2')).toBe(57344);
    expect(fromFloat8Bits(toFloat8Bits(61440, 'float8e5m2', false), 'float8e5m2')).toBe(Infinity);
  });
});
