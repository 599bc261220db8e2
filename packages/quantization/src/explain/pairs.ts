import { constantOf, type DType, elementsOf, type Graph, type Node, type Value } from '@lithe/core';

/** Scale and zero point of a `QuantizeLinear` or `DequantizeLinear` node, as far as they are known before it runs. */
export interface PairParameters {
  /** Type of the integers; `undefined` when it is unknown. */
  readonly dtype: DType | undefined;
  /** The one scale; `undefined` when there are several or it is computed. */
  readonly scale: number | undefined;
  /** The one zero point; `undefined` when there are several or it is computed; 0 when it is left out. */
  readonly zeroPoint: number | undefined;
  /** Whether scale and zero point are given, constant, and one each: what most rules of a runtime ask for. */
  readonly plain: boolean;
}

/** A node that quantizes. */
export type QuantizeNode = Node & { readonly opType: 'QuantizeLinear' };

/** A node that dequantizes. */
export type DequantizeNode = Node & { readonly opType: 'DequantizeLinear' };

/** Whether a node quantizes. */
export const isQuantize = (node: Node | null | undefined): node is QuantizeNode =>
  node?.opType === 'QuantizeLinear' && (node.domain === '' || node.domain === 'com.microsoft');

/** Whether a node dequantizes. */
export const isDequantize = (node: Node | null | undefined): node is DequantizeNode =>
  node?.opType === 'DequantizeLinear' && (node.domain === '' || node.domain === 'com.microsoft');

/** The numbers behind scales, zero points and bounds, read beforehand. */
export type Scalars = ReadonlyMap<Value, Float64Array>;

const arithmetic: readonly string[] = ['Add', 'Sub', 'Mul', 'Div'];

/**
 * Reads every constant scale and zero point with at most one axis, the bounds of every `Clip`, and the number that an
 * addition or multiplication may have as its other operand.
 */
export async function readScalars(graph: Graph, signal?: AbortSignal): Promise<Map<Value, Float64Array>> {
  const found = new Map<Value, Float64Array>();
  for (const node of graph.nodesDeep()) {
    const plain = arithmetic.includes(node.opType) && node.domain === '';
    if (!plain && !isQuantize(node) && !isDequantize(node) && !node.is('Clip')) continue;
    for (const index of plain ? [0, 1] : [1, 2]) {
      const value = node.input(index);
      const source = constantOf(value);
      if (value === null || source === undefined || found.has(value) || source.shape.length > 1) continue;
      if ((plain || index === 2) && elementsOf(source.shape) !== 1) continue;
      found.set(value, (await source.load(signal)).toFloat64Array());
    }
  }
  return found;
}

/** Integers that a `QuantizeLinear` gives or a `DequantizeLinear` takes. */
export function integerType(node: Node): DType | undefined {
  const zero = node.input(2);
  const declared = zero === null ? undefined : (constantOf(zero)?.dtype ?? zero.dtype);
  if (declared !== undefined) return declared;
  if (isQuantize(node)) return node.output().dtype ?? 'uint8';
  const source = node.input(0);
  if (source === null) return undefined;
  const constant = constantOf(source);
  if (constant !== undefined) return constant.dtype;
  return isQuantize(source.producer) ? integerType(source.producer) : source.dtype;
}

const only = (numbers: Float64Array | undefined): number | undefined =>
  numbers?.length === 1 ? numbers[0] : undefined;

/** What is known of a node's scale and zero point. */
export function parametersOf(node: Node, scalars: Scalars): PairParameters {
  const [scaleValue, zeroValue] = [node.input(1), node.input(2)];
  const scale = scaleValue === null ? undefined : only(scalars.get(scaleValue));
  const zeroPoint = zeroValue === null ? 0 : only(scalars.get(zeroValue));
  const plain = scale !== undefined && zeroPoint !== undefined && zeroValue !== null;
  return { dtype: integerType(node), scale, zeroPoint, plain };
}

/** Whether two nodes quantize alike: the same constant scale and zero point of the same type. */
export function sameParameters(left: PairParameters, right: PairParameters): boolean {
  return (
    left.plain &&
    right.plain &&
    left.dtype === right.dtype &&
    left.scale === right.scale &&
    left.zeroPoint === right.zeroPoint
  );
}

/** Lowest and highest integer of a type that activations are quantized to. */
export function limitsOf(dtype: DType | undefined): readonly [number, number] | undefined {
  switch (dtype) {
    case 'int8':
      return [-128, 127];
    case 'uint8':
      return [0, 255];
    case 'int16':
      return [-32768, 32767];
    case 'uint16':
      return [0, 65535];
    default:
      return undefined;
  }
}
