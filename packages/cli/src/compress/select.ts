import type { Objective } from '../options.ts';
import type { CandidateResult, DriftFigures, LatencyChange, Limits } from './report.ts';

/** A candidate whose median lies below this is not chosen, even where its interval reaches beyond 1. */
const SLOWER_BELOW = 0.98;

/** Gains closer than this are taken as equal: measurements do not tell them apart. */
const TIE = 0.03;

/** Why a candidate cannot be chosen, as a clause; `undefined` when it can. */
export function refusalOf(result: CandidateResult, objective: Objective, limits: Limits): string | undefined {
  if (result.failure !== undefined) return result.failure;
  const { drift, accuracy, latency } = result;
  if (drift === undefined || latency === undefined) return 'it was not measured';
  if (accuracy !== undefined) {
    const drop = accuracy.before - accuracy.after;
    if (Number.isNaN(drop)) return `${accuracy.metric} is not known: the data held no labels`;
    if (drop > limits.maxDrop)
      return `${accuracy.metric} falls by ${drop.toFixed(4)}, more than ${limits.maxDrop}`;
  } else {
    if (!(drift.sqnrDb >= limits.minSqnrDb))
      return `outputs drift to ${drift.sqnrDb.toFixed(1)} dB, below ${limits.minSqnrDb} dB`;
    if (disagrees(drift, limits.maxDrop))
      return `the best class is the same in ${((drift.top1Agreement ?? 1) * 100).toFixed(2)} % only`;
  }
  if (objective === 'size' || !mayBeSlower(latency)) return undefined;
  if (isSlower(latency)) return `it is slower: ${latency.speedup.toFixed(2)}x`;
  const [low, high] = latency.interval;
  return `it may be slower: ${latency.speedup.toFixed(2)}x (${low.toFixed(2)} to ${high.toFixed(2)})`;
}

/**
 * Share of predictions that may change for each point of accuracy that may be lost: those that change hung in the
 * balance, and as many of them were wrong before as are wrong now.
 */
const CHANGES_PER_DROP = 3;

/**
 * Whether more predictions differ than are allowed. One of few may: with 32 samples, a single one is three points, and
 * says nothing.
 */
function disagrees({ top1Agreement, rows = 0 }: DriftFigures, maxDrop: number): boolean {
  if (top1Agreement === undefined) return false;
  const differing = Math.round((1 - top1Agreement) * rows);
  return differing > Math.max(1, CHANGES_PER_DROP * maxDrop * rows);
}

/** Whether a model is slower beyond noise: the whole confidence interval of its speedup lies below 1. */
export function isSlower({ interval }: { readonly interval: readonly [number, number] }): boolean {
  return interval[1] < 1;
}

/**
 * Whether a candidate must be taken for slower than the original: it is, or its median is and the interval is too wide
 * to tell. That is no finding, but reason enough not to choose it.
 */
export function mayBeSlower(latency: {
  readonly speedup: number;
  readonly interval: readonly [number, number];
}): boolean {
  return isSlower(latency) || latency.speedup < SLOWER_BELOW;
}

/**
 * The part of a speedup that is certain: the bound of its confidence interval that lies nearer to 1, or 1 where the
 * interval holds it. On a busy machine a wide interval must not win over a narrow one.
 */
function certainSpeedup({ interval: [low, high] }: LatencyChange): number {
  if (low > 1) return low;
  return high < 1 ? high : 1;
}

/** How good a candidate is for an objective; higher is better. */
function scoreOf(result: CandidateResult, objective: Objective): number {
  const ratio = result.size?.ratio ?? 0;
  const speedup = result.latency === undefined ? 0 : certainSpeedup(result.latency);
  switch (objective) {
    case 'size':
      return ratio;
    case 'latency':
      return speedup;
    case 'balanced':
      // Half the size counts as much as twice the speed.
      return ratio * speedup;
  }
}

/** Powers of what noise may be in a size ratio: within one, what drifts less comes first. */
const sizeClass = (ratio: number): number => Math.round(Math.log(ratio) / Math.log1p(TIE));

/**
 * The candidates that may be chosen, best first. Gains within noise of the best count as equal: among them the
 * smaller file comes first under `latency`, and then, and else, the one that drifts less.
 */
export function rankCandidates(
  results: readonly CandidateResult[],
  objective: Objective,
  limits: Limits,
): CandidateResult[] {
  const allowed = results.filter((result) => refusalOf(result, objective, limits) === undefined);
  const sorted = allowed.sort((left, right) => scoreOf(right, objective) - scoreOf(left, objective));
  const best = sorted[0];
  if (best === undefined) return sorted;
  const least = scoreOf(best, objective) * (1 - TIE);
  const ties = sorted.filter((result) => scoreOf(result, objective) >= least);
  const size = ({ size: found }: CandidateResult): number =>
    objective === 'latency' ? sizeClass(found?.ratio ?? 1) : 0;
  const kept = ({ drift }: CandidateResult): number => drift?.sqnrDb ?? 0;
  ties.sort((left, right) => size(right) - size(left) || kept(right) - kept(left));
  return [...ties, ...sorted.slice(ties.length)];
}
