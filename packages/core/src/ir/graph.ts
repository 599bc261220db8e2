import { errors, invariant } from '../errors/catalogue.ts';
import type { TensorSource } from '../tensor/tensor.ts';
import { type Attribute, subgraphsOf } from './attribute.ts';
import { addUse, linksOf, removeUse } from './edges.ts';
import { Meta } from './meta.ts';
import { NameTable } from './name-table.ts';
import { Node, type NodeInit, type NodeLinks, nodeLinks } from './node.ts';
import { NodeList, type Placement } from './node-list.ts';
import { NodeNames } from './node-names.ts';
import { tensorType, type ValueType } from './types.ts';
import { Value } from './value.ts';

/** Counts edits, shared by a graph and its subgraphs. */
export interface Revision {
  /** Grows with every edit. */
  count: number;
}

/** One output of a new node. */
export interface OutputInit {
  /** Name; made unique when left out. `''` leaves out an optional output. */
  readonly name?: string | undefined;
  /** What is known of its type. */
  readonly type?: ValueType | undefined;
}

/** The node that holds a subgraph: the last one that was given it. */
const holders = new WeakMap<Graph, Node>();

const nodeOf = (node: Node): NodeLinks => nodeLinks.get(node) as NodeLinks;

/**
 * A graph of nodes in topological order, with inputs, outputs and initializers. Every edit goes through a method
 * here, which keeps both ends of each edge; names are unique in the graph. Nodes of a subgraph may read values of
 * the graphs around it.
 */
export class Graph {
  /** Graph name, for files. */
  name: string;
  /** The graph around a subgraph; `null` for a top-level one. */
  readonly parent: Graph | null;
  /** A free text, saved to files. */
  docString: string | undefined;
  /** Metadata, saved to files. */
  readonly props: Map<string, string> = new Map();
  /** Notes in memory, not saved. */
  readonly meta: Meta = new Meta();
  /** Edit counter, shared with subgraphs. */
  readonly revision: Revision;
  readonly #inputs: Value[] = [];
  readonly #outputs: Value[] = [];
  readonly #inputSet = new Set<Value>();
  readonly #initializers = new Set<Value>();
  readonly #values: NameTable;
  readonly #nodeNames = new NodeNames();
  readonly #nodes = new NodeList();

  /**
   * @param name graph name
   * @param parent the graph around it, for the subgraph of a node
   */
  constructor(name = 'main', parent: Graph | null = null) {
    this.name = name;
    this.parent = parent;
    this.revision = parent === null ? { count: 0 } : parent.revision;
    this.#values = new NameTable(parent === null ? undefined : parent.#values);
  }

  /** Inputs, in order. */
  get inputs(): readonly Value[] {
    return this.#inputs;
  }

  /** Outputs, in order. One value may be listed twice, and in a subgraph may belong to a graph around it. */
  get outputs(): readonly Value[] {
    return this.#outputs;
  }

  /** Values that hold constants. */
  get initializers(): ReadonlySet<Value> {
    return this.#initializers;
  }

  /** Number of nodes, subgraphs not counted. */
  get nodeCount(): number {
    return this.#nodes.size;
  }

  /**
   * The nodes in order. The walk tolerates edits: a removed node is passed over, a node inserted behind the current
   * one is visited (also when the current one is removed afterwards), and where the current one is moved the walk
   * goes on from where it was.
   */
  nodes(): IterableIterator<Node> {
    return this.#nodes.walk('next');
  }

  /** The nodes from last to first, with the same tolerance. */
  nodesReversed(): IterableIterator<Node> {
    return this.#nodes.walk('previous');
  }

  /** All nodes, those of subgraphs behind the node that holds them. */
  *nodesDeep(): IterableIterator<Node> {
    for (const node of this.nodes()) {
      yield node;
      for (const [, graph] of node.subgraphs) yield* graph.nodesDeep();
    }
  }

  /** The values of this graph by name. */
  values(): IterableIterator<Value> {
    return this.#values.values();
  }

  /** The value of this name here, or with `outer` in the graphs around. */
  value(name: string, options: { readonly outer?: boolean } = {}): Value | undefined {
    const own = this.#values.get(name);
    if (own !== undefined || options.outer !== true) return own;
    return this.parent?.value(name, options);
  }

  /** Whether the value is an input of this graph. */
  isInput(value: Value): boolean {
    return this.#inputSet.has(value);
  }

