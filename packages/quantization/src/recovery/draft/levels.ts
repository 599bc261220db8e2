import type { Model, Node, Value } from '@lithe/core';

/**
 * Groups nodes by how many of them lie before each on the longest way from an input: those of one level do not depend
 * on each other, and one run serves them all.
 *
 * @param items by node
 */
export function levelsOf<T>(model: Model, items: ReadonlyMap<Node, T>): readonly (readonly T[])[] {
  const depths = new Map<Value, number>();
  const levels: T[][] = [];
  for (const node of model.graph.nodes()) {
    let depth = 0;
    for (const value of readBy(node)) depth = Math.max(depth, depths.get(value) ?? 0);
    const item = items.get(node);
    if (item !== undefined) {
      while (levels.length <= depth) levels.push([]);
      levels[depth]?.push(item);
      depth++;
    }
    for (const value of node.outputs) depths.set(value, depth);
  }
  return levels;
}

/** What a node reads, its subgraphs included. */
function* readBy(node: Node): Iterable<Value> {
  for (const value of node.inputs) if (value !== null) yield value;
  for (const [, graph] of node.subgraphs) for (const inner of graph.nodes()) yield* readBy(inner);
}
