import { attribute as a, Tensor } from '@lithe/core';
import { describeCases } from './describe-cases.ts';
import { f32, i8, i32, i64, type Make, microsoft, pick, scale, scales, u8, zero } from './operands.ts';
import type { RuntimeCase } from './runtime.ts';

const weightOnly =
  (bits: number, zeros: 'none' | 'packed' | 'float'): Make =>
  (rng) => {
    const [k, n, block] = [70, 6, 32];
    const blocks = Math.ceil(k / block);
    const zeroPoints = {
      none: null,
      packed: u8(rng, n * Math.ceil((blocks * bits) / 8)),
      float: Tensor.from(
        'float32',
        [n * blocks],
        Float32Array.from({ length: n * blocks }, () => rng.next() * 4),
      ),
    }[zeros];
    return {
      op: 'MatMulNBits',
      domain: microsoft,
      inputs: [
        f32(rng, 2, 3, k),
        u8(rng, n, blocks, (block * bits) / 8),
        scales(rng, n * blocks),
        zeroPoints,
        null,
        f32(rng, n),
      ],
      attributes: { K: a.int(k), N: a.int(n), bits: a.int(bits), block_size: a.int(block) },
      outputs: ['float32'],
      constant: [1, 2, 3],
      tolerance: { absolute: 2e-4, relative: 1e-4 },
    };
  };

const quantizedOne =
  (op: string, attributes: RuntimeCase['attributes'] = {}, shape: readonly number[] = [2, 3, 6, 5]): Make =>
  (rng) => ({
    op,
    domain: microsoft,
    inputs: [u8(rng, ...shape), scale(0.03), zero('uint8', 120), scale(0.02), zero('uint8', 30)],
    attributes,
    outputs: ['uint8'],
    constant: [1, 2, 3, 4],
    steps: 1,
  });

const quantizedTwo =
  (op: string): Make =>
  (rng) => ({
    op,
    domain: microsoft,
    inputs: [
      i8(rng, 2, 3, 4),
      scale(0.03),
      zero('int8', 5),
      i8(rng, 3, 1),
      scale(0.05),
      zero('int8', -7),
      scale(0.06),
      zero('int8', 11),
    ],
    outputs: ['int8'],
    steps: 1,
  });

