import { createRng, type DType, type DTypeArrays, randomTensor, Tensor } from '@lithe/core';
import { type OpCase, opCases } from './op-case.ts';

const tensor = <D extends DType>(dtype: D, shape: readonly number[], data: DTypeArrays[D]): Tensor<D> =>
  Tensor.from(dtype, shape, data);
const f32 = (shape: readonly number[], values: readonly number[]): Tensor =>
  tensor('float32', shape, Float32Array.from(values));
const i64 = (...values: number[]): Tensor =>
  tensor('int64', [values.length], BigInt64Array.from(values, BigInt));
const i32 = (shape: readonly number[], values: readonly number[]): Tensor =>
  tensor('int32', shape, Int32Array.from(values));
const u8 = (shape: readonly number[], values: readonly number[]): Tensor =>
  tensor('uint8', shape, Uint8Array.from(values));
const i8 = (shape: readonly number[], values: readonly number[]): Tensor =>
  tensor('int8', shape, Int8Array.from(values));
const bool = (shape: readonly number[], values: readonly number[]): Tensor =>
  tensor('bool', shape, Uint8Array.from(values));
/** Seeded random floats: the same in every run and on every machine. */
const random = (seed: number, ...shape: number[]): Tensor => randomTensor('float32', shape, createRng(seed));
const { POSITIVE_INFINITY: inf, NaN: nan } = Number;

/** Elementwise operators on one input, with results worked out by hand. */
const unary: readonly (readonly [op: string, inputs: readonly number[], results: readonly number[]])[] = [
  ['Abs', [-1.5, 0, 2], [1.5, 0, 2]],
  ['Ceil', [-1.5, 0.2, 2], [-1, 1, 2]],
  ['Exp', [0, 1, -1], [1, Math.E, 1 / Math.E]],
  ['Floor', [-1.5, 0.2, 2], [-2, 0, 2]],
  ['Identity', [1, nan, inf], [1, nan, inf]],
  ['Log', [1, Math.E, 0], [0, 1, -inf]],
  ['Neg', [1, -2, 0.5], [-1, 2, -0.5]],
  ['Reciprocal', [2, -4, 0.5], [0.5, -0.25, 2]],
  ['Relu', [-1, 0, 2], [0, 0, 2]],
  ['Round', [0.5, 1.5, -2.5], [0, 2, -2]],
  ['Sigmoid', [0, 100, -100], [0.5, 1, 0]],
  ['Sign', [-3, 0, 5], [-1, 0, 1]],
  ['Softsign', [1, -3, 0], [0.5, -0.75, 0]],
  ['Sqrt', [0, 4, 2], [0, 2, Math.SQRT2]],
  ['Tanh', [0, 100, -100], [0, 1, -1]],
];

const unaryCases: readonly OpCase[] = unary.flatMap(([op, inputs, results]) =>
  opCases(op, [
    { name: 'by hand', inputs: [f32([3], inputs)], expect: [f32([3], results)] },
    { name: 'no elements', inputs: [f32([0, 2], [])], expect: [f32([0, 2], [])] },
  ]),
);

const smooth = [
  'Cos',
  'Elu',
  'Erf',
  'Gelu',
  'HardSigmoid',
  'HardSwish',
  'LeakyRelu',
  'Mish',
  'Selu',
  'Sin',
  'Softplus',
];
const smoothCases: readonly OpCase[] = smooth.flatMap((op, index) =>
  opCases(op, [{ name: 'random', inputs: [random(index, 3, 7)], expect: 'reference' }]),
);

