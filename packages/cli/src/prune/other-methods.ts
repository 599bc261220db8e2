import { type Model, optimize, type PassReport, type PassStep, type StepReport } from '@lithe/core';
import {
  type DepthPruningReport,
  depthPruning,
  lowRank,
  residualBlocks,
  type SparsifyReport,
  type SparsityCriterionName,
  type SparsityScope,
  sparsify,
} from '@lithe/pruning';
import { UsageError } from '../exit-codes.ts';
import type { PruneArguments } from './prune-arguments.ts';
import type { RankChange } from './result.ts';
import { costs, optimizeOptions, type Planned, type PruneRun } from './run.ts';

async function applied<R extends PassReport>(
  model: Model,
  step: PassStep,
  run: PruneRun,
): Promise<{ readonly model: Model; readonly report: R & StepReport }> {
  const result = await optimize(model, [step], optimizeOptions(run));
  return { model: result.model, report: result.report.steps[0] as R & StepReport };
}

const amountOf = (report: PassReport, metric: string): number | undefined => report.metrics[metric]?.value;

/**
 * The pass that sets weights to zero, with its options.
 *
 * @throws {LitheError} OPTIONS_INVALID when they make no sense together
 */
export function zeroStep(options: PruneArguments): PassStep {
  const { pattern = 'unstructured', sparsity, samples, protect } = options;
  const criterion = (options.criterion ?? 'lamp') as SparsityCriterionName;
  const isFixed = pattern.includes(':');
  // Wanda compares the weights of one output by definition; by size small layers keep more when all compete.
  const scope = options.scope ?? (criterion === 'wanda' ? undefined : 'global');
  return sparsify({
    criterion,
    pattern,
    protect,
    ...(isFixed ? {} : { ratio: sparsity ?? 0.5, scope: scope as SparsityScope | undefined }),
    ...(options.calibrate === undefined
      ? {}
      : { samples: options.recoverySamples ?? Math.max(128, samples) }),
  });
}

/** Sets weights to zero. */
export async function planZeros(original: Model, run: PruneRun): Promise<Planned> {
  const { options, progress } = run;
  const step = zeroStep(options);
  progress.phase('setting weights to zero');
  const { model, report } = await applied<SparsifyReport>(original, step, run);
  const [before, after] = [amountOf(report, 'compressed before'), amountOf(report, 'compressed after')];
  return {
    found: {
      ...(await costs(original, model, run)),
      criterion: options.criterion ?? 'lamp',
      ratio: amountOf(report, 'sparsity') ?? null,
      compressed: before === undefined || after === undefined ? null : { before, after },
      zeros: report.layers,
      skipped: report.skipped,
    },
    make: () => Promise.resolve(model),
  };
}

/** Takes layers apart by their singular values. */
export async function planRanks(original: Model, run: PruneRun): Promise<Planned> {
  const { options, progress, dims } = run;
  const rule = options.lowRank ?? { energy: 0.95 };
  const step = lowRank({ ...rule, protect: options.protect, dims });
  progress.phase('taking layers apart');
  const { model, report } = await applied<PassReport>(original, step, run);
  const rows = report.tables?.['layers']?.rows ?? [];
  return {
    found: {
      ...(await costs(original, model, run)),
      met: !report.skipped.some(({ code }) => code === 'budget-not-met'),
      ranks: rows.map(
        ([layer, kind, rank, fullRank, energy]): RankChange => ({
          layer: String(layer),
          kind: String(kind),
          rank: Number(rank),
          fullRank: Number(fullRank),
          energy: Number(energy),
        }),
      ),
      skipped: report.skipped,
    },
    make: () => Promise.resolve(model),
  };
}

async function checkNames(
  model: Model,
  wanted: readonly string[],
  { protect }: PruneArguments,
): Promise<void> {
  const names = (await residualBlocks(model, { protect })).map(({ name }) => name);
  const unknown = wanted.filter((name) => !names.includes(name));
  if (unknown.length === 0) return;
  const known = names.length === 0 ? 'It has none.' : `Blocks: ${names.join(', ')}.`;
  throw new UsageError(`The model has no residual block ${unknown.join(', ')}. ${known}`);
}

/** Drops residual blocks. */
export async function planBlocks(original: Model, run: PruneRun): Promise<Planned> {
  const { options, progress, dims } = run;
  const blocks = options.dropBlocks ?? 1;
  if (typeof blocks !== 'number') await checkNames(original, blocks, options);
  const step = depthPruning({
    blocks,
    samples: Math.max(256, options.samples),
    protect: options.protect,
    dims,
  });
  progress.phase('finding blocks');
  const { model, report } = await applied<DepthPruningReport>(original, step, run);
  return {
    found: {
      ...(await costs(original, model, run)),
      met: typeof blocks !== 'number' || report.blocks.length === blocks,
      blocks: report.blocks,
      skipped: report.skipped,
    },
    make: () => Promise.resolve(model),
  };
}
