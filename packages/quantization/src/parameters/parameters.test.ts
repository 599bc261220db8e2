import { packNibbles, unpackInt4 } from '@lithe/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asymmetricParameters, symmetricParameters } from './affine.ts';
import { quantizeBias, raiseScalesForBias } from './bias.ts';
import { type Granularity, granularity } from './granularity.ts';
import { groupLayout } from './group-layout.ts';
import { type GroupScheme, groupParameters } from './group-parameters.ts';
import { integerRange } from './integer-range.ts';
import { dequantizeGroups, quantizeGroups } from './kernels.ts';
import { groupMagnitudes, groupRanges } from './reduce.ts';
import { roundHalfEven } from './rounding.ts';

const uint8 = integerRange('uint8');
const int8 = integerRange('int8', { extent: 'narrow' });

describe('integer ranges', () => {
  it('are those of the ONNX types, narrow and reduced as onnxruntime defines them', () => {
    const of = (...args: Parameters<typeof integerRange>): number[] => {
      const { low, high } = integerRange(...args);
      return [low, high];
    };
    expect(of('int8')).toEqual([-128, 127]);
    expect(of('int8', { extent: 'narrow' })).toEqual([-127, 127]);
    expect(of('int8', { extent: 'reduced' })).toEqual([-64, 64]);
    expect(of('uint8', { extent: 'reduced' })).toEqual([0, 127]);
    expect(of('int4')).toEqual([-8, 7]);
    expect(of('uint4')).toEqual([0, 15]);
    expect(of('int16')).toEqual([-32768, 32767]);
    expect(of('int16', { extent: 'narrow' })).toEqual([-32767, 32767]);
    expect(of('int16', { extent: 'reduced' })).toEqual([-16384, 16384]);
    expect(of('uint16')).toEqual([0, 65535]);
    expect(of('uint16', { extent: 'reduced' })).toEqual([0, 32767]);
    expect(of('uint8', { extent: 'narrow' })).toEqual([0, 255]);
    expect(of('int4', { extent: 'narrow' })).toEqual([-7, 7]);
  });
});

describe('scale and zero point', () => {
  it('keep zero exact by widening a one-sided range', () => {
    expect(asymmetricParameters(2, 10, uint8)).toEqual({ scale: Math.fround(10 / 255), zeroPoint: 0 });
    expect(asymmetricParameters(-10, -2, uint8)).toEqual({ scale: Math.fround(10 / 255), zeroPoint: 255 });
  });

  it('round the zero point half to even', () => {
    // Zero point -low / scale: 0.5 of a step rounds to 0, 1.5 to 2, 2.5 to 2.
    expect(asymmetricParameters(-0.5, 254.5, uint8).zeroPoint).toBe(0);
    expect(asymmetricParameters(-1.5, 253.5, uint8).zeroPoint).toBe(2);
    expect(asymmetricParameters(-2.5, 252.5, uint8).zeroPoint).toBe(2);
    expect([0.5, 1.5, 2.5, -0.5, -1.5].map((value) => roundHalfEven(value) + 0)).toEqual([0, 2, 2, 0, -2]);
  });

  it('put the zero point of a symmetric range in the middle', () => {
    expect(symmetricParameters(127, int8)).toEqual({ scale: 1, zeroPoint: 0 });
    expect(symmetricParameters(1, uint8)).toEqual({ scale: Math.fround(2 / 255), zeroPoint: 128 });
    expect(symmetricParameters(64, integerRange('int8', { extent: 'reduced' }))).toEqual({
      scale: 1,
      zeroPoint: 0,
    });
  });

  it('put it at 0, 8, 128 and 32768 for the types of 4, 8 and 16 bits, at any scale', () => {
    const middles = { int4: 0, uint4: 8, int8: 0, uint8: 128, int16: 0, uint16: 32768 } as const;
    for (const [dtype, zeroPoint] of Object.entries(middles)) {
      const range = integerRange(dtype as keyof typeof middles);
      const step = Math.fround(6 / (range.high - range.low));
      expect(symmetricParameters(3, range)).toEqual({ scale: step, zeroPoint });
      expect(symmetricParameters(0, range)).toEqual({ scale: 1, zeroPoint });
    }
  });

  it('are floored at the smallest normal float32 number, itself a scale', () => {
    const range = 2 ** -126 * 255;
    expect(asymmetricParameters(0, range, uint8)).toEqual({ scale: 2 ** -126, zeroPoint: 0 });
    expect(asymmetricParameters(0, range * (1 - 2 ** -20), uint8)).toEqual({ scale: 1, zeroPoint: 0 });
    expect(asymmetricParameters(-range, 0, uint8)).toEqual({ scale: 2 ** -126, zeroPoint: 255 });
  });

  it('hold the whole of float32 between the ends', () => {
    const most = 3.4028234663852886e38;
    const { scale, zeroPoint } = asymmetricParameters(-most, most, integerRange('uint16'));
    expect(scale).toBe(Math.fround((2 * most) / 65535));
    expect(zeroPoint).toBe(32768);
  });

  it('fall back to scale 1 where the range is too small for a normal float32 scale', () => {
    expect(asymmetricParameters(0, 0, uint8)).toEqual({ scale: 1, zeroPoint: 0 });
    expect(asymmetricParameters(0, 1e-38, uint8)).toEqual({ scale: 1, zeroPoint: 0 });
    expect(symmetricParameters(1e-40, int8)).toEqual({ scale: 1, zeroPoint: 0 });
  });

  it('refuse bounds that are not finite', () => {
    expect(() => asymmetricParameters(Number.NaN, 1, uint8)).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
    expect(() => symmetricParameters(Number.POSITIVE_INFINITY, int8)).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
  });
});

