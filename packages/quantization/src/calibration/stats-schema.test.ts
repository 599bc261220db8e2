import { describe, expect, it } from 'vitest';
import { statisticsObserver } from './observers.ts';
import { type CalibrationStats, statisticsOf, type TensorStatistics } from './statistics.ts';
import { readCalibrationStats } from './stats-schema.ts';

function stats(tensors: Record<string, TensorStatistics>): CalibrationStats {
  return { version: 1, samples: 2, source: 'test', tensors };
}

function observed(): TensorStatistics {
  const observer = statisticsObserver({ channels: -1 });
  observer.update(Float32Array.of(-1.5, 0.1, -0, 3, 1e-30, 7), [3, 2]);
  observer.update(Float32Array.of(100, -20), [1, 2]);
  return observer.result();
}

describe('statistics', () => {
  it('survive JSON unchanged', () => {
    const whole = stats({ x: observed(), 'name.with/signs': { minimum: 0, maximum: 6, finite: true } });
    expect(readCalibrationStats(JSON.parse(JSON.stringify(whole)))).toEqual(whole);
  });

  it('are refused when they are of another form or contradict themselves, with the place', () => {
    const good = observed();
    const histogram = good.histogram as NonNullable<typeof good.histogram>;
    const channels = good.channels as NonNullable<typeof good.channels>;
    const bad: readonly (readonly [string, unknown])[] = [
      ['version', { ...stats({}), version: 2 }],
      ['samples', { ...stats({}), samples: 0 }],
      ['tensors', { ...stats({}), tensors: [] }],
      ['tensors.x.minimum', stats({ x: { ...good, minimum: Number.NEGATIVE_INFINITY } })],
      ['tensors.x.finite', stats({ x: { minimum: 0, maximum: 1 } as TensorStatistics })],
      ['must have a minimum', stats({ x: { minimum: 2, maximum: 1, finite: true } })],
      ['tensors.x', stats({ x: { ...good, surprise: 1 } as TensorStatistics })],
      ['more zeros', stats({ x: { ...good, zeros: 100 } })],
      ['as many values', stats({ x: { ...good, elements: 9 } })],
      ['covers', stats({ x: { ...good, maximum: 4096 } })],
      ['begins at 0', stats({ x: { ...good, histogram: { exponent: 0, first: -3, counts: [1, 1, 6] } } })],
      ['histogram.exponent', stats({ x: { ...good, histogram: { ...histogram, exponent: 400 } } })],
      [
        'histogram.counts',
        stats({ x: { ...good, histogram: { ...histogram, counts: new Array(70_000).fill(0) } } }),
      ],
      ['histogram.counts.0', stats({ x: { ...good, histogram: { ...histogram, counts: [-1] } } })],
      ['as many minima', stats({ x: { ...good, batches: { minima: [1], maxima: [] } } })],
      ['as many of everything', stats({ x: { ...good, channels: { ...channels, mean: [1] } } })],
      ['', null],
      ['', 'statistics'],
    ];
    for (const [place, value] of bad) {
      expect(() => readCalibrationStats(value), place).toThrow(
        expect.objectContaining({ code: 'OPTIONS_INVALID', message: expect.stringContaining(place) }),
      );
    }
  });

  it('tell no more than ten problems of a file of garbage', () => {
    const tensors = Object.fromEntries(
      Array.from({ length: 1000 }, (_, index) => [`t${index}`, 'garbage' as unknown as TensorStatistics]),
    );
    expect(() => readCalibrationStats(stats(tensors))).toThrow(/And 990 more/);
  });

  it('know no value by the name of a member that every object has', () => {
    expect(statisticsOf(stats({}), 'constructor')).toBeUndefined();
    expect(statisticsOf(stats({ constructor: observed() } as never), 'constructor')?.maximum).toBe(100);
  });
});
