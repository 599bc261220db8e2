import { errors } from '@lithe/core';
import { geometricMean } from './geometric-mean.ts';
import type { RunReport, SeedResult, StepResult } from './run-report.ts';

/** Name of the model of the recipe, before any step. */
export const ORIGINAL = 'original';

/** A figure over the seeds of a run. */
export interface Spread {
  /** Mean over the seeds that have it. */
  readonly mean: number;
  /** Sample standard deviation; absent with fewer than two seeds. */
  readonly deviation?: number | undefined;
  /** One value per seed that has it. */
  readonly values: readonly number[];
}

/** A speedup at one batch size. */
export interface Speedup {
  /** Samples at a time. */
  readonly batch: number;
  /** How many times as fast: the geometric mean over the seeds. */
  readonly ratio: number;
  /** 95 % interval; with several seeds from the lowest to the highest end of theirs, which holds all of them. */
  readonly interval: readonly [number, number];
  /** One ratio per seed that has it. */
  readonly values: readonly number[];
}

/** One model beside another of the same run. */
export interface Comparison {
  /** How many times smaller its file is, the geometric mean over the seeds; absent where either is unknown. */
  readonly smaller?: number | undefined;
  /** How many times fewer multiplications it takes, the geometric mean over the seeds; absent where either is unknown. */
  readonly fewerMacs?: number | undefined;
  /** Change of the metric, paired by seed; negative when it lost. */
  readonly gain?: Spread | undefined;
  /** Speedup at each batch size that both were measured at. */
  readonly speedups: readonly Speedup[];
}

/** What a step left for one seed. */
export interface SeedFigures {
  /** The seed. */
  readonly seed: number;
  /** Bytes of the file. */
  readonly bytes?: number | undefined;
  /** Multiplications for one sample. */
  readonly macs?: number | undefined;
  /** The metric. */
  readonly metric?: number | undefined;
  /** Speedup beside the original of the run. */
  readonly speedups: readonly Omit<Speedup, 'values'>[];
}

/** A step over all seeds; the model of the recipe is the first, under the name `original`. */
export interface StepSummary {
  /** Name. */
  readonly name: string;
  /** Pass; `null` for the original. */
  readonly use: string | null;
  /** Step that it started from; `null` for what starts from the original, and for the original. */
  readonly from: string | null;
  /** Whether it is a control. */
  readonly control: boolean;
  /** One entry per seed that came to it. */
  readonly seeds: readonly SeedFigures[];
  /** What the runs left, one per seed; empty for the original. */
  readonly results: readonly StepResult[];
  /** Bytes of the file. */
  readonly bytes?: Spread | undefined;
  /** Weights. */
  readonly parameters?: Spread | undefined;
  /** Multiplications for one sample. */
  readonly macs?: Spread | undefined;
  /** The metric. */
  readonly metric?: Spread | undefined;
  /** Why it could not be run or measured: each reason once. */
  readonly failures: readonly string[];
}

/** A run over all its seeds. */
export interface RunSummary {
  /** The original, then the steps in order. */
  readonly steps: readonly StepSummary[];
  /** What the others are compared with. */
  readonly baseline: StepSummary;
  /** Whose model is the result. */
  readonly result: StepSummary;
  /** The result and what it came from, from the original on. */
  readonly path: readonly StepSummary[];
  /** Batch sizes that latency was measured at, in rising order. */
  readonly batches: readonly number[];
  /** Milliseconds of the original by batch size: the median over all measurements. */
  readonly originalMilliseconds: ReadonlyMap<number, number>;
}

/** Mean and sample standard deviation; `undefined` of nothing. */
export function spreadOf(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (values.length === 1) return { mean, values };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (values.length - 1)), values };
}

/** Figures that a failed step leaves as 0 say nothing. */
function known(value: number | undefined): value is number {
  return value !== undefined && Number.isFinite(value) && value > 0;
}

function seedFigures(seed: number, result: SeedResult['original'] | StepResult): SeedFigures {
  return {
    seed,
    bytes: known(result.bytes) ? result.bytes : undefined,
    macs: known(result.macs) ? result.macs : undefined,
    metric: result.metric !== undefined && Number.isFinite(result.metric) ? result.metric : undefined,
    speedups: result.latency
      .filter(({ speedup, interval }) => known(speedup) && interval.every(known))
      .map(({ batch, speedup, interval }) => ({ batch, ratio: speedup, interval })),
  };
}

function defined<T>(values: readonly (T | undefined)[]): T[] {
  return values.filter((value) => value !== undefined);
}

function summarizeStep(name: string, seeds: readonly SeedResult[], batches: readonly number[]): StepSummary {
  const found: { readonly seed: number; readonly result: SeedResult['original'] | StepResult }[] = [];
  const results: StepResult[] = [];
  for (const { seed, original, steps } of seeds) {
    const step = name === ORIGINAL ? undefined : steps.find((one) => one.name === name);
    if (step !== undefined) results.push(step);
    const result = name === ORIGINAL ? original : step;
    if (result !== undefined) found.push({ seed, result });
  }
  const figures = found.map(({ seed, result }) => seedFigures(seed, result));
  const [first] = results;
  const even = batches.map((batch) => ({ batch, ratio: 1, interval: [1, 1] as const }));
  return {
    name,
    use: first?.use ?? null,
    from: first?.from === ORIGINAL ? null : (first?.from ?? null),
    control: first?.control ?? false,
    // The original beside itself is 1 by definition; what was measured is noise.
    seeds: name === ORIGINAL ? figures.map((one) => ({ ...one, speedups: even })) : figures,
    results,
    bytes: spreadOf(defined(figures.map(({ bytes }) => bytes))),
    parameters: spreadOf(found.map(({ result }) => result.parameters).filter(known)),
    macs: spreadOf(defined(figures.map(({ macs }) => macs))),
    metric: spreadOf(defined(figures.map(({ metric }) => metric))),
    failures: [...new Set(defined(results.map(({ failure }) => failure)))],
  };
}

