import { multiplyDims, sameDim } from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { CostContext, InferContext } from '../op/op-def.ts';
import { elementsOf } from '../tensor/dtype.ts';
import {
  channelsLast,
  convolution,
  convolutionMacs,
  type WindowAttributes,
  windowedShape,
} from './convolution.ts';
import { gemmMacs, gemmShape, matMul, matMulMacs } from './matrix.ts';
import { microsoftQuantizedSchemas } from './microsoft-quantized-schemas.ts';
import {
  type AnyInferContext,
  axesOf,
  axisOf,
  broadcastShapes,
  mergedDim,
  requireRank,
  sameAsInput,
  unknownDims,
} from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';
import { joinShapes } from './slicing.ts';

interface PackedAttributes {
  readonly K: number;
  readonly N: number;
}

/** Data [..., K] times packed weights that stand for [N, K]. */
function inferPackedMatMul(context: InferContext<PackedAttributes>): void {
  const { K: inner, N: columns } = context.attributes;
  const data = requireRank(context, 0, 1);
  if (data !== undefined) mergedDim(context, data.at(-1) ?? null, inner, 'the last dim of the input and K');
  context.output(0, undefined, data === undefined ? undefined : [...data.slice(0, -1), columns]);
}

interface BlockAttributes extends PackedAttributes {
  readonly bits: number;
  readonly block_size: number;
}

/** Weights [N, K / block, block * bits / 8]. */
function inferMatMulNBits(context: InferContext<BlockAttributes>): void {
  const { K: inner, N: columns, bits, block_size: block } = context.attributes;
  if (bits < 1 || bits > 8) context.fail(`bits must lie between 1 and 8, not be ${bits}`);
  if (block < 1) context.fail(`block_size must be at least 1, not ${block}`);
  const weights = context.shape(1);
  const expected = [columns, Math.ceil(inner / block), Math.ceil((block * bits) / 8)];
  if (weights?.length === 3 && weights.some((dim, axis) => sameDim(dim, expected[axis] ?? null) === false)) {
    context.fail(`the weights must have shape [${expected.join(', ')}], not [${weights.join(', ')}]`);
  }
  inferPackedMatMul(context);
}

function packedMacs(context: CostContext<PackedAttributes>): number {
  const output = context.outputShape(0);
  return output === undefined ? 0 : elementsOf(output) * context.attributes.K;
}

interface GatherAttributes {
  readonly bits: number;
  readonly block_size: number;
  readonly gather_axis: number;
}

/** Gather on packed data: bytes of `uint8` data hold 8 / bits elements along the last axis. */
function inferGatherBlockQuantized(context: InferContext<GatherAttributes>): void {
  const data = requireRank(context, 0, 1);
  const indices = context.shape(1);
  if (data === undefined || indices === undefined) {
    context.output(0, context.dtype(2), undefined);
    return;
  }
  const axis = axisOf(context, context.attributes.gather_axis, data.length, 'gather_axis');
  const { bits } = context.attributes;
  const dtype = context.dtype(0);
  const each: Dim = dtype === undefined ? null : dtype === 'uint8' && bits < 8 ? Math.floor(8 / bits) : 1;
  const unpacked = data.map((dim, index) => (index === data.length - 1 ? multiplyDims(dim, each) : dim));
  context.output(0, context.dtype(2), [...unpacked.slice(0, axis), ...indices, ...unpacked.slice(axis + 1)]);
}

/** Operands at inputs `left` and `right`, broadcast. */
function broadcastAt(...operands: readonly number[]): (context: AnyInferContext) => void {
  return (context) =>
    context.output(
      0,
      undefined,
      broadcastShapes(
        context,
        operands.map((index) => context.shape(index)),
      ),
    );
}

/** Inputs: scale and zero point of the result, then data, scale and zero point of each operand. */
function inferQLinearConcat(context: InferContext<{ readonly axis: number }>): void {
  if ((context.inputCount - 2) % 3 !== 0)
    context.fail(`takes 2 inputs and then 3 per operand, not ${context.inputCount}`);
  const shapes = Array.from({ length: (context.inputCount - 2) / 3 }, (_, index) =>
    context.shape(2 + index * 3),
  );
  const [first] = shapes;
  if (first === undefined || shapes.includes(undefined)) {
    context.output(0, undefined, undefined);
    return;
  }
  const axis = axisOf(context, context.attributes.axis, first.length);
  let result = first;
  for (const shape of shapes.slice(1)) result = joinShapes(context, result, shape ?? [], axis);
  context.output(0, undefined, result);
}

interface QGemmAttributes {
  readonly transA: boolean;
  readonly transB: boolean;
}

function inferQGemm(context: InferContext<QGemmAttributes>): void {
  context.output(0, context.has(8) ? context.dtype(8) : 'float32', gemmShape(context, 3, 6));
}

