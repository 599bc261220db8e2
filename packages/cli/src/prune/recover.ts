import { type Model, optimize, type StepReport } from '@lithe/core';
import { batchNormReestimation, leastSquaresRefit, type RefitReport } from '@lithe/pruning';
import type { RecoveryFigures } from './result.ts';
import { optimizeOptions, type PruneRun } from './run.ts';

const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * Wins back what it can without training: a refit by least squares, then statistics of batch normalization, where they
 * are asked for.
 *
 * @param original the model before pruning, with the names of the pruned one
 */
export async function recover(
  pruned: Model,
  original: Model,
  run: PruneRun,
): Promise<{ readonly model: Model; readonly recovery: RecoveryFigures | null }> {
  const { options, progress } = run;
  const { refit, reestimateBatchNorm, recoverySamples: samples } = options;
  if (refit !== true && reestimateBatchNorm !== true) return { model: pruned, recovery: null };
  progress.phase(refit === true ? 'fitting what is left to the original' : 'measuring batch normalization');
  const { model, report } = await optimize(
    pruned,
    [
      refit === true && leastSquaresRefit({ original, samples }),
      reestimateBatchNorm === true && batchNormReestimation({ samples }),
    ],
    optimizeOptions(run),
  );
  const fitted = report.steps[0] as StepReport & Partial<RefitReport>;
  const layers = refit === true ? (fitted.layers ?? []) : [];
  const measured = reestimateBatchNorm === true ? (report.steps.at(-1)?.applied.length ?? 0) : 0;
  return {
    model,
    recovery: {
      refitted: layers.filter(({ before, after }) => after < before).length,
      error:
        refit === true
          ? {
              before: mean(layers.map(({ before }) => before)),
              after: mean(layers.map(({ after }) => after)),
            }
          : null,
      normalizations: measured,
    },
  };
}
