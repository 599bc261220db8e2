import { constantOf, type Graph, type Model, type Node, type Skip } from '@lithe/core';

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

/** Those whose weights are cut with their channels, and not looked at one by one. */
const wholeOnly: ReadonlySet<string> = new Set(['ConvTranspose', 'LSTM', 'GRU', 'RNN']);

/**
 * Why a layer with weights is left out by what works on single weights, rank, or least squares; `undefined` for the
 * operators that those treat, and for what is no layer.
 */
export function layerLeftOut(node: Node): Skip | undefined {
  const { domain, opType, name } = node;
  if (domain !== '' || !wholeOnly.has(opType) || constantOf(node.input(1)) === undefined) return undefined;
  return { target: name, code: 'operator', reason: `weights of ${opType} are left as they are` };
}

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
