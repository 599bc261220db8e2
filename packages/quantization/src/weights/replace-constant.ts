import type { Attribute, Graph, Node, OutputInit, TensorSource, Value } from '@lithe/core';

/** Adds what a constant is to be computed from, in the place where it stood. */
export interface ConstantBuilder {
  /** Adds an initializer under a unique name derived from `name`. */
  initializer(name: string, source: TensorSource): Value;
  /** Adds a node with one output. */
  node(opType: string, inputs: readonly Value[], options?: BuilderNodeOptions): Value;
}

/** Further parts of a node. */
export interface BuilderNodeOptions {
  /** Attributes by name. */
  readonly attributes?: Readonly<Record<string, Attribute>> | undefined;
  /** Type of the output. */
  readonly output?: OutputInit | undefined;
}

function placeOf(value: Value): Node | undefined {
  if (value.producer !== null) return value.producer;
  for (const node of value.graph.nodes()) return node;
  return undefined;
}

/**
 * Replaces a constant by what `build` makes of it, and removes it where nothing reads it any more.
 *
 * @param keeps says of a reader that it goes on reading the constant; none by default
 */
export function replaceConstant(
  value: Value,
  build: (builder: ConstantBuilder) => Value,
  keeps: (reader: Node) => boolean = () => false,
): void {
  const graph: Graph = value.graph;
  const before = placeOf(value);
  const replacement = build({
    initializer: (name, source) => graph.addInitializer(graph.uniqueName(name), source),
    node: (opType, inputs, options = {}) =>
      graph
        .addNode({ opType, inputs, attributes: options.attributes }, [options.output ?? {}], { before })
        .output(),
  });
  replacement.type ??= value.type;
  const kept = value.uses.filter(({ node }) => keeps(node));
  graph.replaceAllUses(value, replacement);
  for (const { node, index } of kept) node.graph.setInput(node, index, value);
  removeConstant(value);
}

/** Removes a constant that nothing reads any more; does nothing while it is read. */
export function removeConstant(value: Value): void {
  if (!value.isUnused) return;
  if (value.producer !== null) value.graph.remove(value.producer);
  else if (!value.isGraphInput) value.graph.removeValue(value);
}
