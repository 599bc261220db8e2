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

/** Schemas of the quantized operators of `com.microsoft`. */
export const microsoftQuantizedSchemas = {
  DequantizeLinear: {
    since: 1,
    inputs: 'x:T1 x_scale:T2 x_zero_point:T1?',
    outputs: 'y:T2',
    types: { T1: 'fourbit int8 int16 int32 uint8 uint16', T2: 'float32 float16' },
    attributes: { axis: 'int?' },
  },
  DynamicQuantizeLSTM: {
    since: 1,
    inputs:
      'X:T W:T2 R:T2 B:T? sequence_lens:T1? initial_h:T? initial_c:T? P:T? W_scale:T W_zero_point:T2 R_scale:T R_zero_point:T2',
    outputs: 'Y:T? Y_h:T? Y_c:T?',
    types: { T: 'float32', T1: 'int32', T2: 'int8 uint8' },
    attributes: {
      activation_alpha: 'floats?',
      activation_beta: 'floats?',
      activations: 'strings?',
      clip: 'float?',
      direction: ['one', 'forward', 'reverse', 'bidirectional'],
      hidden_size: 'int?',
      input_forget: ['flag', false],
    },
  },
  DynamicQuantizeMatMul: {
    since: 1,
    inputs: 'A:T1 B:T2 b_scale:T1 b_zero_point:T2? bias:T1?',
    outputs: 'Y:T1',
    types: { T1: 'float32', T2: 'int8 uint8' },
  },
  GatherBlockQuantized: {
    since: 1,
    inputs: 'data:T1 indices:Tind scales:T2 zero_points:T1?',
    outputs: 'output:T2',
    types: { T1: 'float8 fourbit uint8', T2: 'float32 float16 bfloat16', Tind: 'int32 int64' },
    attributes: {
      bits: ['int', 4],
      block_size: ['int', 128],
      gather_axis: ['int', 0],
      quantize_axis: ['int', 1],
    },
  },
  MatMulBnb4: {
    since: 1,
    inputs: 'A:T1 B:T2 absmax:T1',
    outputs: 'Y:T1',
    types: { T1: 'float32 float16 bfloat16', T2: 'uint8' },
    attributes: {
      K: 'int!',
      N: 'int!',
      block_size: 'int!',
      quant_type: 'int!',
      training_mode: ['int', 0],
      transB: ['flag', true],
    },
  },
  MatMulIntegerToFloat: {
    since: 1,
    inputs: 'A:T1 B:T2 a_scale:T3 b_scale:T3 a_zero_point:T1? b_zero_point:T2? bias:T3?',
    outputs: 'Y:T3',
    types: { T1: 'int8 uint8', T2: 'int8 uint8', T3: 'float32 float16' },
  },
  MatMulNBits: {
    since: 1,
    inputs: 'A:T1 B:T2 scales:T1 zero_points:T3? g_idx:T4? bias:T1?',
    outputs: 'Y:T1',
    types: { T1: 'float32 float16 bfloat16', T2: 'uint8', T3: 'float32 float16 bfloat16 uint8', T4: 'int32' },
    attributes: {
      K: 'int!',
      N: 'int!',
      accuracy_level: ['int', 0],
      bits: ['int', 4],
      block_size: 'int!',
      weight_prepacked: ['int', 0],
    },
  },
  QGemm: {
    since: 1,
    inputs:
      'A:TA a_scale:T a_zero_point:TA B:TB b_scale:T b_zero_point:TB C:TC? y_scale:T? y_zero_point:TYZ?',
    outputs: 'Y:TY',
    types: {
      T: 'float32',
      TA: 'int8 uint8',
      TB: 'int8 uint8',
      TC: 'int32',
      TYZ: 'int8 uint8',
      TY: 'float32 int8 uint8',
    },
    attributes: { alpha: ['float', 1], transA: ['flag', false], transB: ['flag', false] },
  },
  QLinearAdd: {
    since: 1,
    inputs:
      'A:T A_scale:float32 A_zero_point:T? B:T B_scale:float32 B_zero_point:T? C_scale:float32 C_zero_point:T?',
    outputs: 'C:T',
    types: { T: 'int8 uint8' },
  },
  QLinearAveragePool: {
    since: 1,
    inputs: 'X:T x_scale:float32 x_zero_point:T? y_scale:float32 y_zero_point:T?',
    outputs: 'Y:T',
    types: { T: 'int8 uint8' },
    attributes: {
      auto_pad: ['one', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'],
      ceil_mode: ['flag', false],
      channels_last: ['flag', false],
      count_include_pad: ['flag', false],
      kernel_shape: 'ints!',
      pads: 'ints?',
      strides: 'ints?',
    },
  },
  QLinearConcat: {
    since: 1,
    inputs: 'Y_scale:TF Y_zero_point:T8 inputs:TV**',
    outputs: 'Y:T8',
    types: { T8: 'int8 uint8', TF: 'float32', TV: 'float32 int8 uint8' },
    attributes: { axis: 'int!' },
  },
  QLinearConv: {
    since: 1,
    inputs:
      'x:T1 x_scale:float32 x_zero_point:T1 w:T2 w_scale:float32 w_zero_point:T2 y_scale:float32 y_zero_point:T3 B:T4?',
    outputs: 'y:T3',
    types: { T1: 'int8 uint8', T2: 'int8 uint8', T3: 'int8 uint8', T4: 'int32' },
    attributes: {
      auto_pad: ['one', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'],
      channels_last: ['flag', false],
      dilations: 'ints?',
      group: ['int', 1],
      kernel_shape: 'ints?',
      pads: 'ints?',
      strides: 'ints?',
    },
  },
  QLinearGlobalAveragePool: {
    since: 1,
    inputs: 'X:T x_scale:float32 x_zero_point:T y_scale:float32 y_zero_point:T',
    outputs: 'Y:T',
    types: { T: 'int8 uint8' },
    attributes: { channels_last: ['flag', false] },
  },
  QLinearLeakyRelu: {
    since: 1,
    inputs: 'X:T X_scale:float32 X_zero_point:T? Y_scale:float32 Y_zero_point:T?',
    outputs: 'Y:T',
    types: { T: 'int8 uint8' },
    attributes: { alpha: ['float', 0.01] },
  },
  QLinearMul: {
    since: 1,
    inputs:
      'A:T A_scale:float32 A_zero_point:T? B:T B_scale:float32 B_zero_point:T? C_scale:float32 C_zero_point:T?',
    outputs: 'C:T',
    types: { T: 'int8 uint8' },
  },
  QLinearReduceMean: {
    since: 1,
    inputs: 'data:T data_scale:float32 data_zero_point:T? reduced_scale:float32 reduced_zero_point:T?',
    outputs: 'reduced:T',
    types: { T: 'int8 uint8' },
    attributes: { axes: 'ints!', keepdims: 'int!' },
  },
  QLinearSigmoid: {
    since: 1,
    inputs: 'X:T X_scale:float32 X_zero_point:T? Y_scale:float32 Y_zero_point:T?',
    outputs: 'Y:T',
    types: { T: 'int8 uint8' },
  },
  QLinearSoftmax: {
    since: 1,
    inputs: 'X:T X_scale:float32 x_zero_point:T? y_scale:float32 y_zero_point:T',
    outputs: 'Y:T',
    types: { T: 'int8 uint8' },
    attributes: { axis: ['int', -1], opset: 'int!' },
  },
  QLinearWhere: {
    since: 1,
    inputs:
      'condition:B X:T x_scale:TF x_zero_point:T Y:T y_scale:TF y_zero_point:T z_scale:TF z_zero_point:T',
    outputs: 'Z:T',
    types: { B: 'bool', TF: 'float32', T: 'int8 uint8' },
  },
  QuantizeLinear: {
    since: 1,
    inputs: 'x:T1 y_scale:T1 y_zero_point:T2?',
    outputs: 'y:T2',
    types: { T1: 'float32 float16', T2: 'fourbit int8 int16 uint8 uint16' },
    attributes: { axis: 'int?' },
  },
} as const;

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
