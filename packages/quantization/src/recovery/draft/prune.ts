import type { Graph, Value } from '@lithe/core';

/** Keeps only what some values are computed from: they become the outputs, and everything behind them goes. */
export function restrictTo(graph: Graph, outputs: readonly Value[]): void {
  graph.setOutputs(outputs);
  for (const node of graph.nodesReversed()) {
    if (node.outputs.every((value) => value.isUnused)) graph.remove(node);
  }
  for (const value of [...graph.initializers])
    if (value.isUnused && !value.isGraphInput) graph.removeValue(value);
}
