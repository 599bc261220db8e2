import { errors, invariant } from '../errors/catalogue.ts';
import type { TensorSource } from '../tensor/tensor.ts';
import { type Attribute, subgraphsOf } from './attribute.ts';
import { Meta } from './meta.ts';
import { Node, type NodeInit, type NodeLinks, nodeLinks } from './node.ts';
import { tensorType, type ValueType } from './types.ts';
import { links, Value, type ValueLinks } from './value.ts';

/** Counts edits, shared by a graph and its subgraphs. */
export interface Revision {
  /** Grows with every edit. */
  count: number;
}

/** Where a new node goes. */
export interface Placement {
  /** Before this node. */
  readonly before?: Node | undefined;
  /** After this node. At most one of the two; neither appends. */
  readonly after?: Node | undefined;
}

/** One output of a new node. */
export interface OutputInit {
  /** Name; made unique when left out. `''` leaves out an optional output. */
  readonly name?: string | undefined;
  /** What is known of its type. */
  readonly type?: ValueType | undefined;
}

const linksOf = (value: Value): ValueLinks => links.get(value) as ValueLinks;
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
  readonly #values = new Map<string, Value>();
  readonly #nextNumber = new Map<string, number>();
  #first: Node | null = null;
  #last: Node | null = null;
  #size = 0;

  /**
   * @param name graph name
   * @param parent the graph around it, for the subgraph of a node
   */
  constructor(name = 'main', parent: Graph | null = null) {
    this.name = name;
    this.parent = parent;
    this.revision = parent === null ? { count: 0 } : parent.revision;
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
    return this.#size;
  }

  /**
   * The nodes in order. The walk tolerates edits: a removed node is passed over, a node inserted behind the current
   * one is visited.
   */
  *nodes(): IterableIterator<Node> {
    let node = this.#first;
    while (node !== null) {
      const following: Node | null = nodeOf(node).next;
      yield node;
      // A node removed during the visit keeps its old neighbour; walk on to one that is still attached.
      let next: Node | null = nodeOf(node).attached ? nodeOf(node).next : following;
      while (next !== null && !nodeOf(next).attached) next = nodeOf(next).next;
      node = next;
    }
  }

  /** The nodes from last to first, with the same tolerance. */
  *nodesReversed(): IterableIterator<Node> {
    let node = this.#last;
    while (node !== null) {
      const preceding: Node | null = nodeOf(node).previous;
      yield node;
      let next: Node | null = nodeOf(node).attached ? nodeOf(node).previous : preceding;
      while (next !== null && !nodeOf(next).attached) next = nodeOf(next).previous;
      node = next;
    }
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

  /** A name that no value here or in a graph around has: `base`, or `base_1`, `base_2`, … */
  uniqueName(base: string): string {
    if (base !== '' && this.value(base, { outer: true }) === undefined) return base;
    const stem = base === '' ? 'value' : base;
    let number = this.#nextNumber.get(stem) ?? 1;
    while (this.value(`${stem}_${number}`, { outer: true }) !== undefined) number++;
    this.#nextNumber.set(stem, number + 1);
    return `${stem}_${number}`;
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

  /** Stops (or with a value that holds a constant, starts) listing `value` as a graph input. */
  setInputs(inputs: readonly Value[]): void {
    for (const value of inputs) {
      this.#own(value);
      if (value.producer !== null) throw errors.graphEditInvalid(`value "${value.name}" is made by a node`);
    }
    for (const value of this.#inputs) {
      if (!inputs.includes(value) && value.initializer === undefined && !value.isUnused) {
        throw errors.graphEditInvalid(`input "${value.name}" is still used`);
      }
    }
    const dropped = this.#inputs.filter(
      (value) => !inputs.includes(value) && value.initializer === undefined,
    );
    this.#inputs.splice(0, this.#inputs.length, ...inputs);
    this.#inputSet.clear();
    for (const value of inputs) this.#inputSet.add(value);
    for (const value of dropped) this.#values.delete(value.name);
    this.revision.count++;
  }

  /** Sets the outputs, in order. In a subgraph they may be values of a graph around it. */
  setOutputs(outputs: readonly Value[]): void {
    for (const value of outputs) this.#visible(value);
    for (const value of this.#outputs) linksOf(value).outputOf.delete(this);
    this.#outputs.splice(0, this.#outputs.length, ...outputs);
    for (const value of outputs) linksOf(value).outputOf.add(this);
    this.revision.count++;
  }

  /**
   * Adds a node.
   *
   * @param outputs one entry per output; a number makes that many with names derived from the node's
   * @param placement where it goes; at the end by default
   * @returns the node; its outputs are `node.output(i)`
   * @throws {LitheError} GRAPH_EDIT_INVALID when an output name is taken, or an input belongs to another graph
   */
  addNode(init: NodeInit, outputs: number | readonly OutputInit[] = 1, placement: Placement = {}): Node {
    const name = init.name ?? this.#nodeName(init.opType);
    const node = new Node(this, init, name);
    for (const input of init.inputs) if (input !== null) this.#visible(input);
    const attributes =
      init.attributes instanceof Map ? init.attributes : new Map(Object.entries(init.attributes ?? {}));
    const own: NodeLinks = {
      inputs: [...init.inputs],
      outputs: [],
      attributes: new Map(attributes as ReadonlyMap<string, Attribute>),
      previous: null,
      next: null,
      attached: true,
    };
    nodeLinks.set(node, own);
    const list: readonly OutputInit[] =
      typeof outputs === 'number' ? Array.from({ length: outputs }, () => ({})) : outputs;
    own.outputs = list.map((output, index) => {
      const derived = (): string =>
        this.uniqueName(list.length === 1 ? `${name}_output` : `${name}_output_${index}`);
      return this.#makeValue(output.name ?? derived(), output.type, node, index);
    });
    own.inputs.forEach((input, index) => {
      if (input !== null) addUse(input, node, index);
    });
    this.#link(node, placement);
    this.revision.count++;
    return node;
  }

  /**
   * Makes input `index` of `node` read `value`; the list grows with left-out inputs where needed.
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when the value is not visible from the node
   */
  setInput(node: Node, index: number, value: Value | null): void {
    invariant(node.graph === this, `node "${node.name}" belongs to another graph`);
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
    const { inputs } = nodeOf(node);
    for (let index = 0; index < values.length; index++)
      this.setInput(node, index, values[index] as Value | null);
    for (let index = values.length; index < inputs.length; index++) this.setInput(node, index, null);
    inputs.length = values.length;
  }

  /** Sets an attribute of a node, or removes it (`undefined`). */
  setAttribute(node: Node, name: string, value: Attribute | undefined): void {
    const { attributes } = nodeOf(node);
    if (value === undefined) attributes.delete(name);
    else {
      for (const graph of subgraphsOf(value)) {
        if (graph.parent !== this)
          throw errors.graphEditInvalid(`subgraph "${graph.name}" was not made for this graph`);
      }
      attributes.set(name, value);
    }
    this.revision.count++;
  }

  /**
   * Adds one more output to a node (a second result that was left out so far).
   *
   * @throws {LitheError} GRAPH_EDIT_INVALID when the name is taken
   */
  addOutputOf(node: Node, output: OutputInit = {}): Value {
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
   *   initializer, an output already, or of another graph); insert an `Identity` then
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
    for (const { node, index } of from.uses) node.graph.setInput(node, index, to);
    for (const graph of from.outputOf)
      graph.setOutputs(graph.outputs.map((value) => (value === from ? to : value)));
    if (isOutput) {
      from.graph.#swapNames(from, to);
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
    for (const [, graph] of node.subgraphs) graph.#clear();
    own.inputs.forEach((input, index) => {
      if (input !== null) removeUse(input, node, index);
    });
    for (const output of own.outputs) if (output.name !== '') this.#values.delete(output.name);
    if (own.previous === null) this.#first = own.next;
    else nodeOf(own.previous).next = own.next;
    if (own.next === null) this.#last = own.previous;
    else nodeOf(own.next).previous = own.previous;
    own.attached = false;
    this.#size--;
    this.revision.count++;
  }

  /** Moves a node to another place in the order. The caller keeps the order topological. */
  move(node: Node, placement: Placement): void {
    invariant(node.graph === this && nodeOf(node).attached, `node "${node.name}" is not in this graph`);
    const own = nodeOf(node);
    if (own.previous === null) this.#first = own.next;
    else nodeOf(own.previous).next = own.next;
    if (own.next === null) this.#last = own.previous;
    else nodeOf(own.next).previous = own.previous;
    this.#size--;
    this.#link(node, placement);
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
    if (this.#values.has(name)) throw errors.graphEditInvalid(`a value is already called "${name}"`);
    this.#values.delete(value.name);
    linksOf(value).name = name;
    if (name !== '') this.#values.set(name, value);
    this.revision.count++;
  }

  #swapNames(left: Value, right: Value): void {
    const leftName = left.name;
    const rightName = right.name;
    linksOf(left).name = rightName;
    linksOf(right).name = leftName;
    this.#values.set(rightName, left);
    this.#values.set(leftName, right);
  }

  #makeValue(name: string, type: ValueType | undefined, producer: Node | null, index: number): Value {
    if (name !== '' && this.#values.has(name))
      throw errors.graphEditInvalid(`a value is already called "${name}"`);
    const value = new Value(this, name, type, producer, index);
    if (name !== '') this.#values.set(name, value);
    this.revision.count++;
    return value;
  }

  /**
   * A name for a node that has none. Runtimes refuse a graph in which two nodes share a name, so numbering goes on
   * behind the nodes that are there (read from a file, or cloned); they are looked through once per operator.
   */
  #nodeName(opType: string): string {
    const stem = `node:${opType}`;
    let number = this.#nextNumber.get(stem);
    if (number === undefined) {
      number = 0;
      const prefix = `${opType}_`;
      for (const { name } of this.nodes()) {
        if (!name.startsWith(prefix)) continue;
        const digits = name.slice(prefix.length);
        if (/^\d{1,9}$/.test(digits)) number = Math.max(number, Number(digits) + 1);
      }
    }
    this.#nextNumber.set(stem, number + 1);
    return `${opType}_${number}`;
  }

  #own(value: Value): void {
    if (value.graph !== this) throw errors.graphEditInvalid(`value "${value.name}" belongs to another graph`);
  }

  #visible(value: Value): void {
    for (let graph: Graph | null = this; graph !== null; graph = graph.parent)
      if (value.graph === graph) return;
    throw errors.graphEditInvalid(`value "${value.name}" belongs to a graph that is not around this one`);
  }

  #link(node: Node, placement: Placement): void {
    const own = nodeOf(node);
    const { before, after } = placement;
    const previous =
      before !== undefined ? nodeOf(before).previous : after !== undefined ? after : this.#last;
    const next = before !== undefined ? before : after !== undefined ? nodeOf(after).next : null;
    own.previous = previous;
    own.next = next;
    if (previous === null) this.#first = node;
    else nodeOf(previous).next = node;
    if (next === null) this.#last = node;
    else nodeOf(next).previous = node;
    own.attached = true;
    this.#size++;
  }

  /** Takes a subgraph apart, so that values around it lose its uses. */
  #clear(): void {
    this.setOutputs([]);
    for (const node of this.nodesReversed()) {
      const own = nodeOf(node);
      for (const [, graph] of node.subgraphs) graph.#clear();
      own.inputs.forEach((input, index) => {
        if (input !== null) removeUse(input, node, index);
      });
      own.attached = false;
    }
  }
}

function addUse(value: Value, node: Node, index: number): void {
  const { uses } = linksOf(value);
  const indices = uses.get(node);
  if (indices === undefined) uses.set(node, new Set([index]));
  else indices.add(index);
}

function removeUse(value: Value, node: Node, index: number): void {
  const { uses } = linksOf(value);
  const indices = uses.get(node);
  indices?.delete(index);
  if (indices?.size === 0) uses.delete(node);
}

function canTakeOutputName(from: Value, to: Value): boolean {
  return from.graph === to.graph && to.producer !== null && !to.isGraphOutput;
}
