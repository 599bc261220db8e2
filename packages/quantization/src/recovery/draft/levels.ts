import type { Model, Node, Value } from '@lithe/core';
import type { QuantizedLayer } from './quantized-layer.ts';

/**
 * Layers by how many layers lie before them on the longest way from an input: those of one level do not depend on each
 * other, and one run serves them all.
 */
export function layerLevels(
  quantized: Model,
  layers: readonly QuantizedLayer[],
): readonly (readonly QuantizedLayer[])[] {
  const byNode = new Map<Node, QuantizedLayer>(layers.map((layer) => [layer.node, layer]));
  const depths = new Map<Value, number>();
  const levels: QuantizedLayer[][] = [];
  for (const node of quantized.graph.nodes()) {
    let depth = 0;
    for (const value of readBy(node)) depth = Math.max(depth, depths.get(value) ?? 0);
    const layer = byNode.get(node);
    if (layer !== undefined) {
      while (levels.length <= depth) levels.push([]);
      levels[depth]?.push(layer);
      depth++;
    }
    for (const value of node.outputs) depths.set(value, depth);
  }
  return levels.filter((level) => level.length > 0);
}

/** What a node reads, its subgraphs included. */
function* readBy(node: Node): Iterable<Value> {
  for (const value of node.inputs) if (value !== null) yield value;
  for (const [, graph] of node.subgraphs) for (const inner of graph.nodes()) yield* readBy(inner);
}
