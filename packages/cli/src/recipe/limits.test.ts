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
    const limits = { maxDrop: 0, minSmaller: 15, minSpeedup: { 8: 3.01 } };
    // Drops of 1 and -1 points; ratios of 10 and 20; speedups of 2 and 4.
    expect(checkLimits(limits, seeds, names)).toEqual([
      { limit: 'loses at most 0 points', measured: 'loses nothing', met: true },
      { limit: 'at least 15.00x smaller', measured: '15.00x', met: true },
      { limit: 'at least 3.01x faster at batch 8', measured: '3.00x', met: false },
    ]);
    expect(checkLimits({ maxDrop: 0.005 }, seeds.slice(0, 1), names)).toEqual([
      { limit: 'loses at most 0.5 points', measured: 'loses 1 point', met: false },
    ]);
    expect(checkLimits({ maxDrop: 0.005 }, seeds.slice(1), names)[0]).toMatchObject({
      measured: 'gains 1 point',
      met: true,
    });
    expect(checkLimits({ minSmaller: 10 }, seeds, { ...names, baseline: 'original' })[0]?.measured).toBe(
      '15.00x',
    );
    expect(checkLimits({}, seeds, names)).toEqual([]);
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
