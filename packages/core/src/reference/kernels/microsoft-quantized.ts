import { attr } from '../../op/attributes.ts';
import { elementsOf } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { concatTensors } from './movement.ts';
import { mapTwo } from './numeric.ts';
import { averageNumbers } from './pooling.ts';
import { qLinearConv, rangeOf, saturated, scalar } from './quantization.ts';
import { meanReduction, reduceTensor, requireAxis } from './reduce.ts';
import { normalAxes, permute } from './shape.ts';
import { softmaxLane } from './softmax.ts';
import { sigmoid } from './special-functions.ts';

/** The numbers that a per-tensor quantized input stands for, as a float32 tensor: scale and zero point follow it. */
function real(context: KernelContext, index: number): Tensor {
  const tensor = context.tensor(index);
  const scale = scalar(context, index + 1);
  const zero = context.optional(index + 2) === undefined ? 0 : scalar(context, index + 2);
  return fromNumbers(
    'float64',
    tensor.shape,
    tensor.toFloat64Array().map((value) => (value - zero) * scale),
  );
}

/** Quantizes numbers by the scale in input `index` and the zero point behind it. */
function quantized(context: KernelContext, value: Tensor, index: number, like: Tensor): Tensor {
  const scale = scalar(context, index);
  const zero = context.optional(index + 1) === undefined ? 0 : scalar(context, index + 1);
  const range = rangeOf(like.dtype);
  const values = value
    .toFloat64Array()
    .map((item) => saturated(Math.fround(Math.fround(item) / scale), zero, range));
  return fromNumbers(like.dtype, value.shape, values);
}

/** `com.microsoft.QLinearAdd`, `QLinearMul`: of two quantized tensors, broadcast. */
function quantizedBinary(number: (left: number, right: number) => number): ReferenceKernel {
  return (context) => {
    const result = mapTwo(context, real(context, 0), real(context, 3), { number });
    return [quantized(context, result, 6, context.tensor(0))];
  };
}

/** `com.microsoft.QLinearSigmoid`, `QLinearLeakyRelu`: of a quantized tensor. */
function quantizedUnary(makeRule: (context: KernelContext) => (value: number) => number): ReferenceKernel {
  return (context) => {
    const input = real(context, 0);
    const result = fromNumbers('float64', input.shape, input.toFloat64Array().map(makeRule(context)));
    return [quantized(context, result, 3, context.tensor(0))];
  };
}

/** `com.microsoft.QLinearConcat`: each input with its own scale and zero point. */
const qLinearConcat: ReferenceKernel = (context) => {
  const { axis } = context.attributes({ axis: attr.requiredInt() });
  if (context.inputs.length < 5 || (context.inputs.length - 2) % 3 !== 0)
    context.fail('inputs do not come in threes');
  const parts: Tensor[] = [];
  for (let index = 2; index < context.inputs.length; index += 3) parts.push(real(context, index));
  const joined = concatTensors(context, parts, requireAxis(context, axis, parts[0]?.shape.length ?? 0));
  return [quantized(context, joined, 0, context.tensor(1))];
};

/** Channels moved from the last axis to the second, or back. */
function channelsFirst(tensor: Tensor): Tensor {
  const rank = tensor.shape.length;
  return permute(tensor, [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, axis) => axis + 1)]);
}

function channelsLast(tensor: Tensor): Tensor {
  return permute(tensor, [0, ...Array.from({ length: tensor.shape.length - 2 }, (_, axis) => axis + 2), 1]);
}

/** `com.microsoft.QLinearAveragePool`: `AveragePool` of a quantized tensor, channels first or last. */
const qLinearAveragePool: ReferenceKernel = (context) => {
  const { channels_last: last } = context.attributes({ channels_last: attr.flag(false) });
  const input = last ? channelsFirst(real(context, 0)) : real(context, 0);
  const { values, shape } = averageNumbers(context, input, input.toFloat64Array());
  const result = quantized(context, fromNumbers('float64', shape, values), 3, context.tensor(0));
  return [last ? channelsLast(result) : result];
};

