import { type Attribute, cloneGraph, type Graph, type Model, type Node, type Value } from '@lithe/core';

/** A float model and its quantized form in one graph, fed once. */
export interface JoinedModel {
  /** The graph with both. */
  readonly model: Model;
  /** The copy of a value of the float model. */
  float(value: Value): Value;
  /** The copy of a value of the quantized model. */
  quantized(value: Value): Value;
}

function copyAttributes(node: Node, graph: Graph, mapped: Map<Value, Value>): Map<string, Attribute> {
  const attributes = new Map<string, Attribute>();
  for (const [name, item] of node.attributes) {
    if (item.kind === 'graph')
      attributes.set(name, { kind: 'graph', value: cloneGraph(item.value, graph, mapped) });
    else if (item.kind === 'graphs')
      attributes.set(name, {
        kind: 'graphs',
        value: item.value.map((inner) => cloneGraph(inner, graph, mapped)),
      });
    else attributes.set(name, item);
  }
  return attributes;
}

/**
 * Joins two models that take the same inputs, so that one run computes both on the same samples and differences are
 * reduced to a few numbers inside the runtime. Outputs are to be set by the caller.
 */
export function joinModels(reference: Model, quantized: Model): JoinedModel {
  const model = reference.clone();
  const { graph } = model;
  for (const [domain, version] of quantized.opsetImports)
    if (!model.opsetImports.has(domain)) model.opsetImports.set(domain, version);
  const mapped = new Map<Value, Value>();
  for (const input of quantized.graph.inputs) {
    const same = graph.value(input.name);
    mapped.set(input, same ?? graph.addInput(input.name, input.type));
  }
  for (const value of quantized.graph.initializers) {
    if (mapped.has(value) || value.initializer === undefined) continue;
    mapped.set(value, graph.addInitializer(graph.uniqueName(`${value.name}_q`), value.initializer));
  }
  for (const node of quantized.graph.nodes()) {
    const copy = graph.addNode(
      {
        opType: node.opType,
        domain: node.domain,
        overload: node.overload,
        inputs: node.inputs.map((value) => (value === null ? null : (mapped.get(value) ?? value))),
        attributes: copyAttributes(node, graph, mapped),
      },
      node.outputs.map(({ name, type }) => ({
        name: name === '' ? '' : graph.uniqueName(`${name}_q`),
        type,
      })),
    );
    node.outputs.forEach((value, index) => {
      mapped.set(value, copy.output(index));
    });
  }
  return {
    model,
    float: (value) => graph.value(value.name) as Value,
    quantized: (value) => mapped.get(value) as Value,
  };
}