/** Group of every element by plain index arithmetic: the definition that the fast loops must agree with. */
function groupOf(index: number, shape: readonly number[], by: Granularity): number {
  if (by.kind === 'per-tensor') return 0;
  const inner = shape.slice(by.axis + 1).reduce((left, right) => left * right, 1);
  const dim = shape[by.axis] as number;
  const k = Math.floor(index / inner) % dim;
  if (by.kind === 'per-channel') return k;
  const outer = Math.floor(index / (inner * dim));
  return (outer * Math.ceil(dim / by.size) + Math.floor(k / by.size)) * inner + (index % inner);
}

const shapes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 });
const cases = shapes.chain((shape) =>
  fc.record({
    shape: fc.constant(shape),
    by: fc.oneof(
      fc.constant(granularity.perTensor()),
      fc.nat(shape.length - 1).map(granularity.perChannel),
      fc
        .tuple(fc.nat(shape.length - 1), fc.integer({ min: 1, max: 4 }))
        .map(([axis, size]) => granularity.perBlock(axis, size)),
    ),
    values: fc.array(fc.float({ min: -100, max: 100, noNaN: true }), {
      minLength: shape.reduce((left, right) => left * right, 1),
      maxLength: shape.reduce((left, right) => left * right, 1),
    }),
  }),
);

