/** An interval of numbers. */
export interface Interval {
  /** Lower end. */
  readonly low: number;
  /** Upper end. */
  readonly high: number;
}

function sorted(values: Iterable<number>): Float64Array {
  return Float64Array.from(values).sort();
}

/**
 * Quantile of some numbers by linear interpolation between the two nearest ranks (type 7 of Hyndman and Fan, "Sample
 * Quantiles in Statistical Packages", 1996). NaN for no numbers.
 *
 * @param fraction in [0, 1]: 0.5 is the median
 */
export function quantile(values: Iterable<number>, fraction: number): number {
  const ordered = sorted(values);
  if (ordered.length === 0) return Number.NaN;
  const place = (ordered.length - 1) * Math.min(1, Math.max(0, fraction));
  const below = Math.floor(place);
  const low = ordered[below] as number;
  const high = ordered[Math.min(below + 1, ordered.length - 1)] as number;
  return low + (high - low) * (place - below);
}

/** Median of some numbers; NaN for none. */
export function median(values: Iterable<number>): number {
  return quantile(values, 0.5);
}

/**
 * Confidence interval of the median that assumes nothing about the distribution: the order statistics of the sign
 * test (Conover, "Practical Nonparametric Statistics", 1999, section 3.2). Exact, so no resampling and no seed. Its
 * confidence is at least `confidence`; with too few numbers for that (fewer than 6 at 0.95) it is unbounded.
 */
export function medianInterval(values: Iterable<number>, confidence = 0.95): Interval {
  const ordered = sorted(values);
  const count = ordered.length;
  const tail = (1 - confidence) / 2;
  // The largest rank r with P(Binomial(count, 1/2) < r) <= tail; the interval is [x_r, x_(count + 1 - r)].
  let probability = 0.5 ** count;
  let cumulative = probability;
  let rank = 0;
  while (cumulative <= tail && rank < count) {
    rank++;
    probability *= (count - rank + 1) / rank;
    cumulative += probability;
  }
  if (rank === 0) return { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };
  return { low: ordered[rank - 1] as number, high: ordered[count - rank] as number };
}
