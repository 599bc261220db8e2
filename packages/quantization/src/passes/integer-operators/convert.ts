import {
  attribute,
  constantOf,
  dtypes,
  type Graph,
  lazyTensor,
  type Model,
  type Node,
  type ReportBuilder,
  Tensor,
  type Value,
} from '@lithe/core';
import { isDequantize, isQuantize, readScalars, type Scalars, sameParameters } from '../../explain/pairs.ts';
import { inserter } from '../../graph/replace-node.ts';
import { transposeLevels } from '../../parameters/transpose-levels.ts';
import { float32Data } from '../../weights/lazy-parts.ts';
import { removeConstant } from '../../weights/replace-constant.ts';
import { microsoftForm } from './microsoft.ts';
import {
  handsOutIntegers,
  type IntegerTensorValue,
  isByte,
  isConstant,
  readsIntegers,
} from './quantized-part.ts';

/** What the conversion of one graph works with. */
export interface Conversion {
  /** Scales and zero points. */
  readonly scalars: Scalars;
  /** Whether operators of onnxruntime are used too. */
  readonly microsoft: boolean;
  /** Receives what was done. */
  readonly report: ReportBuilder;
}

/** Operators whose runtimes have always moved 8-bit integers as well as floats. */
const movers: ReadonlySet<string> = new Set([
  'Expand',
  'Flatten',
  'Gather',
  'MaxPool',
  'Reshape',
  'Resize',
  'Slice',
  'Split',
  'Squeeze',
  'Transpose',
  'Unsqueeze',
]);

/** Puts the integers that a new operator makes in the place of those that a quantizer made. */
function replaceQuantizer(graph: Graph, made: Value, result: IntegerTensorValue, rectifier?: Node): void {
  made.type ??= result.levels.type;
  graph.replaceAllUses(result.levels, made);
  graph.remove(result.node);
  if (rectifier !== undefined) graph.remove(rectifier);
}

function convolution(node: Node, { scalars }: Conversion): boolean {
  const [input, weight] = [readsIntegers(node, 0, scalars), readsIntegers(node, 1, scalars)];
  const bias = node.input(2) === null ? undefined : readsIntegers(node, 2, scalars);
  const result = handsOutIntegers(node, scalars);
  if (input === undefined || weight === undefined || result === undefined) return false;
  if (node.input(2) !== null && bias?.parameters.dtype !== 'int32') return false;
  if (!isByte(input) || !isByte(weight) || !isByte(result) || !input.parameters.plain) return false;
  if (!isConstant(weight) || input.parameters.dtype !== result.parameters.dtype) return false;
  const { graph, attributes, name } = node;
  const inputs = [
    ...[input.levels, input.scale, input.zeroPoint],
    ...[weight.levels, weight.scale, weight.zeroPoint, result.scale, result.zeroPoint],
    ...(bias === undefined ? [] : [bias.levels]),
  ];
  const made = graph.addNode({ opType: 'QLinearConv', inputs, attributes, name: `${name}_quant` }, 1, {
    before: node,
  });
  replaceQuantizer(graph, made.output(), result, result.rectifier);
  graph.remove(node);
  return true;
}

/** Right operand of a product as `[K, N]`: a constant that `transB` turns is turned in the file. */
function rightOperand(node: Node, weight: IntegerTensorValue): Value | undefined {
  const transposed = node.attributes.get('transB');
  if (transposed?.kind !== 'int' || transposed.value === 0n) return weight.levels;
  const source = constantOf(weight.levels);
  if (source?.shape.length !== 2 || (source.dtype !== 'int8' && source.dtype !== 'uint8')) return undefined;
  const [rows, columns] = source.shape as readonly [number, number];
  const turned = lazyTensor(source.dtype, [columns, rows], async (signal) => {
    const { data } = (await source.load(signal)) as Tensor<'int8'>;
    const levels = transposeLevels(data, { matrices: 1, rows, columns });
    return Tensor.fromBytes(source.dtype, [columns, rows], new Uint8Array(levels.buffer));
  });
  const { graph } = node;
  return graph.addInitializer(graph.uniqueName(`${weight.levels.name}_transposed`), turned);
}

function plainGemm(node: Node): boolean {
  const number = (name: string, fallback: number): number => {
    const found = node.attributes.get(name);
    return found?.kind === 'int' || found?.kind === 'float' ? Number(found.value) : fallback;
  };
  return number('alpha', 1) === 1 && number('beta', 1) === 1 && number('transA', 0) === 0;
}

/** Products of the scale of an input and those of a weight. */
function productScale(
  graph: Graph,
  input: IntegerTensorValue,
  weight: IntegerTensorValue,
): Value | undefined {
  const source = constantOf(weight.scale);
  const { scale } = input.parameters;
  if (source === undefined || scale === undefined) return undefined;
  const single = Math.fround(scale);
  const product = lazyTensor('float32', source.shape, async (signal) => {
    const scales = float32Data(await source.load(signal), `scale "${weight.scale.name}"`);
    return Tensor.from(
      'float32',
      source.shape,
      scales.map((one) => one * single),
    );
  });
  return graph.addInitializer(graph.uniqueName(`${weight.scale.name}_product`), product);
}

