import { constantOf, type Node, Tensor, type Value } from '@lithe/core';

/** Where the division of activations went. */
export type ScalingPlace = 'normalization' | 'mul';

function divided(source: Tensor, factors: Float32Array): Tensor {
  const data = source.data as Float32Array;
  return Tensor.from(
    'float32',
    [factors.length],
    factors.map((factor, channel) => data[channel]! / factor),
  );
}

/** The constant vector of `length` elements that a value is. */
async function vectorOf(value: Value | null, length: number): Promise<Tensor | undefined> {
  const source = constantOf(value);
  if (source?.dtype !== 'float32' || source.shape.length !== 1 || source.shape[0] !== length)
    return undefined;
  return source.load();
}

/** Whether only these nodes read a value. */
function readOnlyBy(value: Value, readers: ReadonlySet<Node>): boolean {
  return (
    value.outputOf.length === 0 && value.uses.every(({ node, index }) => readers.has(node) && index === 0)
  );
}

/**
 * Divides a normalization's result by `factors` through its own scale and bias.
 *
 * @returns whether the value comes from one, and could be divided there
 */
async function divideNormalization(value: Value, factors: Float32Array): Promise<boolean> {
  const { producer: node } = value;
  if (node?.is('LayerNormalization') !== true) return false;
  const slots = [1, 2].filter((index) => node.input(index) !== null);
  const vectors = await Promise.all(slots.map((index) => vectorOf(node.input(index), factors.length)));
  if (vectors.includes(undefined)) return false;
  for (const [at, index] of slots.entries()) {
    const { graph } = node;
    const name = graph.uniqueName(`${node.input(index)?.name}_scaled`);
    graph.setInput(node, index, graph.addInitializer(name, divided(vectors[at] as Tensor, factors)));
  }
  return true;
}

/**
 * Divides what some products read by one factor per channel: in the normalization that makes it, when nothing else
 * reads that, and otherwise by a `Mul` before the products. The caller multiplies the products' weights.
 *
 * @param readers the products, in the order of the graph; input 0 of each is `value`
 */
export async function divideInput(
  value: Value,
  readers: readonly Node[],
  factors: Float32Array,
): Promise<ScalingPlace> {
  if (readOnlyBy(value, new Set(readers)) && (await divideNormalization(value, factors)))
    return 'normalization';
  const first = readers[0] as Node;
  const { graph } = first;
  const inverse = Tensor.from(
    'float32',
    [factors.length],
    factors.map((factor) => 1 / factor),
  );
  const constant = graph.addInitializer(graph.uniqueName(`${value.name}_factors`), inverse);
  const scaled = graph.addNode({ opType: 'Mul', inputs: [value, constant] }, 1, { before: first }).output();
  scaled.type = value.type;
  for (const node of readers) graph.setInput(node, 0, scaled);
  return 'mul';
}