/** `com.microsoft.QLinearGlobalAveragePool`: the mean over spatial axes, channels first or last. */
const qLinearGlobalAveragePool: ReferenceKernel = (context) => {
  const { channels_last: last } = context.attributes({ channels_last: attr.flag(false) });
  const input = real(context, 0);
  const rank = input.shape.length;
  const axes = Array.from({ length: rank - 2 }, (_, axis) => axis + (last ? 1 : 2));
  return [
    quantized(context, reduceTensor(input, meanReduction, { axes, keepdims: true }), 3, context.tensor(0)),
  ];
};

/** `com.microsoft.QLinearReduceMean`: the mean over axes. */
const qLinearReduceMean: ReferenceKernel = (context) => {
  const { axes, keepdims } = context.attributes({ axes: attr.requiredInts(), keepdims: attr.flag(true) });
  const input = real(context, 0);
  const over = normalAxes(context, axes, input.shape.length);
  return [
    quantized(context, reduceTensor(input, meanReduction, { axes: over, keepdims }), 3, context.tensor(0)),
  ];
};

/** `com.microsoft.QLinearSoftmax`: along one axis, or before opset 13 over all axes from it on. */
const qLinearSoftmax: ReferenceKernel = (context) => {
  const { axis, opset } = context.attributes({ axis: attr.int(-1), opset: attr.requiredInt() });
  const input = real(context, 0);
  const at = requireAxis(context, axis, input.shape.length);
  const values = input.toFloat64Array();
  const end = opset < 13 ? input.shape.length : at + 1;
  const length = elementsOf(input.shape.slice(at, end));
  const inner = elementsOf(input.shape.slice(end));
  const offsets = Int32Array.from({ length }, (_, index) => index * inner);
  for (let lane = 0; lane < values.length / Math.max(length, 1); lane++) {
    softmaxLane(values, Math.floor(lane / inner) * length * inner + (lane % inner), offsets);
  }
  return [quantized(context, fromNumbers('float64', input.shape, values), 3, context.tensor(0))];
};

/** `com.microsoft.QLinearWhere`: a choice between two quantized tensors. */
const qLinearWhere: ReferenceKernel = (context) => {
  const condition = context.tensor(0);
  const shares = fromNumbers('float64', condition.shape, condition.toFloat64Array());
  const yes = mapTwo(context, shares, real(context, 1), {
    number: (share, value) => (share === 0 ? 0 : value),
  });
  const no = mapTwo(context, shares, real(context, 4), {
    number: (share, value) => (share === 0 ? value : 0),
  });
  const result = mapTwo(context, yes, no, { number: (left, right) => left + right });
  return [quantized(context, result, 7, context.tensor(1))];
};

/** `com.microsoft.QLinearConv`: {@link qLinearConv}, channels first or last. */
const microsoftQLinearConv: ReferenceKernel = (context) => {
  const { channels_last: last } = context.attributes({ channels_last: attr.flag(false) });
  if (!last) return qLinearConv(context);
  const tensor = (index: number): Tensor =>
    index === 0 ? channelsFirst(context.tensor(0)) : context.tensor(index);
  return qLinearConv({ ...context, tensor }).map((output) =>
    output instanceof Tensor ? channelsLast(output) : output,
  );
};

/** Quantized kernels of `com.microsoft` on whole tensors. */
export const microsoftQuantizedKernels: KernelTable = {
  'com.microsoft.QLinearAdd': quantizedBinary((left, right) => left + right),
  'com.microsoft.QLinearAveragePool': qLinearAveragePool,
  'com.microsoft.QLinearConcat': qLinearConcat,
  'com.microsoft.QLinearConv': microsoftQLinearConv,
  'com.microsoft.QLinearGlobalAveragePool': qLinearGlobalAveragePool,
  'com.microsoft.QLinearLeakyRelu': quantizedUnary((context) => {
    const { alpha } = context.attributes({ alpha: attr.float(Math.fround(0.01)) });
    return (value) => (value >= 0 ? value : alpha * value);
  }),
  'com.microsoft.QLinearMul': quantizedBinary((left, right) => left * right),
  'com.microsoft.QLinearReduceMean': qLinearReduceMean,
  'com.microsoft.QLinearSigmoid': quantizedUnary(() => sigmoid),
  'com.microsoft.QLinearSoftmax': qLinearSoftmax,
  'com.microsoft.QLinearWhere': qLinearWhere,
};
