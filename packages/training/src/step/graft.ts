import {
  attribute,
  dtypes,
  errors,
  type Graph,
  inferNodeTypes,
  isFloat,
  type Node,
  type OpSet,
  type TensorSource,
  tensorType,
  type Value,
  type ValueType,
} from '@lithe/core';

/** Where a model's nodes are copied to. */
export interface GraftRequest {
  /** The model's graph: not changed. */
  readonly source: Graph;
  /** Takes the copies. */
  readonly target: Graph;
  /** Begins the names of copies. */
  readonly prefix: string;
  /** Operators that are known. */
  readonly opset: OpSet;
  /** Value of the target for an input of the source, by the input's name; brought to the float type of the input. */
  input(name: string): Value;
  /** Value of the target for a weight of the source, by its name; a constant where there is none. */
  weight?: ((name: string) => Value | undefined) | undefined;
  /**
   * Whether batch normalization goes by the statistics of the batch, as that of a model in training does. By default it
   * goes by its running statistics, which stay as they are in both cases.
   */
  readonly batchStatistics?: boolean | undefined;
}

/**
 * Copies what a value is computed from out of one graph into another, as constants and nodes; what was copied before
 * is used again. Weights are shared, not copied.
 *
 * @throws {LitheError} OP_UNSUPPORTED when a node with subgraphs is on the way
 */
export class Graft {
  readonly #request: GraftRequest;
  readonly #copies = new Map<Value, Value>();

  /** @param request from where, to where */
  constructor(request: GraftRequest) {
    this.#request = request;
  }

  /** The copy of a value of the source. */
  copy(value: Value): Value {
    const known = this.#copies.get(value);
    if (known !== undefined) return known;
    for (const node of ancestorsOf(value, this.#copies)) this.#copyNode(node);
    return this.#leafOrCopy(value);
  }

  #leafOrCopy(value: Value): Value {
    const known = this.#copies.get(value);
    if (known !== undefined) return known;
    const { initializer } = value;
    const copy = initializer === undefined ? this.#input(value) : this.#constant(value, initializer);
    this.#copies.set(value, copy);
    return copy;
  }

  #input({ name, dtype }: Value): Value {
    const { input, target, prefix } = this.#request;
    const found = input(name);
    const own = found.dtype;
    if (own === undefined || dtype === undefined || own === dtype || !isFloat(own) || !isFloat(dtype))
      return found;
    const cast = target.addNode(
      {
        opType: 'Cast',
        name: `${prefix}${name}`,
        inputs: [found],
        attributes: new Map([['to', attribute.int(dtypes[dtype].onnx)]]),
      },
      [{ name: target.uniqueName(`${prefix}${name}`), type: tensorType(dtype, found.shape) }],
    );
    return cast.output();
  }

  #constant(value: Value, source: TensorSource): Value {
    const { target, prefix, weight } = this.#request;
    return weight?.(value.name) ?? target.addInitializer(target.uniqueName(`${prefix}${value.name}`), source);
  }

  #copyNode(node: Node): void {
    const { target, prefix, opset, batchStatistics = false } = this.#request;
    if (node.subgraphs.length > 0) {
      throw errors.opUnsupported(
        node.name,
        node.op,
        'Training',
        'a model with subgraphs cannot join the training graph',
        'Record its outputs instead: recordTeacher of @lithe/distillation.',
      );
    }
    const attributes = new Map(node.attributes);
    // What joins has the form that was asked for, whatever its file says.
    if (node.is('BatchNormalization') && (batchStatistics || attributes.has('training_mode')))
      attributes.set('training_mode', attribute.int(batchStatistics ? 1 : 0));
    const copy = target.addNode(
      {
        opType: node.opType,
        domain: node.domain,
        overload: node.overload,
        name: `${prefix}${node.name}`,
        inputs: node.inputs.map((input) => (input === null ? null : this.#leafOrCopy(input))),
        attributes,
      },
      node.outputs.map((output) => ({
        name: target.uniqueName(`${prefix}${output.name}`),
        type: output.type,
      })),
    );
    // What is known of the student's inputs may say more than the teacher's own file.
    inferNodeTypes(copy, opset);
    node.outputs.forEach((output, index) => {
      const own = copy.output(index);
      own.type = better(own.type, output.type);
      this.#copies.set(output, own);
    });
  }
}

/** The nodes that a value is computed by, each behind those it reads, without those that `known` has already. */
function ancestorsOf(value: Value, known: ReadonlyMap<Value, Value>): readonly Node[] {
  const ordered: Node[] = [];
  const seen = new Set<Node>();
  const stack: { readonly node: Node; readonly entered: boolean }[] = [];
  const push = (item: Value | null): void => {
    if (item?.producer != null && !known.has(item) && !seen.has(item.producer))
      stack.push({ node: item.producer, entered: false });
  };
  push(value);
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    if (item.entered) ordered.push(item.node);
    else if (!seen.has(item.node)) {
      seen.add(item.node);
      stack.push({ node: item.node, entered: true });
      for (const input of item.node.inputs) push(input);
    }
  }
  return ordered;
}

/** What is known of a type from either side; sizes that have a name have it from the first. */
function better(own: ValueType | undefined, other: ValueType | undefined): ValueType | undefined {
  if (own?.kind !== 'tensor' || own.shape === undefined) return other ?? own;
  if (other?.kind !== 'tensor' || other.shape?.length !== own.shape.length) return own;
  const dims = own.shape.map((dim, axis) => {
    const known = other.shape?.[axis];
    return typeof dim !== 'number' && typeof known === 'number' ? known : dim;
  });
  return { ...own, shape: dims };
}