const binaryCases: readonly OpCase[] = [
  ...opCases('Add', [
    {
      name: 'broadcast both ways',
      inputs: [f32([2, 1], [1, 10]), f32([3], [1, 2, 3])],
      expect: [f32([2, 3], [2, 3, 4, 11, 12, 13])],
    },
    { name: 'scalar', inputs: [f32([], [1]), f32([2], [1, 2])], expect: [f32([2], [2, 3])] },
    { name: 'int64', inputs: [i64(1, 2), i64(10, -2)], expect: [i64(11, 0)] },
  ]),
  ...opCases('Sub', [
    {
      name: 'broadcast',
      inputs: [f32([2, 2], [1, 2, 3, 4]), f32([1], [1])],
      expect: [f32([2, 2], [0, 1, 2, 3])],
    },
  ]),
  ...opCases('Mul', [
    {
      name: 'constant',
      inputs: [f32([3], [1, 2, 3]), f32([], [2])],
      constants: [1],
      expect: [f32([3], [2, 4, 6])],
    },
  ]),
  ...opCases('Div', [
    { name: 'float', inputs: [f32([2], [1, -1]), f32([2], [4, 0])], expect: [f32([2], [0.25, -inf])] },
    { name: 'int32 truncates', inputs: [i32([2], [7, -7]), i32([1], [2])], expect: [i32([2], [3, -3])] },
  ]),
  ...opCases('Pow', [
    { name: 'float', inputs: [f32([3], [2, 3, 4]), f32([3], [3, 2, 0.5])], expect: [f32([3], [8, 9, 2])] },
  ]),
  ...opCases('Max', [
    {
      name: 'three inputs',
      inputs: [f32([2], [1, 5]), f32([2], [3, 2]), f32([1], [2.5])],
      expect: [f32([2], [3, 5])],
    },
  ]),
  ...opCases('Min', [
    { name: 'broadcast', inputs: [f32([2], [1, 5]), f32([1], [3])], expect: [f32([2], [1, 3])] },
  ]),
  ...opCases('Equal', [{ name: 'int64', inputs: [i64(1, 2), i64(1, 3)], expect: [bool([2], [1, 0])] }]),
  ...opCases('Greater', [
    { name: 'float', inputs: [f32([2], [1, 2]), f32([1], [1])], expect: [bool([2], [0, 1])] },
  ]),
  ...opCases('Less', [
    { name: 'float', inputs: [f32([2], [0, 2]), f32([1], [1])], expect: [bool([2], [1, 0])] },
  ]),
  ...opCases('And', [
    { name: 'bool', inputs: [bool([2], [1, 1]), bool([2], [0, 1])], expect: [bool([2], [0, 1])] },
  ]),
  ...opCases('Not', [{ name: 'bool', inputs: [bool([2], [1, 0])], expect: [bool([2], [0, 1])] }]),
  ...opCases('Where', [
    {
      name: 'broadcast',
      inputs: [bool([2, 1], [1, 0]), f32([2], [1, 2]), f32([1], [9])],
      expect: [f32([2, 2], [1, 2, 9, 9])],
    },
  ]),
  ...opCases('Clip', [
    {
      name: 'both ends',
      inputs: [f32([3], [-1, 0.5, 9]), f32([], [0]), f32([], [6])],
      constants: [1, 2],
      expect: [f32([3], [0, 0.5, 6])],
    },
    {
      name: 'upper end only',
      inputs: [f32([3], [-1, 0.5, 9]), null, f32([], [6])],
      constants: [2],
      expect: [f32([3], [-1, 0.5, 6])],
    },
  ]),
  ...opCases('PRelu', [
    {
      name: 'slope per channel',
      inputs: [f32([1, 2, 1], [-1, -2]), f32([2, 1], [0.5, 0.25])],
      expect: [f32([1, 2, 1], [-0.5, -0.5])],
    },
  ]),
];

