import { constantOf, type Node, Tensor, type TensorSource, type Value } from '@lithe/core';
import { type Granularity, granularity } from '../../parameters/granularity.ts';
import { type GroupLayout, groupLayout } from '../../parameters/group-layout.ts';
import type { GroupParameters } from '../../parameters/group-parameters.ts';
import { type IntegerRange, integerRange, type QuantizedDType } from '../../parameters/integer-range.ts';
import type { IntegerArray } from '../../parameters/kernels.ts';
import { integerTensor } from '../../weights/quantized-weight.ts';
import { removeConstant } from '../../weights/replace-constant.ts';
import { intOf } from '../layers/attributes.ts';

/** A constant that a `DequantizeLinear` expands. */
export interface QuantizedConstant {
  /** The `DequantizeLinear`. */
  readonly node: Node;
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

/** Reads what a value is expanded from; `undefined` when no `DequantizeLinear` of constants makes it. */
export function readQuantizedConstant(value: Value | null): QuantizedConstant | undefined {
  const node = value?.producer;
  if (node === null || node === undefined || !node.is('DequantizeLinear')) return undefined;
  const [values, scales] = [constantOf(node.input(0)), constantOf(node.input(1))];
  if (values === undefined || scales?.dtype !== 'float32' || !integers.has(values.dtype)) return undefined;
  const zeroPoints = constantOf(node.input(2));
  if (node.input(2) !== null && zeroPoints === undefined) return undefined;
  const size = intOf(node, 'block_size', 0);
  const axis = intOf(node, 'axis', 1);
  const shared: Granularity =
    size > 0
      ? granularity.perBlock(axis, size)
      : scales.shape.length === 0 ||
          (scales.shape.length === 1 && scales.shape[0] === 1 && values.shape[axis] !== 1)
        ? granularity.perTensor()
        : granularity.perChannel(axis);
  const range = integerRange(values.dtype as QuantizedDType);
  return { node, values, scales, zeroPoints, granularity: shared, range };
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

/** Gives one reader of a constant other integers, or other scales, under a `DequantizeLinear` of its own where it is shared. */
export function replaceQuantizedConstant(
  reader: Node,
  index: number,
  constant: QuantizedConstant,
  parts: {
    readonly values?: IntegerArray | undefined;
    readonly scales?: Float32Array<ArrayBuffer> | undefined;
  },
): void {
  const { graph } = reader;
  const { node } = constant;
  const inputs = [...node.inputs];
  const replace = (at: number, tensor: Tensor): void => {
    inputs[at] = graph.addInitializer(graph.uniqueName(inputs[at]?.name ?? 'constant'), tensor);
  };
  if (parts.values !== undefined)
    replace(0, integerTensor(constant.range, constant.values.shape, parts.values));
  if (parts.scales !== undefined) replace(1, Tensor.from('float32', constant.scales.shape, parts.scales));
  const own = graph.addNode(
    { opType: 'DequantizeLinear', inputs, attributes: node.attributes },
    [{ name: graph.uniqueName(node.output().name), type: node.output().type }],
    { before: reader },
  );
  graph.setInput(reader, index, own.output());
  dropConstant(node);
}

/** Removes a `DequantizeLinear` that nothing reads any more, and its constants. */
export function dropConstant(node: Node): void {
  if (!node.output().isUnused) return;
  const { inputs, graph } = node;
  graph.remove(node);
  for (const value of new Set(inputs)) if (value !== null) removeConstant(value);
}
