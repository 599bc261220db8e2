import {
  attribute,
  type DType,
  dtypes,
  type Graph,
  inferNodeTypes,
  isStaticShape,
  type OpSet,
  Tensor,
  type TensorSource,
  tensorType,
  type Value,
} from '@lithe/core';
import { type EmitAttributes, toAttribute } from './emit-attributes.ts';
import { floatTensor, sameDims, scalarTensor } from './tensors.ts';

export type { EmitAttributes } from './emit-attributes.ts';
export { floatTensor, productOf, sameDims, scalarTensor } from './tensors.ts';

/** Operators of which every node is its own: renamed ones and random ones. */
const unshared = new Set([
  'Identity',
  'Bernoulli',
  'Multinomial',
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
]);

/**
 * Adds nodes of standard operators behind those of a graph, with their types inferred as they are added, so that
 * rules can look at the shapes of what they have made. Equal constants are made once.
 */
export class Emitter {
  /** The graph that nodes are added to. */
  readonly graph: Graph;
  readonly #opset: OpSet;
  readonly #prefix: string;
  readonly #constants = new Map<string, Value>();
  readonly #made = new Map<string, readonly Value[]>();
  readonly #numbers = new WeakMap<Value, number>();
  #count = 0;

  /**
   * @param graph the graph to add to
   * @param opset operators that are known
   * @param prefix begins the names of what is added
   */
  constructor(graph: Graph, opset: OpSet, prefix: string) {
    this.graph = graph;
    this.#opset = opset;
    this.#prefix = prefix;
  }

  /**
   * Adds a node and gives its outputs. Asked again for the same operator, inputs and attributes it gives the node that
   * is there already; only `Identity` and operators that draw random numbers are made anew each time.
   */
  node(
    opType: string,
    inputs: readonly (Value | null)[],
    attributes: EmitAttributes = {},
    outputs = 1,
  ): readonly Value[] {
    const key = this.#keyOf(opType, inputs, attributes, outputs);
    const known = key === undefined ? undefined : this.#made.get(key);
    if (known !== undefined) return known;
    const made = this.#add(opType, inputs, attributes, outputs);
    if (key !== undefined) this.#made.set(key, made);
    return made;
  }

