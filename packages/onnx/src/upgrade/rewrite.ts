import {
  type Attribute,
  attribute,
  type DType,
  type Graph,
  type Node,
  type NodeInit,
  Tensor,
  toBfloat16Bits,
  toFloat16Bits,
  type Value,
} from '@lithe/core';
import type { TypeFlow } from './type-flow.ts';

/**
 * Why a node cannot be brought to a later opset; the end of a sentence. Thrown by the adapters to their caller, who
 * turns it into a note; it never reaches users.
 */
export class Blocked extends Error {}

/**
 * One node on its way to a later opset. Adapters read it, and replace or edit it through this; they decide before
 * they edit, so that a blocked node is untouched by the adapter that blocked it.
 */
export class Rewrite {
  /** Types known so far. */
  readonly types: TypeFlow;
  readonly #constantNodes: boolean;
  readonly #replacer: Replacer;
  #node: Node;

  /**
   * @param node the node
   * @param types types known so far
   * @param replacer puts other nodes in its place
   * @param constantNodes whether new constants must be nodes, as in functions
   */
  constructor(node: Node, types: TypeFlow, replacer: Replacer, constantNodes: boolean) {
    this.#node = node;
    this.types = types;
    this.#replacer = replacer;
    this.#constantNodes = constantNodes;
  }

  /** The node as it is now. */
  get node(): Node {
    return this.#node;
  }

  /** Its graph. */
  get graph(): Graph {
    return this.#node.graph;
  }

  /** An integer attribute. */
  int(name: string): bigint | undefined {
    const found = this.#node.attributes.get(name);
    if (found !== undefined && found.kind !== 'int')
      throw new Blocked(`its attribute "${name}" is no integer`);
    return found?.value;
  }

  /** A number. */
  float(name: string): number | undefined {
    const found = this.#node.attributes.get(name);
    if (found !== undefined && found.kind !== 'float')
      throw new Blocked(`its attribute "${name}" is no number`);
    return found?.value;
  }

  /** A text. */
  string(name: string): string | undefined {
    const found = this.#node.attributes.get(name);
    if (found !== undefined && found.kind !== 'string')
      throw new Blocked(`its attribute "${name}" is no text`);
    return found?.value;
  }

  /** A list of integers. */
  ints(name: string): readonly bigint[] | undefined {
    const found = this.#node.attributes.get(name);
    if (found !== undefined && found.kind !== 'ints')
      throw new Blocked(`its attribute "${name}" is no list of integers`);
    return found?.value;
  }

  /** A list of numbers. */
  floats(name: string): readonly number[] | undefined {
    const found = this.#node.attributes.get(name);
    if (found !== undefined && found.kind !== 'floats')
      throw new Blocked(`its attribute "${name}" is no list of numbers`);
    return found?.value;
  }

