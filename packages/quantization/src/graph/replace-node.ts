import type { Attribute, Graph, Node, OutputInit, TensorSource, Value } from '@lithe/core';

/** How a node is added. */
export interface InsertOptions {
  /** Operator set; `ai.onnx` by default. */
  readonly domain?: string | undefined;
  /** Attributes by name. */
  readonly attributes?: Readonly<Record<string, Attribute>> | ReadonlyMap<string, Attribute> | undefined;
  /** Node name. */
  readonly name?: string | undefined;
  /** Outputs; one by default. */
  readonly outputs?: readonly OutputInit[] | undefined;
}

/** Adds nodes in one place of a graph. */
export interface Inserter {
  /** The graph. */
  readonly graph: Graph;
  /** Adds a node there and gives its outputs. */
  node(opType: string, inputs: readonly (Value | null)[], options?: InsertOptions): readonly Value[];
  /** Adds an initializer under a unique name derived from `name`. */
  initializer(name: string, source: TensorSource): Value;
}

/** Adds nodes before `before`, or at the end of the graph. */
export function inserter(graph: Graph, before: Node | undefined): Inserter {
  return {
    graph,
    node: (opType, inputs, options = {}) => {
      const { domain, attributes, name, outputs } = options;
      const placement = before === undefined ? {} : { before };
      return graph.addNode({ opType, domain, inputs, attributes, name }, outputs ?? 1, placement).outputs;
    },
    initializer: (name, source) => graph.addInitializer(graph.uniqueName(name), source),
  };
}

/** Puts the value that `build` makes, in the place of a node's only output, and removes the node. */
export function replaceNode(node: Node, build: (insert: Inserter) => Value): void {
  const { graph } = node;
  const replacement = build(inserter(graph, node));
  replacement.type ??= node.output().type;
  graph.replaceAllUses(node.output(), replacement);
  graph.remove(node);
}
