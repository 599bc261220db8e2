const noKernel = 'onnxruntime has no float16 kernel for it';
const noGpuKernel = 'the GPU provider of onnxruntime has no float16 kernel for it';
const precise = 'it needs more than 11 bits';
const quantizer = 'it is a quantizer, whose scale sets the precision';

/**
 * Operators that stay float32 in a float16 model, with the reason: those for whose float16 form onnxruntime has no
 * kernel (1.30: it casts to float32 and back around them, or refuses), and those that need the precision.
 */
export const float32Operators: ReadonlyMap<string, string> = new Map([
  ['Bernoulli', noKernel],
  ['BlackmanWindow', precise],
  ['CumSum', precise],
  ['DequantizeLinear', quantizer],
  ['DynamicQuantizeLinear', quantizer],
  ['EyeLike', noKernel],
  ['GRU', noKernel],
  ['GridSample', noKernel],
  ['HammingWindow', precise],
  ['HannWindow', precise],
  ['LSTM', noKernel],
  ['Max', noGpuKernel],
  ['MelWeightMatrix', noKernel],
  ['Min', noGpuKernel],
  ['Multinomial', noKernel],
  ['NonMaxSuppression', noKernel],
  ['QuantizeLinear', quantizer],
  ['RNN', noKernel],
  ['RandomNormal', noKernel],
  ['RandomNormalLike', noKernel],
  ['RandomUniform', noKernel],
  ['RandomUniformLike', noKernel],
  ['Range', precise],
  ['Resize', 'it computes coordinates, which need more than 11 bits'],
  ['RoiAlign', noKernel],
  ['STFT', noKernel],
  ['TopK', noKernel],
]);

/** Operators that move elements and compute nothing: the same in either precision. */
export const movingOperators: ReadonlySet<string> = new Set([
  'Concat',
  'DepthToSpace',
  'Expand',
  'Flatten',
  'Gather',
  'GatherElements',
  'GatherND',
  'Identity',
  'Reshape',
  'Slice',
  'SpaceToDepth',
  'Split',
  'Squeeze',
  'Tile',
  'Transpose',
  'Trilu',
  'Unsqueeze',
]);
