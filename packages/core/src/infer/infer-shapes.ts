import type { Graph } from '../ir/graph.ts';
import type { Model } from '../ir/model.ts';
import { standardOps } from '../ops/standard-ops.ts';
import type { Tensor, TensorSource } from '../tensor/tensor.ts';
import type { InferOptions, InferReport } from './infer-report.ts';
import { isSmall } from './known-values.ts';
import { Walk } from './walk.ts';

/**
 * Infers the types of all values of a model and sets them in place: dtype, rank, and dims as numbers or expressions
 * over the symbols of its inputs. Sizes are followed through `Shape`, `Concat`, `Reshape` and their like, and
 * through subgraphs and local functions. Equal symbols mean equal sizes; a size that depends on data gets a symbol
 * of its own. The types of graph inputs stay as they are. Cost is linear in the size of the model; no tensor of more
 * than 4,096 elements is loaded or made.
 *
 * @throws {LitheError} SHAPE_MISMATCH or ATTRIBUTE_INVALID when a node contradicts its operator, unless `strict` is
 *   false; MODEL_INVALID when local functions call each other in a circle; LIMIT_EXCEEDED when subgraphs or function
 *   calls are nested absurdly
 */
export async function inferShapes(model: Model, options: InferOptions = {}): Promise<InferReport> {
  const opset = options.opset ?? standardOps;
  const constants = await loadConstants(
    [model.graph, ...model.functions.map((item) => item.graph)],
    options.signal,
  );
  const walk = new Walk(model, opset, constants, options);
  walk.graph(model.graph, [], undefined, 0);
  return walk.finish(model.graph);
}

/** Loads the constants that rules may look at. */
async function loadConstants(
  graphs: readonly Graph[],
  signal: AbortSignal | undefined,
): Promise<Map<TensorSource, Tensor>> {
  const loaded = new Map<TensorSource, Tensor>();
  const load = async (source: TensorSource | undefined): Promise<void> => {
    if (source !== undefined && !loaded.has(source) && isSmall(source))
      loaded.set(source, await source.load(signal));
  };
  const visit = async (graph: Graph): Promise<void> => {
    for (const value of graph.initializers) await load(value.initializer);
    for (const node of graph.nodes()) {
      for (const item of node.attributes.values()) if (item.kind === 'tensor') await load(item.value);
      for (const [, inner] of node.subgraphs) await visit(inner);
    }
  };
  for (const graph of graphs) await visit(graph);
  return loaded;
}