  /** Sets or removes an attribute. */
  set(name: string, value: Attribute | undefined): void {
    if (value === undefined && !this.#node.attributes.has(name)) return;
    this.graph.setAttribute(this.#node, name, value);
  }

  /** Sets all inputs; left-out ones at the end are dropped. */
  setInputs(inputs: readonly (Value | null)[]): void {
    let length = inputs.length;
    while (length > 0 && inputs[length - 1] === null) length--;
    this.graph.setInputsOf(this.#node, inputs.slice(0, length));
  }

  /** Appends an input. */
  addInput(value: Value): void {
    this.graph.setInput(this.#node, this.#node.inputs.length, value);
  }

  /** A new constant, named after the node. */
  constant(suffix: string, tensor: Tensor): Value {
    const first = this.#node.outputs.find((output) => output.name !== '')?.name ?? this.#node.name;
    const name = this.graph.uniqueName(`${first}_${suffix}`);
    if (!this.#constantNodes) return this.graph.addInitializer(name, tensor);
    const init = { opType: 'Constant', inputs: [], attributes: { value: attribute.tensor(tensor) } };
    return this.graph.addNode(init, [{ name }], { before: this.#node }).output();
  }

  /** A new constant list of int64. */
  int64s(suffix: string, values: readonly bigint[]): Value {
    return this.constant(suffix, Tensor.from('int64', [values.length], new BigInt64Array(values)));
  }

  /** A number that was an attribute, as a scalar of the dtype of `like`. */
  scalarLike(suffix: string, value: number, like: Value | null): Value {
    const dtype = like === null ? undefined : this.types.typeOf(like);
    const data = dtype === undefined ? undefined : scalarOf(dtype as DType, value);
    if (data !== undefined) return this.constant(suffix, data);
    if (like === null || dtype !== undefined)
      throw new Blocked(`a number of type ${dtype ?? 'unknown'} cannot be made`);
    const plain = this.constant(suffix, Tensor.from('float32', [], new Float32Array([value])));
    return this.before('CastLike', [plain, like]);
  }

  /** Adds a node in front of this one. */
  before(
    opType: string,
    inputs: readonly (Value | null)[],
    attributes: Readonly<Record<string, Attribute>> = {},
  ): Value {
    const name = this.#node.name === '' ? undefined : `${this.#node.name}_${opType}`;
    return this.graph.addNode({ opType, inputs, attributes, name }, 1, { before: this.#node }).output();
  }

  /**
   * Puts another node in the place of this one, with the same outputs.
   *
   * @param attributes all of the new node's
   */
  become(
    opType: string,
    inputs: readonly (Value | null)[],
    attributes: ReadonlyMap<string, Attribute>,
  ): void {
    this.#node = this.#replacer.replace(this.#node, { opType, inputs, attributes });
  }
}

/**
 * Puts nodes in the place of others. Outputs of graphs are moved all at once at the end, because moving one costs as
 * much as moving all.
 */
export class Replacer {
  readonly #types: TypeFlow;
  readonly #moved = new Map<Value, Value>();
  readonly #holders = new Set<Graph>();
  readonly #leftOver: Node[] = [];

  /** @param types types known so far */
  constructor(types: TypeFlow) {
    this.#types = types;
  }

  /** Puts a node of another operator in the place of `old`; the outputs keep names, types and readers. */
  replace(old: Node, init: Pick<NodeInit, 'opType' | 'domain' | 'inputs' | 'attributes'>): Node {
    const { graph } = old;
    const outputs = old.outputs.map((value) => ({ name: value.name, type: value.type }));
    for (const value of old.outputs) {
      if (value.name !== '') graph.rename(value, graph.uniqueName(`${value.name}_old`));
    }
    const attributes = init.attributes === old.attributes ? new Map(old.attributes) : init.attributes;
    const full = { ...init, attributes, name: old.name, overload: old.overload, docString: old.docString };
    const node = graph.addNode(full, outputs, { before: old });
    for (const [key, value] of old.props) node.props.set(key, value);
    node.meta.copyFrom(old.meta);
    old.outputs.forEach((from, index) => {
      this.#moveOutput(from, node.output(index));
    });
    // The new node took over the subgraphs; the old one must not take them apart when it goes.
    for (const name of [...old.attributes.keys()]) graph.setAttribute(old, name, undefined);
    if (old.outputs.every((value) => value.isUnused)) graph.remove(old);
    else this.#leftOver.push(old);
    return node;
  }

  #moveOutput(from: Value, to: Value): void {
    to.docString = from.docString;
    for (const [key, value] of from.props) to.props.set(key, value);
    to.meta.copyFrom(from.meta);
    this.#types.copy(from, to);
    for (const use of from.uses) use.node.graph.setInput(use.node, use.index, to);
    for (const holder of from.outputOf) this.#holders.add(holder);
    this.#moved.set(from, to);
  }

  /** Moves the outputs of graphs and removes the nodes that were replaced. */
  finish(): void {
    for (const graph of this.#holders) {
      graph.setOutputs(
        graph.outputs.map((value) => {
          let current = value;
          for (let next = this.#moved.get(current); next !== undefined; next = this.#moved.get(current))
            current = next;
          return current;
        }),
      );
    }
    for (const node of this.#leftOver.reverse()) node.graph.remove(node);
    this.#moved.clear();
    this.#holders.clear();
    this.#leftOver.length = 0;
  }
}

function scalarOf(dtype: DType, value: number): Tensor | undefined {
  switch (dtype) {
    case 'float32':
      return Tensor.from(dtype, [], new Float32Array([value]));
    case 'float64':
      return Tensor.from(dtype, [], new Float64Array([value]));
    case 'float16':
      return Tensor.from(dtype, [], new Uint16Array([toFloat16Bits(value)]));
    case 'bfloat16':
      return Tensor.from(dtype, [], new Uint16Array([toBfloat16Bits(value)]));
    default:
      return undefined;
  }
}
