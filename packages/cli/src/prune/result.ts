import type { Skip } from '@lithe/core';
import type { DroppedBlock, GroupChange, LayerSparsity, PlannedPruning } from '@lithe/pruning';
import type { AccuracyChange, DriftFigures, LatencyChange } from '../compress/report.ts';
import type { PruneMethod } from './methods.ts';

/** A figure before and after. */
export interface Change {
  /** Before. */
  readonly before: number;
  /** After. */
  readonly after: number;
}

/** A layer that was taken apart in two. */
export interface RankChange {
  /** Name of the layer. */
  readonly layer: string;
  /** How: `product`, `channel` or `spatial`. */
  readonly kind: string;
  /** Rank that is left. */
  readonly rank: number;
  /** Rank there was. */
  readonly fullRank: number;
  /** Share of the squared singular values that is left. */
  readonly energy: number;
}

/** What recovery without training did. */
export interface RecoveryFigures {
  /** Layers that were fitted to the original. */
  readonly refitted: number;
  /** Mean squared error of all layers that read something cut, as a share of the variance; `null` without a refit. */
  readonly error: Change | null;
  /** Batch normalizations that were measured anew. */
  readonly normalizations: number;
}

/** What `prune --json` prints. */
export interface PruneResult {
  /** Path of the model. */
  readonly model: string;
  /** Path of the result; `null` for a dry run. */
  readonly output: string | null;
  /** What was taken out. */
  readonly method: PruneMethod;
  /** Runtime the figures were taken in. */
  readonly target: { readonly name: string; readonly runtime: string; readonly threads: number };
  /** What told how much a unit or a weight matters; `null` where nothing is ranked. */
  readonly criterion: string | null;
  /** Share of units or weights that was to go; `null` where that is not how it was said. */
  readonly ratio: number | null;
  /** Whether the budget is met; `true` without one. */
  readonly met: boolean;
  /** Bytes of the files; `null` for a dry run. */
  readonly size: Change | null;
  /** Bytes of the files after gzip, of zeros alone; in a dry run those of the weights. */
  readonly compressed: Change | null;
  /** Elements of constants. */
  readonly parameters: Change;
  /** Bytes of constants. */
  readonly weightBytes: Change;
  /** Multiply-accumulates of one run. */
  readonly macs: Change;
  /** Measured latency of the file that was given and of the result; `null` for a dry run. */
  readonly latency: LatencyChange | null;
  /** The same against the original simplified as the result is: what pruning itself gained. */
  readonly pruningLatency: LatencyChange | null;
  /** Candidates whose latency was measured to meet a budget: share of the original's by ratio. */
  readonly trials: PlannedPruning['trials'];
  /** Drift on the inputs; `null` for a dry run. */
  readonly drift: DriftFigures | null;
  /** Accuracy, with `--evaluate`; `null` without. */
  readonly accuracy: AccuracyChange | null;
  /** Inputs the figures were taken on. */
  readonly data: { readonly source: string; readonly random: boolean };
  /** Every group that can be pruned, with its units before and after. */
  readonly groups: readonly GroupChange[];
  /** Weights with zeros in them. */
  readonly zeros: readonly LayerSparsity[];
  /** Layers that were taken apart. */
  readonly ranks: readonly RankChange[];
  /** Residual blocks that were dropped. */
  readonly blocks: readonly DroppedBlock[];
  /** What recovery did; `null` without. */
  readonly recovery: RecoveryFigures | null;
  /** What was left alone, and why. */
  readonly skipped: readonly Skip[];
}
