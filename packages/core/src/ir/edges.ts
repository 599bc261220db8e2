import type { Node } from './node.ts';
import { links, type Value, type ValueLinks } from './value.ts';

/** What a value is linked to: for the graph, which keeps both ends of each edge. */
export const linksOf = (value: Value): ValueLinks => links.get(value) as ValueLinks;

/** Notes that a node reads a value at an input. */
export function addUse(value: Value, node: Node, index: number): void {
  const { uses } = linksOf(value);
  const indices = uses.get(node);
  if (indices === undefined) uses.set(node, new Set([index]));
  else indices.add(index);
}

/** Takes {@link addUse} back. */
export function removeUse(value: Value, node: Node, index: number): void {
  const { uses } = linksOf(value);
  const indices = uses.get(node);
  indices?.delete(index);
  if (indices?.size === 0) uses.delete(node);
}
