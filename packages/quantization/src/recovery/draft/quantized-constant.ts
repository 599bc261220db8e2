import { constantOf, type Graph, type Node, Tensor, type TensorSource, type Value } from '@lithe/core';
import { type Granularity, granularity } from '../../parameters/granularity.ts';
import { type GroupLayout, groupLayout } from '../../parameters/group-layout.ts';
import type { GroupParameters } from '../../parameters/group-parameters.ts';
import { type IntegerRange, integerRange, type QuantizedDType } from '../../parameters/integer-range.ts';
import type { IntegerArray } from '../../parameters/kernels.ts';
import { integerTensor } from '../../weights/quantized-weight.ts';
import { removeConstant } from '../../weights/replace-constant.ts';
import { intOf } from '../layers/attributes.ts';

/** A float constant that is stored as integers and expanded by nodes. */
export interface QuantizedConstant {
  /**
   * What expands it, in order: a `DequantizeLinear`, or a `Cast` and a `Mul` by the scales; a `Reshape` may follow,
   * which keeps the order of the elements.
   */
  readonly nodes: readonly Node[];
  /** Its integers. */
  readonly values: TensorSource;
  /** Its scales. */
  readonly scales: TensorSource;
  /** Its zero points; 0 when left out. */
  readonly zeroPoints: TensorSource | undefined;
  /** What shares a scale. */
  readonly granularity: Granularity;
  /** All integers of the type. */
  readonly range: IntegerRange;
}

const integers: ReadonlySet<string> = new Set(['int4', 'uint4', 'int8', 'uint8', 'int16', 'uint16', 'int32']);

function dequantized(node: Node): QuantizedConstant | undefined {
  const [values, scales] = [constantOf(node.input(0)), constantOf(node.input(1))];
  if (values === undefined || scales?.dtype !== 'float32' || !integers.has(values.dtype)) return undefined;
  const zeroPoints = constantOf(node.input(2));
  if (node.input(2) !== null && zeroPoints === undefined) return undefined;
  const size = intOf(node, 'block_size', 0);
  const axis = intOf(node, 'axis', 1);
  const single = scales.shape.length === 0 || (scales.shape[0] === 1 && values.shape[axis] !== 1);
  const shared: Granularity =
    size > 0
      ? granularity.perBlock(axis, size)
      : single
        ? granularity.perTensor()
        : granularity.perChannel(axis);
  const range = integerRange(values.dtype as QuantizedDType);
  return { nodes: [node], values, scales, zeroPoints, granularity: shared, range };
}

/** What shares a scale when scales are multiplied by broadcasting; `undefined` where several axes do. */
function broadcastGranularity(shape: readonly number[], scales: readonly number[]): Granularity | undefined {
  const full = [...Array.from({ length: shape.length - scales.length }, () => 1), ...scales];
  if (full.length !== shape.length) return undefined;
  const own = full.flatMap((dim, axis) => (dim === shape[axis] && dim !== 1 ? [axis] : []));
  if (full.some((dim, axis) => dim !== 1 && dim !== shape[axis])) return undefined;
  const across = shape.flatMap((dim, axis) => (dim !== 1 && !own.includes(axis) ? [axis] : []));
  if (own.length === 0) return granularity.perTensor();
  if (own.length === 1) return granularity.perChannel(own[0] as number);
  const [axis] = across;
  return across.length === 1 && axis !== undefined
    ? granularity.perBlock(axis, shape[axis] as number)
    : undefined;
}

function scaled(node: Node): QuantizedConstant | undefined {
  const cast = node.input(0)?.producer;
  const [values, scales] = [constantOf(cast?.input(0)), constantOf(node.input(1))];
  if (cast?.is('Cast') !== true || values === undefined || scales?.dtype !== 'float32') return undefined;
  const shared = broadcastGranularity(values.shape, scales.shape);
  if (!integers.has(values.dtype) || shared === undefined) return undefined;
  const range = integerRange(values.dtype as QuantizedDType);
  return { nodes: [cast, node], values, scales, zeroPoints: undefined, granularity: shared, range };
}

/** Reads what a value is expanded from; `undefined` when it is no constant that is stored as integers. */
export function readQuantizedConstant(value: Value | null): QuantizedConstant | undefined {
  const node = value?.producer;
  if (node === null || node === undefined) return undefined;
  if (node.is('DequantizeLinear')) return dequantized(node);
  if (node.is('Mul')) return scaled(node);
  if (!node.is('Reshape') || constantOf(node.input(1)) === undefined) return undefined;
  const inner = readQuantizedConstant(node.input(0));
  return inner === undefined ? undefined : { ...inner, nodes: [...inner.nodes, node] };
}

