import {
  cosineSimilarity,
  type DType,
  errors,
  formatShape,
  isFloat,
  maxAbsError,
  type Tensor,
} from '@lithe/core';

/** How far a result may be from what is expected: `|actual - expected| <= absolute + relative * |expected|`. */
export interface Tolerance {
  /** Absolute part. */
  readonly absolute: number;
  /** Part relative to the expected element. */
  readonly relative: number;
}

const exact: Tolerance = { absolute: 0, relative: 0 };

/** Tolerances of operators that round once per element. Whole numbers, bool and text are exact. */
const elementwise: Partial<Record<DType, Tolerance>> = {
  float64: { absolute: 1e-12, relative: 1e-12 },
  float32: { absolute: 1e-6, relative: 1e-5 },
  float16: { absolute: 1e-3, relative: 2e-3 },
  bfloat16: { absolute: 1e-2, relative: 1.6e-2 },
};

/** Operators whose results are sums of many terms: runtimes add in other orders, and fuse or split products. */
const summing = new Set([
  'AveragePool',
  'BatchNormalization',
  'Conv',
  'ConvTranspose',
  'CumSum',
  'Einsum',
  'GRU',
  'Gemm',
  'GlobalAveragePool',
  'GroupNormalization',
  'InstanceNormalization',
  'LSTM',
  'LayerNormalization',
  'LogSoftmax',
  'LpNormalization',
  'MatMul',
  'MatMulNBits',
  'RNN',
  'ReduceL1',
  'ReduceL2',
  'ReduceLogSum',
  'ReduceLogSumExp',
  'ReduceMean',
  'ReduceProd',
  'ReduceSum',
  'ReduceSumSquare',
  'Resize',
  'Softmax',
  'GridSample',
]);

/** Operators that quantize: a value near the middle between two levels may fall on either. */
const quantizing = new Set(['QuantizeLinear', 'DynamicQuantizeLinear', 'QLinearConv', 'QLinearMatMul']);

/** Functions that runtimes approximate by polynomials. */
const approximated = new Set([
  'Gelu',
  'Erf',
  'Mish',
  'Softplus',
  'Tan',
  'Tanh',
  'Sigmoid',
  'Pow',
  'Exp',
  'Log',
]);

/**
 * The tolerance of an operator's results, by dtype.
 *
 * @param op operator name
 * @param dtype dtype of the result
 */
export function toleranceOf(op: string, dtype: DType): Tolerance {
  if (!isFloat(dtype)) return quantizing.has(op) && dtype !== 'bool' ? { absolute: 1, relative: 0 } : exact;
  const base = elementwise[dtype];
  // Float8 results are rounded once, to one of few values; the neighbours are at most an eighth apart, or a quarter.
  if (base === undefined) return { absolute: 0, relative: 0.26 };
  const factor = summing.has(op) ? 10 : approximated.has(op) ? 4 : 1;
  return { absolute: base.absolute * factor, relative: base.relative * factor };
}

/**
 * Compares a result with what is expected: dtype, shape, and every element. NaN equals NaN, infinities their like.
 *
 * @throws {LitheError} CONFORMANCE_FAILED naming the first element that is off, and the largest error
 */
export function expectClose(actual: Tensor, expected: Tensor, options: CloseOptions): void {
  const { label, tolerance } = options;
  const fail = (problem: string): Error => errors.conformanceFailed(label, problem);
  if (actual.dtype !== expected.dtype)
    throw fail(`the result is ${actual.dtype}, expected ${expected.dtype}.`);
  if (actual.shape.join() !== expected.shape.join()) {
    throw fail(`the result has shape ${formatShape(actual.shape)}, expected ${formatShape(expected.shape)}.`);
  }
  if (actual.dtype === 'string') {
    const left = (actual as Tensor<'string'>).data;
    const index = (expected as Tensor<'string'>).data.findIndex((text, at) => text !== left[at]);
    if (index >= 0)
      throw fail(
        `element ${index} is "${left[index]}", expected "${(expected as Tensor<'string'>).data[index]}".`,
      );
    return;
  }
  const { absolute, relative } = tolerance;
  const found = actual.toFloat64Array();
  const wanted = expected.toFloat64Array();
  for (let index = 0; index < found.length; index++) {
    const a = found[index] as number;
    const e = wanted[index] as number;
    if (Object.is(a, e) || a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    if (Number.isFinite(e) && Math.abs(a - e) <= absolute + relative * Math.abs(e)) continue;
    throw fail(
      `element ${index} of ${formatShape(actual.shape)} is ${a}, expected ${e}; largest error ${maxAbsError(expected, actual)}, cosine ${cosineSimilarity(expected, actual)}, allowed ${absolute} + ${relative} x.`,
    );
  }
}

/** What {@link expectClose} goes by. */
export interface CloseOptions {
  /** What is compared, for the message. */
  readonly label: string;
  /** How far elements may be off. */
  readonly tolerance: Tolerance;
}
