import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { statisticsObserver } from './observers.ts';
import { streamingHistogram } from './streaming-histogram.ts';

function observed(batches: readonly Float32Array[], bins: number) {
  const observer = statisticsObserver({ bins });
  for (const batch of batches) observer.update(batch, [batch.length]);
  return observer.result();
}

/** Counts by the definition: the narrowest power of two with which the bins reach from 0 to both ends. */
function byDefinition(values: readonly number[], bins: number) {
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  let exponent = -149;
  while (Math.floor(high / 2 ** exponent) - Math.floor(low / 2 ** exponent) + 1 > bins) exponent++;
  const first = Math.floor(low / 2 ** exponent);
  const counts = new Array<number>(Math.floor(high / 2 ** exponent) - first + 1).fill(0);
  for (const value of values) counts[Math.floor(value / 2 ** exponent) - first]! += 1;
  return { exponent, first: first + 0, counts };
}

const floats = fc.array(
  fc.oneof(
    fc.float({ noNaN: true, noDefaultInfinity: true }),
    fc.float({ min: -100, max: 100, noNaN: true }),
    fc.constant(0),
    fc.constant(-0),
  ),
  { minLength: 1, maxLength: 60 },
);

describe('a streaming histogram', () => {
  it('counts as its definition says, however the values are ordered and divided among batches', () => {
    fc.assert(
      fc.property(floats, fc.nat(59), fc.integer({ min: 2, max: 300 }), (values, cut, bins) => {
        const expected = byDefinition(values, bins);
        const whole = Float32Array.from(values);
        const reversed = whole.toReversed();
        expect(observed([whole], bins).histogram).toEqual(expected);
        expect(observed([reversed.slice(0, cut), reversed.slice(cut)], bins).histogram).toEqual(expected);
        expect(
          observed(
            [...whole].map((value) => Float32Array.of(value)),
            bins,
          ).histogram,
        ).toEqual(expected);
      }),
      { seed: 4, numRuns: 400 },
    );
  });

  it('merges pairs of bins when the range doubles', () => {
    const histogram = streamingHistogram(4);
    histogram.cover(0, 3);
    histogram.count(Float32Array.of(0, 1, 2, 3, 3), true);
    expect(histogram.result()).toEqual({ exponent: 0, first: 0, counts: [1, 1, 1, 2] });
    histogram.cover(0, 7);
    histogram.count(Float32Array.of(7), true);
    expect(histogram.result()).toEqual({ exponent: 1, first: 0, counts: [2, 3, 0, 1] });
    histogram.cover(-1, 0);
    histogram.count(Float32Array.of(-1), true);
    expect(histogram.result()).toEqual({ exponent: 2, first: -1, counts: [1, 5, 1] });
  });

  it('holds the smallest and the largest float32 numbers', () => {
    const { histogram, minimum, maximum } = observed([Float32Array.of(-3.4028234663852886e38, 1e-45)], 256);
    expect(histogram?.counts.reduce((left, right) => left + right)).toBe(2);
    expect([minimum, maximum]).toEqual([-3.4028234663852886e38, 1.401298464324817e-45]);
    expect(observed([new Float32Array(5)], 256).histogram).toEqual({ exponent: -149, first: 0, counts: [5] });
  });
});

describe('the statistics observer', () => {
  it('leaves NaN and infinity out of everything but `finite`', () => {
    const seen = observed(
      [Float32Array.of(1, Number.NaN, 2), Float32Array.of(Number.POSITIVE_INFINITY, 3, 0)],
      256,
    );
    expect(seen).toMatchObject({
      minimum: 0,
      maximum: 3,
      finite: false,
      elements: 4,
      zeros: 1,
      mean: 1.5,
      meanSquare: 3.5,
      batches: { minima: [1, 0], maxima: [2, 3] },
    });
    const nothing = observed([Float32Array.of(Number.NaN), new Float32Array(0)], 256);
    expect(nothing).toMatchObject({ minimum: 0, maximum: 0, finite: false, elements: 0, mean: 0 });
  });

  it('counts zeros of both signs', () => {
    expect(observed([Float32Array.of(0, -0, 1e-45, -1e-45)], 256).zeros).toBe(2);
  });

  it('tells channels apart along the axis it is given, worked out by hand', () => {
    const data = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const second = statisticsObserver({ channels: 1 });
    second.update(data, [2, 2, 2]);
    expect(second.result().channels).toEqual({
      axis: 1,
      minimum: [1, 3],
      maximum: [6, 8],
      mean: [3.5, 5.5],
      meanSquare: [(1 + 4 + 25 + 36) / 4, (9 + 16 + 49 + 64) / 4],
    });
    const last = statisticsObserver({ channels: -1 });
    last.update(data, [4, 2]);
    last.update(Float32Array.of(-9, Number.NaN), [1, 2]);
    expect(last.result().channels).toEqual({
      axis: -1,
      minimum: [-9, 2],
      maximum: [7, 8],
      mean: [(1 + 3 + 5 + 7 - 9) / 5, 5],
      meanSquare: [(1 + 9 + 25 + 49 + 81) / 5, (4 + 16 + 36 + 64) / 4],
    });
  });

  it('refuses an axis that is not there and channels that change in number', () => {
    const observer = statisticsObserver({ name: 'h', channels: 1 });
    expect(() => observer.update(new Float32Array(4), [4])).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
    observer.update(new Float32Array(4), [2, 2]);
    expect(() => observer.update(new Float32Array(6), [2, 3])).toThrow(
      expect.objectContaining({ code: 'DATA_INVALID', message: expect.stringContaining('"h"') }),
    );
  });

  it('remembers the latest 1,024 batches in order', () => {
    const observer = statisticsObserver();
    for (let batch = 0; batch < 1500; batch++) observer.update(Float32Array.of(batch), [1]);
    const { batches } = observer.result();
    expect(batches?.minima).toEqual(Array.from({ length: 1024 }, (_, index) => 476 + index));
  });
});
