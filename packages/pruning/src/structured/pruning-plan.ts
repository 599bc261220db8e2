import { errors, type Model, type RunContext, type Skip } from '@lithe/core';
import type { Criterion, CriterionContext } from '../criteria/criterion.ts';
import { isQuantized } from '../criteria/magnitude.ts';
import { AxisModel } from './axis-model.ts';
import { type Cost, CutCost } from './cut-cost.ts';
import { layersInFunctions, layersInSubgraphs } from './hidden-layers.ts';
import { keptIndices, type PruningGroup, type Removal, shapesAfter } from './pruning-group.ts';
import { type GroupOptions, groupsOf } from './pruning-groups.ts';
import { type ScoredGroup, type SelectOptions, selectUnits } from './select-units.ts';
import { unshareVectors } from './unshare-vectors.ts';

/** What a group loses. */
export interface GroupChange {
  /** Name of the group. */
  readonly group: string;
  /** What its units are. */
  readonly kind: PruningGroup['kind'];
  /** Names of the layers that make its channels. */
  readonly layers: readonly string[];
  /** Units before. */
  readonly before: number;
  /** Units after. */
  readonly after: number;
}

/** Units that are to go, and what that makes of a model. */
export interface PruningPlan {
  /** The units. */
  readonly removals: readonly Removal[];
  /** Every group that can be pruned, with what it loses. */
  readonly changes: readonly GroupChange[];
  /** What the model costs before. */
  readonly before: Cost;
  /** What it will cost after, worked out from the shapes. */
  readonly after: Cost;
}

/** Budgets: a number up to 1 is a share of the original, a larger one is absolute. */
export interface CostBudget {
  /** Elements of constants. */
  readonly parameters?: number | undefined;
  /** Bytes of constants. */
  readonly bytes?: number | undefined;
  /** Multiply-accumulates of one run. */
  readonly macs?: number | undefined;
}

/** A model whose groups are found and scored: plans for any ratio are made from it without another look at data. */
export class ScoredModel {
  /** The groups that can be pruned, with their scores. */
  readonly groups: readonly ScoredGroup[];
  /** Groups that are left alone, with the reason. */
  readonly skipped: readonly Skip[];
  readonly #model: Model;
  readonly #cost: CutCost;

  private constructor(
    axes: AxisModel,
    cost: CutCost,
    groups: readonly ScoredGroup[],
    skipped: readonly Skip[],
  ) {
    this.#model = axes.model;
    this.#cost = cost;
    this.groups = groups;
    this.skipped = skipped;
  }

  /**
   * Finds the groups of a model and scores them. The model is not changed.
   *
   * @throws {LitheError} PASS_NEEDS when the criterion needs what the context does not hold
   */
  static async of(
    model: Model,
    options: GroupOptions & { readonly criterion: Criterion },
    context: Omit<CriterionContext, 'model'>,
  ): Promise<ScoredModel> {
    const copy = model.clone();
    unshareVectors(copy);
    const axes = await AxisModel.of(copy, { ...options, opset: context.opset, signal: context.signal });
    const all = await groupsOf(axes, options);
    const skipped: Skip[] = [...layersInSubgraphs(copy), ...layersInFunctions(copy)];
    for (const { name, obstacles } of all) {
      for (const { code, reason, target } of obstacles.slice(0, 1))
        skipped.push({ target: name, code, reason: target === name ? reason : `"${target}": ${reason}` });
    }
    const groups = all.filter((group) => group.prunable);
    const { criterion } = options;
    const missing = criterion.needs.filter((need) => context[need] === undefined);
    if (missing.length > 0) throw errors.passNeeds(`criterion "${criterion.name}"`, missing);
    const scores = await criterion.score(groups, { ...context, model: copy });
    const scored: ScoredGroup[] = [];
    for (const [place, group] of groups.entries()) {
      const own = scores[place];
      if (own !== undefined) checkScores(criterion, group, own);
      if (own !== undefined) scored.push({ group, scores: own });
      else {
        const quantized = group.weights.find((weight) => weight.role === 'weight' && isQuantized(weight));
        const why = quantized === undefined ? '' : `: "${quantized.value}" is quantized, prune before that`;
        const reason = `criterion "${criterion.name}" says nothing about it${why}`;
        skipped.push({ target: group.name, code: 'no-score', reason });
      }
    }
    return new ScoredModel(axes, new CutCost(axes, options.dims ?? {}), scored, skipped);
  }

  /** What is lost at a ratio. */
  plan(options: SelectOptions): PruningPlan {
    const known = new Set(this.groups.flatMap(({ group }) => [group.name, ...group.layers]));
    const missing = Object.keys(options.ratios ?? {}).filter((name) => !known.has(name));
    if (missing.length > 0) {
      const problems = missing.map(
        (name) => `"ratios" names "${name}", which is no group or layer that can be pruned.`,
      );
      throw errors.optionsInvalid('prune', problems);
    }
    const removals = selectUnits(this.groups, options);
    const saved = this.#cost.saved(shapesAfter(keptIndices(this.#model, removals)));
    const { total } = this.#cost;
    const lost = new Map(removals.map(({ group, units }) => [group.name, units.length]));
    return {
      removals,
      changes: this.groups.map(({ group }) => ({
        group: group.name,
        kind: group.kind,
        layers: group.layers,
        before: group.units,
        after: group.units - (lost.get(group.name) ?? 0),
      })),
      before: total,
      after: {
        parameters: total.parameters - saved.parameters,
        bytes: total.bytes - saved.bytes,
        macs: total.macs - saved.macs,
      },
    };
  }

  /**
   * The plan of the smallest ratio that meets a budget, found by halving.
   *
   * @returns the plan; with `met: false` the one that cuts most, when even that is over the budget
   */
  planFor(
    budget: CostBudget,
    options: Omit<SelectOptions, 'ratio'>,
    context: Pick<RunContext, 'signal'>,
  ): { readonly plan: PruningPlan; readonly ratio: number; readonly met: boolean } {
    const fits = ({ before, after }: PruningPlan): boolean =>
      (['parameters', 'bytes', 'macs'] as const).every((key) => {
        const limit = budget[key];
        return limit === undefined || after[key] <= (limit <= 1 ? limit * before[key] : limit);
      });
    const none = this.plan({ ...options, ratio: 0 });
    if (fits(none)) return { plan: none, ratio: 0, met: true };
    let best = { plan: this.plan({ ...options, ratio: 1 }), ratio: 1, met: false };
    if (!fits(best.plan)) return best;
    let low = 0;
    // Twelve halvings tell one unit of 4,096 from the next.
    for (let step = 0; step < 12; step++) {
      context.signal.throwIfAborted();
      const ratio = (low + best.ratio) / 2;
      const plan = this.plan({ ...options, ratio });
      if (fits(plan)) best = { plan, ratio, met: true };
      else low = ratio;
    }
    return { ...best, met: true };
  }
}

function checkScores({ name }: Criterion, group: PruningGroup, scores: Float64Array): void {
  if (scores.length === group.units && scores.every(Number.isFinite)) return;
  throw errors.optionsInvalid(`criterion "${name}"`, [
    `It must give ${group.units} finite numbers for group "${group.name}", one per unit.`,
  ]);
}