  /** Whether the value is an output of this graph. */
  isOutput(value: Value): boolean {
    return linksOf(value).outputOf.has(this);
  }

  /** A name that no value here, in a graph around or in a subgraph has: `base`, or `base_1`, `base_2`, … */
  uniqueName(base: string): string {
    return this.#values.unique(base);
  }

  /**
   * Adds an input.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when the name is taken
   */
  addInput(name: string, type?: ValueType): Value {
    const value = this.#makeValue(name, type, null, 0);
    this.#inputs.push(value);
    this.#inputSet.add(value);
    return value;
  }

  /**
   * Adds an initializer: a constant under a name.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when the name is taken
   */
  addInitializer(name: string, source: TensorSource): Value {
    const value = this.#makeValue(name, tensorType(source.dtype, source.shape), null, 0);
    linksOf(value).initializer = source;
    this.#initializers.add(value);
    return value;
  }

  /**
   * Gives a value that no node makes a constant, or takes it away (`undefined`).
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when a node makes the value, or it belongs elsewhere
   */
  setInitializer(value: Value, source: TensorSource | undefined): void {
    this.#own(value);
    if (value.producer !== null) throw errors.graphEditInvalid(`value "${value.name}" is made by a node`);
    linksOf(value).initializer = source;
    if (source === undefined) this.#initializers.delete(value);
    else {
      this.#initializers.add(value);
      value.type = tensorType(source.dtype, source.shape);
    }
    this.revision.count++;
  }

