import { expect, test } from 'vitest';
import { inferShapes } from '../infer/infer-shapes.ts';
import { type Attribute, attribute } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import { Model } from '../ir/model.ts';
import { type Dim, formatType, tensorType } from '../ir/types.ts';
import type { DType } from '../tensor/dtype.ts';
import { Tensor } from '../tensor/tensor.ts';

const { int, ints, string } = attribute;

/** A constant of sizes. */
const sizes = (...values: readonly number[]): Tensor =>
  Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));
/** A constant of scales. */
const scales = (...values: readonly number[]): Tensor =>
  Tensor.from('float32', [values.length], Float32Array.from(values));
/** An input that is not a float. */
const of = (
  dtype: DType,
  ...shape: readonly Dim[]
): { readonly dtype: DType; readonly shape: readonly Dim[] } => ({ dtype, shape });

type Operand = readonly Dim[] | Tensor | { readonly dtype: DType; readonly shape: readonly Dim[] } | null;

// Worked out by hand from the ONNX operator specification, with symbols for what the node tests of ONNX hold as numbers.
const cases: readonly (readonly [string, readonly Operand[], Record<string, Attribute>, ...string[]])[] = [
  [
    'Conv',
    [
      ['N', 3, 'H', 'W'],
      [8, 3, 7, 5],
    ],
    { strides: ints([2, 1]), pads: ints([3, 2, 3, 2]) },
    'float32[N, 8, floor((H + 1)/2), W]',
  ],
  [
    'Conv',
    [
      ['N', 4, 'L'],
      [6, 2, 3],
    ],
    { group: int(2), dilations: ints([2]) },
    'float32[N, 6, L - 4]',
  ],
  [
    'Conv',
    [
      ['N', 3, 'H', 'H'],
      [8, 3, 3, 3],
    ],
    { auto_pad: string('SAME_UPPER'), strides: ints([2, 2]) },
    'float32[N, 8, floor((H + 1)/2), floor((H + 1)/2)]',
  ],
  [
    'ConvTranspose',
    [
      ['N', 3, 'H', 'W'],
      [3, 5, 4, 4],
    ],
    { strides: ints([2, 2]), pads: ints([1, 1, 1, 1]) },
    'float32[N, 5, 2*H, 2*W]',
  ],
  [
    'ConvTranspose',
    [
      ['N', 3, 'L'],
      [3, 5, 3],
    ],
    { strides: ints([3]), output_padding: ints([1]), group: int(3) },
    'float32[N, 15, 3*L + 1]',
  ],
  [
    'MaxPool',
    [['N', 3, 'H', 'W']],
    { kernel_shape: ints([2, 2]), strides: ints([2, 2]) },
    'float32[N, 3, floor(H/2), floor(W/2)]',
  ],
  [
    'AveragePool',
    [['N', 3, 'L']],
    { kernel_shape: ints([3]), strides: ints([2]), ceil_mode: int(1) },
    'float32[N, 3, floor(L/2)]',
  ],
  [
    'AveragePool',
    [[1, 1, 2]],
    { kernel_shape: ints([1]), strides: ints([2]), ceil_mode: int(1) },
    'float32[1, 1, 1]',
  ],
  ['GlobalAveragePool', [['N', 'C', 'H', 'W']], {}, 'float32[N, C, 1, 1]'],
  [
    'MatMul',
    [
      ['B', 1, 'S', 8],
      [4, 8, 'T'],
    ],
    {},
    'float32[B, 4, S, T]',
  ],
  ['MatMul', [[8], ['B', 8, 'T']], {}, 'float32[B, T]'],
  ['MatMul', [['S', 8], [8]], {}, 'float32[S]'],
  ['Gemm', [[8, 'N'], [5, 8], [5]], { transA: int(1), transB: int(1) }, 'float32[N, 5]'],
  [
    'Einsum',
    [
      ['B', 'I', 'J'],
      ['B', 'J', 'K'],
    ],
    { equation: string('bij,bjk->bik') },
    'float32[B, I, K]',
  ],
  [
    'Einsum',
    [
      ['B', 'I', 'J'],
      ['J', 'K'],
    ],
    { equation: string('...j,jk') },
    'float32[B, I, K]',
  ],
  ['Einsum', [['I', 'I']], { equation: string('ii->i') }, 'float32[I]'],
  [
    'Add',
    [
      ['N', 1, 'W'],
      ['H', 1],
    ],
    {},
    'float32[N, H, W]',
  ],
  ['Where', [of('bool', 'N', 1), [4], ['N', 4]], {}, 'float32[N, 4]'],
  ['Equal', [['N', 3], [3]], {}, 'bool[N, 3]'],
  ['Pow', [['N'], of('int32')], {}, 'float32[N]'],
  ['Cast', [['N']], { to: int(7) }, 'int64[N]'],
  ['ReduceMean', [['N', 'C', 'H', 'W'], sizes(2, -1)], { keepdims: int(0) }, 'float32[N, C]'],
  ['ReduceSum', [['N', 'C']], { noop_with_empty_axes: int(1) }, 'float32[N, C]'],
  ['ReduceMax', [['N', 'C']], {}, 'float32[1, 1]'],
  ['ArgMax', [['N', 'C', 'T']], { axis: int(1), keepdims: int(0) }, 'int64[N, T]'],
  ['Softmax', [['N', 'C']], {}, 'float32[N, C]'],
  [
    'LayerNormalization',
    [['N', 'S', 8], [8]],
    {},
    'float32[N, S, 8]',
    'float32[N, S, 1]',
    'float32[N, S, 1]',
  ],
  ['BatchNormalization', [['N', 4, 'H'], [4], [4], [4], [4]], {}, 'float32[N, 4, H]'],
  ['Reshape', [['N', 'S', 12], sizes(0, 0, 3, -1)], {}, 'float32[N, S, 3, 4]'],
  ['Reshape', [['N', 'S', 12], sizes(-1, 12)], {}, 'float32[N*S, 12]'],
  ['Reshape', [['N', 0], sizes(0, 5)], { allowzero: int(1) }, 'float32[0, 5]'],
  ['Flatten', [['N', 2, 'H', 3]], { axis: int(2) }, 'float32[2*N, 3*H]'],
  ['Squeeze', [['N', 1, 'C', 1], sizes(1, -1)], {}, 'float32[N, C]'],
  ['Squeeze', [[2, 1, 3]], {}, 'float32[2, 3]'],
  ['Unsqueeze', [['N', 'C'], sizes(0, -1)], {}, 'float32[1, N, C, 1]'],
  ['Transpose', [['N', 'C', 'T']], {}, 'float32[T, C, N]'],
  ['Expand', [['N', 1], sizes(2, 1, 5)], {}, 'float32[2, N, 5]'],
  ['Tile', [['N', 2], sizes(3, 4)], {}, 'float32[3*N, 8]'],
  [
    'Concat',
    [
      ['N', 3],
      ['N', 'C'],
      ['N', 5],
    ],
    { axis: int(1) },
    'float32[N, C + 8]',
  ],
  [
    'Split',
    [['N', 10]],
    { axis: int(1), num_outputs: int(3) },
    'float32[N, 4]',
    'float32[N, 4]',
    'float32[N, 2]',
  ],
  ['Split', [['N', 'C'], sizes(3, 4)], { axis: int(1) }, 'float32[N, 3]', 'float32[N, 4]'],
  ['Slice', [['N', 10], sizes(8), sizes(1), sizes(1), sizes(-3)], {}, 'float32[N, 3]'],
  ['Pad', [['N', 3], sizes(0, 2, 1, 0)], {}, 'float32[N + 1, 5]'],
  ['DepthToSpace', [['N', 8, 'H', 'W']], { blocksize: int(2) }, 'float32[N, 2, 2*H, 2*W]'],
  ['SpaceToDepth', [['N', 2, 'H', 4]], { blocksize: int(2) }, 'float32[N, 8, floor(H/2), 2]'],
  ['Resize', [['N', 3, 'H', 'W'], null, scales(1, 1, 2, 1.5)], {}, 'float32[N, 3, 2*H, W + floor(W/2)]'],
  [
    'Resize',
    [[1, 3, 10, 20], null, null, sizes(15, 15)],
    { axes: ints([2, 3]), keep_aspect_ratio_policy: string('not_larger') },
    'float32[1, 3, 8, 15]',
  ],
  [
    'GridSample',
    [
      ['N', 3, 8, 8],
      ['N', 'H', 'W', 2],
    ],
    {},
    'float32[N, 3, H, W]',
  ],
  ['Gather', [['V', 'D'], of('int64', 'N', 'S')], {}, 'float32[N, S, D]'],
  ['GatherND', [['N', 4, 'D'], of('int64', 'N', 2, 1)], { batch_dims: int(1) }, 'float32[N, 2, D]'],
  ['OneHot', [of('int64', 'N'), sizes(5), [2]], {}, 'float32[N, 5]'],
  ['TopK', [['N', 100], sizes(7)], {}, 'float32[N, 7]', 'int64[N, 7]'],
  ['Unique', [['N']], {}, 'float32[unique_0]', 'int64[unique_0]', 'int64[N]', 'int64[unique_0]'],
  ['NonMaxSuppression', [['B', 'N', 4], ['B', 'C', 'N'], sizes(3)], {}, 'int64[selected_0, 3]'],
  [
    'LSTM',
    [
      ['T', 'N', 3],
      [2, 20, 3],
      [2, 20, 5],
    ],
    { hidden_size: int(5), direction: string('bidirectional') },
    'float32[T, 2, N, 5]',
    'float32[2, N, 5]',
    'float32[2, N, 5]',
  ],
  [
    'GRU',
    [
      ['N', 'T', 3],
      [1, 15, 3],
      [1, 15, 5],
    ],
    { hidden_size: int(5), layout: int(1) },
    'float32[N, T, 1, 5]',
    'float32[N, 1, 5]',
  ],
  ['QuantizeLinear', [['N', 4], [4], of('int8', 4)], {}, 'int8[N, 4]'],
  ['DequantizeLinear', [of('uint8', 'N', 4), of('float16', 4)], {}, 'float16[N, 4]'],
  ['DynamicQuantizeLinear', [['N', 4]], {}, 'uint8[N, 4]', 'float32[]', 'uint8[]'],
  ['STFT', [['N', 'L', 1], sizes(4), [16]], {}, 'float32[N, floor(L/4) - 3, 9, 2]'],
  ['DFT', [['N', 'L', 1]], { onesided: int(1) }, 'float32[N, floor(L/2) + 1, 2]'],
  ['Shape', [['N', 3, 'W']], { start: int(-2) }, 'int64[2]'],
  ['EyeLike', [['N', 'M']], { dtype: int(10) }, 'float16[N, M]'],
  ['RandomNormal', [], { shape: ints([2, 3]), dtype: int(11) }, 'float64[2, 3]'],
  ['ImageDecoder', [of('uint8', 'N')], { pixel_format: string('Grayscale') }, 'uint8[dim_0, dim_1, 1]'],
  ['StringSplit', [of('string', 'N')], {}, 'string[N, parts_0]', 'int64[N]'],
];

test.each(cases.map((item, index) => [`${item[0]} (case ${index})`, item] as const))(
  '%s gives what the specification says',
  async (_, [op, operands, attributes, ...expected]) => {
    const graph = new Graph();
    const inputs = operands.map((operand, index) => {
      if (operand === null) return null;
      if (operand instanceof Tensor) return graph.addInitializer(`in${index}`, operand);
      const { dtype, shape } = 'dtype' in operand ? operand : of('float32', ...operand);
      return graph.addInput(`in${index}`, tensorType(dtype, shape));
    });
    const node = graph.addNode({ opType: op, inputs, attributes }, expected.length);
    graph.setOutputs(node.outputs);
    await inferShapes(new Model({ graph }));
    expect(node.outputs.map((value) => formatType(value.type))).toEqual(expected);
  },
);