function product(node: Node, { scalars }: Conversion): boolean {
  if (node.is('Gemm') && !plainGemm(node)) return false;
  const [input, weight] = [readsIntegers(node, 0, scalars), readsIntegers(node, 1, scalars)];
  const bias = node.is('Gemm') && node.input(2) !== null ? readsIntegers(node, 2, scalars) : undefined;
  if (input === undefined || weight === undefined || !isByte(input) || !isByte(weight)) return false;
  if (!input.parameters.plain || isConstant(input)) return false;
  if (node.is('Gemm') && node.input(2) !== null && bias?.parameters.dtype !== 'int32') return false;
  const { graph, name } = node;
  const result = handsOutIntegers(node, scalars);
  const closes = result !== undefined && bias === undefined && isByte(result);
  if (!closes && constantOf(weight.scale) === undefined) return false;
  const right = rightOperand(node, weight);
  if (right === undefined) return false;
  const insert = inserter(graph, node);
  if (closes && input.parameters.dtype === result.parameters.dtype) {
    const inputs = [
      ...[input.levels, input.scale, input.zeroPoint],
      ...[right, weight.scale, weight.zeroPoint, result.scale, result.zeroPoint],
    ];
    const [made] = insert.node('QLinearMatMul', inputs, { name: `${name}_quant` });
    replaceQuantizer(graph, made!, result, result.rectifier);
    graph.remove(node);
    return true;
  }
  const scale = productScale(graph, input, weight);
  if (scale === undefined) return false;
  const inputs = [input.levels, right, input.zeroPoint, weight.zeroPoint];
  const [sum] = insert.node('MatMulInteger', inputs, { name: `${name}_quant` });
  const [whole] = bias === undefined ? [sum!] : insert.node('Add', [sum!, bias.levels]);
  const [real] = insert.node('Cast', [whole!], { attributes: { to: attribute.int(dtypes.float32.onnx) } });
  const [scaled] = insert.node('Mul', [real!, scale], { outputs: [{ type: node.output().type }] });
  graph.replaceAllUses(node.output(), scaled!);
  graph.remove(node);
  return true;
}

/** An operator that moves elements moves integers instead. */
function move(node: Node, { scalars }: Conversion): boolean {
  const input = readsIntegers(node, 0, scalars);
  if (input === undefined || !isByte(input) || isConstant(input)) return false;
  const results = node.outputs.map((_, index) => handsOutIntegers(node, scalars, index));
  for (const result of results) {
    if (result === undefined || result.rectifier !== undefined) return false;
    if (!sameParameters(input.parameters, result.parameters)) return false;
  }
  const { graph, opType, attributes, name } = node;
  const inputs = [input.levels, ...node.inputs.slice(1)];
  const made = graph.addNode({ opType, inputs, attributes, name: `${name}_quant` }, results.length, {
    before: node,
  });
  results.forEach((result, index) => {
    if (result !== undefined) replaceQuantizer(graph, made.output(index), result);
  });
  graph.remove(node);
  return true;
}

function convertNode(node: Node, conversion: Conversion): boolean {
  if (node.domain !== '') return false;
  if (node.opType === 'Conv') return convolution(node, conversion);
  if (conversion.microsoft && microsoftForm(node, conversion, replaceQuantizer)) return true;
  if (node.opType === 'MatMul' || node.opType === 'Gemm') return product(node, conversion);
  return movers.has(node.opType) && move(node, conversion);
}

/** Removes expansions that nothing reads any more, and their constants. */
function sweep(graph: Graph): void {
  for (const node of [...graph.nodesReversed()]) {
    if (!isDequantize(node) || !node.output().isUnused) continue;
    const inputs = node.inputs.filter((value): value is Value => value !== null);
    graph.remove(node);
    for (const input of inputs) if (input.initializer !== undefined) removeConstant(input);
  }
}

/**
 * Makes integer operators of the pairs around a model's operators: `QLinearConv`, `QLinearMatMul`, `MatMulInteger`;
 * what moves elements moves integers. Where an operator has no such form it stays between its conversions.
 */
export async function convertToIntegerOperators(
  model: Model,
  options: { readonly microsoft: boolean; readonly report: ReportBuilder; readonly signal: AbortSignal },
): Promise<void> {
  const { graph } = model;
  const conversion: Conversion = { ...options, scalars: await readScalars(graph, options.signal) };
  for (const node of [...graph.nodes()]) {
    if (isQuantize(node) || isDequantize(node)) continue;
    const { name, opType } = node;
    if (convertNode(node, conversion)) options.report.apply(`compute ${opType} "${name}" on integers`);
  }
  sweep(graph);
  for (const node of graph.nodesDeep())
    if (node.domain === 'com.microsoft') model.opsetImports.set('com.microsoft', 1);
}
