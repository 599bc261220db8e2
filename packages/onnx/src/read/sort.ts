import type { AttributeProto, GraphProto, NodeProto } from '../proto/onnx_pb.ts';

/**
 * The nodes of a graph in topological order, keeping the file's order where that is topological already. Names that
 * the nodes' subgraphs read from around them count as read by the node.
 *
 * @returns the order, or the name of an output on a cycle
 */
export function sortNodes(
  nodes: readonly NodeProto[],
): { readonly order: readonly NodeProto[] } | { readonly cycle: string } {
  const producers = new Map<string, number>();
  nodes.forEach((node, index) => {
    for (const output of node.output) if (output !== '') producers.set(output, index);
  });
  const needs = nodes.map((node) => {
    const indices: number[] = [];
    for (const name of namesRead(node)) {
      const index = producers.get(name);
      if (index !== undefined) indices.push(index);
    }
    return indices;
  });
  if (needs.every((indices, index) => indices.every((needed) => needed < index))) return { order: nodes };
  return depthFirst(nodes, needs);
}

/** Emits each node behind what it needs. Iterative: a chain may be as long as the graph. */
function depthFirst(
  nodes: readonly NodeProto[],
  needs: readonly (readonly number[])[],
): { readonly order: readonly NodeProto[] } | { readonly cycle: string } {
  const order: NodeProto[] = [];
  const state = new Uint8Array(nodes.length); // 0 not seen, 1 on the path, 2 emitted
  const next = new Uint32Array(nodes.length);
  const path: number[] = [];
  for (let root = 0; root < nodes.length; root++) {
    if (state[root] !== 0) continue;
    path.push(root);
    state[root] = 1;
    while (path.length > 0) {
      const index = path[path.length - 1] as number;
      const needed = (needs[index] as readonly number[])[next[index]!++];
      if (needed === undefined) {
        order.push(nodes[index] as NodeProto);
        state[index] = 2;
        path.pop();
      } else if (state[needed] === 1) {
        return { cycle: nodes[needed]?.output.find((name) => name !== '') ?? '' };
      } else if (state[needed] === 0) {
        state[needed] = 1;
        path.push(needed);
      }
    }
  }
  return { order };
}

/** The names a node reads: its inputs, and what its subgraphs take from around them. */
function namesRead(node: NodeProto): Iterable<string> {
  const subgraphs = subgraphsIn(node.attribute);
  if (subgraphs.length === 0) return node.input;
  const names = new Set(node.input);
  for (const graph of subgraphs) addCaptured(graph, names);
  return names;
}

function subgraphsIn(attributes: readonly AttributeProto[]): readonly GraphProto[] {
  const found: GraphProto[] = [];
  for (const attribute of attributes) {
    if (attribute.g !== undefined) found.push(attribute.g);
    if (attribute.graphs.length > 0) found.push(...attribute.graphs);
  }
  return found;
}

function addCaptured(graph: GraphProto, into: Set<string>): void {
  const own = new Set<string>();
  for (const input of graph.input) own.add(input.name);
  for (const tensor of graph.initializer) own.add(tensor.name);
  for (const sparse of graph.sparseInitializer) own.add(sparse.values?.name ?? '');
  for (const node of graph.node) for (const output of node.output) own.add(output);
  for (const node of graph.node) for (const name of namesRead(node)) if (!own.has(name)) into.add(name);
  for (const output of graph.output) if (!own.has(output.name)) into.add(output.name);
}
