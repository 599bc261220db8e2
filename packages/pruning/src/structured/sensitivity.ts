import { createDrift, errors, type Feeds, type Model, type PassContext } from '@lithe/core';
import type { Cost } from './cut-cost.ts';
import { fingerprint, removalsKey } from './fingerprint.ts';
import { remembered, type SearchJournal } from './journal.ts';
import { prune } from './prune.ts';
import { criterionOf, type PruneOptions } from './prune-options.ts';
import { ScoredModel } from './pruning-plan.ts';
import { removeAll } from './remove-units.ts';

/** How {@link pruningSensitivity} looks. */
export interface SensitivityOptions
  extends Pick<PruneOptions, 'criterion' | 'criterionOptions' | 'protect' | 'attention' | 'dims'> {
  /** Shares of units to remove, each by itself, in (0, 1); 0.25, 0.5 and 0.75 by default. At least one unit stays. */
  readonly ratios?: readonly number[] | undefined;
  /**
   * Judges a model: the larger, the better, such as accuracy on held-out data. By default the signal to noise of its
   * outputs against those of the original, in decibels, on the context's data and backend.
   */
  readonly evaluate?: ((model: Model) => Promise<number>) | undefined;
  /** Name of what `evaluate` judges by, for the journal; `accuracy` by default. */
  readonly metric?: string | undefined;
  /** At most this many samples, where `evaluate` is left out; 64 by default. */
  readonly samples?: number | undefined;
  /** Where results are kept, so that a scan that was stopped goes on. */
  readonly journal?: SearchJournal | undefined;
}

/** What cutting one group by itself does. */
export interface GroupSensitivity {
  /** Name of the group. */
  readonly group: string;
  /** Names of the layers that make its channels. */
  readonly layers: readonly string[];
  /** Share of units that was asked for. */
  readonly ratio: number;
  /** Units that were removed. */
  readonly removed: number;
  /** Units it has. */
  readonly units: number;
  /** What the model saves. */
  readonly saved: Cost;
  /** What the model is worth then. */
  readonly score: number;
}

/**
 * Cuts each group by itself, at several ratios, and tells what that does: which layers can lose much, and which must be
 * left alone. The model is not changed.
 *
 * @returns one entry per group and ratio, in the order of the groups
 * @throws {LitheError} PASS_NEEDS without `evaluate` when the context holds no data and backend; OPTIONS_INVALID
 */
export async function pruningSensitivity(
  model: Model,
  options: SensitivityOptions,
  context: PassContext,
): Promise<readonly GroupSensitivity[]> {
  const { ratios = [0.25, 0.5, 0.75], journal, samples = 64 } = options;
  checkOptions(ratios, samples);
  const { criterion: asked, criterionOptions, protect, attention, dims } = options;
  // The pass checks those that it has as well.
  const settings = prune({ criterion: asked, criterionOptions, protect, attention, dims }).options;
  const criterion = criterionOf(settings as PruneOptions);
  const scored = await ScoredModel.of(model, { protect, attention, dims, criterion }, context);
  const key = journal === undefined ? '' : await fingerprint(model, context.signal);
  const metric =
    options.evaluate === undefined
      ? `sqnr of ${samples} of ${context.data?.description}`
      : (options.metric ?? 'accuracy');
  const evaluate = options.evaluate ?? (await outputJudge(model, context, samples));
  // Each by its own name, which comes before those of layers: parts of one layer can be groups by themselves.
  const none = Object.fromEntries(scored.groups.map(({ group }) => [group.name, 0]));
  const found: GroupSensitivity[] = [];
  const total = scored.groups.length * ratios.length;
  for (const { group } of scored.groups) {
    for (const ratio of ratios) {
      context.signal.throwIfAborted();
      context.progress({ task: 'sensitivity', done: found.length, total, label: group.name });
      const plan = scored.plan({ ratio: 0, ratios: { ...none, [group.name]: ratio }, largestRatio: 1 });
      const score = await remembered(
        journal,
        `sensitivity/${metric}/${key}/${removalsKey(plan.removals)}`,
        async () => {
          const candidate = model.clone();
          await removeAll(candidate, plan.removals, { opset: context.opset, signal: context.signal });
          return evaluate(candidate);
        },
      );
      const { before, after } = plan;
      found.push({
        group: group.name,
        layers: group.layers,
        ratio,
        removed: plan.removals[0]?.units.length ?? 0,
        units: group.units,
        saved: {
          parameters: before.parameters - after.parameters,
          bytes: before.bytes - after.bytes,
          macs: before.macs - after.macs,
        },
        score,
      });
    }
  }
  context.progress({ task: 'sensitivity', done: total, total });
  return found;
}

function checkOptions(ratios: readonly number[], samples: number): void {
  const problems: string[] = [];
  for (const ratio of ratios)
    if (!(ratio > 0 && ratio < 1)) problems.push(`"ratios" are numbers between 0 and 1, not ${ratio}.`);
  if (!Number.isInteger(samples) || samples < 1)
    problems.push(`"samples" is a whole number from 1, not ${samples}.`);
  if (problems.length > 0) throw errors.optionsInvalid('pruningSensitivity', problems);
}

/** Judges models by how near their outputs are to those of the original. */
async function outputJudge(
  model: Model,
  context: PassContext,
  samples: number,
): Promise<(candidate: Model) => Promise<number>> {
  const { backend, data, signal } = context;
  if (backend === undefined || data === undefined) {
    const missing = [...(data === undefined ? ['data'] : []), ...(backend === undefined ? ['backend'] : [])];
    throw errors.passNeeds('pruningSensitivity', missing);
  }
  const names = new Set(model.graph.inputs.map(({ name }) => name));
  const batches: { readonly inputs: Feeds; readonly size: number }[] = [];
  for await (const { inputs, size } of data.batches({ limit: samples, signal }))
    batches.push({
      inputs: Object.fromEntries(Object.entries(inputs).filter(([name]) => names.has(name))),
      size,
    });
  if (batches.length === 0) throw errors.dataInvalid(data.description, 'it holds no samples.');
  const run = async (candidate: Model): Promise<readonly Feeds[]> => {
    const executable = await backend.compile(candidate, { signal });
    try {
      const outputs: Feeds[] = [];
      for (const { inputs } of batches) outputs.push(await executable.run(inputs, { signal }));
      return outputs;
    } finally {
      await executable.dispose();
    }
  };
  const expected = await run(model);
  return async (candidate) => {
    const drift = createDrift();
    for (const [index, outputs] of (await run(candidate)).entries())
      drift.add(expected[index] as Feeds, outputs, batches[index]?.size ?? 1);
    // Equal outputs are as good as it gets; a number keeps them in order and in JSON.
    return Math.min(drift.result().sqnrDb, 300);
  };
}
