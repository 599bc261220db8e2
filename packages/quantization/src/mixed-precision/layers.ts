import { constantOf, elementsOf, type Model, type Node, type Value } from '@lithe/core';

/** Nodes that get one format together: those that share a weight, or those that the caller groups. */
export interface PrecisionLayer {
  /** Name of its first node, or of the group. */
  readonly name: string;
  /** Names of its nodes, in order. */
  readonly nodes: readonly string[];
  /** Elements of its weights. */
  readonly elements: number;
}

/** Which nodes are layers. */
export interface LayerOptions {
  /** Weights with fewer elements make no layer. */
  readonly minimumElements: number;
  /** Name of the group that a node belongs to; nodes without one are layers by themselves. */
  readonly group?: ((node: Node) => string | undefined) | undefined;
}

/** The float32 weights of a node: constants of two axes or more. */
function weightsOf(node: Node, minimumElements: number): readonly Value[] {
  return node.inputs.filter((value): value is Value => {
    const source = value === null ? undefined : constantOf(value);
    return (
      source !== undefined &&
      source.dtype === 'float32' &&
      source.shape.length >= 2 &&
      elementsOf(source.shape) >= minimumElements
    );
  });
}

interface Gathering {
  readonly name: string;
  readonly nodes: string[];
  readonly weights: Set<Value>;
}

/**
 * The layers of a model, in order: every node with a float32 weight, subgraphs included. Nodes that share a weight are
 * one layer, since it is stored once; so are those of one group.
 */
export function weightedLayers(model: Model, options: LayerOptions): readonly PrecisionLayer[] {
  const byGroup = new Map<string, Gathering>();
  const byWeight = new Map<Value, Gathering>();
  const layers = new Set<Gathering>();
  for (const node of model.graph.nodesDeep()) {
    const weights = weightsOf(node, options.minimumElements);
    if (weights.length === 0) continue;
    // Nodes of different subgraphs may have one name, and are told apart by nothing else.
    const group = options.group?.(node) ?? node.name;
    const found = new Set<Gathering>();
    const grouped = byGroup.get(group);
    if (grouped !== undefined) found.add(grouped);
    for (const weight of weights) {
      const sharing = byWeight.get(weight);
      if (sharing !== undefined) found.add(sharing);
    }
    const [first, ...others] = found;
    const layer = first ?? { name: group, nodes: [], weights: new Set<Value>() };
    layers.add(layer);
    // A weight that two groups share makes them one.
    for (const other of others) {
      layer.nodes.push(...other.nodes);
      for (const weight of other.weights) layer.weights.add(weight);
      layers.delete(other);
      for (const [name, item] of byGroup) if (item === other) byGroup.set(name, layer);
    }
    layer.nodes.push(node.name);
    for (const weight of weights) layer.weights.add(weight);
    byGroup.set(group, layer);
    for (const weight of layer.weights) byWeight.set(weight, layer);
  }
  return [...layers].map(({ name, nodes, weights }) => ({
    name,
    nodes,
    elements: [...weights].reduce((sum, weight) => sum + elementsOf(constantOf(weight)?.shape ?? []), 0),
  }));
}

/** Bytes of a model's constants, each counted once: what a file of it takes, but for a few percent. */
export function constantBytes(model: Model): number {
  const sources = new Map<unknown, number>();
  const add = (value: Value): void => {
    const source = value.initializer ?? constantOf(value);
    if (source !== undefined) sources.set(source, source.byteLength);
  };
  for (const root of [model.graph, ...model.functions.map((item) => item.graph)]) {
    for (const value of root.initializers) add(value);
    for (const node of root.nodesDeep()) {
      if (node.is('Constant')) add(node.output());
      for (const [, inner] of node.subgraphs) for (const value of inner.initializers) add(value);
    }
  }
  let bytes = 0;
  for (const size of sources.values()) bytes += size;
  return bytes;
}