const shapeCases: readonly OpCase[] = [
  ...opCases('Reshape', [
    {
      name: 'zero and minus one',
      inputs: [
        f32(
          [2, 3, 2],
          Array.from({ length: 12 }, (_, i) => i),
        ),
        i64(0, -1),
      ],
      constants: [1],
      expect: [
        f32(
          [2, 6],
          Array.from({ length: 12 }, (_, i) => i),
        ),
      ],
    },
  ]),
  ...opCases('Transpose', [
    {
      name: 'permutation',
      attributes: { perm: [2, 0, 1] },
      inputs: [f32([1, 2, 3], [1, 2, 3, 4, 5, 6])],
      expect: [f32([3, 1, 2], [1, 4, 2, 5, 3, 6])],
    },
    {
      name: 'reversed by default',
      inputs: [f32([2, 3], [1, 2, 3, 4, 5, 6])],
      expect: [f32([3, 2], [1, 4, 2, 5, 3, 6])],
    },
  ]),
  ...opCases('Concat', [
    {
      name: 'middle axis',
      attributes: { axis: 1 },
      inputs: [f32([2, 1], [1, 2]), f32([2, 2], [3, 4, 5, 6])],
      expect: [f32([2, 3], [1, 3, 4, 2, 5, 6])],
    },
    {
      name: 'negative axis, int64',
      attributes: { axis: -1 },
      inputs: [i64(1), i64(2, 3)],
      expect: [i64(1, 2, 3)],
    },
  ]),
  ...opCases('Split', [
    {
      name: 'sizes',
      attributes: { axis: 1 },
      inputs: [f32([1, 3], [1, 2, 3]), i64(1, 2)],
      constants: [1],
      outputs: 2,
      expect: [f32([1, 1], [1]), f32([1, 2], [2, 3])],
    },
  ]),
  ...opCases('Slice', [
    {
      name: 'negative step',
      inputs: [f32([4], [1, 2, 3, 4]), i64(-1), i64(-9), i64(0), i64(-2)],
      constants: [1, 2, 3, 4],
      expect: [f32([2], [4, 2])],
    },
    {
      name: 'ends beyond the axis',
      inputs: [f32([2, 3], [1, 2, 3, 4, 5, 6]), i64(1), i64(100), i64(1)],
      constants: [1, 2, 3],
      expect: [f32([2, 2], [2, 3, 5, 6])],
    },
  ]),
  ...opCases('Gather', [
    {
      name: 'negative index',
      attributes: { axis: 1 },
      inputs: [f32([2, 3], [1, 2, 3, 4, 5, 6]), i64(-1, 0)],
      expect: [f32([2, 2], [3, 1, 6, 4])],
    },
  ]),
  ...opCases('Pad', [
    {
      name: 'constant',
      inputs: [f32([1, 2], [1, 2]), i64(0, 1, 1, 0), f32([], [9])],
      constants: [1, 2],
      expect: [f32([2, 3], [9, 1, 2, 9, 9, 9])],
    },
    {
      name: 'reflect',
      attributes: { mode: 'reflect' },
      inputs: [f32([3], [1, 2, 3]), i64(2, 1)],
      constants: [1],
      expect: [f32([6], [3, 2, 1, 2, 3, 2])],
    },
  ]),
  ...opCases('Expand', [
    {
      name: 'both ways',
      inputs: [f32([2, 1], [1, 2]), i64(1, 2)],
      constants: [1],
      expect: [f32([2, 2], [1, 1, 2, 2])],
    },
  ]),
  ...opCases('Squeeze', [
    { name: 'axes', inputs: [f32([1, 2, 1], [1, 2]), i64(0)], constants: [1], expect: [f32([2, 1], [1, 2])] },
  ]),
  ...opCases('Unsqueeze', [
    {
      name: 'axes',
      inputs: [f32([2], [1, 2]), i64(0, -1)],
      constants: [1],
      expect: [f32([1, 2, 1], [1, 2])],
    },
  ]),
  ...opCases('Flatten', [
    { name: 'axis 2', attributes: { axis: 2 }, inputs: [random(20, 2, 3, 4)], expect: 'reference' },
  ]),
  ...opCases('Tile', [
    {
      name: 'two axes',
      inputs: [f32([1, 2], [1, 2]), i64(2, 2)],
      constants: [1],
      expect: [f32([2, 4], [1, 2, 1, 2, 1, 2, 1, 2])],
    },
  ]),
  ...opCases('Shape', [{ name: 'whole', inputs: [f32([2, 3], [0, 0, 0, 0, 0, 0])], expect: [i64(2, 3)] }]),
  ...opCases('Cast', [
    {
      name: 'float to int32 truncates',
      attributes: { to: 6 },
      inputs: [f32([3], [1.9, -1.9, 0])],
      expect: [i32([3], [1, -1, 0])],
    },
    { name: 'int64 to float', attributes: { to: 1 }, inputs: [i64(3, -4)], expect: [f32([2], [3, -4])] },
    {
      name: 'float to bool',
      attributes: { to: 9 },
      inputs: [f32([3], [0, 0.5, -1])],
      expect: [bool([3], [0, 1, 1])],
    },
  ]),
  ...opCases('ConstantOfShape', [{ name: 'zeros', inputs: [i64(2, 1)], expect: [f32([2, 1], [0, 0])] }]),
  ...opCases('Range', [
    {
      name: 'float',
      inputs: [f32([], [1]), f32([], [2]), f32([], [0.5])],
      constants: [0, 1, 2],
      expect: [f32([2], [1, 1.5])],
    },
  ]),
];

