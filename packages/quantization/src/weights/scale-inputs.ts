import { constantOf, type Node, Tensor, type Value } from '@lithe/core';

/** Where the division of activations went. */
export type ScalingPlace = 'producers' | 'mul';

/** What can be divided beside constants of the graph. */
export interface ScalingTargets {
  /** Divides the output channels of a product's weight; gives `undefined` where that cannot be done any more. */
  product(node: Node): ((factors: Float32Array) => void) | undefined;
}

/** One change that is part of a division. */
type Change = () => void;

function divided(source: Tensor, factors: Float32Array): Tensor {
  const data = source.data as Float32Array;
  const quotients = factors.map((factor, channel) => data[channel]! / factor);
  return Tensor.from('float32', source.shape, quotients);
}

/** The constant that a value is, when it has one element for each channel along its last axis and no others. */
async function vectorOf(value: Value | null, length: number): Promise<Tensor | undefined> {
  const source = constantOf(value);
  if (source?.dtype !== 'float32' || source.shape.at(-1) !== length) return undefined;
  return source.byteLength === 4 * length ? source.load() : undefined;
}

/** Whether only these nodes read a value. */
function readOnlyBy(value: Value, readers: ReadonlySet<Node>): boolean {
  return value.outputOf.length === 0 && value.uses.every(({ node }) => readers.has(node));
}

/** Finds how a value can be divided by factors of its last axis through what it is computed from. */
class Division {
  readonly #factors: Float32Array;
  readonly #targets: ScalingTargets;

  constructor(factors: Float32Array, targets: ScalingTargets) {
    this.#factors = factors;
    this.#targets = targets;
  }

  /** The changes that divide a value which only `readers` read; `undefined` where there is no way. */
  async of(value: Value, readers: ReadonlySet<Node>): Promise<readonly Change[] | undefined> {
    const { producer: node } = value;
    if (node === null || node.domain !== '' || node.graph !== value.graph) return undefined;
    if (!readOnlyBy(value, readers)) return undefined;
    switch (node.opType) {
      case 'LayerNormalization':
        return this.#constants(node, [1, 2]);
      case 'Relu':
        return this.#operands(node, [0]);
      case 'Add':
        return this.#operands(node, [0, 1]);
      case 'Mul':
        return (await this.#operands(node, [1])) ?? this.#operands(node, [0]);
      case 'MatMul':
      case 'Gemm':
        return this.#product(node);
      default:
        return undefined;
    }
  }

  async #operands(node: Node, indices: readonly number[]): Promise<readonly Change[] | undefined> {
    const changes: Change[] = [];
    // An operand that is read twice would be divided twice.
    if (node.input(0) === node.input(1)) return undefined;
    for (const index of indices) {
      const value = node.input(index) as Value;
      const found =
        constantOf(value) === undefined
          ? await this.of(value, new Set([node]))
          : await this.#constants(node, [index]);
      if (found === undefined) return undefined;
      changes.push(...found);
    }
    return changes;
  }

  async #constants(node: Node, indices: readonly number[]): Promise<readonly Change[] | undefined> {
    const changes: Change[] = [];
    for (const index of indices) {
      const value = node.input(index);
      if (value === null) continue;
      const vector = await vectorOf(value, this.#factors.length);
      if (vector === undefined) return undefined;
      changes.push(() => {
        const { graph } = node;
        const name = graph.uniqueName(`${value.name}_scaled`);
        graph.setInput(node, index, graph.addInitializer(name, divided(vector, this.#factors)));
      });
    }
    return changes;
  }

  async #product(node: Node): Promise<readonly Change[] | undefined> {
    const divide = this.#targets.product(node);
    if (divide === undefined) return undefined;
    const bias = node.opType === 'Gemm' ? await this.#constants(node, [2]) : [];
    return bias === undefined ? undefined : [...bias, () => divide(this.#factors)];
  }
}

/**
 * Divides what some products read by one factor per channel: in what it is computed from (a normalization, a bias, the
 * output channels of a product before it, also through `Relu` and gates) where nothing else reads that, and otherwise
 * by a `Mul` before the products. The caller multiplies the products' weights.
 *
 * @param readers the products, in the order of the graph; input 0 of each is `value`
 */
export async function divideInput(
  value: Value,
  readers: readonly Node[],
  how: { readonly factors: Float32Array; readonly targets: ScalingTargets },
): Promise<ScalingPlace> {
  const { factors, targets } = how;
  const changes = await new Division(factors, targets).of(value, new Set(readers));
  if (changes !== undefined) {
    for (const change of changes) change();
    return 'producers';
  }
  const first = readers[0] as Node;
  const { graph } = first;
  const inverse = Tensor.from(
    'float32',
    [factors.length],
    factors.map((factor) => 1 / factor),
  );
  const constant = graph.addInitializer(graph.uniqueName(`${value.name}_factors`), inverse);
  const scaled = graph.addNode({ opType: 'Mul', inputs: [value, constant] }, 1, { before: first }).output();
  scaled.type = value.type;
  for (const node of readers) graph.setInput(node, 0, scaled);
  return 'mul';
}
