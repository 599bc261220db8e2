import {
  attribute,
  constantOf,
  dtypes,
  type Graph,
  type Node,
  Tensor,
  type TensorSource,
  tensorType,
  toFloat16Bits,
  type Value,
} from '@lithe/core';
import { computeKind } from './float16-operators.ts';

/** The largest finite float16. */
const LARGEST_HALF = 65504;

/** Half of the smallest positive float16: what is below becomes 0. */
const SMALLEST_HALF = 2 ** -25;

/** What {@link computeInFloat16} leaves behind. */
export interface Float16Graph {
  /** Nodes that compute in float16. */
  readonly nodes: readonly Node[];
  /** A value in float32: itself, or a cast of it. */
  wide(value: Value): Value;
}

/** What {@link computeInFloat16} must know. */
export interface Float16Options {
  /** Values that are cast where they are used, whatever they hold: weights, which stay in float32, and masks. */
  readonly weights: ReadonlySet<Value>;
  /** Whether a node is kept in float32 whatever its operator. */
  keepsFloat32(node: Node): boolean;
}

/**
 * Lets a float32 graph compute in float16 where that is sound, with casts in between. Inputs, outputs and weights keep
 * their type and name: weights in float32 are the master copy that learns (Micikevicius et al., "Mixed Precision
 * Training", 2018, section 3.1). Types must be inferred.
 */
export function computeInFloat16(graph: Graph, options: Float16Options): Float16Graph {
  const casts = new Casts(graph, options.weights);
  const nodes: Node[] = [];
  for (const node of [...graph.nodes()]) {
    const half = runsInHalf(node, options);
    if (half) {
      node.inputs.forEach((value, index) => {
        if (value?.dtype === 'float32') graph.setInput(node, index, casts.half(value));
      });
      for (const output of node.outputs) {
        if (output.dtype === 'float32' && output.shape !== undefined)
          output.type = tensorType('float16', output.shape);
      }
      nodes.push(node);
    } else {
      node.inputs.forEach((value, index) => {
        if (value !== null && casts.isHalf(value)) graph.setInput(node, index, casts.wide(value));
      });
    }
    for (const output of node.outputs) casts.note(output, half);
  }
  const outputs = graph.outputs.map((value) => {
    if (!casts.isHalf(value)) return value;
    const wide = casts.wide(value);
    const { name } = value;
    graph.rename(value, graph.uniqueName(`${name}:float16`));
    graph.rename(wide, name);
    return wide;
  });
  graph.setOutputs(outputs);
  return { nodes, wide: (value) => (casts.isHalf(value) ? casts.wide(value) : value) };
}

function runsInHalf(node: Node, { weights, keepsFloat32 }: Float16Options): boolean {
  if (node.domain !== '' || node.subgraphs.length > 0 || keepsFloat32(node)) return false;
  const kind = computeKind(node.opType);
  if (kind === 'full') return false;
  const made = node.outputs.filter(({ name }) => name !== '');
  if (!made.some(({ dtype }) => dtype === 'float32')) return false;
  // What a subgraph reads keeps its type, and a shape that is not known could not be noted.
  if (
    made.some(
      (value) =>
        value.shape === undefined || value.uses.some(({ node: reader }) => reader.graph !== node.graph),
    )
  )
    return false;
  const floats = node.inputs.filter(
    (value) => value?.dtype === 'float32' || value?.dtype === 'float16',
  ) as Value[];
  if (!floats.every((value) => weights.has(value) || fits(constantOf(value)))) return false;
  if (kind === 'half') return true;
  return (
    floats.some(({ dtype }) => dtype === 'float16') &&
    floats.every(
      (value) => value.dtype === 'float16' || weights.has(value) || constantOf(value) !== undefined,
    )
  );
}

/** Whether a constant keeps its meaning in float16: a mask of -1e9 or an epsilon of 1e-12 does not. */
function fits(source: TensorSource | undefined): boolean {
  if (!(source instanceof Tensor) || source.dtype !== 'float32')
    return source === undefined || source.dtype === 'float16';
  for (const value of source.data as Float32Array) {
    const size = Math.abs(value);
    if (size > LARGEST_HALF || (size !== 0 && size < SMALLEST_HALF)) return false;
  }
  return true;
}

/** Casts between both types, each made once. */
class Casts {
  readonly #graph: Graph;
  readonly #weights: ReadonlySet<Value>;
  readonly #halves = new Map<Value, Value>();
  readonly #wides = new Map<Value, Value>();
  readonly #born = new Set<Value>();

  constructor(graph: Graph, weights: ReadonlySet<Value>) {
    this.#graph = graph;
    this.#weights = weights;
  }

  /** Notes whether a value is one that float16 nodes made of what was float32. */
  note(value: Value, half: boolean): void {
    if (half && value.dtype === 'float16') this.#born.add(value);
  }

  /** Whether a value was float32 and is float16 now. */
  isHalf(value: Value): boolean {
    return this.#born.has(value);
  }

  half(value: Value): Value {
    const known = this.#halves.get(value) ?? this.#constant(value) ?? this.#cast(value, 'float16');
    this.#halves.set(value, known);
    return known;
  }

  wide(value: Value): Value {
    const known = this.#wides.get(value) ?? this.#cast(value, 'float32');
    this.#wides.set(value, known);
    return known;
  }

  /** Constants that do not learn are stored in float16, for rules look at bounds and pads. */
  #constant(value: Value): Value | undefined {
    const source = constantOf(value);
    if (this.#weights.has(value) || !(source instanceof Tensor) || source.dtype !== 'float32')
      return undefined;
    const data = Uint16Array.from(source.data as Float32Array, toFloat16Bits);
    const name = this.#graph.uniqueName(`${value.name}:float16`);
    return this.#graph.addInitializer(name, Tensor.from('float16', source.shape, data));
  }

  #cast(value: Value, dtype: 'float16' | 'float32'): Value {
    const first = this.#graph.nodes().next().value;
    const placement =
      value.producer === null ? (first === undefined ? {} : { before: first }) : { after: value.producer };
    const cast = this.#graph.addNode(
      { opType: 'Cast', inputs: [value], attributes: { to: attribute.int(dtypes[dtype].onnx) } },
      [{ name: this.#graph.uniqueName(`${value.name}:${dtype}`), type: tensorType(dtype, value.shape) }],
      placement,
    );
    return cast.output();
  }
}