/** Over no axes each element is reduced alone: what an operator does beside summing is still done. */
const withoutAxes: readonly (readonly [op: string, inputs: readonly number[], results: readonly number[]])[] =
  [
    ['ReduceSum', [-3, 0.5], [-3, 0.5]],
    ['ReduceMax', [-3, 0.5], [-3, 0.5]],
    ['ReduceSumSquare', [-3, 0.5], [9, 0.25]],
    ['ReduceL1', [-3, 0.5], [3, 0.5]],
    ['ReduceL2', [-3, 0.5], [3, 0.5]],
    ['ReduceLogSum', [1, Math.E], [0, 1]],
    ['ReduceLogSumExp', [-3, 0.5], [-3, 0.5]],
  ];

const reduceCases: readonly OpCase[] = [
  ...withoutAxes.flatMap(([op, inputs, results]) =>
    opCases(op, [
      {
        name: 'over no axes',
        attributes: { noop_with_empty_axes: true },
        inputs: [f32([1, 2], inputs)],
        expect: [f32([1, 2], results)],
      },
    ]),
  ),
  ...opCases('ReduceSum', [
    {
      name: 'axis kept',
      inputs: [f32([2, 2], [1, 2, 3, 4]), i64(1)],
      constants: [1],
      expect: [f32([2, 1], [3, 7])],
    },
    {
      name: 'axis dropped',
      attributes: { keepdims: false },
      inputs: [f32([2, 2], [1, 2, 3, 4]), i64(-2)],
      constants: [1],
      expect: [f32([2], [4, 6])],
    },
  ]),
  ...opCases('ReduceMean', [
    { name: 'all axes', inputs: [f32([2, 2], [1, 2, 3, 4])], expect: [f32([1, 1], [2.5])] },
  ]),
  ...opCases('ReduceMax', [
    {
      name: 'axis',
      inputs: [f32([2, 2], [1, 2, 4, 3]), i64(1)],
      constants: [1],
      expect: [f32([2, 1], [2, 4])],
    },
  ]),
  ...opCases('ReduceL2', [
    { name: 'axis', inputs: [f32([1, 2], [3, 4]), i64(1)], constants: [1], expect: [f32([1, 1], [5])] },
  ]),
  ...opCases('ArgMax', [
    {
      name: 'first of equals',
      attributes: { axis: 1, keepdims: false },
      inputs: [f32([2, 3], [1, 5, 5, 2, 0, 1])],
      expect: [i64(1, 0)],
    },
  ]),
  ...opCases('Softmax', [
    {
      name: 'large logits',
      attributes: { axis: -1 },
      inputs: [f32([1, 2], [1000, 1000])],
      expect: [f32([1, 2], [0.5, 0.5])],
    },
    { name: 'inner axis', attributes: { axis: 1 }, inputs: [random(30, 2, 5, 3)], expect: 'reference' },
  ]),
  ...opCases('LogSoftmax', [
    { name: 'random', attributes: { axis: -1 }, inputs: [random(31, 3, 6)], expect: 'reference' },
  ]),
  ...opCases('TopK', [
    {
      name: 'largest two',
      attributes: { axis: 1 },
      inputs: [f32([1, 4], [1, 4, 2, 3]), i64(2)],
      constants: [1],
      expect: [f32([1, 2], [4, 3]), tensor('int64', [1, 2], BigInt64Array.from([1n, 3n]))],
    },
  ]),
];

