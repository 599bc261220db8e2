import type { Attribute } from './attribute.ts';
import { Graph } from './graph.ts';
import type { Meta } from './meta.ts';
import type { Node } from './node.ts';
import type { Value } from './value.ts';

/** Copies a graph's structure under `parent`; `mapped` holds the copies of values around it. Tensors are shared. */
export function cloneGraph(source: Graph, parent: Graph | null, mapped: Map<Value, Value> = new Map()): Graph {
  const graph = new Graph(source.name, parent);
  graph.docString = source.docString;
  for (const [key, value] of source.props) graph.props.set(key, value);
  copyMeta(source, graph);
  for (const input of source.inputs) {
    const copy = graph.addInput(input.name, input.type);
    if (input.initializer !== undefined) graph.setInitializer(copy, input.initializer);
    note(input, copy, mapped);
  }
  for (const value of source.initializers) {
    if (mapped.has(value) || value.initializer === undefined) continue;
    note(value, graph.addInitializer(value.name, value.initializer), mapped);
  }
  for (const node of source.nodes()) cloneNode(node, graph, mapped);
  graph.setOutputs(source.outputs.map((value) => mapped.get(value) ?? value));
  return graph;
}

function cloneNode(node: Node, graph: Graph, mapped: Map<Value, Value>): void {
  const attributes = new Map<string, Attribute>();
  for (const [name, value] of node.attributes) {
    if (value.kind === 'graph') attributes.set(name, { kind: 'graph', value: cloneGraph(value.value, graph, mapped) });
    else if (value.kind === 'graphs') {
      attributes.set(name, { kind: 'graphs', value: value.value.map((inner) => cloneGraph(inner, graph, mapped)) });
    } else attributes.set(name, value);
  }
  const copy = graph.addNode(
    {
      opType: node.opType,
      domain: node.domain,
      overload: node.overload,
      name: node.name,
      docString: node.docString,
      inputs: node.inputs.map((value) => (value === null ? null : (mapped.get(value) ?? value))),
      attributes,
    },
    node.outputs.map((output) => ({ name: output.name, type: output.type })),
  );
  for (const [key, value] of node.props) copy.props.set(key, value);
  copyMeta(node, copy);
  node.outputs.forEach((output, index) => {
    note(output, copy.output(index), mapped);
  });
}

function note(from: Value, to: Value, mapped: Map<Value, Value>): void {
  to.type = from.type;
  to.docString = from.docString;
  for (const [key, value] of from.props) to.props.set(key, value);
  copyMeta(from, to);
  mapped.set(from, to);
}

function copyMeta(from: { readonly meta: Meta }, to: { readonly meta: Meta }): void {
  to.meta.copyFrom(from.meta);
}
