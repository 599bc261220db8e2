import type { Upgrade } from './upgrades.ts';

/** Format of each layer by name; layers that are not named stay float. */
export type NamedAssignment = ReadonlyMap<string, string>;

/** What running an assignment showed. */
export interface Verdict {
  /** What it costs. */
  readonly cost: number;
  /** Whether it is within the budget. */
  readonly within: boolean;
}

/** What {@link searchAssignment} takes. */
export interface SearchOptions {
  /** Steps, best exchange first. */
  readonly upgrades: readonly Upgrade[];
  /** Runs an assignment. */
  readonly evaluate: (assignment: NamedAssignment) => Promise<Verdict>;
  /** Assignments that may be run in all. */
  readonly trials: number;
}

function prefix(upgrades: readonly Upgrade[], length: number): NamedAssignment {
  return new Map(upgrades.slice(0, length).map(({ layer, to }) => [layer, to]));
}

/**
 * The cheapest assignment within a budget that can be found in some trials. Every candidate is run: what layers do
 * together is not the sum of what they do alone. First the longest run of steps that stays within is found by bisection;
 * then later steps are tried one by one on top of it, and the best is kept.
 *
 * @returns the assignment; empty, which is all float, when no step fits
 */
export async function searchAssignment(options: SearchOptions): Promise<NamedAssignment> {
  const { upgrades, evaluate, trials } = options;
  let left = trials;
  let best: NamedAssignment = new Map();
  let bestCost = Number.POSITIVE_INFINITY;
  const attempt = async (assignment: NamedAssignment): Promise<boolean> => {
    left--;
    const { cost, within } = await evaluate(assignment);
    if (!within) return false;
    if (cost < bestCost) {
      best = assignment;
      bestCost = cost;
    }
    return true;
  };
  let low = 0;
  let high = upgrades.length + 1;
  if (upgrades.length > 0 && left > 0) {
    if (await attempt(prefix(upgrades, upgrades.length))) return best;
    high = upgrades.length;
  }
  while (high - low > 1 && left > 0) {
    const middle = (low + high) >> 1;
    if (await attempt(prefix(upgrades, middle))) low = middle;
    else high = middle;
  }
  let current = prefix(upgrades, low);
  for (const { layer, from, to } of upgrades.slice(low)) {
    if (left <= 0) break;
    if (current.get(layer) !== from) continue;
    const next = new Map(current).set(layer, to);
    if (await attempt(next)) current = next;
  }
  return best;
}