/** The speedup of one measurement against another, both taken beside the original: their errors are independent. */
function ratioOf(
  step: Omit<Speedup, 'values'>,
  other: Omit<Speedup, 'values'>,
): { readonly ratio: number; readonly interval: readonly [number, number] } {
  const ratio = step.ratio / other.ratio;
  const down = Math.hypot(Math.log(step.ratio / step.interval[0]), Math.log(other.interval[1] / other.ratio));
  const up = Math.hypot(Math.log(step.interval[1] / step.ratio), Math.log(other.ratio / other.interval[0]));
  return { ratio, interval: [ratio * Math.exp(-down), ratio * Math.exp(up)] };
}

/**
 * One model beside another of the same run: ratios are taken seed by seed, then their geometric mean.
 *
 * Latencies were measured beside the original of the run. The speedup between two steps is the ratio of theirs; its
 * interval combines both as independent errors of the logarithm.
 */
export function compareSteps(step: StepSummary, other: StepSummary): Comparison {
  const same = step.name === other.name;
  const gains: number[] = [];
  const sizes: number[] = [];
  const macs: number[] = [];
  const measured = new Map<
    number,
    { readonly ratio: number; readonly interval: readonly [number, number] }[]
  >();
  for (const figures of step.seeds) {
    const beside = other.seeds.find(({ seed }) => seed === figures.seed);
    if (beside === undefined) continue;
    if (figures.metric !== undefined && beside.metric !== undefined)
      gains.push(figures.metric - beside.metric);
    if (figures.bytes !== undefined && beside.bytes !== undefined) sizes.push(beside.bytes / figures.bytes);
    if (figures.macs !== undefined && beside.macs !== undefined) macs.push(beside.macs / figures.macs);
    for (const speedup of figures.speedups) {
      const against = beside.speedups.find(({ batch }) => batch === speedup.batch);
      if (against === undefined) continue;
      const list = measured.get(speedup.batch) ?? [];
      list.push(same ? { ratio: 1, interval: [1, 1] } : ratioOf(speedup, against));
      measured.set(speedup.batch, list);
    }
  }
  return {
    smaller: geometricMean(sizes),
    fewerMacs: geometricMean(macs),
    gain: spreadOf(gains),
    speedups: [...measured]
      .sort(([left], [right]) => left - right)
      .map(([batch, list]) => ({
        batch,
        ratio: geometricMean(list.map(({ ratio }) => ratio)) ?? Number.NaN,
        interval: [
          list.reduce((low, { interval }) => Math.min(low, interval[0]), Number.POSITIVE_INFINITY),
          list.reduce((high, { interval }) => Math.max(high, interval[1]), 0),
        ],
        values: list.map(({ ratio }) => ratio),
      })),
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

/** The original and every step of any seed, in the order of the recipe. */
function namesOf(report: RunReport): readonly string[] {
  const names = new Set([ORIGINAL]);
  for (const { steps } of report.seeds) for (const { name } of steps) names.add(name);
  return [...names];
}

function pathTo(result: StepSummary, steps: readonly StepSummary[]): StepSummary[] {
  const path = [result];
  for (let at = result; at.name !== ORIGINAL && path.length <= steps.length; ) {
    const from = at.from ?? ORIGINAL;
    const next = steps.find(({ name }) => name === from);
    if (next === undefined) break;
    path.unshift(next);
    at = next;
  }
  return path;
}

/**
 * Brings the seeds of a run together: means, spreads, and what each step came from.
 *
 * @throws {LitheError} `INTERNAL` when the baseline or the result is no step of the run
 */
export function summarizeRun(report: RunReport): RunSummary {
  const times = new Map<number, number[]>();
  for (const { original, steps } of report.seeds) {
    const measured = steps.some(({ latency }) => latency.length > 0) ? steps : [original];
    for (const { latency } of measured)
      for (const { batch, beforeMs } of latency)
        if (known(beforeMs)) times.set(batch, [...(times.get(batch) ?? []), beforeMs]);
  }
  const batches = [...times.keys()].sort((left, right) => left - right);
  const steps = namesOf(report).map((name) => summarizeStep(name, report.seeds, batches));
  const named = (role: string, wanted: string): StepSummary => {
    const step = steps.find(({ name }) => name === wanted);
    if (step === undefined) throw errors.internal(`the ${role} "${wanted}" of a report is none of its steps`);
    return step;
  };
  const result = named('result', report.result);
  return {
    steps,
    baseline: named('baseline', report.baseline),
    result,
    path: pathTo(result, steps),
    batches,
    originalMilliseconds: new Map([...times].map(([batch, list]) => [batch, median(list)])),
  };
}
