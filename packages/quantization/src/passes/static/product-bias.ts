import { constantOf, type Graph, type Node, type Tensor, type TensorSource, type Value } from '@lithe/core';
import { removeConstant } from '../../weights/replace-constant.ts';

/** A product with a constant matrix whose only reader adds a constant vector. */
interface BiasedProduct {
  readonly node: Node;
  readonly add: Node;
  readonly bias: Value;
  readonly source: TensorSource;
}

function biasedProduct(node: Node): BiasedProduct | undefined {
  const weight = constantOf(node.input(1));
  if (!node.is('MatMul') || weight?.shape.length !== 2) return undefined;
  const result = node.output();
  const { uses } = result;
  const add = uses[0]?.node;
  if (
    add === undefined ||
    uses.length !== 1 ||
    result.outputOf.length > 0 ||
    !add.is('Add') ||
    add.graph !== node.graph
  )
    return undefined;
  const bias = add.input(1 - uses[0]!.index);
  const source = constantOf(bias);
  if (
    bias === null ||
    source?.dtype !== 'float32' ||
    source.shape.length !== 1 ||
    source.shape[0] !== weight.shape[1]
  )
    return undefined;
  return { node, add, bias, source };
}

/**
 * Brings products with a bias into the form that keeps its integer kernel. onnxruntime turns `MatMul` and `Add` into
 * `Gemm` with reshapes before it looks for Quantize/Dequantize pairs, and the `Gemm` it gets that way stays float. A
 * product of matrices becomes a `Gemm` of ours, with an integer bias; for inputs of more axes the bias is given the
 * shape `[1, 1, N]`, which that fusion does not take.
 *
 * @returns products of unknown rank, whose output must be quantized to keep `MatMul` and `Add` apart
 */
export function prepareProductBiases(graph: Graph): ReadonlySet<Node> {
  const unknown = new Set<Node>();
  for (const node of [...graph.nodes()]) {
    const found = biasedProduct(node);
    if (found === undefined) continue;
    const rank = node.input(0)?.shape?.length;
    if (rank === undefined || rank < 2) unknown.add(node);
    else if (rank === 2) toGemm(graph, found);
    else widenBias(graph, found);
  }
  return unknown;
}

function toGemm(graph: Graph, { node, add, bias }: BiasedProduct): void {
  const inputs = [node.input(0), node.input(1), bias];
  const gemm = graph.addNode({ opType: 'Gemm', inputs, name: node.name }, [{ type: add.output().type }], {
    before: add,
  });
  graph.replaceAllUses(add.output(), gemm.output());
  graph.remove(add);
  graph.remove(node);
}

function widenBias(graph: Graph, { add, bias, source }: BiasedProduct): void {
  const shape = [1, 1, ...source.shape];
  const wide: TensorSource = {
    dtype: source.dtype,
    shape,
    byteLength: source.byteLength,
    load: async (signal): Promise<Tensor> => (await source.load(signal)).reshape(shape),
  };
  const index = add.input(0) === bias ? 0 : 1;
  graph.setInput(add, index, graph.addInitializer(graph.uniqueName(`${bias.name}_wide`), wide));
  removeConstant(bias);
}
