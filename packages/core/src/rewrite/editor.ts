import { errors } from '../errors/catalogue.ts';
import type { Attribute } from '../ir/attribute.ts';
import type { Graph, OutputInit } from '../ir/graph.ts';
import type { Node, NodeInit } from '../ir/node.ts';
import { constantOf, type Value } from '../ir/value.ts';
import { Tensor, type TensorSource } from '../tensor/tensor.ts';
import type { RewriteContext } from './rule.ts';

/** Constants up to this many bytes are kept in memory while rules look at them. */
const SMALL_BYTES = 1024;

/** A use-count condition can only start to hold where few readers are left. */
const FEW_USES = 4;

/** The editing side of the engine: does the edits of rules and collects the nodes that they touch. */
export class Editor implements RewriteContext {
  graph: Graph;
  readonly signal: AbortSignal | undefined;
  /** Nodes touched since the engine last took them. */
  readonly touched: Set<Node> = new Set();
  readonly #loaded: WeakMap<TensorSource, Tensor> = new WeakMap();

  /** First outputs of inserted nodes that have no name of their own yet. */
  readonly #unnamed: WeakSet<Value> = new WeakSet();

  constructor(graph: Graph, signal: AbortSignal | undefined) {
    this.graph = graph;
    this.signal = signal;
  }

  /** Loads the small constants that a node reads, so that patterns can look at them. */
  async prepare(node: Node): Promise<void> {
    for (const input of node.inputs) {
      const source = constantOf(input);
      if (source === undefined || source instanceof Tensor || this.#loaded.has(source)) continue;
      if (source.byteLength <= SMALL_BYTES) this.#loaded.set(source, await source.load(this.signal));
    }
  }

  constant(value: Value | null | undefined): TensorSource | undefined {
    return constantOf(value);
  }

  small(value: Value | null | undefined): Tensor | undefined {
    const source = constantOf(value);
    return source === undefined ? undefined : this.#small(source);
  }

  async load(value: Value): Promise<Tensor> {
    const source = constantOf(value);
    if (source === undefined) throw errors.internal(`value "${value.name}" is not constant`);
    return this.#small(source) ?? (await source.load(this.signal));
  }

  addConstant(base: string, source: TensorSource): Value {
    return this.graph.addInitializer(this.graph.uniqueName(base), source);
  }

  insert(before: Node, init: NodeInit, outputs: number | readonly OutputInit[] = 1): Node {
    const node = this.graph.addNode(init, outputs, { before });
    this.touched.add(node);
    for (const input of node.inputs) this.#usesChanged(input);
    if (typeof outputs === 'number' || outputs[0]?.name === undefined) this.#unnamed.add(node.output());
    return node;
  }

  canReplace(from: Value, to: Value): boolean {
    if (from === to) return false;
    // A subgraph's outputs are bound by position, but they must be made inside it; the same test serves.
    if (from.outputOf.length === 0) return true;
    if (from.outputOf.some((graph) => graph !== from.graph)) return false;
    return from.graph === to.graph && to.producer !== null && to.outputOf.length === 0;
  }

  replace(from: Value, to: Value): void {
    for (const { node } of from.uses) this.touched.add(node);
    // A value made for this place takes over the name, so that people find it again.
    const inherits = this.#unnamed.delete(to) && !from.isGraphOutput && from.graph === to.graph;
    const { name } = from;
    from.graph.replaceAllUses(from, to);
    if (to.producer !== null) this.touched.add(to.producer);
    if (from.producer !== null) this.removeUnused(from.producer);
    else this.#dropInitializer(from);
    if (inherits && name !== '' && from.graph.value(name) === undefined) to.graph.rename(to, name);
  }

  setInput(node: Node, index: number, value: Value | null): void {
    const before = node.input(index);
    node.graph.setInput(node, index, value);
    this.touched.add(node);
    this.#usesChanged(value);
    if (before !== null && before !== value) this.#release(before);
  }

  setAttribute(node: Node, name: string, value: Attribute | undefined): void {
    node.graph.setAttribute(node, name, value);
    this.touched.add(node);
  }

  removeUnused(node: Node): void {
    // A stack, not recursion: a chain of dead nodes may be as long as the model.
    const stack = [node];
    for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
      if (!item.isAttached || item.outputs.some((output) => !output.isUnused)) continue;
      const read = new Set<Value>();
      for (const input of item.inputs) if (input !== null) read.add(input);
      for (const [, graph] of item.subgraphs) collectOuter(graph, read);
      item.graph.remove(item);
      this.touched.delete(item);
      for (const value of read) {
        if (value.producer !== null && value.isUnused) stack.push(value.producer);
        else this.#release(value);
      }
    }
  }

  revisit(node: Node): void {
    this.touched.add(node);
  }

  #release(value: Value): void {
    if (value.producer !== null) {
      if (value.isUnused) this.removeUnused(value.producer);
      else this.#usesChanged(value);
    } else this.#dropInitializer(value);
  }

  #usesChanged(value: Value | null): void {
    if (value !== null && value.producer !== null && value.useCount <= FEW_USES)
      this.touched.add(value.producer);
  }

  #dropInitializer(value: Value): void {
    if (value.initializer !== undefined && !value.isGraphInput && value.isUnused)
      value.graph.removeValue(value);
  }

  #small(source: TensorSource): Tensor | undefined {
    return source instanceof Tensor ? source : this.#loaded.get(source);
  }
}

/** Values of graphs around `graph` that its nodes read or that it hands on. */
function collectOuter(graph: Graph, into: Set<Value>): void {
  for (const node of graph.nodesDeep())
    for (const input of node.inputs) if (input !== null && input.graph !== node.graph) into.add(input);
  for (const output of graph.outputs) if (output.graph !== graph) into.add(output);
}
