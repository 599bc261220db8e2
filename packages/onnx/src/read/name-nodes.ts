import type { Graph, Node } from '@lithe/core';
import { givenName } from '../extras.ts';

/**
 * Gives nodes that have no name one of their operator and a number, unique in the graph and its subgraphs: passes, their
 * options and their reports tell nodes by name, and files may leave names out. Such names are not written.
 */
export function nameNodes(graph: Graph): void {
  const taken = new Set<string>();
  const unnamed: Node[] = [];
  for (const node of graph.nodesDeep()) {
    if (node.name === '') unnamed.push(node);
    else taken.add(node.name);
  }
  const next = new Map<string, number>();
  for (const node of unnamed) {
    let number = next.get(node.opType) ?? 0;
    while (taken.has(`${node.opType}_${number}`)) number++;
    node.name = `${node.opType}_${number}`;
    node.meta.set(givenName, node.name);
    next.set(node.opType, number + 1);
  }
}
