import { type DType, dtypes, type Graph, type Node, Tensor, tensorType, type Value } from '@lithe/core';
import type { ForwardContext } from '@lithe/training';

const wide: Partial<Record<DType, 'int8' | 'uint8'>> = { int4: 'int8', uint4: 'uint8' };

/**
 * Lets a training step hold the levels of 4 bits in bytes: the same levels and the same results, for what is quantized
 * is held to its range before. onnxruntime 1.30 gives the memory of a 4-bit tensor to tensors of bytes of the same shape,
 * which take twice as much, and so overwrites others (seen as losses of 1e-38).
 *
 * @param pairs names of what pairs of activations give
 */
export function holdLevelsInBytes(context: ForwardContext, pairs: readonly string[]): void {
  const { graph } = context;
  for (const name of pairs) clampPair(context, name);
  for (const value of [...graph.initializers]) {
    const dtype = wide[value.dtype ?? 'float32'];
    const { initializer } = value;
    if (dtype === undefined || !(initializer instanceof Tensor) || !isLevels(value)) continue;
    const { shape } = initializer;
    const levels = initializer.toFloat64Array();
    const bytes =
      dtype === 'int8'
        ? Tensor.from('int8', shape, Int8Array.from(levels))
        : Tensor.from('uint8', shape, Uint8Array.from(levels));
    const made = graph.addInitializer(graph.uniqueName(`${value.name}_byte`), bytes);
    for (const { node, index } of value.uses) graph.setInput(node, index, made);
    graph.removeValue(value);
  }
  widenResults(graph);
}

const isLevels = ({ uses }: Value): boolean =>
  uses.every(
    ({ node, index }) =>
      (node.is('QuantizeLinear') && index === 2) || (node.is('DequantizeLinear') && index !== 1),
  );

/** Types of what quantizers give, which follow those of their zero points. */
function widenResults(graph: Graph): void {
  for (const node of graph.nodes()) {
    const dtype = node.is('QuantizeLinear') ? wide[node.output().dtype ?? 'float32'] : undefined;
    if (dtype !== undefined) node.output().type = tensorType(dtype, node.output().shape);
  }
}

/** Holds what a pair of 4 bits quantizes to its range, with one scale for all: see `fewBitChannels` for why it had several. */
function clampPair({ graph, emit, value }: ForwardContext, name: string): void {
  const expand = value(name).producer as Node;
  const quantizer = expand.input(0)?.producer as Node;
  const dtype = quantizer.output().dtype ?? 'int8';
  if (wide[dtype] === undefined) return;
  const [low, high] = (dtypes[dtype].range ?? [0n, 0n]).map(Number) as [number, number];
  const spread = [quantizer.input(1) as Value, quantizer.input(2) as Value] as const;
  const scale =
    spread[0].producer?.is('Expand') === true ? (spread[0].producer.input(0) as Value) : spread[0];
  const zero = scale === spread[0] ? spread[1] : (spread[1].producer?.input(2) as Value);
  // A cast of four bits would be a tensor of them: the zero point is what 0 is quantized to, by a scale of 1.
  const level = emit.op('DequantizeLinear', [zero, emit.scalar(1)]);
  const end = (at: number): Value => emit.mul(emit.sub(emit.scalar(at), level), scale);
  const x = quantizer.input(0) as Value;
  const held = emit.op('Min', [emit.op('Max', [x, end(low)]), end(high)]);
  graph.setInputsOf(quantizer, [held, scale, zero]);
  graph.setInputsOf(expand, [quantizer.output(), scale, zero]);
  for (const left of spread) if (left.isUnused && left.producer !== null) graph.remove(left.producer);
}
