import {
  constantOf,
  errors,
  type Graph,
  inferShapes,
  type Model,
  type Node,
  type Tensor,
  type Value,
} from '@lithe/core';
import { evaluateNode } from '@lithe/core/reference';

/**
 * Computes everything of a trained model that follows from constants and leads to a pair or to the weights of a layer:
 * folded weights and their integers, scales, zero points, int32 biases. What is left is what static quantization writes,
 * integers behind `DequantizeLinear`. Every number is one that the trained graph computes, operator by operator, so that
 * both give the same results bit for bit.
 *
 * @param model is not changed
 * @returns the model to ship
 * @throws {LitheError} OP_UNSUPPORTED when a constant cannot be computed here
 * @example
 * ```ts
 * import { mlp } from '@lithe/training';
 * import { finishQuantizationAware, quantizationAware } from '@lithe/quantization';
 *
 * const model = await mlp({ inputs: 8, hidden: [32], classes: 3 });
 * const aware = await quantizationAware(model, { activationBits: 'none' });
 * const small = await finishQuantizationAware(aware.model);
 * [...small.graph.nodes()].map(({ opType }) => opType).slice(0, 2); // => ['DequantizeLinear', 'Gemm']
 * ```
 */
export async function finishQuantizationAware(model: Model): Promise<Model> {
  const copy = model.clone();
  await finishInPlace(copy);
  return copy;
}

/** {@link finishQuantizationAware} on a draft. */
export async function finishInPlace(model: Model): Promise<void> {
  const { graph } = model;
  const known = new Map<Value, Tensor>();
  const wanted = constantParts(graph);
  for (const node of graph.nodes()) {
    if (!wanted.has(node)) continue;
    const inputs = await Promise.all(
      node.inputs.map(async (value) => (value === null ? null : (known.get(value) ?? (await load(value))))),
    );
    const results = evaluateNode(node, inputs);
    if (results === undefined)
      throw errors.opUnsupported(
        node.name,
        node.op,
        'Constant folding',
        'it cannot be computed from constants',
      );
    for (const [index, tensor] of results.entries()) known.set(node.output(index), tensor);
  }
  for (const node of [...graph.nodesReversed()]) {
    if (!wanted.has(node)) continue;
    for (const value of node.outputs) replaceByConstant(graph, value, known.get(value) as Tensor, wanted);
    if (node.outputs.every((value) => value.isUnused)) graph.remove(node);
  }
  removeUnused(graph);
  await inferShapes(model, { strict: false });
}

async function load(value: Value): Promise<Tensor> {
  const source = constantOf(value);
  if (source === undefined) throw errors.internal(`"${value.name}" is no constant`);
  return await source.load();
}

/** What constants are computed for: pairs, what holds activations to their levels, and layers. */
const readers: ReadonlySet<string> = new Set([
  'QuantizeLinear',
  'DequantizeLinear',
  'Min',
  'Max',
  'Conv',
  'ConvTranspose',
  'Gemm',
  'MatMul',
]);

/** Nodes that compute something from constants alone which a pair or a layer with weights reads. */
function constantParts(graph: Graph): ReadonlySet<Node> {
  const constant = new Set<Node>();
  const isConstant = (value: Value | null): boolean =>
    value === null ||
    constantOf(value) !== undefined ||
    (value.producer !== null && constant.has(value.producer));
  for (const node of graph.nodes()) {
    if (node.is('DequantizeLinear') || node.is('Constant') || node.subgraphs.length > 0) continue;
    if (node.inputs.length > 0 && node.inputs.every(isConstant)) constant.add(node);
  }
  const wanted = new Set<Node>();
  for (const node of graph.nodesReversed()) {
    if (!constant.has(node)) continue;
    const read = node.outputs.some((value) =>
      value.uses.some(
        (use) => wanted.has(use.node) || (readers.has(use.node.opType) && !constant.has(use.node)),
      ),
    );
    if (read) wanted.add(node);
  }
  return wanted;
}

/** Readers that stay read a constant of the value's name. */
function replaceByConstant(graph: Graph, value: Value, tensor: Tensor, folded: ReadonlySet<Node>): void {
  const { name } = value;
  const kept = value.uses.filter(({ node }) => !folded.has(node));
  if (kept.length === 0) return;
  const made = graph.addInitializer(graph.uniqueName(`${name}_value`), tensor);
  for (const { node, index } of kept) node.graph.setInput(node, index, made);
  if (!value.isUnused) return;
  graph.rename(value, graph.uniqueName(`${name}_before`));
  graph.rename(made, name);
}

/** Removes constants that nothing reads. */
function removeUnused(graph: Graph): void {
  for (const value of [...graph.initializers])
    if (value.isUnused && !value.isGraphInput) graph.removeValue(value);
}
