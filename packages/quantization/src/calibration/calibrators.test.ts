import { describe, expect, it } from 'vitest';
import { gaussian, laplace, laplaceSamples, statisticsOfDistribution } from '../../test/distributions.ts';
import { integerRange } from '../parameters/integer-range.ts';
import { type Calibrator, calibratedRange, type RealRange } from './calibrator.ts';
import { type CalibratorName, calibratorOf } from './choice.ts';
import { entropyCalibrator } from './entropy.ts';
import { minMaxCalibrator } from './min-max.ts';
import { movingAverageCalibrator } from './moving-average.ts';
import { mseCalibrator } from './mse.ts';
import { minMaxObserver, statisticsObserver } from './observers.ts';
import { percentileCalibrator } from './percentile.ts';
import type { TensorStatistics } from './statistics.ts';

const int8 = integerRange('int8');
const uint8 = integerRange('uint8');
const int4 = integerRange('int4');
const names: readonly CalibratorName[] = ['min-max', 'moving-average', 'percentile', 'entropy', 'mse'];

function seen(...batches: readonly (readonly number[] | Float32Array)[]): TensorStatistics {
  const observer = statisticsObserver();
  for (const batch of batches) observer.update(Float32Array.from(batch), [batch.length]);
  return observer.result();
}

function near({ minimum, maximum }: RealRange, low: number, high: number, relative: number): void {
  expect(Math.abs(minimum - low)).toBeLessThanOrEqual(relative * Math.abs(low));
  expect(Math.abs(maximum - high)).toBeLessThanOrEqual(relative * Math.abs(high));
}

describe('the mean squared error', () => {
  it('clips Laplace and Gaussian values where the theory says', () => {
    const wide = statisticsOfDistribution(laplace, [-25, 25]);
    const normal = statisticsOfDistribution(gaussian, [-7, 7]);
    const mse = mseCalibrator();
    // Banner et al. 2019, table 1 and section 3: alpha / b is 2.83, 3.89, 5.03 for 2, 3, 4 bits and 9.89 for 8. They
    // count 2^M steps of a width, quantizers have 2^M - 1, which moves the optimum by a few percent at few bits.
    near(calibratedRange(wide, mse, int8), -9.89, 9.89, 0.015);
    near(calibratedRange(wide, mse, int4), -5.03, 5.03, 0.03);
    // For Gaussian values: alpha / sigma is 2.55 for 4 bits and 3.92 for 8.
    near(calibratedRange(normal, mse, int4), -2.55, 2.55, 0.03);
    near(calibratedRange(normal, mse, int8), -3.92, 3.92, 0.015);
  });

  it('keeps the whole of a uniform distribution', () => {
    const uniform = statisticsOfDistribution((x) => Math.max(0, Math.min(1, (x + 3) / 6)), [-3, 3]);
    near(calibratedRange(uniform, mseCalibrator(), int8), -3, 3, 0.001);
    // Four bits have an even number of integers around a zero point, so that one end gives way by part of a step.
    near(calibratedRange(uniform, mseCalibrator(), int4), -3, 3, 1 / 30);
  });

  it('finds the least error over a fine grid of ranges, measured on the values themselves', () => {
    const values = laplaceSamples(4000, 5).map((value, index) =>
      index % 3 === 0 ? Math.max(0, value) : value / 4,
    );
    values[7] = 14;
    const error = (range: RealRange): number => {
      const scale = (range.maximum - range.minimum) / 15;
      const zero = Math.max(0, Math.min(15, Math.round(-range.minimum / scale)));
      let sum = 0;
      for (const value of values) {
        const level = Math.max(0, Math.min(15, Math.round(value / scale) + zero));
        sum += (value - (level - zero) * scale) ** 2;
      }
      return sum;
    };
    let least = Number.POSITIVE_INFINITY;
    for (let low = 0; low <= 40; low++)
      for (let high = 1; high <= 80; high++)
        least = Math.min(least, error({ minimum: -low / 20, maximum: high / 10 }));
    const found = calibratedRange(seen(values), mseCalibrator(), integerRange('uint4'));
    expect(error(found)).toBeLessThanOrEqual(least * 1.03);
  });
});

