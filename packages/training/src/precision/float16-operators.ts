/**
 * How operators are computed in mixed precision, after the lists that PyTorch's autocast works by ("Automatic Mixed
 * Precision package", op-specific behavior): products gain most and lose little; what only moves or bounds numbers
 * follows what it is given; everything else (sums over many elements, exponentials, normalizations, losses) stays in
 * float32.
 */
const products: ReadonlySet<string> = new Set(['Conv', 'ConvTranspose', 'Einsum', 'Gemm', 'MatMul']);

const followers: ReadonlySet<string> = new Set([
  'Abs',
  'Add',
  'AveragePool',
  'Clip',
  'Concat',
  'DepthToSpace',
  'Elu',
  'Expand',
  'Flatten',
  'Gelu',
  'HardSigmoid',
  'HardSwish',
  'Identity',
  'LeakyRelu',
  'Max',
  'MaxPool',
  'Min',
  'Mul',
  'Neg',
  'PRelu',
  'Pad',
  'Relu',
  'Reshape',
  'Sigmoid',
  'Slice',
  'SpaceToDepth',
  'Split',
  'Squeeze',
  'Sub',
  'Tanh',
  'Tile',
  'Transpose',
  'Unsqueeze',
  'Where',
]);

/** `half`: in float16; `follow`: in float16 when a float input is already; `full`: in float32. */
export type ComputeKind = 'half' | 'follow' | 'full';

/** How an operator of `ai.onnx` is computed. */
export function computeKind(opType: string): ComputeKind {
  if (products.has(opType)) return 'half';
  return followers.has(opType) ? 'follow' : 'full';
}
