import { type MetaKey, type Model, metaKey, type Node } from '@lithe/core';

const originKey: MetaKey<number> = metaKey('quantization/origin');

/**
 * A copy of a model to compare with after it was quantized. Nodes of both get the same number, which stays with them,
 * so that {@link originsOf} finds each node of the copy again in the quantized model.
 */
export function cloneReference(model: Model): Model {
  let number = 0;
  for (const node of model.graph.nodes()) node.meta.set(originKey, number++);
  return model.clone();
}

/**
 * Finds the nodes of a reference in a quantized form of it: by the number that {@link cloneReference} gave, and for
 * models that were quantized elsewhere by operator and name, where that is unique.
 *
 * @returns nodes of the quantized model by node of the reference
 */
export function originsOf(reference: Model, quantized: Model): ReadonlyMap<Node, Node> {
  const byNumber = new Map<number, Node>();
  const byName = new Map<string, Node | undefined>();
  const label = (node: Node): string => `${node.op} ${node.name}`;
  for (const node of quantized.graph.nodes()) {
    const number = node.meta.get(originKey);
    if (number !== undefined) byNumber.set(number, node);
    const name = label(node);
    byName.set(name, byName.has(name) ? undefined : node);
  }
  const found = new Map<Node, Node>();
  for (const node of reference.graph.nodes()) {
    const number = node.meta.get(originKey);
    const match = (number === undefined ? undefined : byNumber.get(number)) ?? byName.get(label(node));
    if (match !== undefined && match.op === node.op) found.set(node, match);
  }
  return found;
}