describe('the entropy', () => {
  it('differs from min-max where there is an outlier, as measured for others on the same kind of data', () => {
    // Eight batches of Laplace values, one outlier at 25 in the first. TensorRT-like calibrators were measured to end
    // between 9.2 (255 levels, 8,001 bins) and 11.4 (128 levels, 2,048 bins that grew).
    const batches = Array.from({ length: 8 }, (_, batch) => laplaceSamples(20_000, batch + 1));
    batches[0]![17] = 25;
    const statistics = seen(...batches);
    expect(calibratedRange(statistics, minMaxCalibrator(), int8).maximum).toBe(25);
    const { minimum, maximum } = calibratedRange(statistics, entropyCalibrator(), int8);
    expect(maximum).toBeGreaterThan(9);
    expect(maximum).toBeLessThan(11.5);
    expect(minimum).toBe(-maximum);
  });

  it('has the least divergence of all thresholds, computed from its definition', () => {
    const statistics = seen(laplaceSamples(3000, 9).map(Math.abs));
    const { exponent, counts } = statistics.histogram as NonNullable<TensorStatistics['histogram']>;
    let p = [...counts];
    let width = 2 ** exponent;
    while (p.length > 256) {
      p = Array.from(
        { length: Math.ceil(p.length / 2) },
        (_, bin) => (p[2 * bin] ?? 0) + (p[2 * bin + 1] ?? 0),
      );
      width *= 2;
    }
    const levels = 15;
    const divergence = (kept: number): number => {
      const clipped = p.slice(0, kept);
      clipped[kept - 1]! += p.slice(kept).reduce((left, right) => left + right, 0);
      const q = new Array<number>(kept).fill(0);
      for (let level = 0; level < levels; level++) {
        const from = Math.floor((level * kept) / levels);
        const to = Math.floor(((level + 1) * kept) / levels);
        const filled = Array.from({ length: to - from }, (_, index) => from + index).filter(
          (bin) => clipped[bin]! > 0,
        );
        const sum = p.slice(from, to).reduce((left, right) => left + right, 0);
        for (const bin of filled) q[bin] = sum / filled.length;
      }
      const all = clipped.reduce((left, right) => left + right, 0);
      const rounded = q.reduce((left, right) => left + right, 0);
      return clipped.reduce(
        (sum, count, bin) =>
          sum + (count === 0 ? 0 : (count / all) * Math.log(count / all / (q[bin]! / rounded))),
        0,
      );
    };
    let best = 0;
    for (let kept = levels; kept <= p.length; kept++) {
      if (best === 0 || divergence(kept) <= divergence(best)) best = kept;
    }
    const found = calibratedRange(
      statistics,
      entropyCalibrator({ bins: 256, coverage: 0 }),
      integerRange('uint4'),
    );
    expect(found).toEqual({ minimum: 0, maximum: Math.min(best * width, statistics.maximum) });
  });

  it('does not let the zeros of rectified values narrow the range', () => {
    const positive = laplaceSamples(50_000, 3).map(Math.abs);
    const rectified = Float32Array.from({ length: 500_000 }, (_, index) => positive[index] ?? 0);
    const without = calibratedRange(seen(positive), entropyCalibrator(), uint8);
    expect(calibratedRange(seen(rectified), entropyCalibrator(), uint8)).toEqual(without);
    expect(without.maximum).toBeGreaterThan(6);
  });

  it('keeps what is rare where a single value is most of all, as the background of a page', () => {
    const page = laplaceSamples(50_000, 6).map((value, index) => (index % 10 < 7 ? 0.37 : Math.abs(value)));
    const statistics = seen(page);
    // Spreading the one value over the bins of a level costs divergence at any range but the narrowest.
    expect(calibratedRange(statistics, entropyCalibrator({ coverage: 0 }), uint8).maximum).toBeLessThan(4);
    expect(calibratedRange(statistics, entropyCalibrator(), uint8).maximum).toBeGreaterThan(6);
    for (const options of [{ coverage: 1.1 }, { coverage: Number.NaN }, { bins: 100 }, { bins: 300.5 }]) {
      expect(() => entropyCalibrator(options)).toThrow(
        expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
      );
    }
  });

  it('keeps all where there are no more bins than integers', () => {
    expect(calibratedRange(seen([-1, 0.5, 9]), entropyCalibrator(), integerRange('uint16'))).toEqual({
      minimum: -1,
      maximum: 9,
    });
  });
});

describe('percentiles', () => {
  it('cut half of what is left at each end', () => {
    const values = Array.from({ length: 2001 }, (_, index) => index - 1000);
    // 10 % of 2,001 values: 100 at each end, to the width of a bin.
    const range = calibratedRange(seen(values), percentileCalibrator({ percentile: 90 }), int8);
    expect(Math.abs(range.minimum + 900)).toBeLessThanOrEqual(1);
    expect(Math.abs(range.maximum - 900)).toBeLessThanOrEqual(1);
  });

  it('agree with the quantiles of a known distribution', () => {
    const statistics = statisticsOfDistribution(laplace, [-25, 25]);
    // P(x > t) = exp(-t) / 2 = 0.00005 at 99.99 %
    const bound = Math.log(1 / (2 * 0.00005));
    near(
      calibratedRange(statistics, percentileCalibrator({ percentile: 99.99 }), int8),
      -bound,
      bound,
      0.003,
    );
  });

  it('keep the extremes at 100 %', () => {
    const range = calibratedRange(seen([-3, 1, 7.25]), percentileCalibrator({ percentile: 100 }), int8);
    expect(range).toEqual({ minimum: -3, maximum: 7.25 });
  });

  it('refuse what is no percentile', () => {
    for (const percentile of [50, 100.1, Number.NaN]) {
      expect(() => percentileCalibrator({ percentile })).toThrow(
        expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
      );
    }
  });
});

