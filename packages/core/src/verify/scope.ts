import type { Graph } from '../ir/graph.ts';
import type { Model } from '../ir/model.ts';
import type { Node } from '../ir/node.ts';
import type { Value } from '../ir/value.ts';
import type { OpSet } from '../op/op-set.ts';

/** What the rules share during one walk over a model. */
export interface Scope {
  /** The model. */
  readonly model: Model;
  /** Operators that are known; without them schemas are not checked. */
  readonly opset: OpSet | undefined;
  /** Opset imports that hold for the graph being walked: the model's, or those of a function. */
  readonly imports: ReadonlyMap<string, number>;
  /** Keys `domain:name` of the model's functions. */
  readonly functions: ReadonlySet<string>;
  /** Whether the walk is inside a function, where attributes may refer to its parameters. */
  readonly inFunction: boolean;
  /** Values that exist at this point of the walk: inputs, initializers, outputs of the nodes passed. */
  readonly defined: Set<Value>;
  /** Input slots seen so far, by value. */
  readonly slots: Map<Value, number>;
  /** Graphs that list a value among their outputs. */
  readonly handedOut: Map<Value, Set<Graph>>;
  /** Nodes passed so far. */
  readonly seen: Set<Node>;
  /** Adds a diagnostic. */
  report(problem: string): void;
}

/** One rule, as the parts of the walk that it looks at. */
export interface VerifyRule {
  /** Name, for reading the table. */
  readonly name: string;
  /** Called when the walk enters a graph, before its nodes. */
  enter?(graph: Graph, scope: Scope): void;
  /** Called for each node in order, before its subgraphs are walked and its outputs count as defined. */
  node?(node: Node, scope: Scope): void;
  /** Called when the walk leaves a graph, after its nodes. */
  leave?(graph: Graph, scope: Scope): void;
  /** Called once for every value, after the whole model was walked. */
  value?(value: Value, scope: Scope): void;
}

/** Names a node for a diagnostic: `Node "conv1" (Conv)`. */
export function nodeLabel(node: Node): string {
  return `Node "${node.name}" (${node.op})`;
}

/** Names a value for a diagnostic. */
export function valueLabel(value: Value): string {
  return value.name === ''
    ? `output ${value.outputIndex} of node "${value.producer?.name ?? '?'}"`
    : `value "${value.name}"`;
}

/** The same at the start of a sentence. */
export function valueSubject(value: Value): string {
  const label = valueLabel(value);
  return label.charAt(0).toUpperCase() + label.slice(1);
}
