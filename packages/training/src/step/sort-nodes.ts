import { errors, type Graph, type Node, type Value } from '@lithe/core';

/**
 * Brings the nodes of a graph into an order in which each stands behind what it reads, with as few changes as that
 * takes: for edits that add nodes at the end and let earlier ones read them. Linear in the size of the graph.
 *
 * @throws {LitheError} INTERNAL when nodes read each other in a circle
 */
export function sortNodes(graph: Graph): void {
  const nodes = [...graph.nodes()];
  const done = new Set<Node>();
  const open = new Set<Node>();
  const order: Node[] = [];
  for (const root of nodes) {
    const stack: Node[] = [root];
    for (let node = stack.at(-1); node !== undefined; node = stack.at(-1)) {
      if (done.has(node)) {
        stack.pop();
        continue;
      }
      if (open.has(node)) {
        stack.pop();
        done.add(node);
        order.push(node);
        continue;
      }
      open.add(node);
      for (const producer of producersOf(node, graph)) {
        if (done.has(producer)) continue;
        if (open.has(producer)) throw errors.internal(`node "${producer.name}" reads what it makes`);
        stack.push(producer);
      }
    }
  }
  if (order.every((node, index) => node === nodes[index])) return;
  for (const node of order) graph.move(node, {});
}

/** Nodes of `graph` whose results a node reads, also inside its subgraphs; the first input last, so that it is visited first. */
function producersOf(node: Node, graph: Graph): readonly Node[] {
  const read: (Value | null)[] = [...node.inputs];
  for (const [, inner] of node.subgraphs) {
    for (const item of inner.nodesDeep()) read.push(...item.inputs);
    read.push(...inner.outputs);
  }
  const found: Node[] = [];
  for (const value of read.reverse()) {
    const producer = value?.producer;
    if (producer !== null && producer !== undefined && producer.graph === graph && producer !== node)
      found.push(producer);
  }
  return found;
}
