import {
  type AttributeSpecs,
  type AttributesOf,
  defineTrait,
  type Node,
  type OpDef,
  type StandardOp,
  type Trait,
  type Value,
} from '@lithe/core';
import type { Emitter } from './emitter.ts';

/** What a gradient rule works with: one node of the forward graph and the gradients of its outputs. */
export interface GradientContext {
  /** The node. */
  readonly node: Node;
  /** Adds nodes to the gradient graph. */
  readonly emit: Emitter;
  /** Input `index`. Asking for one that is left out is a bug of the rule. */
  input(index: number): Value;
  /** Whether input `index` is there. */
  has(index: number): boolean;
  /** Output `index` of the node, computed in the forward part. */
  output(index?: number): Value;
  /** Gradient of the loss by output `index`; `null` when nothing that matters depends on it. */
  gradient(index: number): Value | null;
  /** Whether the gradient by input `index` is wanted. Work for others is wasted. */
  needs(index: number): boolean;
  /** The node's attributes, defaults applied. */
  attributes<S extends AttributeSpecs>(op: OpDef<string, S>): AttributesOf<S>;
  /** Stops: the rule cannot differentiate this node. */
  unsupported(reason: string): never;
  /**
   * Stops: the rule needs to know a size or rank that the model leaves open. The error says how to fix it.
   *
   * @param what what is not known, as in "the length of the sequence"
   */
  unknownSize(what: string): never;
}

/**
 * Gives the gradients of the loss by a node's inputs: one entry per input, `null` where it is zero or not wanted.
 * `gradient` is the gradient by output 0 (rules of operators with several outputs ask the context for the others).
 * A gradient may have the broadcast shape of the output: the caller sums it back to the input's shape.
 */
export type GradientRule = (context: GradientContext, gradient: Value) => readonly (Value | null)[];

/** The gradient of an operator, as a trait: third parties add entries with `gradient.of(op, rule)`. */
export const gradient: Trait<GradientRule> = defineTrait<GradientRule>('training/gradient');

/** Answers of a family of standard operators: a rule, or `'none'` where no useful gradient exists. */
export type GradientRules<Op extends StandardOp> = Readonly<Record<Op, GradientRule | 'none'>>;

/**
 * A rule for an operator that has a gradient but cannot be differentiated here: it stops with a reason.
 *
 * @param reason a clause that says why
 */
export function refuse(reason: string): GradientRule {
  return (context) => context.unsupported(reason);
}
