import { Tensor } from '@lithe/core';
import type { EmitAttributes } from '../src/index.ts';
import type { Case, Range } from './gradient-check.ts';

const ints = (...values: number[]): Tensor =>
  Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));
const scalar = (value: number): Tensor => Tensor.from('float64', [], Float64Array.of(value));
const positive: Range = [0.2, 2];
const bools = (...values: number[]): Tensor => Tensor.from('bool', [values.length], Uint8Array.from(values));

const unary = (ops: readonly string[], range?: Range): Case[] =>
  ops.map((op) => ({ op, inputs: [[2, 5]], ...(range ? { range } : {}) }));

/** Sequences of 3 steps, 2 samples, 3 features, 2 hidden units; every direction, with and without bias, initial states and batch first. */
function recurrent(op: string, gates: number, more: EmitAttributes = {}): Case[] {
  const hidden = 2;
  const outputs = op === 'LSTM' ? 3 : 2;
  return ['forward', 'reverse', 'bidirectional'].flatMap((direction): Case[] => {
    const directions = direction === 'bidirectional' ? 2 : 1;
    const attributes = { hidden_size: hidden, direction, ...more };
    const weights: (readonly number[])[] = [
      [directions, gates * hidden, 3],
      [directions, gates * hidden, hidden],
    ];
    const bias = [directions, 2 * gates * hidden];
    const state = (batchFirst: boolean): readonly number[] =>
      batchFirst ? [2, directions, hidden] : [directions, 2, hidden];
    const states = (batchFirst: boolean): (readonly number[])[] =>
      new Array<readonly number[]>(outputs - 1).fill(state(batchFirst));
    const range: Range = [-1, 1];
    return [
      { op, inputs: [[3, 2, 3], ...weights], attributes, outputs, range },
      { op, inputs: [[3, 2, 3], ...weights, bias, null, ...states(false)], attributes, outputs, range },
      {
        op,
        inputs: [[2, 3, 3], ...weights, bias, null, ...states(true)],
        attributes: { ...attributes, layout: 1 },
        outputs,
        range,
      },
    ];
  });
}

