import { attr } from '../../op/attributes.ts';
import { type DType, dtypes, elementsOf, isInteger, stridesOf } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { broadcastShapes, broadcastWalk, fromNumbers, normalAxis, sameShape } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { castTensor } from './cast.ts';
import { addBias, convolve } from './convolution.ts';
import { matMulNumbers, planMatMul } from './matmul.ts';
import { outputType } from './numeric.ts';
import { roundHalfEven } from './special-functions.ts';

/** How a tensor is cut into pieces of one scale each. */
export interface Granularity {
  /** Axis of the scales, counted from the front or the back. */
  readonly axis: number;
  /** Elements of the axis that share a scale; 0 for one scale per index. */
  readonly blockSize: number;
}

/**
 * Which element of `scale` belongs to each element of a tensor of `shape`, as ONNX `QuantizeLinear` (opset 21) lays
 * them out: one for all, one per index of the axis, or one per block along the axis.
 */
export function scalePositions(
  context: KernelContext,
  shape: readonly number[],
  scale: Tensor,
  { axis, blockSize }: Granularity,
): Int32Array {
  const positions = new Int32Array(elementsOf(shape));
  if (blockSize === 0 && scale.size === 1) return positions;
  const at =
    normalAxis(axis, shape.length) ?? context.fail(`axis ${axis} is not one of ${shape.length} axes`);
  const strides = stridesOf(shape);
  const dim = shape[at]!;
  if (blockSize === 0) {
    if (scale.shape.length !== 1 || scale.size !== dim)
      context.fail(`scales [${scale.shape.join(', ')}] do not fit axis ${at} of ${dim}`);
    for (let index = 0; index < positions.length; index++)
      positions[index] = Math.floor(index / strides[at]!) % dim;
    return positions;
  }
  const expected = shape.map((item, index) => (index === at ? Math.ceil(item / blockSize) : item));
  if (scale.shape.join() !== expected.join())
    context.fail(`scales [${scale.shape.join(', ')}] are not [${expected.join(', ')}] blocks`);
  const inner = strides[at]!;
  const blocks = expected[at]!;
  for (let index = 0; index < positions.length; index++) {
    const outer = Math.floor(index / (inner * dim));
    const block = Math.floor((Math.floor(index / inner) % dim) / blockSize);
    positions[index] = (outer * blocks + block) * inner + (index % inner);
  }
  return positions;
}

/** The range of an integer dtype as numbers. */
export function rangeOf(dtype: DType): { low: number; high: number } {
  const range = dtypes[dtype].range ?? [0n, 0n];
  return { low: Number(range[0]), high: Number(range[1]) };
}

/** Zero points as numbers; zeros where there is no tensor. */
export function zeroPoints(tensor: Tensor | undefined, count: number): Float64Array {
  return tensor === undefined ? new Float64Array(count) : tensor.toFloat64Array();
}

/** `saturate(round(value) + zero)` with ties to even. */
export function saturated(
  value: number,
  zero: number,
  { low, high }: { readonly low: number; readonly high: number },
): number {
  return Math.min(high, Math.max(low, roundHalfEven(value) + zero));
}

/**
 * ONNX `QuantizeLinear` (opset 21): `saturate(round(x / scale) + zero_point)`, the quotient in float32 as runtimes
 * take it; 8-bit floats are not rounded to whole numbers.
 */
const quantizeLinear: ReferenceKernel = (context) => {
  const {
    axis,
    block_size: blockSize,
    output_dtype: code,
    saturate,
  } = context.attributes({
    axis: attr.int(1),
    block_size: attr.int(0),
    output_dtype: attr.int(0),
    saturate: attr.flag(true),
  });
  const [input, scale, zero] = [context.tensor(0), context.tensor(1), context.optional(2)];
  const dtype = zero?.dtype ?? outputType(context, code === 0 ? undefined : code, 'uint8');
  const positions = scalePositions(context, input.shape, scale, { axis, blockSize });
  const scales = scale.toFloat64Array();
  const zeros = zeroPoints(zero, scales.length);
  const values = input.toFloat64Array();
  for (let index = 0; index < values.length; index++)
    values[index] = Math.fround(values[index]! / scales[positions[index]!]!);
  if (dtypes[dtype].category === 'float') {
    return [castTensor(fromNumbers('float32', input.shape, values), dtype, saturate)];
  }
  if (!isInteger(dtype)) context.wrongType(dtype, ['integers', '8-bit floats']);
  const range = rangeOf(dtype);
  for (let index = 0; index < values.length; index++)
    values[index] = saturated(values[index]!, zeros[positions[index]!]!, range);
  return [fromNumbers(dtype, input.shape, values)];
};

