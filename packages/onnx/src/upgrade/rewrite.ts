import { type Attribute, attribute, type DType, type Graph, type Node, Tensor, toFloat16Bits, toBfloat16Bits, type Value } from '@lithe/core';
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
  #node: Node;

  /**
   * @param node the node
   * @param types types known so far
   * @param constantNodes whether new constants must be nodes, as in functions
   */
  constructor(node: Node, types: TypeFlow, constantNodes: boolean) {
    this.#node = node;
    this.types = types;
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
    if (found !== undefined && found.kind !== 'int') throw new Blocked(`its attribute "${name}" is no integer`);
    return found?.value;
  }

  /** A number. */
  float(name: string): number | undefined {
    const found = this.#node.attributes.get(name);
    if (found !== undefined && found.kind !== 'float') throw new Blocked(`its attribute "${name}" is no number`);
    return found?.value;
  }

  /** A text. */
  string(name: string): string | undefined {
    const found = this.#node.attributes.get(name);
    if (found !== undefined && found.kind !== 'string') throw new Blocked(`its attribute "${name}" is no text`);
    return found?.value;
  }

  /** A list of integers. */
  ints(name: string): readonly bigint[] | undefined {
    const found = this.#node.attributes.get(name);
    if (found !== undefined && found.kind !== 'ints') throw new Blocked(`its attribute "${name}" is no list of integers`);
    return found?.value;
  }

  /** A list of numbers. */
  floats(name: string): readonly number[] | undefined {
    const found = this.#node.attributes.get(name);
    if (found !== undefined && found.kind !== 'floats') throw new Blocked(`its attribute "${name}" is no list of numbers`);
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
    if (like === null || dtype !== undefined) throw new Blocked(`a number of type ${dtype ?? 'unknown'} cannot be made`);
    const plain = this.constant(suffix, Tensor.from('float32', [], new Float32Array([value])));
    return this.before('CastLike', [plain, like]);
  }

  /** Adds a node in front of this one. */
  before(opType: string, inputs: readonly (Value | null)[], attributes: Readonly<Record<string, Attribute>> = {}): Value {
    const name = this.#node.name === '' ? undefined : `${this.#node.name}_${opType}`;
    return this.graph.addNode({ opType, inputs, attributes, name }, 1, { before: this.#node }).output();
  }

  /**
   * Puts another node in the place of this one, with the same outputs.
   *
   * @param attributes all of the new node's
   */
  become(opType: string, inputs: readonly (Value | null)[], attributes: ReadonlyMap<string, Attribute>, domain = ''): void {
    this.#node = replaceNode(this.#node, opType, domain, inputs, attributes, this.types);
  }
}

/** Puts a node of another operator in the place of `old`; the outputs keep names, types and readers. */
export function replaceNode(
  old: Node,
  opType: string,
  domain: string,
  inputs: readonly (Value | null)[],
  attributes: ReadonlyMap<string, Attribute>,
  types?: TypeFlow,
): Node {
  const { graph } = old;
  const outputs = old.outputs.map((value) => ({ name: value.name, type: value.type }));
  for (const value of old.outputs) if (value.name !== '') graph.rename(value, graph.uniqueName(`${value.name}_old`));
  const moved = new Map<string, Attribute>();
  for (const [name, item] of attributes) moved.set(name, item);
  const init = { opType, domain, name: old.name, docString: old.docString, inputs, attributes: moved };
  const node = graph.addNode(init, outputs, { before: old });
  for (const [key, value] of old.props) node.props.set(key, value);
  node.meta.copyFrom(old.meta);
  old.outputs.forEach((from, index) => {
    const to = node.output(index);
    to.docString = from.docString;
    for (const [key, value] of from.props) to.props.set(key, value);
    to.meta.copyFrom(from.meta);
    types?.copy(from, to);
    for (const use of from.uses) use.node.graph.setInput(use.node, use.index, to);
    for (const holder of from.outputOf) holder.setOutputs(holder.outputs.map((value) => (value === from ? to : value)));
  });
  // The new node took over the subgraphs; the old one must not take them apart when it goes.
  for (const name of [...old.attributes.keys()]) graph.setAttribute(old, name, undefined);
  graph.remove(old);
  return node;
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
