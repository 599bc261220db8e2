import { attr } from '../../op/attributes.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { mapTensor, mapTwo, unary } from './numeric.ts';
import { erf, sigmoid, softplus } from './special-functions.ts';

/** `0.5 x (1 + erf(x / sqrt 2))` (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016). */
export function gelu(x: number): number {
  return 0.5 * x * (1 + erf(x * Math.SQRT1_2));
}

/** The tanh approximation of {@link gelu} (same paper, section 2). */
export function geluTanh(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
}

/** A kernel whose rule depends on attributes, read once. */
function withAttributes(makeRule: (context: KernelContext) => (value: number) => number): ReferenceKernel {
  return (context) => [mapTensor(context, context.tensor(0), { number: makeRule(context) })];
}

/** ONNX `Relu` (opset 14): `max(0, x)`. */
const relu = unary(
  (x) => (x < 0 ? 0 : x),
  (x) => (x < 0n ? 0n : x),
);

/** ONNX `LeakyRelu` (opset 16): `x` for `x >= 0`, else `alpha x`. */
const leakyRelu = withAttributes((context) => {
  const { alpha } = context.attributes({ alpha: attr.float(Math.fround(0.01)) });
  return (x) => (x < 0 ? alpha * x : x);
});

/** ONNX `PRelu` (opset 16): `x` for `x >= 0`, else `slope x`; the slope broadcasts to `x`. */
const prelu: ReferenceKernel = (context) => [
  mapTwo(context, context.tensor(0), context.tensor(1), {
    number: (x, slope) => (x < 0 ? slope * x : x),
    bigint: (x, slope) => (x < 0n ? slope * x : x),
  }),
];

/** ONNX `Elu` (opset 6): `x` for `x >= 0`, else `alpha (exp(x) - 1)`. */
const elu = withAttributes((context) => {
  const { alpha } = context.attributes({ alpha: attr.float(1) });
  return (x) => (x < 0 ? alpha * Math.expm1(x) : x);
});

/** ONNX `Celu` (opset 12): `max(0, x) + min(0, alpha (exp(x / alpha) - 1))`. */
const celu = withAttributes((context) => {
  const { alpha } = context.attributes({ alpha: attr.float(1) });
  return (x) => Math.max(0, x) + Math.min(0, alpha * Math.expm1(x / alpha));
});

/** ONNX `Selu` (opset 6): `gamma (x)` for `x > 0`, else `gamma (alpha exp(x) - alpha)`. */
const selu = withAttributes((context) => {
  const { alpha, gamma } = context.attributes({
    alpha: attr.float(Math.fround(1.67326319217681884765625)),
    gamma: attr.float(Math.fround(1.05070102214813232421875)),
  });
  return (x) => (x > 0 ? gamma * x : gamma * alpha * Math.expm1(x));
});

/** ONNX `ThresholdedRelu` (opset 10): `x` for `x > alpha`, else 0. */
const thresholdedRelu = withAttributes((context) => {
  const { alpha } = context.attributes({ alpha: attr.float(1) });
  return (x) => (x > alpha ? x : 0);
});

/** ONNX `Sigmoid` (opset 13): `1 / (1 + exp(-x))`. */
const sigmoidKernel = unary(sigmoid);

/** ONNX `HardSigmoid` (opset 6): `max(0, min(1, alpha x + beta))`. */
const hardSigmoid = withAttributes((context) => {
  const { alpha, beta } = context.attributes({ alpha: attr.float(Math.fround(0.2)), beta: attr.float(0.5) });
  return (x) => Math.max(0, Math.min(1, alpha * x + beta));
});

/** ONNX `HardSwish` (opset 14): `x max(0, min(1, x / 6 + 1 / 2))`. */
const hardSwish = unary((x) => x * Math.max(0, Math.min(1, x / 6 + 0.5)));

/** ONNX `Softplus` (opset 1): `log(exp(x) + 1)`. */
const softplusKernel = unary(softplus);

/** ONNX `Softsign` (opset 1): `x / (1 + |x|)`. */
const softsign = unary((x) => x / (1 + Math.abs(x)));

/** ONNX `Mish` (opset 18): `x tanh(softplus(x))` (Misra, "Mish", 2019). */
const mish = unary((x) => x * Math.tanh(softplus(x)));

/** ONNX `Gelu` (opset 20): exact, or with `approximate` "tanh". */
const geluKernel = withAttributes((context) => {
  const { approximate } = context.attributes({ approximate: attr.oneOf(['none', 'tanh'], 'none') });
  return approximate === 'tanh' ? geluTanh : gelu;
});

/** ONNX `Shrink` (opset 9): `x + bias` below `-lambd`, `x - bias` above `lambd`, else 0. */
const shrink = withAttributes((context) => {
  const { bias, lambd } = context.attributes({ bias: attr.float(0), lambd: attr.float(0.5) });
  return (x) => (x < -lambd ? x + bias : x > lambd ? x - bias : 0);
});

/** ONNX `Erf` (opset 13). */
const erfKernel = unary(erf);

/** ONNX `Sin`, `Cos`, `Tan`, … (opsets 7 and 9): the functions of these names. */
const trigonometry: KernelTable = {
  Acos: unary(Math.acos),
  Acosh: unary(Math.acosh),
  Asin: unary(Math.asin),
  Asinh: unary(Math.asinh),
  Atan: unary(Math.atan),
  Atanh: unary(Math.atanh),
  Cos: unary(Math.cos),
  Cosh: unary(Math.cosh),
  Sin: unary(Math.sin),
  Sinh: unary(Math.sinh),
  Tan: unary(Math.tan),
  Tanh: unary(Math.tanh),
};

/** Activations and functions of one number of `ai.onnx`. */
export const activationKernels: KernelTable = {
  ...trigonometry,
  Celu: celu,
  Elu: elu,
  Erf: erfKernel,
  Gelu: geluKernel,
  HardSigmoid: hardSigmoid,
  HardSwish: hardSwish,
  LeakyRelu: leakyRelu,
  Mish: mish,
  PRelu: prelu,
  Relu: relu,
  Selu: selu,
  Shrink: shrink,
  Sigmoid: sigmoidKernel,
  Softplus: softplusKernel,
  Softsign: softsign,
  ThresholdedRelu: thresholdedRelu,
};
