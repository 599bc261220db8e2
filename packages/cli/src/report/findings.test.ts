import { describe, expect, it } from 'vitest';
import { runReportFixture } from '../../test/run-report-fixture.ts';
import { compareWithControls } from './controls.ts';
import { whatDidNotPay } from './findings.ts';
import { printRun } from './print-run.ts';
import type { RunReport, StepResult } from './run-report.ts';
import { summarizeRun } from './run-summary.ts';

/** A run of three steps, each from the one before, with the figures that are given. */
function runOf(figures: readonly Partial<StepResult>[]): RunReport {
  const report = runReportFixture({ steps: ['teacher', 'pruned', 'distilled'] });
  return {
    ...report,
    seeds: report.seeds.map((seed) => ({
      ...seed,
      original: { ...seed.original, bytes: 1000, metric: 0.9 },
      steps: seed.steps.map((step, index) => ({ ...step, ...figures[index] })),
    })),
  };
}

const at = (speedup: number, interval: readonly [number, number]): StepResult['latency'] => [
  { batch: 1, beforeMs: 1, afterMs: 1 / speedup, speedup, interval },
];

const same = { bytes: 1000, macs: 10, metric: 0.9, latency: at(1, [0.99, 1.01]) } as const;

function findingsOf(report: RunReport): string[] {
  return whatDidNotPay(report, summarizeRun(report)).map(({ step, kind }) => `${step}: ${kind}`);
}

describe('whatDidNotPay', () => {
  it('names a step that is larger, one that is slower, and one that lost', () => {
    const report = runOf([
      { ...same, bytes: 1100, metric: 0.95 },
      { ...same, bytes: 900, metric: 0.95, latency: at(0.9, [0.85, 0.95]) },
      { ...same, bytes: 800, metric: 0.9, latency: at(2, [1.9, 2.1]) },
    ]);
    expect(findingsOf(report)).toEqual(['teacher: larger', 'pruned: slower', 'distilled: worse']);
  });

  it('names a step that gained nothing', () => {
    const report = runOf([
      { ...same, metric: 0.95 },
      { ...same, metric: 0.95 },
      { ...same, bytes: 500, metric: 0.95 },
    ]);
    expect(findingsOf(report)).toEqual(['pruned: nothing']);
  });

  it('calls a step slower only where the whole interval says so, beside the original too', () => {
    const wide = { latency: at(0.9, [0.51, 1.03]) };
    const report = runOf([
      { ...same, metric: 0.91, ...wide },
      { ...same, metric: 0.92, ...wide },
      { ...same, metric: 0.93, latency: at(0.9, [0.75, 1.05]) },
    ]);
    expect(findingsOf(report)).toEqual([]);
    const narrow = { latency: at(0.9, [0.89, 0.91]) };
    const steady = runOf([
      { ...same, metric: 0.91 },
      { ...same, metric: 0.92, ...narrow },
      { ...same, metric: 0.93, ...narrow },
    ]);
    expect(findingsOf(steady)).toEqual(['pruned: slower']);
    expect(findingsOf(runOf([{ ...same, metric: 0.91, ...narrow }]))).toContain('teacher: slower');
  });

  it('says where a later step on the way won back what was lost', () => {
    const report = runOf([
      { ...same, metric: 0.95 },
      { ...same, bytes: 500, metric: 0.8 },
      { ...same, bytes: 500, metric: 0.951 },
    ]);
    const [finding] = whatDidNotPay(report, summarizeRun(report));
    expect(finding?.text).toBe('lost 15.00 points of accuracy against "teacher", which "distilled" won back');
  });

  it('does not judge controls, but tells when they fail', () => {
    const fixture = runReportFixture({ failed: 'alone' });
    expect(findingsOf(fixture)).toContain('alone: failed');
    expect(findingsOf(fixture).filter((line) => line.startsWith('from-scratch'))).toEqual([]);
  });

  it('does not judge training where there is no metric', () => {
    expect(findingsOf(runReportFixture({ metric: false, steps: ['teacher'] }))).toEqual([]);
  });
});

describe('compareWithControls', () => {
  it('sets each step beside the controls that started where it did', () => {
    const report = runReportFixture({ seeds: 3 });
    const pairs = compareWithControls(report, summarizeRun(report));
    expect(pairs.map(({ step, control }) => `${step} ${control}`)).toEqual([
      'pruned pruned-l1',
      'distilled alone',
      'distilled from-scratch',
    ]);
    for (const { text, beyondNoise } of pairs) {
      expect(text).toMatch(/^\+\d\.\d\d ± \d\.\d\d points, better in 3 of 3 seeds$/);
      expect(beyondNoise).toBe(true);
    }
  });
});

describe('compareWithControls, within the noise', () => {
  it('does not call a difference real that the seeds spread over', () => {
    const fixture = runReportFixture({ seeds: 3 });
    // Differences of 1, -2 and 2 points: 0.33 in the mean, with a deviation of 2.08.
    const metrics: Readonly<Record<string, readonly number[]>> = {
      alone: [0.9, 0.92, 0.91],
      distilled: [0.91, 0.9, 0.93],
    };
    const report = {
      ...fixture,
      seeds: fixture.seeds.map((seed, index) => ({
        ...seed,
        steps: seed.steps.map((step) => ({ ...step, metric: metrics[step.name]?.[index] ?? step.metric })),
      })),
    };
    const pair = compareWithControls(report, summarizeRun(report)).find(({ control }) => control === 'alone');
    expect(pair).toMatchObject({
      step: 'distilled',
      text: '+0.33 ± 2.08 points, better in 2 of 3 seeds',
      beyondNoise: false,
    });
  });
});

describe('printRun', () => {
  it('has a line for each step, the limits, and what did not pay', () => {
    const text = printRun(runReportFixture({ seeds: 3 }));
    for (const step of ['original', 'teacher', 'pruned-l1°', 'pruned', 'alone°', 'distilled', 'int8-after'])
      expect(text).toMatch(new RegExp(`^  ${step} +\\d`, 'm'));
    expect(text).toMatch(/^▸ int8 .* 15\.28x /m);
    expect(text).toContain('✘ at least 2.5x faster at batch 1: 2.32x, not met');
    expect(text).toMatch(/"int8" is slower than "distilled": 0\.\d\dx \(0\.\d\d to 0\.\d\d\) at batch 1/);
    expect(text).toContain('4 x activation-float');
  });

  it('leaves out what was not measured', () => {
    const text = printRun(runReportFixture({ metric: false, batches: [], steps: ['pruned'] }));
    expect(text).not.toContain('speedup');
    expect(text).not.toContain('accuracy');
    expect(text).not.toMatch(/NaN|undefined/);
  });

  it('lets no name move the cursor of a terminal', () => {
    const report = { ...runReportFixture(), name: 'a\u001b[2Jb', warnings: ['\u009b31m'] };
    const controls = [...printRun(report)].filter((character) => character < ' ' && character !== '\n');
    expect(controls).toEqual([]);
    expect(printRun(report)).not.toContain('\u009b');
  });
});
