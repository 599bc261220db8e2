import type { Node } from '@lithe/core';

/** Whether the runtime makes an integer operator of a node between Quantize and Dequantize nodes. */
export type QdqFusion = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/**
 * Operators that onnxruntime's CPU provider computes in integers when their inputs and output go through
 * Quantize/Dequantize pairs, with what they become. `targets.test.ts` asks the runtime itself about every one.
 */
export const integerOperators: Readonly<Record<string, string>> = {
  Add: 'QLinearAdd',
  ArgMax: 'ArgMax',
  AveragePool: 'QLinearAveragePool',
  Concat: 'QLinearConcat',
  Conv: 'QLinearConv',
  DepthToSpace: 'DepthToSpace',
  Expand: 'Expand',
  Flatten: 'Flatten',
  Gather: 'Gather',
  GatherElements: 'GatherElements',
  Gemm: 'QGemm',
  GlobalAveragePool: 'QLinearGlobalAveragePool',
  LeakyRelu: 'QLinearLeakyRelu',
  MatMul: 'QLinearMatMul',
  MaxPool: 'MaxPool',
  Mul: 'QLinearMul',
  ReduceMax: 'ReduceMax',
  Reshape: 'Reshape',
  Resize: 'Resize',
  Sigmoid: 'QLinearSigmoid',
  Slice: 'Slice',
  Softmax: 'QLinearSoftmax',
  Split: 'Split',
  Squeeze: 'Squeeze',
  Tile: 'Tile',
  Transpose: 'Transpose',
  Unsqueeze: 'Unsqueeze',
  Where: 'QLinearWhere',
};

/** Operators that vanish into the node before them: their bounds become those of the quantization. */
export const absorbedOperators: ReadonlySet<string> = new Set(['Relu', 'Clip']);

/**
 * Operators that stay in float between Quantize/Dequantize pairs, so that quantizing around them costs time and
 * accuracy for nothing. Asked of the runtime in `targets.test.ts`, too.
 */
export const floatOperators: readonly string[] = [
  'BatchNormalization',
  'ConvTranspose',
  'Div',
  'Elu',
  'Erf',
  'Exp',
  'Gelu',
  'HardSigmoid',
  'HardSwish',
  'InstanceNormalization',
  'LayerNormalization',
  'Max',
  'Min',
  'Neg',
  'Pad',
  'Pow',
  'PRelu',
  'ReduceMean',
  'ReduceSum',
  'Softplus',
  'SpaceToDepth',
  'Sqrt',
  'Sub',
  'Tanh',
];

/** What onnxruntime's CPU code, native or as WASM, does with a node between Quantize/Dequantize pairs. */
export function cpuFusesQdq(node: Node): QdqFusion {
  if (node.domain !== '') return { ok: false, reason: `${node.op} has no integer form` };
  if (absorbedOperators.has(node.opType)) return { ok: true };
  if (integerOperators[node.opType] === undefined) {
    return { ok: false, reason: `${node.opType} has no integer form in onnxruntime and would run in float` };
  }
  if (node.opType === 'Gemm') {
    const beta = node.attributes.get('beta');
    if (beta !== undefined && !(beta.kind === 'float' && beta.value === 1)) {
      return { ok: false, reason: 'a Gemm with beta other than 1 stays in float' };
    }
  }
  return { ok: true };
}
