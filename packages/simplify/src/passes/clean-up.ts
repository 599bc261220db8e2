import type { Attribute, Graph, Node, OpSet, ReportBuilder, Value } from '@lithe/core';

/** Removes nodes whose results nothing uses, initializers that nothing reads, and the names of optional outputs that nothing reads. */
export function removeDead(graph: Graph, opset: OpSet, report: ReportBuilder): void {
  for (const node of graph.nodesReversed()) {
    if (node.outputs.every((output) => output.isUnused)) {
      graph.remove(node);
      report.apply(`remove ${node.opType} "${node.name}", whose results nothing uses`);
      continue;
    }
    for (const [, inner] of node.subgraphs) removeDead(inner, opset, report);
    dropOutputs(node, opset, report);
  }
  for (const value of graph.initializers) {
    if (!value.isUnused || value.isGraphInput) continue;
    const { name } = value;
    graph.removeValue(value);
    report.apply(`remove initializer "${name}", which nothing reads`);
  }
}

/** Leaves out optional outputs that nothing reads: runtimes need not compute them. */
function dropOutputs(node: Node, opset: OpSet, report: ReportBuilder): void {
  const def = opset.of(node);
  if (def === undefined) return;
  for (const [index, output] of node.outputs.entries()) {
    const spec = def.outputs[index];
    if (spec?.optional !== true || spec.variadic !== undefined || !output.isUnused || output.name === '')
      continue;
    const { name } = output;
    node.graph.rename(output, '');
    report.apply(`leave out output "${name}" of ${node.opType} "${node.name}", which nothing reads`);
  }
}

/**
 * Merges nodes that compute the same from the same inputs.
 *
 * @param tiny contents of tiny constants: two that are equal count as the same input
 */
export function mergeDuplicates(
  graph: Graph,
  opset: OpSet,
  report: ReportBuilder,
  tiny: ReadonlyMap<Value, string>,
): void {
  const ids = new Map<object, number>();
  const idOf = (item: object): number => {
    const found = ids.get(item);
    if (found !== undefined) return found;
    ids.set(item, ids.size);
    return ids.size - 1;
  };
  const first = new Map<string, Node>();
  for (const node of graph.nodes()) {
    for (const [, inner] of node.subgraphs) mergeDuplicates(inner, opset, report, tiny);
    if (node.subgraphs.length > 0 || node.is('Constant') || opset.of(node)?.deterministic !== true) continue;
    const key = keyOf(node, idOf, tiny);
    if (key === undefined) continue;
    const other = first.get(key);
    if (other === undefined) {
      first.set(key, node);
      continue;
    }
    if (!node.outputs.every((output, index) => canStandIn(output, other.output(index)))) continue;
    node.outputs.forEach((output, index) => {
      graph.replaceAllUses(output, other.output(index));
    });
    graph.remove(node);
    report.apply(`merge ${node.opType} "${node.name}" into "${other.name}", which computes the same`);
  }
}

/** Whether the earlier value can take the place of the later one, under its name where that is an output. */
function canStandIn(later: Value, earlier: Value): boolean {
  if (later.outputOf.length === 0) return true;
  return later.outputOf.every((graph) => graph === later.graph) && earlier.outputOf.length === 0;
}

function keyOf(
  node: Node,
  idOf: (item: object) => number,
  tiny: ReadonlyMap<Value, string>,
): string | undefined {
  const parts = [node.op, node.overload, String(node.outputs.length)];
  for (const output of node.outputs) parts.push(output.name === '' ? '-' : '+');
  for (const input of node.inputs)
    parts.push(input === null ? '_' : (tiny.get(input) ?? String(idOf(input))));
  for (const name of [...node.attributes.keys()].sort()) {
    const text = attributeKey(node.attributes.get(name) as Attribute, idOf);
    if (text === undefined) return undefined;
    parts.push(`${name}=${text}`);
  }
  return parts.join('|');
}

/**
 * An attribute as a text that is equal for equal attributes; `undefined` for kinds that are not compared.
 *
 * @param idOf gives an object its number: tensors are compared by identity
 */
export function attributeKey(item: Attribute, idOf: (item: object) => number): string | undefined {
  switch (item.kind) {
    case 'int':
    case 'float':
    case 'string':
      return `${item.kind}:${Object.is(item.value, -0) ? '-0' : String(item.value).replaceAll('|', '||')}`;
    case 'ints':
    case 'floats':
    case 'strings':
      return `${item.kind}:${JSON.stringify(item.value.map((part) => (Object.is(part, -0) ? '-0' : String(part))))}`;
    case 'tensor':
      return `tensor:${idOf(item.value)}`;
    default:
      return undefined;
  }
}

/** About how many bytes a graph takes in a file: its constants, and names and overhead of its nodes. */
export function estimateBytes(graph: Graph): number {
  let bytes = 0;
  for (const value of graph.initializers)
    bytes += (value.initializer?.byteLength ?? 0) + value.name.length + 16;
  for (const node of graph.nodes()) {
    bytes += 12 + node.name.length + node.opType.length;
    for (const input of node.inputs) bytes += 2 + (input?.name.length ?? 0);
    for (const output of node.outputs) bytes += 2 + output.name.length;
    for (const [name, item] of node.attributes) {
      bytes += 8 + name.length;
      if (item.kind === 'ints' || item.kind === 'floats') bytes += 2 * item.value.length;
      if (item.kind === 'tensor') bytes += item.value.byteLength;
    }
    for (const [, inner] of node.subgraphs) bytes += estimateBytes(inner);
  }
  return bytes;
}
