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

/** Replaces a constant by what `build` makes of it, for every reader, and removes it. */
export function replaceConstant(value: Value, build: (builder: ConstantBuilder) => Value): void {
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
  graph.replaceAllUses(value, replacement);
  removeConstant(value);
}

/** Removes a constant that nothing reads any more; does nothing while it is read. */
export function removeConstant(value: Value): void {
  if (!value.isUnused) return;
  if (value.producer !== null) value.graph.remove(value.producer);
  else if (!value.isGraphInput) value.graph.removeValue(value);
}
