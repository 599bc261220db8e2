import { formatMilliseconds, formatRatio } from '../terminal/format.ts';
import type { RunReport } from './run-report.ts';
import type { Speedup, Spread } from './run-summary.ts';

/** How the metric of a run is written: shares as percent and points, anything else as plain numbers. */
export interface MetricWords {
  /** The value: `91.32 ± 0.10 %`. */
  value(spread: Spread): string;
  /** A change: `−0.32 points`. */
  change(spread: Spread): string;
  /** One number along an axis: `91 %`. */
  tick(value: number): string;
  /** One number beside a name: `84.2 %`. */
  brief(value: number): string;
}

/** A number with a sign, a true minus among them; what rounds to nothing has none. */
export function signed(value: number, decimals: number): string {
  const text = Math.abs(value).toFixed(decimals);
  if (Number(text) === 0) return text;
  return `${value < 0 ? '−' : '+'}${text}`;
}

function withDeviation(text: string, deviation: number | undefined, decimals: number): string {
  return deviation === undefined ? text : `${text} ± ${deviation.toFixed(decimals)}`;
}

/** How the metric of a run is written. */
export function metricWords(report: RunReport): MetricWords {
  const values = report.seeds.flatMap(({ original, steps }) =>
    [original, ...steps].map(({ metric }) => metric),
  );
  const share = values.every((value) => value === undefined || (value >= 0 && value <= 1));
  const scale = share ? 100 : 1;
  const decimals = share ? 2 : 4;
  const scaled = (value: number | undefined): number | undefined =>
    value === undefined ? undefined : value * scale;
  return {
    value: ({ mean, deviation }) =>
      `${withDeviation((mean * scale).toFixed(decimals), scaled(deviation), decimals)}${share ? ' %' : ''}`,
    change: ({ mean, deviation }) =>
      `${withDeviation(signed(mean * scale, decimals), scaled(deviation), decimals)}${share ? ' points' : ''}`,
    brief: (value) => (share ? `${(value * 100).toFixed(1)} %` : String(Number(value.toPrecision(3)))),
    tick: (value) => (share ? `${Number((value * 100).toFixed(3))} %` : String(Number(value.toPrecision(4)))),
  };
}

/** A speedup with its interval: `2.10x (2.05 to 2.14)`; no interval where it is 1 by definition. */
export function speedupWords({ ratio, interval }: Pick<Speedup, 'ratio' | 'interval'>): string {
  const [low, high] = interval;
  return low === high
    ? formatRatio(ratio)
    : `${formatRatio(ratio)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
}

/** Milliseconds of a step: those of the original divided by its speedup. */
export function latencyWords(originalMilliseconds: number, speedup: number): string {
  return formatMilliseconds(originalMilliseconds / speedup);
}

/** A number and what it counts: `1 seed`, `3 seeds`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** A list in a sentence: `a, b and c`. */
export function listed(words: readonly string[]): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} and ${words.at(-1) ?? ''}`;
}

/** A text of a report without what would move a terminal's cursor or hide: control characters and bidi overrides. */
export function plainText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '\u{fffd}');
}
