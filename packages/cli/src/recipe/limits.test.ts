import { describe, expect, it } from 'vitest';
import type { SeedResult, StepResult } from '../report/run-report.ts';
import { checkLimits } from './limits.ts';

type Numbers = { readonly bytes: number; readonly metric?: number; readonly speedup?: number };

function figures({ bytes, metric, speedup }: Numbers): SeedResult['original'] {
  const latency =
    speedup === undefined
      ? []
      : [{ batch: 8, beforeMs: 1, afterMs: 1 / speedup, speedup, interval: [speedup, speedup] as const }];
  return {
    file: 'x.onnx',
    bytes,
    parameters: 1,
    macs: 1,
    weights: [],
    latency,
    ...(metric === undefined ? {} : { metric }),
  };
}

function seedOf(seed: number, teacher: Numbers, small: Numbers): SeedResult {
  const step = (name: string, numbers: Numbers): StepResult => ({
    name,
    use: 'x/y',
    from: null,
    control: false,
    pass: {} as StepResult['pass'],
    resumed: false,
    ...figures(numbers),
  });
  return {
    seed,
    original: figures({ bytes: 100, metric: 0.1, speedup: 1 }),
    steps: [step('teacher', teacher), step('small', small)],
  };
}

const names = { baseline: 'teacher', result: 'small' };

describe('checkLimits', () => {
  it('judges means over seeds against the baseline', () => {
    const seeds = [
      seedOf(0, { bytes: 100, metric: 0.92, speedup: 1 }, { bytes: 10, metric: 0.91, speedup: 2 }),
      seedOf(1, { bytes: 100, metric: 0.9, speedup: 0.5 }, { bytes: 5, metric: 0.91, speedup: 2 }),
    ];
    const limits = { maxDrop: 0, minSmaller: 14.14, minSpeedup: { 8: 2.83 } };
    // Drops of 1 and -1 points; ratios of 10 and 20, whose product is 14.142 squared; speedups of 2 and 4, of 2.828.
    expect(checkLimits(limits, seeds, names)).toEqual([
      { limit: 'loses at most 0 points', measured: 'loses nothing', met: true },
      { limit: 'at least 14.14x smaller', measured: '14.14x', met: true },
      { limit: 'at least 2.83x faster at batch 8', measured: '2.83x', met: false },
    ]);
    expect(checkLimits({ maxDrop: 0.005 }, seeds.slice(0, 1), names)).toEqual([
      { limit: 'loses at most 0.5 points', measured: 'loses 1 point', met: false },
    ]);
    expect(checkLimits({ maxDrop: 0.005 }, seeds.slice(1), names)[0]).toMatchObject({
      measured: 'gains 1 point',
      met: true,
    });
    expect(checkLimits({ minSmaller: 10 }, seeds, { ...names, baseline: 'original' })[0]?.measured).toBe(
      '14.14x',
    );
    expect(checkLimits({}, seeds, names)).toEqual([]);
  });

  it('takes ratios of seeds as ratios: twice as large and half as large are no smaller', () => {
    const seeds = [
      seedOf(0, { bytes: 100, speedup: 1 }, { bytes: 50, speedup: 4 }),
      seedOf(1, { bytes: 100, speedup: 1 }, { bytes: 200, speedup: 0.25 }),
    ];
    expect(checkLimits({ minSmaller: 1.01, minSpeedup: { 8: 1.01 } }, seeds, names)).toEqual([
      { limit: 'at least 1.01x smaller', measured: '1.00x', met: false },
      { limit: 'at least 1.01x faster at batch 8', measured: '1.00x', met: false },
    ]);
    expect(checkLimits({ minSmaller: 1, minSpeedup: { 8: 1 } }, seeds, names).map(({ met }) => met)).toEqual([
      true,
      true,
    ]);
  });

  it('calls a limit kept that every seed keeps to the letter', () => {
    const seeds = [1, 2, 3].map((seed) => seedOf(seed, { bytes: 51 }, { bytes: 17 }));
    expect(checkLimits({ minSmaller: 3 }, seeds, names)[0]?.met).toBe(true);
  });

  it('does not call a limit kept that one seed was not measured for', () => {
    const seeds = [
      seedOf(0, { bytes: 100, metric: 0.9, speedup: 1 }, { bytes: 10, metric: 0.9, speedup: 2 }),
      seedOf(1, { bytes: 100, metric: 0.9, speedup: 1 }, { bytes: 10 }),
    ];
    for (const { measured, met } of checkLimits({ maxDrop: 1, minSpeedup: { 8: 1 } }, seeds, names))
      expect([measured, met]).toEqual(['not measured', false]);
  });
});