const layerCases: readonly OpCase[] = [
  ...opCases('MatMul', [
    {
      name: 'by hand',
      inputs: [f32([2, 2], [1, 2, 3, 4]), f32([2, 1], [10, 1])],
      expect: [f32([2, 1], [12, 34])],
    },
    { name: 'batches broadcast', inputs: [random(40, 2, 1, 3, 4), random(41, 3, 4, 5)], expect: 'reference' },
    { name: 'vector', inputs: [random(42, 4), random(43, 2, 4, 3)], expect: 'reference' },
  ]),
  ...opCases('Gemm', [
    {
      name: 'transposed and scaled',
      attributes: { transA: true, transB: true, alpha: 0.5, beta: 2 },
      inputs: [random(44, 4, 2), random(45, 3, 4), random(46, 3)],
      constants: [1, 2],
      expect: 'reference',
    },
    {
      name: 'without bias',
      inputs: [f32([1, 2], [1, 2]), f32([2, 2], [1, 0, 0, 1])],
      expect: [f32([1, 2], [1, 2])],
    },
  ]),
  ...opCases('Conv', [
    {
      name: 'by hand',
      inputs: [f32([1, 1, 2, 2], [1, 2, 3, 4]), f32([1, 1, 2, 2], [1, 0, 0, 1])],
      constants: [1],
      expect: [f32([1, 1, 1, 1], [5])],
    },
    {
      name: 'strides, pads, bias',
      attributes: { strides: [2, 1], pads: [1, 0, 1, 2] },
      inputs: [random(50, 2, 3, 7, 6), random(51, 4, 3, 3, 3), random(52, 4)],
      constants: [1, 2],
      expect: 'reference',
    },
    {
      name: 'depthwise',
      attributes: { group: 4, pads: [1, 1, 1, 1] },
      inputs: [random(53, 1, 4, 5, 5), random(54, 4, 1, 3, 3)],
      constants: [1],
      expect: 'reference',
    },
    {
      name: 'groups and dilations',
      attributes: { group: 2, dilations: [2, 2] },
      inputs: [random(55, 1, 4, 6, 6), random(56, 6, 2, 2, 2)],
      constants: [1],
      expect: 'reference',
    },
    {
      name: 'one dimension, SAME_UPPER',
      attributes: { auto_pad: 'SAME_UPPER', strides: [2] },
      inputs: [random(57, 1, 2, 7), random(58, 3, 2, 3)],
      constants: [1],
      expect: 'reference',
    },
  ]),
  ...opCases('ConvTranspose', [
    {
      name: 'strides and output padding',
      attributes: { strides: [2, 2], output_padding: [1, 1], pads: [1, 1, 1, 1] },
      inputs: [random(60, 1, 2, 3, 3), random(61, 2, 3, 3, 3)],
      constants: [1],
      expect: 'reference',
    },
  ]),
  ...opCases('MaxPool', [
    {
      name: 'by hand',
      attributes: { kernel_shape: [2, 2] },
      inputs: [f32([1, 1, 2, 3], [1, 5, 2, 4, 3, 6])],
      expect: [f32([1, 1, 1, 2], [5, 6])],
    },
    {
      name: 'ceil mode, pads',
      attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], ceil_mode: true },
      inputs: [random(62, 1, 2, 6, 6)],
      expect: 'reference',
    },
  ]),
  ...opCases('AveragePool', [
    {
      name: 'pads not counted',
      attributes: { kernel_shape: [2, 2], pads: [1, 1, 0, 0] },
      inputs: [f32([1, 1, 2, 2], [1, 2, 3, 4])],
      expect: [f32([1, 1, 2, 2], [1, 1.5, 2, 2.5])],
    },
    {
      name: 'pads counted',
      attributes: { kernel_shape: [2, 2], pads: [1, 1, 0, 0], count_include_pad: true },
      inputs: [f32([1, 1, 2, 2], [1, 2, 3, 4])],
      expect: [f32([1, 1, 2, 2], [0.25, 0.75, 1, 2.5])],
    },
  ]),
  ...opCases('GlobalAveragePool', [
    { name: 'by hand', inputs: [f32([1, 2, 1, 2], [1, 3, 5, 7])], expect: [f32([1, 2, 1, 1], [2, 6])] },
  ]),
  ...opCases('BatchNormalization', [
    {
      name: 'by hand',
      attributes: { epsilon: 0 },
      inputs: [
        f32([1, 2, 1], [3, 8]),
        f32([2], [2, 1]),
        f32([2], [1, 0]),
        f32([2], [1, 4]),
        f32([2], [4, 16]),
      ],
      constants: [1, 2, 3, 4],
      expect: [f32([1, 2, 1], [3, 1])],
    },
  ]),
  ...opCases('LayerNormalization', [
    {
      name: 'last axis',
      inputs: [random(70, 2, 3, 8), random(71, 8), random(72, 8)],
      constants: [1, 2],
      expect: 'reference',
    },
  ]),
  ...opCases('InstanceNormalization', [
    {
      name: 'random',
      inputs: [random(73, 2, 3, 4, 4), random(74, 3), random(75, 3)],
      constants: [1, 2],
      expect: 'reference',
    },
  ]),
  ...opCases('Resize', [
    {
      name: 'nearest by two',
      attributes: { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
      inputs: [f32([1, 1, 1, 2], [1, 2]), null, f32([4], [1, 1, 2, 2])],
      constants: [2],
      expect: [f32([1, 1, 2, 4], [1, 1, 2, 2, 1, 1, 2, 2])],
    },
    {
      name: 'linear, half pixel',
      attributes: { mode: 'linear' },
      inputs: [f32([1, 1, 1, 2], [0, 4]), null, null, i64(1, 1, 1, 4)],
      constants: [3],
      expect: [f32([1, 1, 1, 4], [0, 1, 3, 4])],
    },
  ]),
  ...opCases('LSTM', [
    {
      name: 'forward with bias',
      attributes: { hidden_size: 3 },
      inputs: [random(80, 4, 2, 5), random(81, 1, 12, 5), random(82, 1, 12, 3), random(83, 1, 24)],
      constants: [1, 2, 3],
      outputs: 3,
      expect: 'reference',
    },
    {
      name: 'bidirectional',
      attributes: { hidden_size: 2, direction: 'bidirectional' },
      inputs: [random(84, 3, 1, 4), random(85, 2, 8, 4), random(86, 2, 8, 2)],
      constants: [1, 2],
      outputs: 3,
      expect: 'reference',
    },
  ]),
  ...opCases('GRU', [
    {
      name: 'forward',
      attributes: { hidden_size: 3 },
      inputs: [random(87, 4, 2, 5), random(88, 1, 9, 5), random(89, 1, 9, 3)],
      constants: [1, 2],
      outputs: 2,
      expect: 'reference',
    },
  ]),
  ...opCases('Einsum', [
    {
      name: 'attention scores',
      attributes: { equation: 'bhqd,bhkd->bhqk' },
      inputs: [random(90, 1, 2, 3, 4), random(91, 1, 2, 5, 4)],
      expect: 'reference',
    },
  ]),
];