  /**
   * Removes an input or initializer that nothing uses.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when it is still used, or made by a node
   */
  removeValue(value: Value): void {
    this.#own(value);
    if (value.producer !== null)
      throw errors.graphEditInvalid(`value "${value.name}" is made by a node; remove the node`);
    if (!value.isUnused) throw errors.graphEditInvalid(`value "${value.name}" is still used`);
    if (this.#inputSet.delete(value)) this.#inputs.splice(this.#inputs.indexOf(value), 1);
    this.#initializers.delete(value);
    this.#values.delete(value.name);
    this.revision.count++;
  }

  /**
   * Sets the inputs, in order. A value that holds a constant may start or stop being an input; one that does not is
   * removed from the graph when it stops.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when a value is listed twice, made by a node, of another graph or was
   *   removed, or one that stops being an input is still used
   */
  setInputs(inputs: readonly Value[]): void {
    const listed = new Set(inputs);
    if (listed.size < inputs.length) throw errors.graphEditInvalid('an input is listed twice');
    for (const value of inputs) {
      this.#own(value);
      if (value.producer !== null) throw errors.graphEditInvalid(`value "${value.name}" is made by a node`);
      if (this.#values.get(value.name) !== value) {
        throw errors.graphEditInvalid(`value "${value.name}" was removed from the graph`);
      }
    }
    const dropped = this.#inputs.filter((value) => !listed.has(value) && value.initializer === undefined);
    for (const value of dropped) {
      if (!value.isUnused) throw errors.graphEditInvalid(`input "${value.name}" is still used`);
    }
    replaceItems(this.#inputs, inputs);
    this.#inputSet.clear();
    for (const value of inputs) this.#inputSet.add(value);
    for (const value of dropped) this.#values.delete(value.name);
    this.revision.count++;
  }

  /** Sets the outputs, in order. In a subgraph they may be values of a graph around it. */
  setOutputs(outputs: readonly Value[]): void {
    for (const value of outputs) this.#visible(value);
    for (const value of this.#outputs) linksOf(value).outputOf.delete(this);
    replaceItems(this.#outputs, outputs);
    for (const value of outputs) linksOf(value).outputOf.add(this);
    this.revision.count++;
  }

  /**
   * Adds a node.
   *
   * @param outputs one entry per output; a number makes that many with names derived from the node's
   * @param placement where it goes; at the end by default
   * @returns the node; its outputs are `node.output(i)`
   * @throws {LitheError} GRAPH_EDIT_INVALID when an output name is taken, an input or the placement belongs to another
   *   graph, or a subgraph was made for another one; the graph is then as it was
   */
  addNode(init: NodeInit, outputs: number | readonly OutputInit[] = 1, placement: Placement = {}): Node {
    const list: readonly OutputInit[] =
      typeof outputs === 'number' ? Array.from({ length: outputs }, () => ({})) : outputs;
    const attributes: ReadonlyMap<string, Attribute> =
      init.attributes instanceof Map ? init.attributes : new Map(Object.entries(init.attributes ?? {}));
    // Everything that can be refused is, before anything changes.
    for (const input of init.inputs) if (input !== null) this.#visible(input);
    for (const value of attributes.values()) this.#checkSubgraphs(value);
    this.#checkPlacement(placement);
    this.#values.checkFree(list.map(({ name }) => name));
    const name = init.name ?? this.#nodeNames.make(init.opType, () => this.nodes());
    const node = new Node(this, init, name);
    const own: NodeLinks = {
      inputs: [...init.inputs],
      outputs: [],
      attributes: new Map(attributes),
      previous: null,
      next: null,
      attached: true,
      moves: 0,
    };
    nodeLinks.set(node, own);
    for (const value of attributes.values()) for (const graph of subgraphsOf(value)) holders.set(graph, node);
    own.outputs = list.map((output, index) => {
      const derived = (): string =>
        this.uniqueName(list.length === 1 ? `${name}_output` : `${name}_output_${index}`);
      return this.#makeValue(output.name ?? derived(), output.type, node, index);
    });
    own.inputs.forEach((input, index) => {
      if (input !== null) addUse(input, node, index);
    });
    this.#nodes.insert(node, placement);
    this.revision.count++;
    return node;
  }

  /**
   * Makes input `index` of `node` read `value`; the list grows with left-out inputs where needed.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when the value is not visible from the node, or the node was removed
   */
  setInput(node: Node, index: number, value: Value | null): void {
    this.#ownNode(node);
    if (value !== null) this.#visible(value);
    const { inputs } = nodeOf(node);
    while (inputs.length <= index) inputs.push(null);
    const before = inputs[index];
    if (before === value) return;
    if (before !== null && before !== undefined) removeUse(before, node, index);
    inputs[index] = value;
    if (value !== null) addUse(value, node, index);
    this.revision.count++;
  }

  /** Sets all inputs of a node. */
  setInputsOf(node: Node, values: readonly (Value | null)[]): void {
    this.#ownNode(node);
    for (const value of values) if (value !== null) this.#visible(value);
    const { inputs } = nodeOf(node);
    for (let index = 0; index < values.length; index++)
      this.setInput(node, index, values[index] as Value | null);
    for (let index = values.length; index < inputs.length; index++) this.setInput(node, index, null);
    if (inputs.length !== values.length) {
      inputs.length = values.length;
      this.revision.count++;
    }
  }

  /**
   * Sets an attribute of a node, or removes it (`undefined`). A subgraph that goes with it is taken apart.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when a subgraph was made for another graph, or the node was removed
   */
  setAttribute(node: Node, name: string, value: Attribute | undefined): void {
    this.#ownNode(node);
    const { attributes } = nodeOf(node);
    const before = attributes.get(name);
    if (value === undefined) attributes.delete(name);
    else {
      this.#checkSubgraphs(value);
      attributes.set(name, value);
      for (const graph of subgraphsOf(value)) holders.set(graph, node);
    }
    if (before !== undefined && subgraphsOf(before).length > 0) {
      const kept = new Set(node.subgraphs.map(([, graph]) => graph));
      for (const graph of subgraphsOf(before)) if (!kept.has(graph)) graph.#release(node);
    }
    this.revision.count++;
  }

  /**
   * Adds one more output to a node (a second result that was left out so far).
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when the name is taken
   */
  addOutputOf(node: Node, output: OutputInit = {}): Value {
    this.#ownNode(node);
    const { outputs } = nodeOf(node);
    const name = output.name ?? this.uniqueName(`${node.name}_output_${outputs.length}`);
    const value = this.#makeValue(name, output.type, node, outputs.length);
    outputs.push(value);
    this.revision.count++;
    return value;
  }

  /**
   * Makes every reader of `from` read `to`, those in subgraphs too, and graph outputs as well. An output of this graph
   * keeps its name: the names of the two values are swapped, so that the model's interface stays the same.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when a graph output cannot keep its name (`to` is an input, an
   *   initializer, an output already, or of another graph; insert an `Identity` then), or when `to` is not visible to
   *   every reader; the graph is then as it was
   */
  replaceAllUses(from: Value, to: Value): void {
    if (from === to) return;
    const isOutput = from.isGraphOutput;
    if (isOutput && !canTakeOutputName(from, to)) {
      throw errors.graphEditInvalid(
        `value "${to.name}" cannot stand in for the graph output "${from.name}"`,
        'Keep an Identity between the two.',
      );
    }
    const { uses } = from;
    for (const { node } of uses) node.graph.#visible(to);
    for (const graph of from.outputOf) graph.#visible(to);
    for (const { node, index } of uses) node.graph.setInput(node, index, to);
    for (const graph of from.outputOf)
      graph.setOutputs(graph.outputs.map((value) => (value === from ? to : value)));
    if (isOutput) {
      from.graph.#values.swap(from, to);
      to.type ??= from.type;
    }
  }

  /**
   * Removes a node whose outputs nothing uses.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID while an output is still used
   */
  remove(node: Node): void {
    const own = nodeOf(node);
    if (!own.attached) return;
    invariant(node.graph === this, `node "${node.name}" belongs to another graph`);
    for (const output of own.outputs) {
      if (!output.isUnused) {
        throw errors.graphEditInvalid(`output "${output.name}" of node "${node.name}" is still used`);
      }
    }
    for (const [, graph] of node.subgraphs) graph.#release(node);
    own.inputs.forEach((input, index) => {
      if (input !== null) removeUse(input, node, index);
    });
    for (const output of own.outputs) if (output.name !== '') this.#values.delete(output.name);
    this.#nodes.remove(node);
    this.revision.count++;
  }

  /**
   * Moves a node to another place in the order. The caller keeps the order topological.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when the node or the placement is not in this graph
   */
  move(node: Node, placement: Placement): void {
    this.#ownNode(node);
    this.#checkPlacement(placement);
    if (placement.before === node || placement.after === node) return;
    this.#nodes.move(node, placement);
    this.revision.count++;
  }

  /**
   * Renames a value.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when the name is taken
   */
  rename(value: Value, name: string): void {
    this.#own(value);
    if (value.name === name) return;
    this.#values.checkFree([name]);
    this.#values.delete(value.name);
    linksOf(value).name = name;
    if (name !== '') this.#values.set(name, value);
    this.revision.count++;
  }

  #checkSubgraphs(value: Attribute): void {
    for (const graph of subgraphsOf(value)) {
      if (graph.parent !== this)
        throw errors.graphEditInvalid(`subgraph "${graph.name}" was not made for this graph`);
    }
  }

  #checkPlacement({ before, after }: Placement): void {
    if (before !== undefined && after !== undefined) {
      throw errors.graphEditInvalid('a node goes before or after another one, not both');
    }
    const beside = before ?? after;
    if (beside !== undefined) this.#ownNode(beside);
  }

  #ownNode(node: Node): void {
    if (node.graph !== this) throw errors.graphEditInvalid(`node "${node.name}" belongs to another graph`);
    if (!nodeOf(node).attached)
      throw errors.graphEditInvalid(`node "${node.name}" was removed from the graph`);
  }

  #makeValue(name: string, type: ValueType | undefined, producer: Node | null, index: number): Value {
    this.#values.checkFree([name]);
    const value = new Value(this, name, type, producer, index);
    if (name !== '') this.#values.set(name, value);
    this.revision.count++;
    return value;
  }

