import type { Node } from '@lithe/core';

/**
 * What static quantization does with an operator. `anchor`: the sums that integers speed up. `follower`: has an
 * integer kernel that is worth it only between integer neighbours. `pass-through`: moves elements without
 * computing, so that input and output share one scale.
 */
export type OperatorKind = 'anchor' | 'follower' | 'pass-through';

/**
 * The operators that onnxruntime runs in integers when Quantize/Dequantize pairs surround them. All others stay
 * float: hard-swish, normalizations, means, softmax and the like either have no integer kernel or lose too much.
 */
const kinds: Readonly<Record<string, OperatorKind>> = {
  Conv: 'anchor',
  Gemm: 'anchor',
  MatMul: 'anchor',
  Add: 'follower',
  AveragePool: 'follower',
  Clip: 'follower',
  Concat: 'follower',
  GlobalAveragePool: 'follower',
  LeakyRelu: 'follower',
  Mul: 'follower',
  Relu: 'follower',
  DepthToSpace: 'pass-through',
  Expand: 'pass-through',
  Flatten: 'pass-through',
  Gather: 'pass-through',
  MaxPool: 'pass-through',
  Reshape: 'pass-through',
  Resize: 'pass-through',
  Slice: 'pass-through',
  Split: 'pass-through',
  Squeeze: 'pass-through',
  Tile: 'pass-through',
  Transpose: 'pass-through',
  Unsqueeze: 'pass-through',
};

/** What static quantization does with a node; `undefined` when it stays float. */
export function operatorKind(node: Node): OperatorKind | undefined {
  if (node.domain !== '' || !Object.hasOwn(kinds, node.opType)) return undefined;
  if (node.opType === 'Resize') {
    // Linear and cubic resizing compute; only nearest moves elements.
    const mode = node.attributes.get('mode');
    return mode === undefined || (mode.kind === 'string' && mode.value === 'nearest')
      ? 'pass-through'
      : undefined;
  }
  // A second output of MaxPool holds indices, which integers inside a Q/DQ pair do not have.
  if (node.opType === 'MaxPool' && node.outputs.length > 1) return undefined;
  return kinds[node.opType];
}

/** Which inputs of a quantized node hold activations. */
export function dataInputs(node: Node): readonly number[] {
  switch (node.opType) {
    case 'Add':
    case 'Mul':
    case 'MatMul':
      return [0, 1];
    case 'Concat':
      return node.inputs.map((_, index) => index);
    default:
      return [0];
  }
}