interface PoolAttributes extends WindowAttributes {
  readonly kernel_shape: readonly number[];
  readonly ceil_mode: boolean;
  readonly channels_last: boolean;
}

function inferAveragePool(context: InferContext<PoolAttributes>): void {
  const { kernel_shape: kernel, ceil_mode: ceil, channels_last: last } = context.attributes;
  const given = requireRank(context, 0, kernel.length + 2, true) ?? unknownDims(kernel.length + 2);
  const data = channelsLast(given, last, 'to');
  const shape = [...data.slice(0, 2), ...windowedShape(context, data.slice(2), kernel, ceil)];
  context.output(0, undefined, channelsLast(shape, last, 'from'));
}

function inferGlobalAveragePool(context: InferContext<{ readonly channels_last: boolean }>): void {
  const data = requireRank(context, 0, 3);
  const channel = context.attributes.channels_last ? (data?.length ?? 0) - 1 : 1;
  context.output(
    0,
    undefined,
    data?.map((dim, axis) => (axis === 0 || axis === channel ? dim : 1)),
  );
}

function inferReduceMean(
  context: InferContext<{ readonly axes: readonly number[]; readonly keepdims: number }>,
): void {
  const data = context.shape(0);
  const { axes: given, keepdims } = context.attributes;
  const axes = data === undefined ? [] : axesOf(context, given, data.length);
  context.output(
    0,
    undefined,
    data?.flatMap((dim, axis) => (axes.includes(axis) ? (keepdims === 0 ? [] : [1]) : [dim])),
  );
}

/** Data [time, batch, features], weights [directions, features, 4 * hidden], state weights [directions, hidden, 4 * hidden]. */
function inferLstm(
  context: InferContext<{ readonly direction: string; readonly hidden_size: number | undefined }>,
): void {
  const data = requireRank(context, 0, 3, true) ?? unknownDims(3);
  const inner = requireRank(context, 2, 3, true);
  const directions = context.attributes.direction === 'bidirectional' ? 2 : 1;
  mergedDim(context, directions, inner?.[0] ?? null, 'the directions of the node and the weights');
  const declared = context.attributes.hidden_size ?? null;
  const hidden = mergedDim(context, declared, inner?.[1] ?? null, 'hidden_size and the recurrent weights');
  const [time = null, batch = null] = data;
  context.output(0, undefined, [time, directions, batch, hidden]);
  context.output(1, undefined, [directions, batch, hidden]);
  context.output(2, undefined, [directions, batch, hidden]);
}

function lstmMacs(context: CostContext<{ readonly direction: string }>): number {
  const [time, batch, features] = context.inputShape(0) ?? [];
  const hidden = context.inputShape(2)?.[1];
  if (time === undefined || batch === undefined || features === undefined || hidden === undefined) return 0;
  return (
    time *
    batch *
    (context.attributes.direction === 'bidirectional' ? 2 : 1) *
    4 *
    hidden *
    (features + hidden)
  );
}

/** Definitions of the quantized operators of `com.microsoft`. */
export const microsoftQuantizedOps: OpFamily<typeof microsoftQuantizedSchemas> = opFamily(
  microsoftQuantizedSchemas,
  {
    DequantizeLinear: (context) => context.output(0, context.dtype(1), context.shape(0)),
    DynamicQuantizeLSTM: { infer: inferLstm, macs: lstmMacs },
    DynamicQuantizeMatMul: { infer: matMul(0, 1), macs: matMulMacs(0) },
    GatherBlockQuantized: inferGatherBlockQuantized,
    MatMulBnb4: { infer: inferPackedMatMul, macs: packedMacs },
    MatMulIntegerToFloat: { infer: matMul(0, 1), macs: matMulMacs(0) },
    MatMulNBits: { infer: inferMatMulNBits, macs: packedMacs },
    QGemm: { infer: inferQGemm, macs: gemmMacs },
    QLinearAdd: broadcastAt(0, 3),
    QLinearAveragePool: inferAveragePool,
    QLinearConcat: inferQLinearConcat,
    QLinearConv: { infer: convolution(3, 8), macs: convolutionMacs(3) },
    QLinearGlobalAveragePool: inferGlobalAveragePool,
    QLinearLeakyRelu: sameAsInput,
    QLinearMul: broadcastAt(0, 3),
    QLinearReduceMean: inferReduceMean,
    QLinearSigmoid: sameAsInput,
    QLinearSoftmax: sameAsInput,
    QLinearWhere: broadcastAt(0, 1, 4),
    QuantizeLinear: (context) =>
      context.output(0, context.has(2) ? context.dtype(2) : 'uint8', context.shape(0)),
  },
  'com.microsoft',
);
