import {
  type Attribute,
  attribute,
  type DType,
  type Graph,
  inferNodeTypes,
  isFloat,
  type Node,
  Tensor,
  type Value,
} from '@lithe/core';
import { scalarTensor } from '../autodiff/tensors.ts';

/**
 * Holds values back until others are there: what comes out is what went in, bit for bit, but no runtime can compute it
 * sooner, nor see that it is the same. Graph optimizers merge equal nodes (onnxruntime does, on every provider), and would
 * merge a computation and its repetition, which would then be held over the whole step. A product with a one that is
 * chosen at run time, among two equal ones, by the values waited for, is a value of its own. It costs a pass over the
 * value. A Reshape to a shape chosen in this way would cost none, but runtimes then know the sizes of nothing behind it.
 */
export class Barrier {
  readonly #graph: Graph;
  readonly #before: Node;
  readonly #condition: Value;
  readonly #ones = new Map<DType, Value>();
  readonly #constants: Map<string, Value>;

  /**
   * @param awaited float values, not empty; each has at least one element
   * @param before the node that what is added goes in front of
   * @param constants constants made so far, by name
   */
  constructor(
    graph: Graph,
    awaited: readonly Value[],
    { before, constants }: { readonly before: Node; readonly constants: Map<string, Value> },
  ) {
    this.#graph = graph;
    this.#before = before;
    this.#constants = constants;
    const firsts = awaited.map((value) => this.#firstOf(value));
    const all =
      firsts.length === 1 ? (firsts[0] as Value) : this.#add('Concat', firsts, { axis: attribute.int(0) });
    const one = this.#add('ReduceMax', [all], { keepdims: attribute.int(0) });
    this.#condition = this.#add('Less', [one, this.#constant('zero', zero)]);
  }

  /** The value, once the awaited ones are there: a tensor of numbers. */
  hold(value: Value): Value {
    const held = this.#add('Mul', [value, this.#oneOf(value.dtype ?? 'float32')]);
    held.type = value.type;
    return held;
  }

  /** A one of this dtype that the runtime cannot see: one of two equal ones. */
  #oneOf(dtype: DType): Value {
    const known = this.#ones.get(dtype);
    if (known !== undefined) return known;
    const one = this.#constant(`one:${dtype}`, () => scalarTensor(1, dtype));
    const chosen = this.#add('Where', [this.#condition, one, one]);
    this.#ones.set(dtype, chosen);
    return chosen;
  }

  /** The first element, float32 `[1]`. */
  #firstOf(value: Value): Value {
    const rank = value.shape?.length ?? 0;
    let first = value;
    if (rank > 0) {
      const axes = this.#constant(`axes:${rank}`, () => count(rank));
      const [from, to] = [
        this.#constant(`same:${rank}`, () => zeros(rank)),
        this.#constant(`ones:${rank}`, () => ones(rank)),
      ];
      first = this.#add('Slice', [first, from, to, axes]);
    }
    if (rank !== 1) first = this.#add('Reshape', [first, this.#constant('ones:1', () => ones(1))]);
    return value.dtype === 'float32' ? first : this.#add('Cast', [first], { to: attribute.int(FLOAT32) });
  }

  #constant(key: string, make: () => Tensor): Value {
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const made = this.#graph.addInitializer(this.#graph.uniqueName('checkpoint/const'), make());
    this.#constants.set(key, made);
    return made;
  }

  #add(opType: string, inputs: readonly Value[], attributes: Record<string, Attribute> = {}): Value {
    const name = this.#graph.uniqueName(`checkpoint/${opType}`);
    const node = this.#graph.addNode({ opType, inputs, attributes }, [{ name }], { before: this.#before });
    inferNodeTypes(node);
    return node.output();
  }
}

const FLOAT32 = 1;

const zero = (): Tensor => scalarTensor(0, 'float32');
const zeros = (rank: number): Tensor => Tensor.from('int64', [rank], new BigInt64Array(rank));
const ones = (rank: number): Tensor => Tensor.from('int64', [rank], new BigInt64Array(rank).fill(1n));
const count = (rank: number): Tensor =>
  Tensor.from(
    'int64',
    [rank],
    BigInt64Array.from({ length: rank }, (_, axis) => BigInt(axis)),
  );

/** Whether a barrier can wait for a value: a float tensor of known rank that is not empty. */
export function canAwait(value: Value): boolean {
  return (
    value.dtype !== undefined && isFloat(value.dtype) && value.shape !== undefined && !value.shape.includes(0)
  );
}

/** Whether a barrier can hold a value back: numbers that a product with one leaves as they are. */
export function canHold(value: Value): boolean {
  return (
    value.dtype !== undefined && (isFloat(value.dtype) || value.dtype === 'int64' || value.dtype === 'int32')
  );
}
