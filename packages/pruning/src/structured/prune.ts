import {
  definePass,
  type Model,
  opsetAtLeast,
  type Pass,
  type PassContext,
  type PassReport,
  ReportBuilder,
} from '@lithe/core';

import { type LatencyTrial, searchLatency } from './latency-search.ts';
import { criterionOf, type PruneOptions, type PruneSettings, pruneSchema } from './prune-options.ts';
import { type GroupChange, type PruningPlan, ScoredModel } from './pruning-plan.ts';
import { removeAll } from './remove-units.ts';
import type { SelectOptions } from './select-units.ts';

/** What {@link planPruning} worked out. */
export interface PlannedPruning {
  /** The units that are to go, and what that makes of the model. */
  readonly plan: PruningPlan;
  /** Share of units that were asked for. */
  readonly ratio: number;
  /** Whether the budget is met; `true` without one. */
  readonly met: boolean;
  /** Measured latency as a share of the original's, where the budget says so. */
  readonly latencyShare: number | undefined;
  /** Candidates that were measured. */
  readonly trials: readonly LatencyTrial[];
  /** Groups that are left alone, with the reason. */
  readonly skipped: ScoredModel['skipped'];
}

/** What {@link prune} reports, beside what every pass does. */
export interface PruneReport extends PassReport {
  /** Every group that can be pruned, with its units before and after. */
  readonly groups: readonly GroupChange[];
  /** Candidates whose latency was measured. */
  readonly trials: readonly LatencyTrial[];
}

const name = 'pruning/prune';

function selection(
  settings: PruneSettings,
  context: Pick<PassContext, 'target'>,
): Omit<SelectOptions, 'ratio'> {
  const { scope, ratios, largestRatio, minimumWidth } = settings;
  const roundTo = settings.roundTo ?? context.target?.profile.channelMultiple ?? 1;
  return { scope, ratios, largestRatio, minimumWidth, roundTo };
}

/**
 * Works out what {@link prune} would remove, without removing it (a latency budget is measured all the same).
 *
 * @param model is not changed
 * @throws {LitheError} OPTIONS_INVALID; PASS_NEEDS when the criterion or a latency budget needs what the context lacks
 * @example
 * ```ts
 * import { createPassContext } from '@lithe/core';
 * import { planPruning } from '@lithe/pruning';
 * import { cnn } from '@lithe/training';
 *
 * const { plan } = await planPruning(await cnn(), { criterion: 'l2', ratio: 0.5 }, createPassContext());
 * plan.changes.map(({ after }) => after); // => [16, 32, 64]
 * ```
 */
export async function planPruning(
  model: Model,
  options: PruneOptions,
  context: PassContext,
): Promise<PlannedPruning> {
  const settings = prune(options).options as PruneSettings;
  const { protect, attention, dims, budget } = settings;
  const criterion = criterionOf(settings);
  const scored = await ScoredModel.of(model, { protect, attention, dims, criterion }, context);
  const select = selection(settings, context);
  const { skipped } = scored;
  const base = { skipped, latencyShare: undefined, trials: [] };
  if (budget === undefined) {
    const ratio = settings.ratio ?? (settings.ratios === undefined ? 0.5 : 0);
    return { ...base, plan: scored.plan({ ...select, ratio }), ratio, met: true };
  }
  const { latency, ...costs } = budget;
  const byCost = scored.planFor(costs, select, context);
  if (latency === undefined) return { ...base, ...byCost };
  const { journal } = settings;
  const found = await searchLatency(scored, model, {
    options: { ...settings.latency, share: latency, dims, journal },
    select,
    context,
  });
  // Where both are asked for, the one that takes more decides.
  const chosen = byCost.ratio > found.ratio ? { ...byCost, share: undefined } : found;
  return {
    skipped,
    trials: found.trials,
    plan: chosen.plan,
    ratio: chosen.ratio,
    met: byCost.met && found.met,
    latencyShare: chosen.share,
  };
}

function reportOf(planned: PlannedPruning): PruneReport {
  const { plan, latencyShare } = planned;
  const report = new ReportBuilder();
  const unit = { channel: 'channels', head: 'heads', 'head-width': 'columns per head' } as const;
  for (const { group, kind, layers, before, after } of plan.changes) {
    if (after === before) continue;
    const others = layers.filter((layer) => layer !== group);
    const along =
      others.length === 0 ? '' : ` (with ${others.slice(0, 3).join(', ')}${others.length > 3 ? ', …' : ''})`;
    report.apply(`remove ${before - after} of ${before} ${unit[kind]} of "${group}"${along}`);
  }
  for (const { target, code, reason } of planned.skipped) report.skip(target, code, reason);
  if (!planned.met) {
    const reason = 'nothing more can be removed, or no candidate that was measured was fast enough';
    report.skip('budget', 'budget-not-met', reason);
  }
  report.metric('parameters before', plan.before.parameters, 'elements');
  report.metric('parameters after', plan.after.parameters, 'elements');
  report.metric('weights before', plan.before.bytes, 'bytes');
  report.metric('weights after', plan.after.bytes, 'bytes');
  report.metric('multiplications before', plan.before.macs, 'macs');
  report.metric('multiplications after', plan.after.macs, 'macs');
  report.metric('ratio', planned.ratio, 'ratio');
  if (latencyShare !== undefined) report.metric('latency', latencyShare, 'ratio');
  return { ...report.build(), groups: plan.changes, trials: planned.trials };
}

/**
 * Removes the channels, neurons and attention heads that matter least, so that the model is really smaller: weights are
 * cut, shapes shrink, and any runtime runs the result faster. What hangs together goes together (see
 * {@link pruningGroups}); inputs, outputs and class scores stay as they are. The model computes something else
 * afterwards: recover it by fine-tuning or by a refit from activations, and measure.
 *
 * Layers are kept at multiples of the target's `channelMultiple` unless `roundTo` says otherwise: a runtime that computes
 * 16 channels at a time takes as long for 33 as for 48.
 *
 * @see Fang, Ma, Song, Mi and Wang, "DepGraph: Towards Any Structural Pruning", CVPR 2023
 * @example
 * ```ts
 * import { modelCost, optimize } from '@lithe/core';
 * import { prune } from '@lithe/pruning';
 * import { resnet20 } from '@lithe/training';
 *
 * const { model, report } = await optimize(await resnet20(), [prune({ budget: { macs: 0.5 } })]);
 * const { macs } = modelCost(model, { dims: { N: 1 } });
 * macs <= 0.5 * (report.steps[0]?.metrics['multiplications before']?.value ?? 0); // => true
 * ```
 */
export const prune: Pass<PruneOptions, PruneSettings> = definePass({
  name,
  version: 1,
  summary: 'Removes the channels, neurons and attention heads that matter least.',
  options: pruneSchema,
  preserves: 'accuracy',
  requires: [opsetAtLeast(13)],
  run: async (draft: Model, settings: PruneSettings, context: PassContext): Promise<PruneReport> => {
    const planned = await planPruning(draft, settings, context);
    if (planned.plan.removals.length > 0) {
      await removeAll(draft, planned.plan.removals, { opset: context.opset, signal: context.signal });
    }
    return reportOf(planned);
  },
});
