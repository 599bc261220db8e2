import { type Model, passContextIn } from '@lithe/core';
import {
  type CriterionName,
  type NamedCriterionOptions,
  type PlannedPruning,
  type PruneOptions,
  planPruning,
  removeAll,
  type Scope,
} from '@lithe/pruning';
import { crossEntropy } from '@lithe/training';
import { UsageError } from '../exit-codes.ts';
import { fileJournal } from './file-journal.ts';
import type { PruneArguments } from './prune-arguments.ts';
import type { Planned, PruneRun } from './run.ts';

/** Criteria that need no inputs. */
const weightCriteria: ReadonlySet<string> = new Set([
  'l1',
  'l2',
  'lamp',
  'batch-norm-scale',
  'geometric-median',
  'random',
]);

const criterionOf = ({ criterion }: PruneArguments): CriterionName => (criterion ?? 'l2') as CriterionName;

/** Whether what is to go can be told without running the model. */
export function looksAtWeightsAlone(options: PruneArguments): boolean {
  return (
    options.targetLatency === undefined &&
    options.calibrate === undefined &&
    weightCriteria.has(criterionOf(options))
  );
}

/**
 * Refuses what makes no sense together, before anything is read.
 *
 * @throws {UsageError}
 */
export function checkChannels(options: PruneArguments): void {
  const { targetLatency, macs, parameters, weightBytes, ratio, calibrate } = options;
  const hasBudget = [targetLatency, macs, parameters, weightBytes].some((one) => one !== undefined);
  if (hasBudget && ratio !== undefined)
    throw new UsageError(
      'Give either --ratio or budgets (--target-latency, --macs, --parameters, --weight-bytes).',
    );
  const criterion = criterionOf(options);
  const looksAtLoss = criterion === 'taylor' || criterion === 'fisher';
  if (looksAtLoss && calibrate === undefined)
    throw new UsageError(
      `Criterion "${criterion}" looks at gradients: give labelled inputs with --calibrate.`,
    );
  if (!looksAtLoss && options.logits !== undefined)
    throw new UsageError(`--logits is for the loss of taylor and fisher: "${criterion}" looks at none.`);
  for (const [flag, given] of [
    ['--journal', options.journal],
    ['--batch-size', options.batchSize],
  ] as const)
    if (given !== undefined && targetLatency === undefined)
      throw new UsageError(`${flag} is for the search of --target-latency, which is not given.`);
}

/** Cross-entropy of the scores with the labels, for criteria that look at gradients. */
function lossOf(options: PruneArguments, model: Model): NamedCriterionOptions['loss'] {
  const criterion = criterionOf(options);
  if (criterion !== 'taylor' && criterion !== 'fisher') return undefined;
  return crossEntropy({ logits: options.logits ?? model.graph.outputs[0]?.name ?? '' });
}

/** The options of the pass. */
function pruneOptions(options: PruneArguments, model: Model): PruneOptions {
  const { targetLatency: latency, macs, parameters, weightBytes: bytes, ratio } = options;
  const hasBudget = [latency, macs, parameters, bytes].some((one) => one !== undefined);
  const { reduction, normalizer, batchSize = 1, threads, rounds } = options;
  // What matters is told from more samples than a drift is.
  const samples = Math.max(256, options.samples);
  return {
    criterion: criterionOf(options),
    criterionOptions: { reduction, normalizer, samples, loss: lossOf(options, model) },
    scope: (options.scope ?? 'local') as Scope,
    ...(hasBudget ? { budget: { latency, macs, parameters, bytes } } : { ratio: ratio ?? 0.5 }),
    roundTo: options.roundTo,
    minimumWidth: options.minimumWidth,
    largestRatio: options.largestRatio,
    attention: options.attention,
    protect: options.protect,
    latency: { batchSize, threads, rounds },
  };
}

/** Chooses channels, neurons and heads, by a share or to a budget. */
export async function planChannels(model: Model, run: PruneRun): Promise<Planned> {
  const { options, context, backend, target, inputs, progress, dims } = run;
  const journal = options.journal === undefined ? undefined : await fileJournal(options.journal);
  progress.phase(options.targetLatency === undefined ? 'choosing what goes' : 'measuring candidates');
  const pass = passContextIn(context, { backend, data: inputs?.data, target });
  const planned = await planPruning(model, { ...pruneOptions(options, model), dims, journal }, pass);
  return {
    found: foundOf(planned, criterionOf(options)),
    make: async () => {
      const smaller = model.clone();
      await removeAll(smaller, planned.plan.removals, { signal: context.signal });
      return smaller;
    },
  };
}

function foundOf(planned: PlannedPruning, criterion: string): Planned['found'] {
  const { before, after, changes } = planned.plan;
  return {
    criterion,
    ratio: planned.ratio,
    met: planned.met,
    parameters: { before: before.parameters, after: after.parameters },
    weightBytes: { before: before.bytes, after: after.bytes },
    macs: { before: before.macs, after: after.macs },
    trials: planned.trials,
    groups: changes,
    skipped: planned.skipped,
  };
}