  #own(value: Value): void {
    if (value.graph !== this) throw errors.graphEditInvalid(`value "${value.name}" belongs to another graph`);
  }

  #visible(value: Value): void {
    for (let graph: Graph | null = this; graph !== null; graph = graph.parent)
      if (value.graph === graph) return;
    throw errors.graphEditInvalid(`value "${value.name}" belongs to a graph that is not around this one`);
  }

  /**
   * Takes a subgraph apart, so that values around it lose its uses; unless another node holds it by now, because it was
   * handed on before `node` was removed.
   */
  #release(node: Node): void {
    if (holders.get(this) !== node) return;
    holders.delete(this);
    this.setOutputs([]);
    for (const inner of this.nodes()) {
      for (const [, graph] of inner.subgraphs) graph.#release(inner);
      inner.inputs.forEach((input, index) => {
        if (input !== null) removeUse(input, inner, index);
      });
    }
    this.#nodes.clear();
    this.#values.clear();
  }
}

/** Replaces the contents of a list; a spread would end in a stack overflow for very long ones. */
function replaceItems(list: Value[], items: readonly Value[]): void {
  const copy = [...items];
  list.length = 0;
  for (const item of copy) list.push(item);
}

function canTakeOutputName(from: Value, to: Value): boolean {
  return from.graph === to.graph && to.producer !== null && !to.isGraphOutput;
}
