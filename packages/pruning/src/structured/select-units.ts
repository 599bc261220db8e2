import type { PruningGroup, Removal } from './pruning-group.ts';

/**
 * Which units compete with each other: those of one group (`local`), all (`global`), or those of groups that are built
 * alike (`isomorphic`: attention heads with attention heads, hidden widths with hidden widths).
 *
 * @see Fang and others, "Isomorphic Pruning for Vision Models", ECCV 2024
 */
export type Scope = 'local' | 'global' | 'isomorphic';

/** A group with the score of each unit. */
export interface ScoredGroup {
  /** The group, prunable. */
  readonly group: PruningGroup;
  /** How much each unit matters. */
  readonly scores: Float64Array;
}

/** How units are selected. */
export interface SelectOptions {
  /** Share of units to remove, in [0, 1). */
  readonly ratio: number;
  /** Which units compete; `local` by default. */
  readonly scope?: Scope | undefined;
  /** Shares for some groups, by name of the group or of one of its layers; they come before anything else. */
  readonly ratios?: Readonly<Record<string, number>> | undefined;
  /** Most that any group loses, as a share; 0.9 by default. */
  readonly largestRatio?: number | undefined;
  /** Least number of channels that any layer keeps; 1 by default. */
  readonly minimumWidth?: number | undefined;
  /** Multiple that the channels of a layer are kept at; 1 (none) by default. Groups narrower than it use a part of it. */
  readonly roundTo?: number | undefined;
}

/** Channels that one unit of a group stands for in the layers that make it: more than one for groups of channels. */
export function channelsPerUnit({ units, axes }: PruningGroup): number {
  const [first] = axes;
  if (first === undefined) return 1;
  let count = 0;
  for (const unit of first.span.units) if (unit >= 0) count++;
  return Math.max(1, Math.round(count / units));
}

/**
 * Groups of one key have as many weights of the same kinds in the same places, whatever their sizes: stages of residual
 * blocks compete only where they hold as many (Fang and others, "Isomorphic Pruning for Vision Models", ECCV 2024).
 */
function isomorphicKey({ kind, weights }: PruningGroup): string {
  const parts = weights.map(
    ({ op, role, direction, axis, tensor }) => `${op}/${role}/${direction}/${axis}/${tensor.shape.length}`,
  );
  return `${kind}:${parts.sort().join()}`;
}

/** The units of a group, least important first; units that must stay are left out. */
function orderOf({ group, scores }: ScoredGroup): readonly number[] {
  return Array.from({ length: group.units }, (_, unit) => unit)
    .filter((unit) => !group.pinned.has(unit))
    .sort((left, right) => (scores[left] as number) - (scores[right] as number) || left - right);
}

interface Plan {
  readonly scored: ScoredGroup;
  readonly order: readonly number[];
  /** Most units that may go. */
  readonly limit: number;
  wanted: number;
}

function planOf(scored: ScoredGroup, options: SelectOptions): Plan {
  const { group } = scored;
  const { largestRatio = 0.9, minimumWidth = 1 } = options;
  const order = orderOf(scored);
  const least = Math.max(1, Math.ceil(minimumWidth / channelsPerUnit(group)));
  const limit = Math.max(
    0,
    Math.min(order.length, group.units - least, Math.floor(group.units * largestRatio)),
  );
  return { scored, order, limit, wanted: 0 };
}

/** The share that is asked for a group by its own name or a layer's. */
function ownRatio({ name, layers }: PruningGroup, ratios: SelectOptions['ratios']): number | undefined {
  if (ratios === undefined) return undefined;
  const key = [name, ...layers].find((one) => Object.hasOwn(ratios, one));
  return key === undefined ? undefined : ratios[key];
}

/** Lets the units of several groups compete for the places that are to go. */
function compete(plans: readonly Plan[], ratio: number): void {
  const all = plans.flatMap((plan) =>
    plan.order.map((unit) => ({ plan, score: plan.scored.scores[unit] as number })),
  );
  all.sort((left, right) => left.score - right.score);
  let open = Math.round(ratio * plans.reduce((sum, plan) => sum + plan.scored.group.units, 0));
  for (const { plan } of all) {
    if (open === 0) return;
    if (plan.wanted >= plan.limit) continue;
    plan.wanted++;
    open--;
  }
}

