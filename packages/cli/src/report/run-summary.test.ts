import { describe, expect, it } from 'vitest';
import { runReportFixture } from '../../test/run-report-fixture.ts';
import type { RunReport, StepResult } from './run-report.ts';
import { compareSteps, spreadOf, summarizeRun } from './run-summary.ts';

/** A report with changes to its steps, by name and place of the seed. */
function changed(
  report: RunReport,
  change: (step: StepResult, seed: number) => Partial<StepResult>,
): RunReport {
  return {
    ...report,
    seeds: report.seeds.map((seed, index) => ({
      ...seed,
      steps: seed.steps.map((step) => ({ ...step, ...change(step, index) })),
    })),
  };
}

const latency = (speedup: number, interval: readonly [number, number]): StepResult['latency'] => [
  { batch: 1, beforeMs: 2, afterMs: 2 / speedup, speedup, interval },
];

describe('spreadOf', () => {
  it('gives the mean and the sample standard deviation', () => {
    // Mean 5; squares 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32, over 7.
    const spread = spreadOf([2, 4, 4, 4, 5, 5, 7, 9]);
    expect(spread?.mean).toBe(5);
    expect(spread?.deviation).toBeCloseTo(Math.sqrt(32 / 7), 12);
  });

  it('has no deviation of one value, and nothing of none', () => {
    expect(spreadOf([3])).toEqual({ mean: 3, values: [3] });
    expect(spreadOf([])).toBeUndefined();
  });
});

describe('summarizeRun', () => {
  it('knows the way to the result', () => {
    const summary = summarizeRun(runReportFixture());
    expect(summary.path.map(({ name }) => name)).toEqual([
      'original',
      'teacher',
      'pruned',
      'distilled',
      'int8',
    ]);
  });

  it('keeps steps that only some seeds came to, and counts what is there', () => {
    const report = runReportFixture({ seeds: 3 });
    const [first, second, third] = report.seeds;
    if (first === undefined || second === undefined || third === undefined) throw new Error('three seeds');
    const seeds = [first, second, { ...third, steps: third.steps.slice(0, 2) }];
    const summary = summarizeRun({ ...report, seeds });
    const result = summary.steps.find(({ name }) => name === 'int8');
    expect(result?.seeds.map(({ seed }) => seed)).toEqual([0, 1]);
    expect(result?.metric?.values).toHaveLength(2);
  });

  it('takes figures of a failed step for unknown', () => {
    const report = changed(runReportFixture({ steps: ['teacher'] }), () => ({
      bytes: 0,
      macs: 0,
      latency: [],
      failure: 'broken',
    }));
    const [, teacher] = summarizeRun(report).steps;
    expect(teacher).toMatchObject({ bytes: undefined, macs: undefined, failures: ['broken'] });
  });
});

describe('compareSteps', () => {
  it('divides speedups beside the original, and combines their intervals', () => {
    const report = changed(runReportFixture({ steps: ['teacher', 'int8'] }), ({ name }) => ({
      latency: name === 'teacher' ? latency(2, [1.8, 2.2]) : latency(6, [5, 7]),
    }));
    const { baseline, result } = summarizeRun(report);
    const [speedup] = compareSteps(result, baseline).speedups;
    expect(speedup?.ratio).toBeCloseTo(3, 12);
    // Independent errors of logarithms: down with ln(6/5) and ln(2.2/2), up with ln(7/6) and ln(2/1.8).
    expect(speedup?.interval[0]).toBeCloseTo(3 * Math.exp(-Math.hypot(Math.log(1.2), Math.log(1.1))), 12);
    expect(speedup?.interval[1]).toBeCloseTo(3 * Math.exp(Math.hypot(Math.log(7 / 6), Math.log(10 / 9))), 12);
  });

  it('takes the geometric mean of ratios over seeds, and the span of their intervals', () => {
    // Over the seeds the small one is 8 and 2 times smaller, 4 and 1 times as fast: 4 and 2 in the geometric mean.
    const report = changed(runReportFixture({ seeds: 2, steps: ['teacher', 'int8'] }), ({ name }, seed) =>
      name === 'teacher'
        ? { bytes: 800, macs: 800, latency: latency(1, [1, 1]) }
        : {
            bytes: seed === 0 ? 100 : 400,
            macs: seed === 0 ? 100 : 400,
            latency: seed === 0 ? latency(4, [3.5, 4.5]) : latency(1, [0.9, 1.1]),
          },
    );
    const { baseline, result } = summarizeRun(report);
    const { smaller, fewerMacs, speedups } = compareSteps(result, baseline);
    expect(smaller).toBeCloseTo(4, 12);
    expect(fewerMacs).toBeCloseTo(4, 12);
    expect(speedups[0]?.ratio).toBeCloseTo(2, 12);
    expect(speedups[0]?.interval[0]).toBeCloseTo(0.9, 12);
    expect(speedups[0]?.interval[1]).toBeCloseTo(4.5, 12);
    // The other way round it is the inverse; means of 1/4 and 1 would not be.
    expect(compareSteps(baseline, result).speedups[0]?.ratio).toBeCloseTo(1 / 2, 12);
  });

  it('takes a step beside itself for exactly 1', () => {
    const { baseline } = summarizeRun(runReportFixture());
    expect(compareSteps(baseline, baseline).speedups).toMatchObject([
      { batch: 1, ratio: 1, interval: [1, 1] },
      { batch: 64, ratio: 1, interval: [1, 1] },
    ]);
  });

  it('pairs the metric by seed', () => {
    const metrics: Readonly<Record<string, readonly number[]>> = {
      teacher: [0.9, 0.92, 0.91],
      int8: [0.89, 0.905, 0.905],
    };
    const report = changed(runReportFixture({ seeds: 3, steps: ['teacher', 'int8'] }), ({ name }, seed) => ({
      metric: metrics[name]?.[seed],
    }));
    const { baseline, result } = summarizeRun(report);
    const gain = compareSteps(result, baseline).gain;
    // Differences -0.01, -0.015, -0.005.
    expect(gain?.mean).toBeCloseTo(-0.01, 12);
    expect(gain?.deviation).toBeCloseTo(0.005, 12);
  });
});
