import { type Attribute, type Graph, type Node, Tensor, type Value } from '@lithe/core';

/** Constants of up to this many bytes are compared by what they hold. */
const SMALL_BYTES = 256;

/** Operators whose results differ from run to run: two of them are not one. */
const random = new Set([
  'Bernoulli',
  'Multinomial',
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
]);

/**
 * Makes one node of nodes that compute the same from the same: gradient rules often need what the forward part computed
 * already. One walk over the graph.
 */
export function shareEqualNodes(graph: Graph): void {
  const numbers = new Map<Value, string>();
  const known = new Map<string, Node>();
  const numberOf = (value: Value | null): string => {
    if (value === null) return '';
    const found = numbers.get(value) ?? constantKey(value) ?? `v${numbers.size}`;
    numbers.set(value, found);
    return found;
  };
  for (const node of graph.nodes()) {
    const key = nodeKey(node, numberOf);
    if (key === undefined) continue;
    const first = known.get(key);
    if (first === undefined) known.set(key, node);
    else if (!node.outputs.some((output) => output.isGraphOutput)) {
      node.outputs.forEach((output, index) => {
        graph.replaceAllUses(output, first.output(index));
      });
      graph.remove(node);
    }
  }
}

function nodeKey(node: Node, numberOf: (value: Value | null) => string): string | undefined {
  if (node.subgraphs.length > 0 || random.has(node.opType) || node.constantSource() !== undefined)
    return undefined;
  const attributes: string[] = [];
  for (const [name, value] of node.attributes) {
    const text = attributeKey(value);
    if (text === undefined) return undefined;
    attributes.push(`${name}=${text}`);
  }
  const inputs = node.inputs.map(numberOf).join(',');
  return `${node.op}|${attributes.sort().join(';')}|${inputs}|${node.outputs.length}`;
}

function attributeKey(attribute: Attribute): string | undefined {
  switch (attribute.kind) {
    case 'int':
    case 'float':
    case 'string':
      return `${attribute.kind}:${attribute.value}`;
    case 'ints':
    case 'floats':
    case 'strings':
      return `${attribute.kind}:${attribute.value.join()}`;
    default:
      return undefined;
  }
}

function constantKey({ initializer }: Value): string | undefined {
  if (
    !(initializer instanceof Tensor) ||
    initializer.dtype === 'string' ||
    initializer.byteLength > SMALL_BYTES
  )
    return undefined;
  return `${initializer.dtype}[${initializer.shape.join()}]${initializer.bytes.join()}`;
}