const microsoftCases: Record<string, Make> = {
  'MatMulNBits of 4 bits': weightOnly(4, 'none'),
  'MatMulNBits of 4 bits with zero points': weightOnly(4, 'packed'),
  'MatMulNBits of 4 bits with float zero points': weightOnly(4, 'float'),
  'MatMulNBits of 8 bits with zero points': weightOnly(8, 'packed'),
  'MatMulNBits of 2 bits': weightOnly(2, 'none'),
  MatMulBnb4: (rng) => ({
    op: 'MatMulBnb4',
    domain: microsoft,
    inputs: [f32(rng, 3, 32), u8(rng, 64), f32(rng, 4)],
    attributes: { K: a.int(32), N: a.int(4), block_size: a.int(32), quant_type: a.int(rng.integer(2)) },
    outputs: ['float32'],
  }),
  'GatherBlockQuantized of bytes': (rng) => ({
    op: 'GatherBlockQuantized',
    domain: microsoft,
    inputs: [u8(rng, 10, 16), i64([2, 2], 1, 9, 0, 4), scales(rng, 10, 2), pick(rng, null, u8(rng, 10, 1))],
    attributes: { block_size: a.int(16), bits: a.int(4), gather_axis: a.int(0), quantize_axis: a.int(1) },
    outputs: ['float32'],
    constant: [0, 2, 3],
  }),
  'GatherBlockQuantized of int4': (rng) => ({
    op: 'GatherBlockQuantized',
    domain: microsoft,
    inputs: [
      Tensor.from('int4', [6, 32], u8(rng, 96).data as Uint8Array),
      i64([3], 1, -1, 0),
      scales(rng, 6, 2),
    ],
    attributes: { block_size: a.int(16), gather_axis: a.int(0), quantize_axis: a.int(1) },
    outputs: ['float32'],
    constant: [0, 2],
  }),
  DynamicQuantizeMatMul: (rng) => ({
    op: 'DynamicQuantizeMatMul',
    domain: microsoft,
    inputs: [f32(rng, 3, 8), i8(rng, 8, 5), scales(rng, 5), i8(rng, 5), f32(rng, 5)],
    outputs: ['float32'],
    weights: [1],
    tolerance: { absolute: 1e-4, relative: 1e-4 },
  }),
  MatMulIntegerToFloat: (rng) => ({
    op: 'MatMulIntegerToFloat',
    domain: microsoft,
    inputs: [
      u8(rng, 3, 8),
      i8(rng, 8, 5),
      scale(0.02),
      scales(rng, 5),
      zero('uint8', 99),
      i8(rng, 5),
      f32(rng, 5),
    ],
    outputs: ['float32'],
    weights: [1],
    tolerance: { absolute: 1e-3, relative: 1e-5 },
  }),
  QGemm: (rng) => ({
    op: 'QGemm',
    domain: microsoft,
    inputs: [
      u8(rng, 3, 8),
      scale(0.02),
      zero('uint8', 100),
      i8(rng, 5, 8),
      scales(rng, 5),
      Tensor.from('int8', [5], new Int8Array(5)),
      i32([5], 1, 2, 300, 4, 5),
      scale(0.4),
      zero('uint8', 128),
    ],
    attributes: { transB: a.int(1) },
    outputs: ['uint8'],
    weights: [3],
    steps: 1,
  }),
  DynamicQuantizeLSTM: (rng) => ({
    op: 'DynamicQuantizeLSTM',
    domain: microsoft,
    inputs: [
      f32(rng, 3, 1, 4),
      i8(rng, 1, 4, 12),
      i8(rng, 1, 3, 12),
      f32(rng, 1, 24),
      null,
      f32(rng, 1, 1, 3),
      null,
      null,
      scales(rng, 1),
      Tensor.from('int8', [1], new Int8Array(1)),
      scales(rng, 1),
      Tensor.from('int8', [1], new Int8Array(1)),
    ],
    attributes: { hidden_size: a.int(3) },
    outputs: ['float32', 'float32', 'float32'],
    constant: [1, 2, 3, 8, 9, 10, 11],
    weights: [1, 2],
    tolerance: { absolute: 1e-3, relative: 1e-3 },
  }),
  QLinearAdd: quantizedTwo('QLinearAdd'),
  QLinearMul: quantizedTwo('QLinearMul'),
  QLinearSigmoid: quantizedOne('QLinearSigmoid'),
  QLinearLeakyRelu: quantizedOne('QLinearLeakyRelu', { alpha: a.float(0.2) }),
  QLinearAveragePool: quantizedOne('QLinearAveragePool', {
    kernel_shape: a.ints([2, 3]),
    strides: a.ints([2, 1]),
    pads: a.ints([0, 1, 0, 1]),
  }),
  'QLinearAveragePool, channels last': quantizedOne(
    'QLinearAveragePool',
    { kernel_shape: a.ints([2, 3]), channels_last: a.int(1) },
    [1, 6, 5, 4],
  ),
  QLinearGlobalAveragePool: quantizedOne('QLinearGlobalAveragePool'),
  'QLinearGlobalAveragePool, channels last': quantizedOne('QLinearGlobalAveragePool', {
    channels_last: a.int(1),
  }),
  QLinearSoftmax: (rng) => ({
    ...quantizedOne('QLinearSoftmax', { axis: a.int(1), opset: a.int(13) }, [2, 5, 3])(rng),
    tolerance: { absolute: 0, relative: 0 },
  }),
  'QLinearSoftmax before opset 13': quantizedOne(
    'QLinearSoftmax',
    { axis: a.int(1), opset: a.int(11) },
    [2, 5, 3],
  ),
  QLinearConcat: (rng) => ({
    op: 'QLinearConcat',
    domain: microsoft,
    inputs: [
      scale(0.04),
      zero('uint8', 100),
      u8(rng, 2, 3),
      scale(0.02),
      zero('uint8', 90),
      u8(rng, 2, 4),
      scale(0.05),
      zero('uint8', 120),
    ],
    attributes: { axis: a.int(1) },
    outputs: ['uint8'],
    constant: [0, 1, 3, 4, 6, 7],
    steps: 1,
  }),
  'QLinearConv, channels last': (rng) => ({
    op: 'QLinearConv',
    domain: microsoft,
    inputs: [
      u8(rng, 1, 5, 6, 4),
      scale(0.02),
      zero('uint8', 100),
      i8(rng, 6, 4, 3, 3),
      scale(0.03),
      zero('int8', 0),
      scale(1.2),
      zero('uint8', 128),
    ],
    attributes: { channels_last: a.int(1), pads: a.ints([1, 1, 1, 1]) },
    outputs: ['uint8'],
    constant: [3, 4, 5],
    weights: [3],
    steps: 1,
  }),
  QLinearWhere: (rng) => ({
    op: 'QLinearWhere',
    domain: microsoft,
    inputs: [
      Tensor.from('bool', [3, 1], new Uint8Array([1, 0, 1])),
      u8(rng, 3, 4),
      scale(0.02),
      zero('uint8', 90),
      u8(rng, 1, 4),
      scale(0.05),
      zero('uint8', 120),
      scale(0.04),
      zero('uint8', 100),
    ],
    outputs: ['uint8'],
    constant: [2, 3, 5, 6, 7, 8],
    steps: 1,
  }),
  Gelu: (rng) => ({ op: 'Gelu', domain: microsoft, inputs: [f32(rng, 3, 5)], outputs: ['float32'] }),
  FastGelu: (rng) => ({
    op: 'FastGelu',
    domain: microsoft,
    inputs: [f32(rng, 3, 5), f32(rng, 5)],
    outputs: ['float32'],
  }),
  BiasGelu: (rng) => ({
    op: 'BiasGelu',
    domain: microsoft,
    inputs: [f32(rng, 3, 5), f32(rng, 5)],
    outputs: ['float32'],
  }),
  QuickGelu: (rng) => ({
    op: 'QuickGelu',
    domain: microsoft,
    inputs: [f32(rng, 3, 5)],
    outputs: ['float32'],
  }),
  SkipLayerNormalization: (rng) => ({
    op: 'SkipLayerNormalization',
    domain: microsoft,
    inputs: [f32(rng, 2, 3, 8), f32(rng, 2, 3, 8), f32(rng, 8), f32(rng, 8), f32(rng, 8)],
    attributes: { epsilon: a.float(1e-5) },
    outputs: ['float32'],
  }),
  SkipSimplifiedLayerNormalization: (rng) => ({
    op: 'SkipSimplifiedLayerNormalization',
    domain: microsoft,
    inputs: [f32(rng, 2, 3, 8), f32(rng, 2, 3, 8), f32(rng, 8), f32(rng, 8)],
    attributes: { epsilon: a.float(1e-5) },
    outputs: ['float32'],
  }),
  EmbedLayerNormalization: (rng) => ({
    op: 'EmbedLayerNormalization',
    domain: microsoft,
    inputs: [
      i32([2, 3], 1, 2, 3, 4, 0, 2),
      i32([2, 3], 0, 0, 1, 0, 1, 1),
      f32(rng, 5, 4),
      f32(rng, 6, 4),
      f32(rng, 2, 4),
      f32(rng, 4),
      f32(rng, 4),
      i32([2, 3], 1, 1, 0, 1, 0, 0),
    ],
    outputs: ['float32', 'int32'],
  }),
  FusedConv: (rng) => ({
    op: 'FusedConv',
    domain: microsoft,
    inputs: [f32(rng, 1, 2, 5, 5), f32(rng, 3, 2, 3, 3), f32(rng, 3), f32(rng, 1, 3, 3, 3)],
    attributes: { activation: a.string('LeakyRelu'), activation_params: a.floats([0.3]) },
    outputs: ['float32'],
  }),
  FusedGemm: (rng) => ({
    op: 'FusedGemm',
    domain: microsoft,
    inputs: [f32(rng, 3, 4), f32(rng, 5, 4), f32(rng, 5)],
    attributes: { transB: a.int(1), alpha: a.float(0.5), beta: a.float(2), activation: a.string('Relu') },
    outputs: ['float32'],
  }),
  FusedMatMul: (rng) => ({
    op: 'FusedMatMul',
    domain: microsoft,
    inputs: [f32(rng, 2, 4, 3), f32(rng, 2, 4, 5)],
    attributes: { transA: a.int(1), alpha: a.float(0.5) },
    outputs: ['float32'],
  }),
  'FusedMatMul across batches': (rng) => ({
    op: 'FusedMatMul',
    domain: microsoft,
    inputs: [f32(rng, 3, 2, 4), f32(rng, 4, 2, 5)],
    attributes: { transBatchA: a.int(1), transBatchB: a.int(1), transA: a.int(0) },
    outputs: ['float32'],
  }),
};

describeCases('operators of com.microsoft as onnxruntime computes them', [
  { cases: microsoftCases, seeds: 3 },
]);
