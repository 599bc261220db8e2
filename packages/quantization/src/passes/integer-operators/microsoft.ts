import { type Attribute, attribute, type Graph, type Node, type Value } from '@lithe/core';
import type { Conversion } from './convert.ts';
import { handsOutIntegers, type IntegerTensorValue, isByte, readsIntegers } from './quantized-part.ts';

/** Operators of onnxruntime that compute on integers, by the standard operator that they stand for. */
const forms: Readonly<Record<string, { readonly op: string; readonly operands: 1 | 2 }>> = {
  Add: { op: 'QLinearAdd', operands: 2 },
  AveragePool: { op: 'QLinearAveragePool', operands: 1 },
  GlobalAveragePool: { op: 'QLinearGlobalAveragePool', operands: 1 },
  LeakyRelu: { op: 'QLinearLeakyRelu', operands: 1 },
  Mul: { op: 'QLinearMul', operands: 2 },
  Sigmoid: { op: 'QLinearSigmoid', operands: 1 },
};

type Replace = (graph: Graph, made: Value, result: IntegerTensorValue, rectifier?: Node) => void;

interface Ready {
  readonly operands: readonly IntegerTensorValue[];
  readonly result: NonNullable<ReturnType<typeof handsOutIntegers>>;
}

/** Quantized operands of one type, and a quantized result of the same. */
function ready(node: Node, { scalars }: Conversion, count: number): Ready | undefined {
  const result = handsOutIntegers(node, scalars);
  if (result === undefined || !isByte(result)) return undefined;
  const operands: IntegerTensorValue[] = [];
  for (let index = 0; index < count; index++) {
    const operand = readsIntegers(node, index, scalars);
    if (operand === undefined || !operand.parameters.plain) return undefined;
    if (operand.parameters.dtype !== result.parameters.dtype) return undefined;
    operands.push(operand);
  }
  return { operands, result };
}

function add(
  node: Node,
  opType: string,
  part: {
    readonly inputs: readonly (Value | null)[];
    readonly attributes: ReadonlyMap<string, Attribute>;
  },
): Value {
  const { graph, name } = node;
  const init = { opType, domain: 'com.microsoft', name: `${name}_quant`, ...part };
  return graph.addNode(init, 1, { before: node }).output();
}

/** A `Gemm` whose bias is int32, with or without a quantized result. */
function gemm(node: Node, conversion: Conversion, replace: Replace): boolean {
  const { scalars } = conversion;
  const [a, b] = [readsIntegers(node, 0, scalars), readsIntegers(node, 1, scalars)];
  const bias = node.input(2) === null ? undefined : readsIntegers(node, 2, scalars);
  const result = handsOutIntegers(node, scalars);
  if (a === undefined || b === undefined || !isByte(a) || !isByte(b) || !a.parameters.plain) return false;
  if (node.input(2) !== null && bias?.parameters.dtype !== 'int32') return false;
  const beta = node.attributes.get('beta');
  if (bias !== undefined && beta?.kind === 'float' && beta.value !== 1) return false;
  const closes = result !== undefined && result.parameters.dtype === a.parameters.dtype;
  const inputs = [
    ...[a.levels, a.scale, a.zeroPoint, b.levels, b.scale, b.zeroPoint, bias?.levels ?? null],
    ...(closes ? [result.scale, result.zeroPoint] : []),
  ];
  const attributes = new Map([...node.attributes].filter(([name]) => name !== 'beta'));
  const made = add(node, 'QGemm', { inputs, attributes });
  const { graph } = node;
  if (closes) replace(graph, made, result, result.rectifier);
  else {
    made.type = node.output().type;
    graph.replaceAllUses(node.output(), made);
  }
  graph.remove(node);
  return true;
}

function concatenation(node: Node, conversion: Conversion, replace: Replace): boolean {
  const found = ready(node, conversion, node.inputs.length);
  if (found === undefined) return false;
  const { operands, result } = found;
  const inputs = [
    result.scale,
    result.zeroPoint,
    ...operands.flatMap(({ levels, scale, zeroPoint }) => [levels, scale, zeroPoint]),
  ];
  replace(
    node.graph,
    add(node, 'QLinearConcat', { inputs, attributes: node.attributes }),
    result,
    result.rectifier,
  );
  node.graph.remove(node);
  return true;
}

/** Makes an operator of onnxruntime of a node, where it has one. */
export function microsoftForm(node: Node, conversion: Conversion, replace: Replace): boolean {
  if (node.opType === 'Gemm') return gemm(node, conversion, replace);
  if (node.opType === 'Concat') return concatenation(node, conversion, replace);
  const form = Object.hasOwn(forms, node.opType) ? forms[node.opType] : undefined;
  const found = form === undefined ? undefined : ready(node, conversion, form.operands);
  if (form === undefined || found === undefined) return false;
  const { operands, result } = found;
  const inputs = [
    ...operands.flatMap(({ levels, scale, zeroPoint }) => [levels, scale, zeroPoint]),
    result.scale,
    result.zeroPoint,
  ];
  const attributes = new Map(node.attributes);
  // Dilation is none of the quantized pool's attributes.
  attributes.delete('dilations');
  if (form.op === 'QLinearGlobalAveragePool') attributes.set('channels_last', attribute.int(0));
  replace(node.graph, add(node, form.op, { inputs, attributes }), result, result.rectifier);
  node.graph.remove(node);
  return true;
}
