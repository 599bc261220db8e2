import { type Graph, isFloat } from '@lithe/core';

/** Turns `Constant` nodes that hold float tensors into initializers: many exporters keep all weights in them. */
export function promoteConstants(graph: Graph): void {
  for (const node of graph.nodes()) {
    const source = node.constantSource();
    if (source === undefined || !isFloat(source.dtype)) continue;
    const output = node.output();
    if (output.isGraphOutput) continue;
    const { name } = output;
    graph.rename(output, graph.uniqueName(`${name}_constant`));
    graph.replaceAllUses(output, graph.addInitializer(name, source));
    graph.remove(node);
  }
}
