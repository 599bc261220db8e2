import type { Executable } from '../backend/backend.ts';
import type { Feeds } from '../data/dataset.ts';
import { errors } from '../errors/catalogue.ts';
import { type Interval, median, medianInterval, quantile } from './statistics.ts';

/** Something to measure. */
export interface LatencyEntry {
  /** Name, for the report. */
  readonly name: string;
  /** The compiled model. */
  readonly executable: Executable;
  /** Its own feeds, where it takes others than the rest (another input dtype). */
  readonly feeds?: Feeds | undefined;
}

/** How latency is measured. */
export interface LatencyOptions {
  /** How often each entry gets its turn; 11 by default. At least 6 are needed for a verdict. */
  readonly rounds?: number | undefined;
  /** Runs in a turn. By default as many as `minMilliseconds` asks for, at most 100. */
  readonly runsPerRound?: number | undefined;
  /**
   * Runs of each entry before the first round. By default 3 and then as many as 200 milliseconds hold, at most 2,000:
   * a runtime speeds up over its first thousand calls, and an entry that is new must not be judged by them.
   */
  readonly warmup?: number | undefined;
  /** How long a turn should last at least, when `runsPerRound` is left out; 10 by default. */
  readonly minMilliseconds?: number | undefined;
  /** Cancellation, checked between turns. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every round. */
  readonly onRound?: ((done: number, total: number) => void) | undefined;
}

/** Latency of one entry, in milliseconds a run. */
export interface LatencyStats {
  /** Name of the entry. */
  readonly name: string;
  /** Median of the rounds; a round counts as the median of its runs. */
  readonly medianMs: number;
  /** A tenth of the rounds were as fast as this. */
  readonly p10Ms: number;
  /** Nine tenths of the rounds were as fast as this. */
  readonly p90Ms: number;
  /** Fastest single run. */
  readonly minMs: number;
  /** Runs that counted. */
  readonly runs: number;
  /** Each round's median, in order. */
  readonly roundsMs: readonly number[];
}

/** One entry against the first one. */
export interface LatencyComparison {
  /** Name of the entry. */
  readonly name: string;
  /** Name of the first entry. */
  readonly baseline: string;
  /** How many times faster than the baseline: the median over the rounds of baseline time by own time. */
  readonly speedup: number;
  /** Confidence interval of that median, at 95 %. */
  readonly interval: Interval;
  /** `faster` or `slower` only where the whole interval is on one side of 1. */
  readonly verdict: 'faster' | 'slower' | 'undecided';
}

/** What {@link measureLatency} found. */
export interface LatencyReport {
  /** Each entry, in the order given. */
  readonly entries: readonly LatencyStats[];
  /** Every entry but the first, against the first. */
  readonly comparisons: readonly LatencyComparison[];
}

/**
 * Measures compiled models side by side. In every round each entry has one turn, and the order turns round from one
 * round to the next, so that a machine that slows down or speeds up touches all alike. Times of one round are compared
 * with each other only: the speedup is the median of those ratios, with an exact confidence interval, and noise alone
 * seldom leads to a verdict (less than once in twenty).
 *
 * @param entries what to measure; the first is the baseline
 * @param feeds what to feed them
 * @throws {LitheError} OPTIONS_INVALID when there is no entry, two have one name, or a number is out of range;
 *   whatever an executable throws
 */
export async function measureLatency(
  entries: readonly LatencyEntry[],
  feeds: Feeds,
  options: LatencyOptions = {},
): Promise<LatencyReport> {
  const { rounds = 11, warmup, minMilliseconds = 10, signal, onRound } = options;
  check(entries, { rounds, warmup: warmup ?? 0, runsPerRound: options.runsPerRound ?? 1, minMilliseconds });
  const plans: Plan[] = [];
  for (const entry of entries) {
    plans.push(await planOf(entry, entry.feeds ?? feeds, { ...options, minMilliseconds }));
  }
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? plans : plans.toReversed();
    for (const plan of order) {
      signal?.throwIfAborted();
      await turn(plan, signal);
    }
    onRound?.(round + 1, rounds);
  }
  const stats = plans.map(statsOf);
  const baseline = stats[0] as LatencyStats;
  return { entries: stats, comparisons: stats.slice(1).map((item) => compareLatency(baseline, item)) };
}

/**
 * Runs an entry until it is warm; gives the milliseconds of a run: the median of the later half, for a single one may
 * have been held up, and would make all turns too short.
 */
