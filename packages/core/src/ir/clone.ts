import type { Attribute } from './attribute.ts';
import { Graph } from './graph.ts';
import type { Meta } from './meta.ts';
import type { Node } from './node.ts';
import type { Value } from './value.ts';

/** What copying one graph and its subgraphs goes by. */
interface Copying {
  /** Copies by original. */
  readonly mapped: Map<Value, Value>;
  /** Graphs whose values get copies. */
  readonly sources: Set<Graph>;
  /** Edges to values that come later in the order, drawn at the end: a draft need not be sorted. */
  readonly later: (() => void)[];
}

/** Copies a graph's structure under `parent`; `mapped` holds the copies of values around it. Tensors are shared. */
export function cloneGraph(
  source: Graph,
  parent: Graph | null,
  mapped: Map<Value, Value> = new Map(),
): Graph {
  const copying: Copying = { mapped, sources: new Set(), later: [] };
  const graph = copyGraph(source, parent, copying);
  for (const draw of copying.later) draw();
  return graph;
}

function copyGraph(source: Graph, parent: Graph | null, copying: Copying): Graph {
  const { mapped, sources, later } = copying;
  const graph = new Graph(source.name, parent);
  sources.add(source);
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
  for (const node of source.nodes()) copyNode(node, graph, copying);
  const setOutputs = (): void => graph.setOutputs(source.outputs.map((value) => mapped.get(value) ?? value));
  if (source.outputs.some((value) => isLater(value, copying))) later.push(setOutputs);
  else setOutputs();
  return graph;
}

/** Whether a value will have a copy, but has none yet. */
function isLater(value: Value, { mapped, sources }: Copying): boolean {
  return sources.has(value.graph) && !mapped.has(value);
}

function copyNode(node: Node, graph: Graph, copying: Copying): void {
  const { mapped, later } = copying;
  const attributes = new Map<string, Attribute>();
  for (const [name, value] of node.attributes) {
    if (value.kind === 'graph')
      attributes.set(name, { kind: 'graph', value: copyGraph(value.value, graph, copying) });
    else if (value.kind === 'graphs') {
      attributes.set(name, {
        kind: 'graphs',
        value: value.value.map((inner) => copyGraph(inner, graph, copying)),
      });
    } else attributes.set(name, value);
  }
  const copy = graph.addNode(
    {
      opType: node.opType,
      domain: node.domain,
      overload: node.overload,
      name: node.name,
      docString: node.docString,
      inputs: node.inputs.map((value) =>
        value === null || isLater(value, copying) ? null : (mapped.get(value) ?? value),
      ),
      attributes,
    },
    node.outputs.map((output) => ({ name: output.name, type: output.type })),
  );
  node.inputs.forEach((value, index) => {
    if (value === null || !isLater(value, copying)) return;
    later.push(() => graph.setInput(copy, index, mapped.get(value) ?? null));
  });
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