  /** What equal nodes have in common; `undefined` for nodes that must not be shared. */
  #keyOf(
    opType: string,
    inputs: readonly (Value | null)[],
    attributes: EmitAttributes,
    outputs: number,
  ): string | undefined {
    if (unshared.has(opType)) return undefined;
    const parts: string[] = [opType, String(outputs)];
    for (const input of inputs) parts.push(input === null ? '-' : String(this.#numberOf(input)));
    for (const [name, value] of Object.entries(attributes).sort(([left], [right]) =>
      left < right ? -1 : 1,
    )) {
      if (value === undefined) continue;
      if (typeof value === 'object' && 'kind' in value) return undefined;
      parts.push(`${name}=${JSON.stringify(value)}`);
    }
    return parts.join('|');
  }

  #numberOf(value: Value): number {
    const known = this.#numbers.get(value) ?? this.#count++;
    this.#numbers.set(value, known);
    return known;
  }

  #add(
    opType: string,
    inputs: readonly (Value | null)[],
    attributes: EmitAttributes,
    outputs: number,
  ): readonly Value[] {
    const entries = Object.entries(attributes).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, toAttribute(name, value)] as const],
    );
    const name = this.graph.uniqueName(`${this.#prefix}${opType}`);
    const list = Array.from({ length: outputs }, (_, index) => ({
      name: index === 0 ? name : this.graph.uniqueName(`${name}_${index}`),
    }));
    const node = this.graph.addNode({ opType, inputs, attributes: new Map(entries) }, list);
    inferNodeTypes(node, this.#opset);
    return node.outputs;
  }

  /** Adds a node with one output and gives it. */
  op(opType: string, inputs: readonly (Value | null)[], attributes: EmitAttributes = {}): Value {
    return this.node(opType, inputs, attributes)[0] as Value;
  }

  /** A constant. */
  constant(source: TensorSource): Value {
    return this.graph.addInitializer(this.graph.uniqueName(`${this.#prefix}const`), source);
  }

  /** A one-dimensional int64 constant: axes, sizes, splits. */
  ints(values: readonly number[]): Value {
    return this.#cached(`ints:${values.join()}`, () =>
      Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt)),
    );
  }

  /** An int64 scalar constant. */
  int(value: number): Value {
    return this.#cached(`int:${value}`, () => Tensor.from('int64', [], BigInt64Array.of(BigInt(value))));
  }

  /** A scalar constant of a float dtype. */
  scalar(value: number, dtype: DType = 'float32'): Value {
    return this.#cached(`scalar:${dtype}:${value}`, () => scalarTensor(value, dtype));
  }

  /** A constant of floats. */
  floats(shape: readonly number[], values: ArrayLike<number>, dtype: DType = 'float32'): Value {
    return this.constant(floatTensor(shape, values, dtype));
  }

  #cached(key: string, make: () => Tensor): Value {
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const value = this.constant(make());
    this.#constants.set(key, value);
    return value;
  }

  /** left + right */
  add(left: Value, right: Value): Value {
    return this.op('Add', [left, right]);
  }

  /** left - right */
  sub(left: Value, right: Value): Value {
    return this.op('Sub', [left, right]);
  }

  /** left * right */
  mul(left: Value, right: Value): Value {
    return this.op('Mul', [left, right]);
  }

  /** left / right */
  div(left: Value, right: Value): Value {
    return this.op('Div', [left, right]);
  }

  /** value * number */
  scale(value: Value, factor: number): Value {
    return factor === 1 ? value : this.mul(value, this.scalar(factor, value.dtype ?? 'float32'));
  }

  /** value + number */
  shift(value: Value, addend: number): Value {
    return addend === 0 ? value : this.add(value, this.scalar(addend, value.dtype ?? 'float32'));
  }

  /** -value */
  neg(value: Value): Value {
    return this.op('Neg', [value]);
  }

  /** left @ right */
  matmul(left: Value, right: Value): Value {
    return this.op('MatMul', [left, right]);
  }

  /** Axes in another order. */
  transpose(value: Value, permutation: readonly number[]): Value {
    return permutation.every((axis, index) => axis === index)
      ? value
      : this.op('Transpose', [value], { perm: permutation });
  }

  /** The last two axes swapped. */
  swapLast(value: Value): Value {
    const rank = value.shape?.length ?? 2;
    const order = Array.from({ length: rank }, (_, axis) => axis);
    order.push(...order.splice(rank - 2, 2).reverse());
    return this.transpose(value, order);
  }

  /** Sum over axes. An empty list leaves the value as it is. */
  sum(value: Value, axes: readonly number[], keepDims: boolean): Value {
    return axes.length === 0
      ? value
      : this.op('ReduceSum', [value, this.ints(axes)], { keepdims: keepDims ? 1 : 0 });
  }

  /** Mean over axes. */
  mean(value: Value, axes: readonly number[], keepDims: boolean): Value {
    return axes.length === 0
      ? value
      : this.op('ReduceMean', [value, this.ints(axes)], { keepdims: keepDims ? 1 : 0 });
  }

  /** The shape of a value as an int64 vector: a constant where it is known. */
  shapeOf(value: Value): Value {
    return isStaticShape(value.shape) ? this.ints(value.shape) : this.op('Shape', [value]);
  }

  /** The elements under another shape; `0` keeps a dim, `-1` takes what is left. */
  reshape(value: Value, shape: readonly number[]): Value {
    return this.op('Reshape', [value, this.ints(shape)]);
  }

  /** The elements under the shape of `like`. */
  reshapeLike(value: Value, like: Value): Value {
    if (sameDims(value.shape, like.shape)) return value;
    const { shape } = like;
    // One size that is not known follows from the others.
    const open = shape?.filter((dim) => typeof dim !== 'number').length;
    const numbers = shape?.map((dim) => (typeof dim === 'number' ? dim : -1));
    const sizes =
      open === 1 && numbers?.every((dim) => dim !== 0) === true ? this.ints(numbers) : this.shapeOf(like);
    return withShapeOf(this.op('Reshape', [value, sizes]), like);
  }

  /** The value repeated to the shape of `like`. */
  expandLike(value: Value, like: Value): Value {
    if (sameDims(value.shape, like.shape)) return value;
    return withShapeOf(this.op('Expand', [value, this.shapeOf(like)]), like);
  }

  /** Zeros in the shape and dtype of `like`. */
  zerosLike(value: Value): Value {
    const dtype = value.dtype ?? 'float32';
    return withShapeOf(
      this.op('ConstantOfShape', [this.shapeOf(value)], {
        value: attribute.tensor(scalarTensor(0, dtype).reshape([1])),
      }),
      value,
    );
  }

  /** Another element type. */
  cast(value: Value, dtype: DType): Value {
    return value.dtype === dtype ? value : this.op('Cast', [value], { to: dtypeCode(dtype) });
  }

  /** A float mask from a boolean value: 1 where it holds. */
  mask(condition: Value, dtype: DType): Value {
    return this.cast(condition, dtype);
  }
}

function dtypeCode(dtype: DType): number {
  return dtypes[dtype].onnx;
}

/** Notes a shape that is known by construction, which inference of one node alone may not see. */
function withShapeOf(value: Value, like: Value): Value {
  if (like.shape !== undefined && value.dtype !== undefined) value.type = tensorType(value.dtype, like.shape);
  return value;
}