async function warmUp(entry: LatencyEntry, feeds: Feeds, signal: AbortSignal | undefined): Promise<number> {
  const times = [...(await entry.executable.time(feeds, { runs: 1, warmup: LEAST_WARMUP, signal }))];
  const typical = (): number => median(times.slice(times.length >> 1));
  let spent = times[0] ?? 0;
  // The first runs say little about the later ones, so more and more are asked for.
  for (let runs = 1, chunk = 1; runs < MOST_WARMUP && spent < WARMUP_MILLISECONDS; ) {
    signal?.throwIfAborted();
    const fitting = Math.ceil((WARMUP_MILLISECONDS - spent) / Math.max(typical(), 1e-6));
    chunk = Math.min(2 * chunk, fitting, MOST_WARMUP - runs);
    runs += chunk;
    for (const time of await entry.executable.time(feeds, { runs: chunk, warmup: 0, signal })) {
      times.push(time);
      spent += time;
    }
  }
  return typical();
}

/**
 * Warm-up unless the caller decides. Measured in onnxruntime-node, whose sessions have a thread each: a CNN of 96
 * microseconds took 118 until its 1,200th run, while a session that was in use longer took 96 in the same rounds.
 */
const LEAST_WARMUP = 3;
const MOST_WARMUP = 2000;
const WARMUP_MILLISECONDS = 200;

interface Plan {
  readonly entry: LatencyEntry;
  readonly feeds: Feeds;
  readonly runs: number;
  readonly rounds: number[];
  fastest: number;
  total: number;
}

function check(entries: readonly LatencyEntry[], numbers: Readonly<Record<string, number>>): void {
  const problems: string[] = [];
  if (entries.length === 0) problems.push('There is nothing to measure.');
  if (new Set(entries.map((entry) => entry.name)).size < entries.length)
    problems.push('Two entries have the same name.');
  for (const [name, value] of Object.entries(numbers)) {
    const least = name === 'rounds' || name === 'runsPerRound' ? 1 : 0;
    if (!(value >= least && value <= 1e6))
      problems.push(`"${name}" must be at least ${least}, not ${value}.`);
  }
  if (problems.length > 0) throw errors.optionsInvalid('measureLatency()', problems);
}

async function planOf(
  entry: LatencyEntry,
  feeds: Feeds,
  options: LatencyOptions & { readonly minMilliseconds: number },
): Promise<Plan> {
  const { signal, warmup, minMilliseconds } = options;
  signal?.throwIfAborted();
  // One run that is timed after the warm-up tells how many fit a turn.
  const once =
    warmup === undefined
      ? await warmUp(entry, feeds, signal)
      : ((await entry.executable.time(feeds, { runs: 1, warmup, signal }))[0] ?? 0);
  const fitting = Math.min(100, Math.ceil(minMilliseconds / Math.max(once, 1e-6)));
  const runs = Math.max(1, options.runsPerRound ?? fitting);
  return { entry, feeds, runs, rounds: [], fastest: Number.POSITIVE_INFINITY, total: 0 };
}

async function turn(plan: Plan, signal: AbortSignal | undefined): Promise<void> {
  // Where a turn has several runs, one more before them brings the caches back from the other entries' turns.
  const times = await plan.entry.executable.time(plan.feeds, {
    runs: plan.runs,
    warmup: plan.runs > 1 ? 1 : 0,
    signal,
  });
  plan.rounds.push(median(times));
  for (const time of times) plan.fastest = Math.min(plan.fastest, time);
  plan.total += times.length;
}

function statsOf({ entry, rounds, fastest, total }: Plan): LatencyStats {
  return {
    name: entry.name,
    medianMs: median(rounds),
    p10Ms: quantile(rounds, 0.1),
    p90Ms: quantile(rounds, 0.9),
    minMs: fastest,
    runs: total,
    roundsMs: rounds,
  };
}

/**
 * Compares two entries that were measured in the same rounds.
 *
 * @throws {LitheError} OPTIONS_INVALID when they have different numbers of rounds
 */
export function compareLatency(baseline: LatencyStats, candidate: LatencyStats): LatencyComparison {
  if (baseline.roundsMs.length !== candidate.roundsMs.length) {
    throw errors.optionsInvalid('compareLatency()', [
      'The two entries were not measured in the same rounds.',
    ]);
  }
  const ratios = baseline.roundsMs.map(
    (time, round) => time / Math.max(candidate.roundsMs[round] as number, 1e-9),
  );
  const interval = medianInterval(ratios);
  return {
    name: candidate.name,
    baseline: baseline.name,
    speedup: median(ratios),
    interval,
    verdict: interval.low > 1 ? 'faster' : interval.high < 1 ? 'slower' : 'undecided',
  };
}

/**
 * Whether the candidate is faster beyond noise: the whole confidence interval lies above `1 + margin`.
 *
 * @param margin how much faster it must be to count, as a share; 0 by default
 */
export function isFaster(comparison: LatencyComparison, margin = 0): boolean {
  return comparison.interval.low > 1 + margin;
}

/**
 * Whether the candidate is slower beyond noise: the whole confidence interval lies below `1 - margin`.
 *
 * @param margin how much slower it must be to count, as a share; 0 by default
 */
export function isSlower(comparison: LatencyComparison, margin = 0): boolean {
  return comparison.interval.high < 1 - margin;
}