describe('the moving average', () => {
  it('follows the extremes of the batches, as worked out by hand', () => {
    const statistics = seen([-1, 2], [-3, 4], [0, 10]);
    const half = calibratedRange(statistics, movingAverageCalibrator({ constant: 0.5 }), int8);
    expect(half).toEqual({ minimum: -1, maximum: 6.5 });
    const { maximum } = calibratedRange(statistics, movingAverageCalibrator(), int8);
    expect(maximum).toBeCloseTo(2 + 0.02 + 0.01 * (10 - 2.02), 12);
  });

  it('refuses a constant for which more batches would count than are remembered', () => {
    for (const constant of [0.001, 0, 1.5, Number.NaN]) {
      expect(() => movingAverageCalibrator({ constant })).toThrow(
        expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
      );
    }
  });
});

describe('every calibrator', () => {
  it('gives a range that holds 0, within what was seen', () => {
    const cases = [
      seen([3, 4, 5]),
      seen([-5, -4]),
      seen([2.5]),
      seen([0, 0]),
      seen([-7, 1e-30]),
      seen([1e38, -1e38]),
    ];
    for (const name of names) {
      for (const statistics of cases) {
        for (const dtype of ['int4', 'uint4', 'int8', 'uint8', 'int16', 'uint16'] as const) {
          const { minimum, maximum } = calibratedRange(statistics, calibratorOf(name), integerRange(dtype));
          expect(minimum).toBeLessThanOrEqual(0);
          expect(maximum).toBeGreaterThanOrEqual(0);
          expect(minimum).toBeGreaterThanOrEqual(Math.min(0, statistics.minimum));
          expect(maximum).toBeLessThanOrEqual(Math.max(0, statistics.maximum));
        }
      }
    }
  });

  it('keeps a constant exactly, whichever sign', () => {
    for (const name of names) {
      expect(calibratedRange(seen([2.5, 2.5], [2.5]), calibratorOf(name), uint8)).toEqual({
        minimum: 0,
        maximum: 2.5,
      });
      expect(calibratedRange(seen([-0.1]), calibratorOf(name), int8).minimum).toBe(Math.fround(-0.1));
    }
  });

  it('gives the range of nothing where nothing finite was seen', () => {
    for (const name of names)
      expect(calibratedRange(seen([Number.NaN]), calibratorOf(name), int8)).toEqual({
        minimum: 0,
        maximum: 0,
      });
  });

  it('is not moved by NaN and infinity', () => {
    const plain = seen([1, -2, 3], [0.5, -1, 0]);
    const spoilt = seen([1, -2, Number.NaN, 3], [0.5, Number.NEGATIVE_INFINITY, -1, 0]);
    for (const name of names) {
      expect(calibratedRange(spoilt, calibratorOf(name), int8)).toEqual(
        calibratedRange(plain, calibratorOf(name), int8),
      );
    }
  });

  it('says what it lacks', () => {
    const observer = minMaxObserver();
    observer.update(Float32Array.of(1, 2), [2]);
    for (const name of names.slice(1)) {
      expect(() => calibratedRange(observer.result(), calibratorOf(name), int8)).toThrow(
        expect.objectContaining({ code: 'OPTIONS_INVALID', message: expect.stringContaining(name) }),
      );
    }
  });
});

describe("somebody's own calibrator", () => {
  const own = (range: RealRange): Calibrator => ({ name: 'mine', range: () => range });

  it('is called with the statistics and the integers, and its range widened to hold 0', () => {
    const calibrator: Calibrator = {
      name: 'three-sigma',
      range: ({ mean = 0, meanSquare = 0 }, { high }) => ({
        minimum: mean,
        maximum: mean + high * meanSquare,
      }),
    };
    expect(calibratedRange(seen([1, 3]), calibrator, int8)).toEqual({ minimum: 0, maximum: 2 + 127 * 5 });
  });

  it('is refused when its bounds are not finite or not in order', () => {
    for (const bad of [
      { minimum: 1, maximum: 0 },
      { minimum: Number.NaN, maximum: 0 },
      { minimum: 0, maximum: Number.POSITIVE_INFINITY },
    ]) {
      expect(() => calibratedRange(seen([1]), own(bad), int8)).toThrow(
        expect.objectContaining({ code: 'OPTIONS_INVALID', message: expect.stringContaining('mine') }),
      );
    }
  });
});