/** The parts of a constant in memory. */
export interface LoadedConstant {
  /** How elements fall into groups. */
  readonly layout: GroupLayout;
  /** Scale and zero point of each group. */
  readonly parameters: GroupParameters;
  /** The integers, one an element. */
  readonly values: IntegerArray;
}

function asIntegers(tensor: Tensor, range: IntegerRange): IntegerArray {
  const numbers = tensor.toFloat64Array();
  if (range.dtype === 'int32') return Int32Array.from(numbers);
  if (range.dtype === 'int16') return Int16Array.from(numbers);
  if (range.dtype === 'uint16') return Uint16Array.from(numbers);
  return range.low < 0 ? Int8Array.from(numbers) : Uint8Array.from(numbers);
}

/** Loads the integers, scales and zero points of a constant. */
export async function loadQuantizedConstant(
  constant: QuantizedConstant,
  signal?: AbortSignal,
): Promise<LoadedConstant> {
  const { values, scales, zeroPoints, range } = constant;
  const layout = groupLayout(values.shape, constant.granularity);
  const zeros = zeroPoints === undefined ? undefined : (await zeroPoints.load(signal)).toFloat64Array();
  return {
    layout,
    parameters: {
      scales: new Float32Array((await scales.load(signal)).toFloat64Array()),
      zeroPoints: zeros === undefined ? undefined : Int32Array.from(zeros),
      middle: 0,
    },
    values: asIntegers(await values.load(signal), range),
  };
}

/** Where copies of the nodes of a constant go. */
export interface ConstantPlace {
  /** The graph. */
  readonly graph: Graph;
  /** The node before which they stand; the end by default. */
  readonly before?: Node | undefined;
  /** Makes an initializer of a constant that is not replaced. Where it is left out, the value itself is read. */
  readonly constant?: ((source: TensorSource) => Value) | undefined;
}

/** Copies the nodes that expand a constant, with other integers or scales where they are given. */
export function copyConstant(
  constant: QuantizedConstant,
  place: ConstantPlace,
  parts: {
    readonly values?: IntegerArray | undefined;
    readonly scales?: Float32Array<ArrayBuffer> | undefined;
  } = {},
): Value {
  const { graph, before } = place;
  const { values, scales, range } = constant;
  const replaced = (source: TensorSource): Tensor | undefined => {
    if (source === values && parts.values !== undefined)
      return integerTensor(range, values.shape, parts.values);
    if (source === scales && parts.scales !== undefined)
      return Tensor.from('float32', scales.shape, parts.scales);
    return undefined;
  };
  let last: Value | undefined;
  for (const node of constant.nodes) {
    const inputs = node.inputs.map((value): Value | null => {
      const source = constantOf(value);
      if (value === null || source === undefined) return last ?? null;
      const other = replaced(source);
      if (other !== undefined) return graph.addInitializer(graph.uniqueName(value.name), other);
      return place.constant === undefined ? value : place.constant(source);
    });
    const { attributes, opType } = node;
    const output = { name: graph.uniqueName(node.output().name), type: node.output().type };
    last = graph.addNode({ opType, inputs, attributes }, [output], { before }).output();
  }
  return last as Value;
}

/** Gives one reader of a constant other integers, or other scales, under nodes of its own. */
export function replaceQuantizedConstant(
  reader: Node,
  index: number,
  constant: QuantizedConstant,
  parts: {
    readonly values?: IntegerArray | undefined;
    readonly scales?: Float32Array<ArrayBuffer> | undefined;
  },
): void {
  const made = copyConstant(constant, { graph: reader.graph, before: reader }, parts);
  reader.graph.setInput(reader, index, made);
  dropConstant(constant);
}

/** Removes the nodes of a constant that nothing reads any more, and what they read. */
export function dropConstant(constant: QuantizedConstant): void {
  for (const node of [...constant.nodes].reverse()) {
    if (!node.isAttached || !node.output().isUnused) return;
    const { inputs, graph } = node;
    graph.remove(node);
    for (const value of new Set(inputs))
      if (value !== null && constantOf(value) !== undefined) removeConstant(value);
  }
}
