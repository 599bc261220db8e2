import type { Node, Value } from '@lithe/core';
import type { FoldedLayer } from './emit-folded.ts';
import type { Step } from './emit-scales.ts';
import type { FoldedNorm } from './folded-norm.ts';

/** A range that follows the batches. */
export interface MovingRange {
  /** Its lower end. */
  readonly minimum: Value;
  /** Its upper end. */
  readonly maximum: Value;
  /** Values that it follows. */
  readonly roots: readonly Value[];
}

/** A layer with a folded normalization. */
export interface NormedLayer {
  /** The layer. */
  readonly node: Node;
  /** What it was folded from. */
  readonly norm: FoldedNorm;
  /** What it was folded to. */
  readonly folded: FoldedLayer;
}

/** A model under preparation: what its form while training is made from. */
export interface Prepared {
  /** Names of weights that learn. */
  readonly weights: readonly string[];
  /** Ranges that follow the batches. */
  readonly ranges: readonly MovingRange[];
  /** Scales that learn, with the mean magnitude of what they share a step with. */
  readonly steps: readonly { readonly step: Step; readonly magnitude: number }[];
  /** Layers with folded normalizations. */
  readonly norms: readonly NormedLayer[];
  /** Layers whose bias is rounded to int32, with the float bias. */
  readonly biases: readonly { readonly node: Node; readonly bias: Value }[];
  /** Pairs of activations: what goes in, what comes out. */
  readonly pairs: readonly { readonly input: Value; readonly output: Value }[];
  /** Values that no gradient flows back through. */
  readonly constants: readonly Value[];
}
