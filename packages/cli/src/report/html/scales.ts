/** Values of 1, 2 and 5 times powers of ten inside a range, at most about seven of them. */
export function logTicks(low: number, high: number): number[] {
  const ticks = (steps: readonly number[]): number[] => {
    const found: number[] = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const step of steps) {
        const value = step * 10 ** power;
        if (value >= low * 0.9999 && value <= high * 1.0001) found.push(value);
      }
    return found;
  };
  for (const steps of [
    [1, 1.5, 2, 3, 4, 5, 7],
    [1, 2, 3, 5],
    [1, 2, 5],
    [1, 3],
  ]) {
    const found = ticks(steps);
    if (found.length <= 6) return found;
  }
  return ticks([1]);
}

/** The scale of positive amounts, such as bytes and milliseconds. */
export interface AmountScale {
  /** Logarithmic where the largest is more than three times the smallest. */
  readonly type: 'log' | 'linear';
  /** Ends, with room for what is drawn at them. */
  readonly domain: readonly [number, number];
  /** Values with a line and a label; the library chooses where absent. */
  readonly ticks?: number[] | undefined;
}

/** A scale for positive amounts. */
export function amountScale(values: readonly number[]): AmountScale {
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (high > 3 * low) {
    const room = (high / low) ** 0.08;
    const domain = [low / room, high * room] as const;
    return { type: 'log', domain, ticks: logTicks(...domain) };
  }
  const room = high === low ? 0.5 * high : 0.12 * (high - low);
  return { type: 'linear', domain: [Math.max(0, low - room), high + room] };
}

/** The scale of a metric. */
export interface MetricScale {
  /** Ends. */
  readonly domain: readonly [number, number];
  /** Values below are drawn at the lower end, with an arrow. */
  readonly floor: number;
}

/**
 * A scale that shows what is close: everything within four times the distance between `focus` values, and within five
 * hundredths of the best in any case. What lies below, such as a model that is pruned and not yet trained again, would
 * press the rest into a line.
 */
export function metricScale(values: readonly number[], focus: readonly number[]): MetricScale {
  const best = Math.max(...values);
  const spread = best - Math.min(...focus, best);
  const floor = best - Math.max(4 * spread, 0.05 * Math.max(Math.abs(best), 1e-9));
  const inside = values.filter((value) => value >= floor);
  const low = Math.min(...inside);
  const clipped = inside.length < values.length;
  const span = Math.max(best - low, 0.004 * Math.max(Math.abs(best), 1e-9));
  return {
    domain: [low - span * (clipped ? 0.28 : 0.14), best + span * 0.14],
    floor: clipped ? low : Number.NEGATIVE_INFINITY,
  };
}
