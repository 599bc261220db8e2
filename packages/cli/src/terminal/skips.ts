import type { Skip } from '@lithe/core';

/** A reason why places were left alone. */
export interface SkipGroup {
  /** The reason: that of the only place, or the common one with names as `…`. */
  readonly text: string;
  /** Number of places. */
  readonly count: number;
}

/** Reasons why places were left alone, the most frequent first; those that differ in names only count as one. */
export function groupSkips(skips: readonly Skip[]): readonly SkipGroup[] {
  const groups = new Map<string, { text: string; count: number }>();
  for (const { code, reason } of skips) {
    const common = `${code}: ${reason.replaceAll(/"[^"]*"/g, '"…"')}`;
    const known = groups.get(common);
    if (known === undefined) groups.set(common, { text: `${code}: ${reason}`, count: 1 });
    else {
      known.count++;
      if (known.text !== `${code}: ${reason}`) known.text = common;
    }
  }
  return [...groups.values()].sort((left, right) => right.count - left.count);
}
