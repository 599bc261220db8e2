import type { Attribute } from '../ir/attribute.ts';
import type { Graph, OutputInit } from '../ir/graph.ts';
import type { Node, NodeInit } from '../ir/node.ts';
import type { Value } from '../ir/value.ts';
import type { Tensor, TensorSource } from '../tensor/tensor.ts';
import { type Match, matchAt } from './match.ts';
import { anchorsOf, depthOf, type Pattern } from './pattern.ts';

/**
 * What a rule says: a clause when it changed the graph (`fold "bn1" into "conv1"`); a skip when it was meant for
 * this place and could not; `undefined` when the place is none of its business.
 */
export type RuleOutcome =
  | string
  | { readonly skip: { readonly code: string; readonly reason: string } }
  | undefined;

/** How a rule reads and edits the graph. All edits of a rule go through here: that is how the engine learns what to visit again. */
export interface RewriteContext {
  /** The graph of the node at hand: the main graph or a subgraph. */
  readonly graph: Graph;
  /** Cancellation. */
  readonly signal: AbortSignal | undefined;
  /** The constant a value always holds; does no input or output. */
  constant(value: Value | null | undefined): TensorSource | undefined;
  /** The contents of a constant of at most 1,024 bytes, or any that is in memory; `undefined` for others. */
  small(value: Value | null | undefined): Tensor | undefined;
  /** Loads a constant. Throws INTERNAL for a value that is none. */
  load(value: Value): Promise<Tensor>;
  /** Adds a constant to the graph at hand; `base` is made unique. */
  addConstant(base: string, source: TensorSource): Value;
  /** Adds a node before `before`. One output, with the type given, unless `outputs` says otherwise. */
  insert(before: Node, init: NodeInit, outputs?: number | readonly OutputInit[]): Node;
  /** Whether {@link replace} can put `to` in the place of `from`: an output of the graph must keep its name. */
  canReplace(from: Value, to: Value): boolean;
  /** Makes every reader of `from` read `to`, then removes what nothing uses any more. */
  replace(from: Value, to: Value): void;
  /** Makes an input of a node read another value; what nothing uses any more is removed. */
  setInput(node: Node, index: number, value: Value | null): void;
  /** Sets or removes (`undefined`) an attribute. */
  setAttribute(node: Node, name: string, value: Attribute | undefined): void;
  /** Removes a node if nothing uses it, and then what only it used. */
  removeUnused(node: Node): void;
  /** Has a node, and those that read it, visited again. */
  revisit(node: Node): void;
}

/** A rule of rewriting: data for {@link rewrite}. */
export interface RewriteRule {
  /** `namespace/name`. */
  readonly name: string;
  /** One sentence. */
  readonly summary: string;
  /** Operators at which it is tried, as `Node.op` prints them; `*` for every node. */
  readonly anchors: readonly string[];
  /** How many nodes above the anchor it looks: a change that far up makes the engine try it again. */
  readonly depth: number;
  /** Tries it at a node. */
  apply(node: Node, context: RewriteContext): RuleOutcome | Promise<RuleOutcome>;
}

/** How a rule with a pattern is defined. */
export interface PatternRuleInit<V extends string, N extends string> {
  /** `namespace/name`. */
  readonly name: string;
  /** One sentence. */
  readonly summary: string;
  /** What it looks for; the root is the node that comes last. */
  readonly pattern: Pattern<V, N>;
  /** Changes the graph. */
  apply(match: Match<V, N>, context: RewriteContext): RuleOutcome | Promise<RuleOutcome>;
}

/**
 * Defines a rule by a pattern.
 *
 * @example A rule of one's own, and its use
 * ```ts
 * import { attribute, defineRule, Graph, op, rewrite, scalar, tensorType, Tensor, value } from '@lithe/core';
 *
 * const halfOfDouble = defineRule({
 *   name: 'example/half-of-double',
 *   summary: '(x * 2) / 2 is x: both steps are exact in binary floating point, short of overflow.',
 *   pattern: op('Div', [op('Mul', [value('x'), scalar(2)]), scalar(2)]),
 *   apply(match, context) {
 *     if (!context.canReplace(match.root.output(), match.value('x'))) return undefined;
 *     context.replace(match.root.output(), match.value('x'));
 *     return 'take out a doubling and halving';
 *   },
 * });
 *
 * const graph = new Graph();
 * const x = graph.addInput('x', tensorType('float32', [4]));
 * const two = graph.addInitializer('two', Tensor.from('float32', [], new Float32Array([2])));
 * const twice = graph.addNode({ opType: 'Mul', inputs: [two, x] });
 * const same = graph.addNode({ opType: 'Div', inputs: [twice.output(), two] });
 * const result = graph.addNode({ opType: 'Relu', inputs: [same.output()] });
 * graph.setOutputs([result.output()]);
 *
 * const report = await rewrite(graph, [halfOfDouble]);
 * report.applied.length; // => 1
 * graph.nodeCount; // => 1
 * ```
 */
export function defineRule<V extends string, N extends string>(init: PatternRuleInit<V, N>): RewriteRule {
  const { name, summary, pattern } = init;
  return {
    name,
    summary,
    anchors: anchorsOf(pattern),
    depth: depthOf(pattern),
    apply(node, context) {
      const match = matchAt(pattern, node, (value) => context.small(value));
      return match === undefined ? undefined : init.apply(match, context);
    },
  };
}
