import type { IntegerForm, IntegerRule, IntegerRules, Node } from '@lithe/core';

/** Whether the runtime makes an integer operator of a node between Quantize and Dequantize nodes. */
export type QdqFusion = { readonly ok: true } | { readonly ok: false; readonly reason: string };

const move = (name: string, rest: Partial<IntegerRule> = {}): IntegerRule => ({
  form: 'move',
  becomes: name,
  wide: true,
  ...rest,
});
const microsoft = (form: IntegerForm, becomes: string): IntegerRule => ({ form, becomes });

/**
 * Operators that onnxruntime's CPU provider computes in integers when their inputs and output go through
 * Quantize/Dequantize pairs, with what they become. `targets.test.ts` asks the runtime itself about every one.
 */
export const integerOperators: Readonly<Record<string, IntegerRule>> = {
  Add: microsoft('list', 'QLinearAdd'),
  ArgMax: microsoft('read', 'ArgMax'),
  AveragePool: microsoft('unary', 'QLinearAveragePool'),
  Concat: microsoft('list', 'QLinearConcat'),
  Conv: microsoft('convolution', 'QLinearConv'),
  DepthToSpace: move('DepthToSpace', { wide: false }),
  Expand: move('Expand'),
  Flatten: move('Flatten'),
  Gather: move('Gather'),
  GatherElements: move('GatherElements'),
  Gemm: microsoft('gemm', 'QGemm'),
  GlobalAveragePool: microsoft('unary', 'QLinearGlobalAveragePool'),
  LeakyRelu: microsoft('unary', 'QLinearLeakyRelu'),
  MatMul: microsoft('product', 'QLinearMatMul'),
  MaxPool: move('MaxPool', { wide: false, ordered: true }),
  Mul: microsoft('list', 'QLinearMul'),
  ReduceMax: move('ReduceMax', { wide: false, ordered: true }),
  Reshape: move('Reshape'),
  Resize: move('Resize', { wide: false }),
  Sigmoid: microsoft('unary', 'QLinearSigmoid'),
  Slice: move('Slice'),
  Softmax: microsoft('unary', 'QLinearSoftmax'),
  Split: { form: 'split', becomes: 'Split', wide: true },
  Squeeze: move('Squeeze'),
  Tile: move('Tile'),
  Transpose: move('Transpose'),
  Unsqueeze: move('Unsqueeze'),
  Where: microsoft('choice', 'QLinearWhere'),
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

/**
 * How onnxruntime's CPU code turns pairs into integer operators.
 *
 * @param signedActivations on x86 signed tensors are made unsigned first, which works for one reader only
 */
export function cpuIntegerRules(signedActivations: IntegerRules['signedActivations']): IntegerRules {
  return {
    operators: integerOperators,
    signedActivations,
    absorbed: [...absorbedOperators],
    carriesPairs: ['MaxPool', 'Reshape', 'Slice', 'Squeeze', 'Transpose', 'Unsqueeze'],
    quantizesWeights: ['Conv', 'ConvTranspose', 'Gemm'],
    joinsProductAndBias: true,
  };
}
