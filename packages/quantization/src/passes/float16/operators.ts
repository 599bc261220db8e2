/**
 * Operators that stay float32 in a float16 model: those whose float16 form onnxruntime's CPU or WebGPU provider lacks
 * or computes wrongly, those whose inputs mix dtypes in ways that differ between runtimes, and those that need the
 * precision (cumulative sums, ranges of numbers, random numbers, quantizers).
 */
export const float32Operators: ReadonlySet<string> = new Set([
  'Bernoulli',
  'CumSum',
  'DequantizeLinear',
  'DynamicQuantizeLinear',
  'EyeLike',
  'GRU',
  'GridSample',
  'LSTM',
  'Max',
  'MelWeightMatrix',
  'Min',
  'Multinomial',
  'NonMaxSuppression',
  'QuantizeLinear',
  'RNN',
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
  'Range',
  'Resize',
  'RoiAlign',
  'STFT',
  'TopK',
]);