/** One entry per operator and way of using it. */
export const cases: readonly Case[] = [
  ...unary(['Neg', 'Abs', 'Exp', 'Erf', 'Sin', 'Cos', 'Sinh', 'Cosh', 'Tanh', 'Atan', 'Asinh', 'Identity']),
  ...unary(['Sqrt', 'Log', 'Reciprocal'], positive),
  ...unary(['Tan', 'Asin', 'Acos', 'Atanh'], [-0.8, 0.8]),
  ...unary(['Acosh'], [1.2, 3]),
  ...unary([
    'Relu',
    'LeakyRelu',
    'Elu',
    'Selu',
    'Sigmoid',
    'Softplus',
    'Softsign',
    'HardSwish',
    'Gelu',
    'Mish',
    'ThresholdedRelu',
  ]),
  { op: 'HardSigmoid', inputs: [[3, 4]], range: [-4, 4] },
  { op: 'HardSwish', inputs: [[3, 4]], range: [-4, 4] },
  { op: 'Gelu', inputs: [[3, 4]], attributes: { approximate: 'tanh' } },
  {
    op: 'PRelu',
    inputs: [
      [2, 3, 4],
      [3, 1],
    ],
  },
  {
    op: 'Add',
    inputs: [
      [2, 1, 4],
      [3, 1],
    ],
  },
  { op: 'Sub', inputs: [[4], [2, 3, 4]] },
  {
    op: 'Mul',
    inputs: [
      [2, 3, 4],
      [3, 4],
    ],
  },
  { op: 'Div', inputs: [[2, 3], [3]], range: positive },
  { op: 'Pow', inputs: [[2, 3], [3]], range: positive },
  { op: 'Max', inputs: [[2, 3], [3], [2, 1]] },
  { op: 'Min', inputs: [[2, 3], [3], [2, 1]] },
  { op: 'Sum', inputs: [[2, 3], [3], [2, 1]] },
  { op: 'Mean', inputs: [[2, 3], [3]] },
  { op: 'Where', inputs: [bools(1, 0, 1), [2, 3], [3]] },
  { op: 'Clip', inputs: [[3, 4], scalar(-1), scalar(0.7)] },
  { op: 'Dropout', inputs: [[3, 4]] },
  { op: 'Cast', inputs: [[2, 3]], attributes: { to: 11 } },
  { op: 'CastLike', inputs: [[2, 3], [1]], constant: [1] },
  { op: 'Softmax', inputs: [[2, 3, 4]], attributes: { axis: 1 } },
  { op: 'LogSoftmax', inputs: [[2, 5]] },
  ...[
    'ReduceSum',
    'ReduceMean',
    'ReduceMax',
    'ReduceMin',
    'ReduceProd',
    'ReduceSumSquare',
    'ReduceL1',
    'ReduceL2',
    'ReduceLogSumExp',
  ].flatMap((op): Case[] => [
    { op, inputs: [[2, 3, 4], ints(1)], attributes: { keepdims: 0 } },
    { op, inputs: [[2, 3, 4], ints(-1, 0)] },
    { op, inputs: [[2, 3]] },
  ]),
  { op: 'ReduceLogSum', inputs: [[2, 3], ints(1)], range: positive },
  { op: 'CumSum', inputs: [[2, 4], Tensor.from('int64', [], BigInt64Array.of(1n))] },
  {
    op: 'CumSum',
    inputs: [[2, 4], Tensor.from('int64', [], BigInt64Array.of(0n))],
    attributes: { exclusive: 1, reverse: 1 },
  },
  { op: 'Reshape', inputs: [[2, 6], ints(3, -1)] },
  { op: 'Flatten', inputs: [[2, 3, 2]] },
  { op: 'Squeeze', inputs: [[2, 1, 3], ints(1)] },
  { op: 'Unsqueeze', inputs: [[2, 3], ints(0)] },
  { op: 'Expand', inputs: [[3, 1], ints(2, 3, 4)] },
  { op: 'Transpose', inputs: [[2, 3, 4]], attributes: { perm: [1, 2, 0] } },
  {
    op: 'Concat',
    inputs: [
      [2, 3],
      [2, 1],
      [2, 2],
    ],
    attributes: { axis: 1 },
  },
  { op: 'Split', inputs: [[2, 6], ints(2, 4)], attributes: { axis: 1 }, outputs: 2 },
  { op: 'Slice', inputs: [[4, 6], ints(1, -4), ints(3, 6), ints(0, 1)] },
  { op: 'Slice', inputs: [[7, 5], ints(6, 1), ints(0, 5), ints(0, 1), ints(-2, 2)] },
  { op: 'Pad', inputs: [[2, 3], ints(1, 0, 2, 3)] },
  { op: 'Pad', inputs: [[2, 3], ints(1, 2), null, ints(1)] },
  { op: 'Tile', inputs: [[2, 3], ints(2, 3)] },
  { op: 'Gather', inputs: [[4, 3], Tensor.from('int64', [2, 2], BigInt64Array.of(0n, 3n, 3n, -2n))] },
  { op: 'Gather', inputs: [[2, 4, 3], ints(1, 1, 0)], attributes: { axis: 1 } },
  {
    op: 'GatherElements',
    inputs: [[3, 3], Tensor.from('int64', [2, 3], BigInt64Array.of(0n, 1n, 2n, 0n, 2n, 1n))],
    attributes: { axis: 0 },
  },
  { op: 'GatherND', inputs: [[2, 3, 2], Tensor.from('int64', [2, 2], BigInt64Array.of(0n, 1n, 1n, 2n))] },
  { op: 'ScatterND', inputs: [[4, 2], Tensor.from('int64', [2, 1], BigInt64Array.of(3n, 1n)), [2, 2]] },
  {
    op: 'ScatterElements',
    inputs: [[3, 3], Tensor.from('int64', [1, 3], BigInt64Array.of(1n, 0n, 2n)), [1, 3]],
  },
  { op: 'DepthToSpace', inputs: [[1, 8, 2, 3]], attributes: { blocksize: 2 } },
  { op: 'DepthToSpace', inputs: [[1, 8, 2, 3]], attributes: { blocksize: 2, mode: 'CRD' } },
  { op: 'SpaceToDepth', inputs: [[1, 2, 4, 6]], attributes: { blocksize: 2 } },
  { op: 'Trilu', inputs: [[4, 4]], attributes: { upper: 0 } },
  {
    op: 'MatMul',
    inputs: [
      [2, 3],
      [3, 4],
    ],
  },
  {
    op: 'MatMul',
    inputs: [
      [2, 2, 3],
      [3, 4],
    ],
  },
  {
    op: 'MatMul',
    inputs: [
      [2, 1, 2, 3],
      [3, 3, 4],
    ],
  },
  { op: 'MatMul', inputs: [[3], [3, 4]] },
  { op: 'MatMul', inputs: [[2, 3], [3]] },
  { op: 'MatMul', inputs: [[3], [3]] },
  ...[0, 1].flatMap((transA) =>
    [0, 1].map(
      (transB): Case => ({
        op: 'Gemm',
        inputs: [transA ? [3, 2] : [2, 3], transB ? [4, 3] : [3, 4], [4]],
        attributes: { transA, transB, alpha: 0.5, beta: 2 },
      }),
    ),
  ),
  {
    op: 'Einsum',
    inputs: [
      [2, 3, 4],
      [2, 4, 5],
    ],
    attributes: { equation: 'bij,bjk->bik' },
  },
  {
    op: 'Einsum',
    inputs: [
      [2, 3],
      [3, 4],
    ],
    attributes: { equation: 'ij,jk->k' },
  },
  { op: 'Conv', inputs: [[2, 3, 6, 5], [4, 3, 3, 3], [4]], attributes: { pads: [1, 1, 1, 1] } },
  {
    op: 'Conv',
    inputs: [
      [1, 4, 7, 8],
      [6, 2, 3, 2],
    ],
    attributes: { group: 2, strides: [2, 3], pads: [0, 1, 2, 0] },
  },
  { op: 'Conv', inputs: [[1, 3, 8], [3, 1, 3], [3]], attributes: { group: 3, dilations: [2] } },
  {
    op: 'Conv',
    inputs: [
      [1, 1, 4, 4, 4],
      [2, 1, 2, 2, 2],
    ],
  },
  {
    op: 'Conv',
    inputs: [
      [1, 2, 5, 5],
      [2, 2, 3, 3],
    ],
    attributes: { auto_pad: 'SAME_UPPER', strides: [2, 2] },
  },
  {
    op: 'ConvTranspose',
    inputs: [[1, 2, 3, 3], [2, 3, 3, 3], [3]],
    attributes: { strides: [2, 2], pads: [1, 1, 1, 1], output_padding: [1, 1] },
  },
  {
    op: 'ConvTranspose',
    inputs: [
      [2, 4, 4],
      [4, 1, 3],
    ],
    attributes: { group: 2, dilations: [2] },
  },
  { op: 'MaxPool', inputs: [[2, 2, 4, 6]], attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
  {
    op: 'MaxPool',
    inputs: [[1, 2, 7, 7]],
    attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] },
  },
  { op: 'MaxPool', inputs: [[1, 1, 6]], attributes: { kernel_shape: [3], strides: [2], ceil_mode: 1 } },
  {
    op: 'AveragePool',
    inputs: [[1, 2, 5, 6]],
    attributes: { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 0, 1, 0] },
  },
  {
    op: 'AveragePool',
    inputs: [[1, 2, 5, 6]],
    attributes: { kernel_shape: [3, 2], pads: [1, 1, 1, 1], count_include_pad: 1 },
  },
  { op: 'GlobalAveragePool', inputs: [[2, 3, 4, 5]] },
  { op: 'GlobalMaxPool', inputs: [[2, 3, 4, 5]] },
  {
    op: 'BatchNormalization',
    inputs: [[2, 3, 2, 2], [3], [3], [3], [3]],
    range: positive,
  },
  {
    name: 'BatchNormalization, training',
    op: 'BatchNormalization',
    inputs: [
      [2, 3, 2, 2],
      [3],
      [3],
      Tensor.from('float64', [3], new Float64Array(3)),
      Tensor.from('float64', [3], new Float64Array(3).fill(1)),
    ],
    attributes: { training_mode: 1 },
    outputs: 3,
  },
  { op: 'LayerNormalization', inputs: [[2, 3, 4], [4], [4]] },
  {
    op: 'LayerNormalization',
    inputs: [
      [2, 3, 4],
      [3, 4],
    ],
    attributes: { axis: 1 },
  },
  { op: 'InstanceNormalization', inputs: [[2, 3, 4], [3], [3]] },
  { op: 'GroupNormalization', inputs: [[2, 4, 3], [4], [4]], attributes: { num_groups: 2 } },
  { op: 'LpNormalization', inputs: [[2, 4]], attributes: { axis: 1, p: 2 } },
  { op: 'LpNormalization', inputs: [[2, 4]], attributes: { axis: 0, p: 1 } },
  { op: 'MeanVarianceNormalization', inputs: [[2, 3, 2, 2]] },
  { op: 'LRN', inputs: [[2, 5, 2, 2]], attributes: { size: 3, alpha: 0.5, beta: 0.75, bias: 1 } },
  { op: 'LRN', inputs: [[1, 6, 3]], attributes: { size: 4, alpha: 0.5, beta: 0.6, bias: 2 } },
  {
    op: 'LpPool',
    inputs: [[1, 2, 5, 6]],
    attributes: { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 0, 1, 0], p: 2 },
  },
  { op: 'LpPool', inputs: [[1, 2, 6]], attributes: { kernel_shape: [3], p: 3 } },
  { op: 'LpPool', inputs: [[1, 2, 6]], attributes: { kernel_shape: [2], p: 1 } },
  ...[1, 2, 3].map((p): Case => ({ op: 'GlobalLpPool', inputs: [[2, 3, 4]], attributes: { p } })),
  { op: 'Mod', inputs: [[3, 4], [4]], attributes: { fmod: 1 }, range: positive },
  { op: 'Shrink', inputs: [[3, 4]], attributes: { bias: 0.5, lambd: 1 } },
  { op: 'TopK', inputs: [[2, 5], ints(2)], attributes: { axis: 1 }, outputs: 2 },
  { op: 'ReverseSequence', inputs: [[4, 3, 2], ints(2, 4, 3)], attributes: { batch_axis: 1, time_axis: 0 } },
  ...recurrent('RNN', 1),
  ...recurrent('GRU', 3),
  ...recurrent('GRU', 3, { linear_before_reset: 1 }),
  ...recurrent('LSTM', 4),
  {
    op: 'Resize',
    inputs: [[1, 2, 3, 4], null, Tensor.from('float32', [4], Float32Array.of(1, 1, 2, 2))],
    attributes: { mode: 'nearest' },
  },
  { op: 'Resize', inputs: [[1, 2, 3, 4], null, null, ints(1, 2, 5, 7)], attributes: { mode: 'linear' } },
  {
    op: 'Resize',
    inputs: [[1, 1, 4, 4], null, null, ints(1, 1, 6, 3)],
    attributes: { mode: 'cubic', coordinate_transformation_mode: 'align_corners' },
  },
  { op: 'Pad', inputs: [[3, 4], ints(1, 2, 2, 0)], attributes: { mode: 'reflect' } },
  { op: 'Pad', inputs: [[3, 4], ints(1, 2, 2, 3)], attributes: { mode: 'edge' } },
  { op: 'Pad', inputs: [[2, 3, 4], ints(2, 1), null, ints(-1)], attributes: { mode: 'wrap' } },
  { op: 'Pad', inputs: [[4, 5], ints(-1, 1, 2, -2)] },
  {
    op: 'Conv',
    inputs: [
      [2, 3, 5, 4],
      [3, 3, 3, 3],
    ],
    attributes: { dilations: [2, 1], pads: [2, 1, 1, 0] },
  },
  {
    op: 'Conv',
    inputs: [
      [3, 4, 2, 2],
      [5, 4, 3, 3],
    ],
    attributes: { pads: [1, 1, 1, 1] },
  },
  {
    op: 'Conv',
    inputs: [
      [2, 4, 5, 5],
      [6, 2, 3, 3],
    ],
    attributes: { group: 2, pads: [1, 1, 1, 1] },
  },
  {
    op: 'Conv',
    inputs: [
      [2, 4, 3, 3],
      [2, 4, 1, 1],
    ],
    attributes: { strides: [2, 1] },
  },
  {
    op: 'Conv',
    inputs: [
      [2, 1, 3, 3],
      [2, 1, 2, 2],
    ],
    attributes: { pads: [2, 2, 2, 2] },
  },
  {
    op: 'ConvTranspose',
    inputs: [
      [2, 2, 3, 4],
      [2, 3, 3, 3],
    ],
    attributes: { pads: [1, 1, 1, 1] },
  },
  { op: 'SimplifiedLayerNormalization', inputs: [[2, 3, 4], [4]] },
  {
    op: 'SimplifiedLayerNormalization',
    inputs: [
      [2, 3, 4],
      [3, 4],
    ],
    attributes: { axis: 1 },
  },
  {
    name: 'Resize by scales that keep the size',
    op: 'Resize',
    inputs: [[1, 2, 4, 4], null, Tensor.from('float32', [4], Float32Array.of(1, 1, 1.2, 1.1))],
    attributes: { mode: 'linear' },
  },
  {
    name: 'Resize of some axes by scales',
    op: 'Resize',
    inputs: [[2, 3, 4], null, Tensor.from('float32', [2], Float32Array.of(1.5, 2))],
    attributes: { axes: [2, 1], mode: 'linear' },
  },
  ...[
    'ReduceSum',
    'ReduceMean',
    'ReduceMax',
    'ReduceMin',
    'ReduceProd',
    'ReduceSumSquare',
    'ReduceL1',
    'ReduceL2',
    'ReduceLogSum',
    'ReduceLogSumExp',
  ].map(
    (op): Case => ({
      name: `${op} over no axis`,
      op,
      inputs: [[2, 3], ints()],
      attributes: { noop_with_empty_axes: 1 },
      range: op === 'ReduceLogSum' ? positive : [-2, 2],
    }),
  ),
  { op: 'Gelu', domain: 'com.microsoft', inputs: [[2, 5]] },
  { op: 'BiasGelu', domain: 'com.microsoft', inputs: [[2, 5], [5]] },
  { op: 'FastGelu', domain: 'com.microsoft', inputs: [[2, 5]] },
  { op: 'FastGelu', domain: 'com.microsoft', inputs: [[2, 5], [5]] },
  { op: 'QuickGelu', domain: 'com.microsoft', inputs: [[2, 5]] },
];