const quantizationCases: readonly OpCase[] = [
  ...opCases('QuantizeLinear', [
    {
      name: 'uint8, saturating',
      inputs: [f32([4], [0, 1, 300, -300]), f32([], [0.5]), u8([], [10])],
      constants: [1, 2],
      expect: [u8([4], [10, 12, 255, 0])],
    },
    {
      name: 'int8 per axis',
      attributes: { axis: 0 },
      inputs: [f32([2, 2], [1, -1, 1, -1]), f32([2], [1, 0.5]), i8([2], [0, 0])],
      constants: [1, 2],
      expect: [i8([2, 2], [1, -1, 2, -2])],
    },
  ]),
  ...opCases('DequantizeLinear', [
    {
      name: 'uint8',
      inputs: [u8([3], [0, 128, 255]), f32([], [0.5]), u8([], [128])],
      constants: [1, 2],
      expect: [f32([3], [-64, 0, 63.5])],
    },
    {
      name: 'int8 per axis',
      attributes: { axis: 1 },
      inputs: [i8([1, 2], [-4, 4]), f32([2], [1, 0.25])],
      constants: [1],
      expect: [f32([1, 2], [-4, 1])],
    },
  ]),
  ...opCases('DynamicQuantizeLinear', [
    { name: 'random', inputs: [random(95, 6)], outputs: 3, expect: 'reference' },
  ]),
  ...opCases('MatMulInteger', [
    {
      name: 'zero points',
      inputs: [u8([1, 2], [11, 7]), u8([2, 1], [12, 9]), u8([], [10]), u8([], [10])],
      constants: [2, 3],
      expect: [i32([1, 1], [5])],
    },
  ]),
];

/** The cases that every backend should pass: operators in common use, on small inputs. */
export const standardCases: readonly OpCase[] = [
  ...unaryCases,
  ...smoothCases,
  ...binaryCases,
  ...shapeCases,
  ...reduceCases,
  ...layerCases,
  ...quantizationCases,
];
