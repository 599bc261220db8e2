import type { Graph, Model, Skip } from '@lithe/core';

/** Operators with weights that pruning is for. */
const layers: ReadonlySet<string> = new Set([
  'Conv',
  'ConvTranspose',
  'Gemm',
  'MatMul',
  'LSTM',
  'GRU',
  'RNN',
]);

function layersIn(graph: Graph): number {
  let count = 0;
  for (const node of graph.nodesDeep()) if (node.domain === '' && layers.has(node.opType)) count++;
  return count;
}

/** Local functions with layers in them, which passes do not look into. */
export function layersInFunctions(model: Model): readonly Skip[] {
  return model.functions.flatMap(({ name, graph }) => {
    const count = layersIn(graph);
    const reason = `it is a local function with ${count} layer${count === 1 ? '' : 's'}, which are not looked into: inline functions first`;
    return count === 0 ? [] : [{ target: name, code: 'in-function', reason }];
  });
}

/** Nodes with subgraphs that have layers in them. */
export function layersInSubgraphs(model: Model): readonly Skip[] {
  const skips: Skip[] = [];
  for (const node of model.graph.nodes()) {
    let count = 0;
    for (const [, graph] of node.subgraphs) count += layersIn(graph);
    if (count === 0) continue;
    const reason = `${node.opType} holds ${count} layer${count === 1 ? '' : 's'} in subgraphs, which are not looked into`;
    skips.push({ target: node.name, code: 'in-subgraph', reason });
  }
  return skips;
}