/**
 * Rounds what a group keeps to a multiple of `roundTo` channels: the nearest one that is no less than must stay. A layer of less
 * than twice `roundTo` channels is rounded to the largest power of two that is at most half of it.
 */
function rounded(plan: Plan, roundTo: number): number {
  const { group } = plan.scored;
  if (roundTo <= 1 || group.kind !== 'channel' || plan.wanted === 0) return plan.wanted;
  const per = channelsPerUnit(group);
  const width = group.units * per;
  let step = roundTo;
  while (step > 1 && step > width / 2) step = Math.floor(step / 2);
  const least = Math.ceil(((group.units - plan.limit) * per) / step) * step;
  const multiple = Math.max(step, least, Math.round(((group.units - plan.wanted) * per) / step) * step);
  const kept = Math.min(group.units, Math.ceil(multiple / per));
  return Math.min(plan.limit, group.units - kept);
}

/**
 * Selects the units to remove: those that matter least, as many as the ratio asks for.
 *
 * @returns one removal per group that loses something
 */
export function selectUnits(groups: readonly ScoredGroup[], options: SelectOptions): readonly Removal[] {
  const { scope = 'local', ratio, roundTo = 1 } = options;
  const plans = groups.map((scored) => planOf(scored, options));
  const open: Plan[] = [];
  for (const plan of plans) {
    const own = ownRatio(plan.scored.group, options.ratios);
    if (own === undefined && scope !== 'local') open.push(plan);
    else plan.wanted = Math.min(plan.limit, Math.round((own ?? ratio) * plan.scored.group.units));
  }
  if (scope === 'global') compete(open, ratio);
  else {
    const families = new Map<string, Plan[]>();
    for (const plan of open) {
      const key = isomorphicKey(plan.scored.group);
      families.set(key, [...(families.get(key) ?? []), plan]);
    }
    for (const family of families.values()) compete(family, ratio);
  }
  const removals = plans.map((plan) => ({
    scored: plan.scored,
    units: plan.order.slice(0, rounded(plan, roundTo)),
  }));
  return keepSomethingEverywhere(removals);
}

interface Selected {
  readonly scored: ScoredGroup;
  readonly units: readonly number[];
}

/** Puts units back where an axis (a slice, one part of a split) would lose all of its indices. */
function keepSomethingEverywhere(selected: readonly Selected[]): readonly Removal[] {
  const removed = selected.map(({ scored, units }) => {
    const flags = new Uint8Array(scored.group.units);
    for (const unit of units) flags[unit] = 1;
    return flags;
  });
  const axes = new Map<string, { readonly length: number; readonly parts: [number, Int32Array][] }>();
  for (const [place, { scored }] of selected.entries()) {
    for (const { value, axis, length, span } of scored.group.axes) {
      const key = `${value}:${axis}`;
      const entry = axes.get(key) ?? { length, parts: [] };
      entry.parts.push([place, span.units]);
      axes.set(key, entry);
    }
  }
  for (const { length, parts } of axes.values()) {
    let gone = 0;
    for (const [place, units] of parts) {
      const flags = removed[place] as Uint8Array;
      for (let at = 0; at < units.length; at++) if (flags[units[at]!] === 1) gone++;
    }
    if (gone < length) continue;
    let best: { place: number; unit: number; score: number } | undefined;
    for (const [place, units] of parts) {
      for (const unit of units) {
        const score =
          unit < 0 ? Number.NEGATIVE_INFINITY : ((selected[place] as Selected).scored.scores[unit] as number);
        if (unit >= 0 && (best === undefined || score > best.score)) best = { place, unit, score };
      }
    }
    if (best !== undefined) (removed[best.place] as Uint8Array)[best.unit] = 0;
  }
  return selected.flatMap(({ scored }, place) => {
    const flags = removed[place] as Uint8Array;
    const units = Array.from(flags.keys()).filter((unit) => flags[unit] === 1);
    return units.length === 0 ? [] : [{ group: scored.group, units }];
  });
}