/** Dequantized numbers: `(x - zero_point) scale`. */
export function dequantize(
  context: KernelContext,
  {
    input,
    scale,
    zero,
  }: { readonly input: Tensor; readonly scale: Tensor; readonly zero: Tensor | undefined },
  granularity: Granularity,
): Float64Array {
  const positions = scalePositions(context, input.shape, scale, granularity);
  const scales = scale.toFloat64Array();
  const zeros = zeroPoints(zero, scales.length);
  if (zeros.length !== scales.length) context.fail(`${zeros.length} zero points for ${scales.length} scales`);
  const values = input.toFloat64Array();
  for (let index = 0; index < values.length; index++) {
    values[index] = (values[index]! - zeros[positions[index]!]!) * scales[positions[index]!]!;
  }
  return values;
}

/** ONNX `DequantizeLinear` (opset 21): `(x - zero_point) scale`, in the dtype of the scale. */
const dequantizeLinear: ReferenceKernel = (context) => {
  const { axis, block_size: blockSize } = context.attributes({ axis: attr.int(1), block_size: attr.int(0) });
  const [input, scale, zero] = [context.tensor(0), context.tensor(1), context.optional(2)];
  return [
    fromNumbers(scale.dtype, input.shape, dequantize(context, { input, scale, zero }, { axis, blockSize })),
  ];
};

/** What dynamic quantization to uint8 gives. */
export interface DynamicallyQuantized {
  /** Whole numbers in [0, 255]. */
  readonly values: Float64Array;
  /** float32 scale. */
  readonly scale: number;
  /** Zero point in [0, 255]. */
  readonly zero: number;
}

/** Quantizes to uint8 by the range of the values, zero included; in float32 steps, as runtimes do. */
export function dynamicQuantize(values: Float64Array): DynamicallyQuantized {
  let low = 0;
  let high = 0;
  for (let index = 0; index < values.length; index++) {
    low = Math.min(low, values[index]!);
    high = Math.max(high, values[index]!);
  }
  const range = { low: 0, high: 255 };
  const scale = high === low ? 1 : Math.fround(Math.fround(high - low) / 255);
  const zero = saturated(Math.fround(-low / scale), 0, range);
  const out = new Float64Array(values.length);
  for (let index = 0; index < out.length; index++)
    out[index] = saturated(Math.fround(values[index]! / scale), zero, range);
  return { values: out, scale, zero };
}

/** ONNX `DynamicQuantizeLinear` (opset 11): to uint8 by the tensor's own range. */
const dynamicQuantizeLinear: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const { values, scale, zero } = dynamicQuantize(input.toFloat64Array());
  return [
    fromNumbers('uint8', input.shape, values),
    Tensor.from('float32', [], new Float32Array([scale])),
    Tensor.from('uint8', [], new Uint8Array([zero])),
  ];
};

/** A tensor's numbers less its zero point: one for all, or one per index of an axis. */
export function centred(
  context: KernelContext,
  tensor: Tensor,
  zero: Tensor | undefined,
  axis: number,
): Float64Array {
  const values = tensor.toFloat64Array();
  if (zero === undefined) return values;
  const zeros = zero.toFloat64Array();
  // A zero point per row or column of each matrix of a batch has the same rank, with 1 on the other axis.
  const positions =
    zero.size === 1 || zero.shape.length <= 1
      ? scalePositions(context, tensor.shape, zero.reshape([zero.size]), { axis, blockSize: 0 })
      : broadcastTo(context, zero.shape, tensor.shape);
  for (let index = 0; index < values.length; index++) values[index]! -= zeros[positions[index]!]!;
  return values;
}

/** Positions in a tensor of `shape` broadcast one way to `target`. */
export function broadcastTo(
  context: KernelContext,
  shape: readonly number[],
  target: readonly number[],
): Int32Array {
  const joined = broadcastShapes([shape, target]);
  if (joined === undefined || !sameShape(joined, target)) {
    context.fail(`[${shape.join(', ')}] does not broadcast to [${target.join(', ')}]`);
  }
  return broadcastWalk(shape, target) ?? Int32Array.from({ length: elementsOf(target) }, (_, index) => index);
}

/** ONNX `ConvInteger` (opset 10): `Conv` of `x - x_zero_point` and `w - w_zero_point`, in int32. */
const convInteger: ReferenceKernel = (context) => {
  const [x, w] = [context.tensor(0), context.tensor(1)];
  const { values, shape } = convolve(
    context,
    { values: centred(context, x, context.optional(2), 1), shape: x.shape },
    { values: centred(context, w, context.optional(3), 0), shape: w.shape },
  );
  return [fromNumbers('int32', shape, values)];
};

