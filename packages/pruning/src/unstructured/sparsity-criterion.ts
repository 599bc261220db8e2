import type { InputStatistics } from './input-statistics.ts';
import type { ParsedPattern } from './pattern.ts';
import type { SparseLayer } from './sparse-layer.ts';

/** Which weights compete: those of a row (one output), of a layer, or of all layers. */
export type SparsityScope = 'row' | 'local' | 'global';

/** A weight as a criterion sees it. */
export interface ScoredWeight {
  /** Where it is from, and its form. */
  readonly layer: SparseLayer;
  /** Elements, `[outputs, inputs]` row-major. Not to be written. */
  readonly matrix: Float32Array;
  /** What it is multiplied with, as far as the criterion needs it. */
  readonly statistics: InputStatistics | undefined;
  /** Cancellation. */
  readonly signal: AbortSignal;
}

/** Weights of an algorithm that changes those that stay. */
export interface SolvedWeight {
  /** New elements, `[outputs, inputs]`. */
  readonly matrix: Float32Array;
  /** `tr(D H D')` of this result and of removing the smallest weights, as the criterion counts them. */
  readonly error: {
    /** Of this result. */
    readonly own: number;
    /** Of removing the smallest weights. */
    readonly magnitude: number;
  };
  /** What the user should know, as full sentences. */
  readonly notes: readonly string[];
}

/** What is wanted of a weight. */
export interface SparsityRequest {
  /** Where zeros may lie. */
  readonly pattern: ParsedPattern;
  /** Share of zeros; N:M patterns say it themselves. */
  readonly ratio: number;
}

/** Says which single weights matter: a value, so third parties write their own. */
export interface SparsityCriterion {
  /** Name, for reports. */
  readonly name: string;
  /** What it needs of the calibration data: nothing, the squares of inputs, or their products as well. */
  readonly needs: 'weights' | 'input-squares' | 'input-products';
  /** Which weights compete where the user does not say. */
  readonly scope: SparsityScope;
  /** Whether each layer is calibrated on what the layers before it give once they are sparse. */
  readonly sequential?: boolean | undefined;
  /** Whether it says anything about a weight, by name; about all by default. Others are left alone. */
  covers?(weight: string): boolean;
  /** Says how much each element matters, `[outputs, inputs]`: the smallest go first. */
  score?(weight: ScoredWeight): Float32Array;
  /** Chooses zeros and moves the other weights, instead of scoring. */
  solve?(weight: ScoredWeight, request: SparsityRequest): Promise<SolvedWeight>;
}