describe('groups', () => {
  it('reduce like plain index arithmetic, at every granularity', () => {
    fc.assert(
      fc.property(cases, ({ shape, by, values }) => {
        const layout = groupLayout(shape, by);
        const data = new Float32Array(values);
        const most = new Float32Array(layout.groups);
        const low = new Float32Array(layout.groups);
        const high = new Float32Array(layout.groups);
        data.forEach((value, index) => {
          const group = groupOf(index, shape, by);
          most[group] = Math.max(most[group]!, Math.abs(value));
          low[group] = Math.min(low[group]!, value);
          high[group] = Math.max(high[group]!, value);
        });
        expect(groupMagnitudes(data, layout, 'w')).toEqual(most);
        const ranges = groupRanges(data, layout, 'w');
        expect([...ranges.minimum].map((value) => value + 0)).toEqual([...low].map((value) => value + 0));
        expect(ranges.maximum).toEqual(high);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('quantize with an error of at most half a step, and leave quantized values where they are', () => {
    const kinds: [Parameters<typeof integerRange>, GroupScheme, number][] = [
      [['int8', { extent: 'narrow' }], 'symmetric', 0.5],
      [['uint8'], 'symmetric', 0.5],
      [['uint8'], 'asymmetric', 0.5],
      [['int4'], 'symmetric', 0.5],
      [['uint4'], 'asymmetric', 0.5],
      // The end opposite to the extreme is clamped by up to a whole step.
      [['int4'], 'extreme', 1],
      [['uint8'], 'extreme', 1],
    ];
    fc.assert(
      fc.property(cases, fc.constantFrom(...kinds), ({ shape, by, values }, [rangeOf, scheme, steps]) => {
        const layout = groupLayout(shape, by);
        const range = integerRange(...rangeOf);
        const data = new Float32Array(values);
        const parameters = groupParameters(data, layout, { range, scheme, what: 'w' });
        const levels = quantizeGroups(data, layout, { parameters, range });
        const back = dequantizeGroups(levels, layout, parameters);
        const again = quantizeGroups(back, layout, { parameters, range });
        data.forEach((value, index) => {
          const scale = Math.abs(parameters.scales[groupOf(index, shape, by)]!);
          // The zero point of an asymmetric range is rounded, which moves the ends by up to half a step more.
          const slack = scheme === 'asymmetric' ? 0.5 : 0;
          expect(Math.abs(value - back[index]!)).toBeLessThanOrEqual(scale * (steps + slack) * (1 + 1e-4)); // float32 rounding of 255 steps
          expect(levels[index]).toBeGreaterThanOrEqual(range.low);
          expect(levels[index]).toBeLessThanOrEqual(range.high);
        });
        expect(again).toEqual(levels);
      }),
      { seed: 2, numRuns: 400 },
    );
  });

  it('refuse NaN and infinity, naming the tensor', () => {
    const layout = groupLayout([2, 2], granularity.perChannel(1));
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const data = new Float32Array([1, bad, 2, 3]);
      expect(() => groupMagnitudes(data, layout, 'weight "w"')).toThrow(/weight "w"/);
      expect(() => groupRanges(data, layout, 'weight "w"')).toThrow(
        expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
      );
    }
  });

  it('refuse an axis or block size that is not there', () => {
    expect(() => groupLayout([2, 3], granularity.perChannel(2))).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
    expect(() => groupLayout([2, 3], granularity.perBlock(0, 0))).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
  });
});

describe('bias', () => {
  it('uses the product of input and weight scale, rounding half to even', () => {
    const bias = quantizeBias(new Float32Array([0.5, 1.5, -10]), 0.5, new Float32Array([2, 1, 0.25]));
    expect([...bias.scales]).toEqual([1, 0.5, 0.125]);
    expect([...bias.values]).toEqual([0, 3, -80]);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('refuses one that holds %s', (value) => {
    const scales = new Float32Array([1, 1]);
    expect(() => raiseScalesForBias(scales, new Float32Array([0, value]), 0.01)).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
    expect([...scales]).toEqual([1, 1]);
  });

  it('raises the scale of weights that are tiny beside their bias, so that int32 holds it', () => {
    const scales = new Float32Array([1e-12, 1]);
    const bias = new Float32Array([100, 100]);
    expect(raiseScalesForBias(scales, bias, 0.01)).toBe(1);
    expect(scales[1]).toBe(1);
    const { values, scales: steps } = quantizeBias(bias, 0.01, scales);
    expect(values[0]).toBeLessThanOrEqual(2 ** 31 - 1);
    expect(values[0]).toBeGreaterThan(2 ** 30);
    expect(Math.abs(values[0]! * steps[0]! - 100)).toBeLessThan(1e-4);
  });
});

it('packs nibbles so that they come back', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -8, max: 7 })), (values) => {
      const packed = packNibbles(Int8Array.from(values));
      expect([...unpackInt4(packed, values.length)]).toEqual(values);
    }),
    { seed: 3 },
  );
});