/** ONNX `QLinearConv` (opset 10): a quantized `Conv`; weights may have a scale per output channel. */
export const qLinearConv: ReferenceKernel = (context) => {
  const [x, w] = [context.tensor(0), context.tensor(3)];
  const result = convolve(
    context,
    { values: centred(context, x, context.tensor(2), 1), shape: x.shape },
    { values: centred(context, w, context.tensor(5), 0), shape: w.shape },
  );
  const bias = context.optional(8);
  if (bias !== undefined) addBias(context, result, bias.toFloat64Array());
  const places = elementsOf(result.shape.slice(2));
  const maps = result.shape[1]!;
  const weights = context.tensor(4).toFloat64Array();
  if (weights.length !== 1 && weights.length !== maps)
    context.fail(`${weights.length} weight scales for ${maps} maps`);
  const factors = weights.map((scale) => multiplier(scalar(context, 1), scale, scalar(context, 6)));
  const { values } = result;
  const zero = context.tensor(7);
  const range = rangeOf(zero.dtype);
  const shift = scalar(context, 7);
  for (let index = 0; index < values.length; index++) {
    const map = weights.length === 1 ? 0 : Math.floor(index / places) % maps;
    values[index] = saturated(Math.fround(values[index]! * factors[map]!), shift, range);
  }
  return [fromNumbers(zero.dtype, result.shape, values)];
};

/** The single element of an input. */
export function scalar(context: KernelContext, index: number): number {
  const tensor = context.tensor(index);
  return tensor.size === 1
    ? tensor.toFloat64Array()[0]!
    : context.fail(`input ${index} has ${tensor.size} elements, not 1`);
}

/** `left right / output` in float32 steps. */
function multiplier(left: number, right: number, output: number): number {
  return Math.fround(Math.fround(left * right) / output);
}

/** Products of two integer matrices less their zero points. A vector of zero points is per row of A, per column of B. */
export function integerProduct(
  context: KernelContext,
  [a, b]: readonly [Tensor, Tensor],
  [zeroA, zeroB]: readonly [Tensor | undefined, Tensor | undefined],
): { values: Float64Array; shape: readonly number[] } {
  const plan = planMatMul(context, a.shape, b.shape);
  context.guard('float64', plan.shape);
  const left = centred(context, a, zeroA, -2);
  const right = centred(context, b, zeroB, -1);
  return { values: matMulNumbers(left, right, plan), shape: plan.shape };
}

/** ONNX `MatMulInteger` (opset 10): the product of `A - a_zero_point` and `B - b_zero_point`, in int32. */
const matMulInteger: ReferenceKernel = (context) => {
  const { values, shape } = integerProduct(
    context,
    [context.tensor(0), context.tensor(1)],
    [context.optional(2), context.optional(3)],
  );
  return [fromNumbers('int32', shape, values)];
};

/** ONNX `QLinearMatMul` (opset 21): a quantized `MatMul`; scales may be per row of A and per column of B. */
const qLinearMatMul: ReferenceKernel = (context) => {
  const [a, b] = [context.tensor(0), context.tensor(3)];
  const { values, shape } = integerProduct(context, [a, b], [context.tensor(2), context.tensor(5)]);
  const [left, right] = [context.tensor(1), context.tensor(4)];
  const rows =
    left.size === 1
      ? undefined
      : broadcastTo(context, left.shape.length === 1 ? [left.size, 1] : left.shape, shape);
  const columns = right.size === 1 ? undefined : broadcastTo(context, right.shape, shape);
  const [lefts, rights] = [left.toFloat64Array(), right.toFloat64Array()];
  const output = scalar(context, 6);
  const zero = context.tensor(7);
  const shift = scalar(context, 7);
  const range = rangeOf(zero.dtype);
  for (let index = 0; index < values.length; index++) {
    const factor = multiplier(lefts[rows?.[index] ?? 0]!, rights[columns?.[index] ?? 0]!, output);
    values[index] = saturated(Math.fround(values[index]! * factor), shift, range);
  }
  return [fromNumbers(zero.dtype, shape, values)];
};

/** Quantization: `ai.onnx`, and onnxruntime's own names for two of it. */
export const quantizationKernels: KernelTable = {
  ConvInteger: convInteger,
  DequantizeLinear: dequantizeLinear,
  DynamicQuantizeLinear: dynamicQuantizeLinear,
  MatMulInteger: matMulInteger,
  QLinearConv: qLinearConv,
  QLinearMatMul: qLinearMatMul,
  QuantizeLinear: quantizeLinear,
  'com.microsoft.DequantizeLinear': dequantizeLinear,
  'com.microsoft.QuantizeLinear': quantizeLinear,
};
