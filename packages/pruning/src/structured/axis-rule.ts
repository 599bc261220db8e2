import {
  type Attribute,
  type AttributeSpecs,
  type AttributesOf,
  type Dim,
  defineTrait,
  type Node,
  type OpDef,
  type StandardOp,
  type Trait,
} from '@lithe/core';
import type { AxisView } from './axis-view.ts';

/** One axis of an input or output of a node. */
export interface AxisEnd {
  /** Whether it is an input or an output. */
  readonly side: 'input' | 'output';
  /** Which one. */
  readonly index: number;
  /** Which axis, counted from the front. */
  readonly axis: number;
  /** How its indices are numbered in the tie; each by itself by default. */
  readonly view?: AxisView | undefined;
}

/** Axes whose indices belong together: what has the same coordinate is kept or removed as one. */
export interface Tie {
  /** The axes. A single one may be cut freely, or only by whole coordinates where it has a view. */
  readonly ends: readonly AxisEnd[];
  /** Why removing a channel that is zero changes results all the same, as a clause: it counts in a mean, for instance. */
  readonly inexact?: string | undefined;
}

/** What a constant input of a node is for. */
export type WeightRole = 'weight' | 'bias' | 'scale' | 'statistic';

/** Indices of an axis that cannot be removed, though others can. */
export interface Pin {
  /** The axis. */
  readonly end: AxisEnd;
  /** The indices. */
  readonly indices: readonly number[];
  /** Why, as a clause. */
  readonly reason: string;
}

/** How the axes of one node hang together. An axis that nothing here names must stay as it is. */
export interface AxisFlow {
  /** What always belongs together. */
  readonly ties: readonly Tie[];
  /**
   * Where there is more than one way to cut, the ways, best first: a merged axis can lose whole blocks of one of its
   * factors, or one index out of each block.
   */
  readonly choices?: readonly (readonly Tie[])[] | undefined;
  /** Indices that cannot be removed. */
  readonly pins?: readonly Pin[] | undefined;
  /** Outputs whose channels a weight makes here: where groups start. */
  readonly starts?: readonly AxisEnd[] | undefined;
  /** What the constant inputs are for, by input. */
  readonly roles?: Readonly<Record<number, WeightRole>> | undefined;
  /** Why the axes that are not named must stay, as a clause. */
  readonly fixed?: string | undefined;
  /**
   * Whether sizes that the node is given are computed while the model runs and cannot be written anew: whether they
   * follow a cut is tried out before a group counts as prunable.
   */
  readonly isComputed?: boolean | undefined;
}

/** What an axis rule sees of a node. */
export interface AxisContext {
  /** The node. */
  readonly node: Node;
  /** Its attributes, defaults applied. */
  attributes<S extends AttributeSpecs>(op: OpDef<string, S>): AttributesOf<S>;
  /** Number of inputs in the node's list. */
  readonly inputCount: number;
  /** Number of outputs in the node's list. */
  readonly outputCount: number;
  /** Whether input `index` is there. */
  has(index: number): boolean;
  /** Whether output `index` is there. */
  gives(index: number): boolean;
  /** Dims of input `index`; `undefined` when the rank is not known. */
  shape(index: number): readonly Dim[] | undefined;
  /** Dims of output `index`; `undefined` when the rank is not known. */
  outputShape(index: number): readonly Dim[] | undefined;
  /** What is known of the elements of an input that carries sizes, row-major. */
  sizes(index: number): readonly Dim[] | undefined;
  /** The elements of an input, when it is a constant of whole numbers. */
  integers(index: number): readonly number[] | undefined;
  /** Whether input `index` depends on constants alone. */
  isStatic(index: number): boolean;
}

/** What a rule can do about a node whose axes were cut. Shapes are those before the cut. */
export interface AxisEdit extends AxisContext {
  /** The indices of an axis that are kept; `undefined` where nothing was removed. */
  kept(side: 'input' | 'output', index: number, axis: number): readonly number[] | undefined;
  /** Length of an axis after the cut; `undefined` when it is not a number. */
  lengthAfter(side: 'input' | 'output', index: number, axis: number): number | undefined;
  /** Makes an input a constant of whole numbers of its own: a vector, or of the given shape. */
  setIntegers(index: number, values: readonly number[], shape?: readonly number[]): void;
  /** Sets an attribute, or removes it (`undefined`). */
  setAttribute(name: string, value: Attribute | undefined): void;
}

/** What is known of how axes flow through an operator. */
export interface AxisRule {
  /** How the axes of a node hang together. */
  flow(context: AxisContext): AxisFlow;
  /** Brings what a node says about sizes (a reshape's target, a number of groups) in line with the cut. */
  rewrite?(edit: AxisEdit): void;
}

/** How axes flow through an operator, as a trait: third parties add entries with `axisFlow.of(op, rule)`. */
export const axisFlow: Trait<AxisRule> = defineTrait<AxisRule>('pruning/axis-flow');

/** Answers of a family of standard operators. */
export type AxisRules<Op extends StandardOp> = Readonly<Record<Op, AxisRule>>;

/** An axis of input `index`. */
export function inputAxis(index: number, axis: number, view?: AxisView): AxisEnd {
  return { side: 'input', index, axis, view };
}

/** An axis of output `index`. */
export function outputAxis(index: number, axis: number, view?: AxisView): AxisEnd {
  return { side: 'output', index, axis, view };
}

/** Ties axes together. */
export function tie(...ends: readonly AxisEnd[]): Tie {
  return { ends };
}

/**
 * A rule for an operator that nothing can be cut through.
 *
 * @param reason a clause that says why
 */
export function barrier(reason: string): AxisRule {
  return { flow: () => ({ ties: [], fixed: reason }) };
}
