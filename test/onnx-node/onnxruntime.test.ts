import { attribute as a, Tensor } from '@lithe/core';
import { describeCases } from './describe-cases.ts';
import { f32, i8, i32, i64, type Make, pick, scale, scales, u8, zero } from './operands.ts';

const convolutions: Record<string, Make> = {
  'Conv 2-D, groups, dilations, uneven pads': (rng) => {
    const group = pick(rng, 1, 2);
    const [kh, kw] = [1 + rng.integer(3), 1 + rng.integer(3)];
    return {
      op: 'Conv',
      inputs: [f32(rng, 2, 4, 9, 8), f32(rng, 6, 4 / group, kh, kw), pick(rng, null, f32(rng, 6))],
      attributes: {
        group: a.int(group),
        dilations: a.ints([1 + rng.integer(2), 1 + rng.integer(2)]),
        strides: a.ints([1 + rng.integer(3), 1 + rng.integer(2)]),
        pads: a.ints([rng.integer(3), rng.integer(3), rng.integer(3), rng.integer(3)]),
      },
      outputs: ['float32'],
    };
  },
  'Conv 1-D and 3-D, auto_pad': (rng) => {
    const rank = pick(rng, 1, 3);
    const spatial = Array.from({ length: rank }, () => 4 + rng.integer(3));
    return {
      op: 'Conv',
      inputs: [f32(rng, 1, 3, ...spatial), f32(rng, 2, 3, ...spatial.map(() => 1 + rng.integer(3)))],
      attributes: {
        auto_pad: a.string(pick(rng, 'SAME_UPPER', 'SAME_LOWER', 'VALID')),
        strides: a.ints(spatial.map(() => 1 + rng.integer(2))),
      },
      outputs: ['float32'],
    };
  },
  'ConvTranspose with groups and output padding': (rng) => ({
    op: 'ConvTranspose',
    inputs: [f32(rng, 1, 4, 5, 4), f32(rng, 4, 3, 3, 2), f32(rng, 6)],
    attributes: {
      group: a.int(2),
      strides: a.ints([2, 3]),
      dilations: a.ints([1 + rng.integer(2), 1]),
      pads: a.ints([rng.integer(2), rng.integer(2), rng.integer(2), rng.integer(2)]),
      output_padding: a.ints([rng.integer(2), rng.integer(3)]),
    },
    outputs: ['float32'],
  }),
  'AveragePool with ceil_mode and dilations': (rng) => ({
    op: 'AveragePool',
    inputs: [f32(rng, 1, 2, 9, 7)],
    attributes: {
      kernel_shape: a.ints([3, 2]),
      strides: a.ints([2, 2]),
      pads: a.ints([1, 0, rng.integer(2), 1]),
      ceil_mode: a.int(rng.integer(2)),
      count_include_pad: a.int(rng.integer(2)),
      dilations: a.ints([1, 1 + rng.integer(2)]),
    },
    outputs: ['float32'],
  }),
  'MaxPool with ceil_mode': (rng) => ({
    op: 'MaxPool',
    inputs: [f32(rng, 1, 2, 9, 7)],
    attributes: {
      kernel_shape: a.ints([3, 2]),
      strides: a.ints([2, 2]),
      pads: a.ints([1, 0, rng.integer(2), 1]),
      ceil_mode: a.int(rng.integer(2)),
    },
    outputs: ['float32'],
  }),
};

const images: Record<string, Make> = {
  Resize: (rng) => {
    const mode = pick(rng, 'nearest', 'linear', 'cubic');
    const sized = rng.integer(2) === 1;
    const sizes = [1, 2, 3 + rng.integer(9), 3 + rng.integer(9)];
    const input = f32(rng, 1, 2, 6, 5);
    const ratios = Tensor.from(
      'float32',
      [4],
      new Float32Array([1, 1, pick(rng, 0.5, 2, 3), pick(rng, 2, 3, 4)]),
    );
    return {
      op: 'Resize',
      inputs: [input, null, sized ? null : ratios, sized ? i64([4], ...sizes) : null],
      attributes: {
        mode: a.string(mode),
        coordinate_transformation_mode: a.string(
          pick(rng, 'half_pixel', 'pytorch_half_pixel', 'align_corners', 'asymmetric'),
        ),
        nearest_mode: a.string(pick(rng, 'round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil')),
        cubic_coeff_a: a.float(pick(rng, -0.5, -0.75)),
      },
      outputs: ['float32'],
      constant: [2, 3],
      tolerance: { absolute: 1e-4, relative: 1e-4 },
    };
  },
  'Resize with antialiasing': (rng) => ({
    op: 'Resize',
    inputs: [f32(rng, 1, 1, 12, 10), null, null, i64([4], 1, 1, 4 + rng.integer(5), 3 + rng.integer(5))],
    attributes: { mode: a.string(pick(rng, 'linear', 'cubic')), antialias: a.int(1) },
    outputs: ['float32'],
    constant: [3],
    tolerance: { absolute: 1e-4, relative: 1e-4 },
  }),
  GridSample: (rng) => ({
    op: 'GridSample',
    inputs: [
      f32(rng, 1, 2, 5, 6),
      Tensor.from(
        'float32',
        [1, 3, 4, 2],
        Float32Array.from({ length: 24 }, () => rng.next() * 3 - 1.5),
      ),
    ],
    attributes: {
      mode: a.string(pick(rng, 'linear', 'nearest', 'cubic')),
      padding_mode: a.string(pick(rng, 'zeros', 'border', 'reflection')),
      align_corners: a.int(rng.integer(2)),
    },
    outputs: ['float32'],
  }),
};

const recurrent =
  (op: 'RNN' | 'GRU' | 'LSTM', gates: number): Make =>
  (rng) => {
    const direction = pick(rng, 'forward', 'reverse', 'bidirectional');
    const dirs = direction === 'bidirectional' ? 2 : 1;
    const [steps, batch, inputs, hidden] = [4, 3, 3, 2];
    const cell = op === 'LSTM';
    const names = { RNN: ['Tanh'], GRU: ['Sigmoid', 'Tanh'], LSTM: ['Sigmoid', 'Tanh', 'Tanh'] }[op];
    return {
      op,
      inputs: [
        f32(rng, steps, batch, inputs),
        f32(rng, dirs, gates * hidden, inputs),
        f32(rng, dirs, gates * hidden, hidden),
        pick(rng, null, f32(rng, dirs, 2 * gates * hidden)),
        pick(rng, null, i32([batch], 4, 2, 3)),
        pick(rng, null, f32(rng, dirs, batch, hidden)),
        ...(cell
          ? [pick(rng, null, f32(rng, dirs, batch, hidden)), pick(rng, null, f32(rng, dirs, 3 * hidden))]
          : []),
      ],
      attributes: {
        direction: a.string(direction),
        hidden_size: a.int(hidden),
        ...(op === 'GRU' ? { linear_before_reset: a.int(rng.integer(2)) } : {}),
        ...(cell ? { input_forget: a.int(rng.integer(2)) } : {}),
        ...(rng.integer(2) === 1 ? { clip: a.float(0.8) } : {}),
        ...(rng.integer(2) === 1
          ? {
              activations: a.strings(
                Array.from({ length: dirs }, () => [...names.slice(1), 'HardSigmoid']).flat(),
              ),
              activation_alpha: a.floats(Array.from({ length: dirs }, () => 0.3)),
              activation_beta: a.floats(Array.from({ length: dirs }, () => 0.4)),
            }
          : {}),
      },
      outputs: cell ? ['float32', 'float32', 'float32'] : ['float32', 'float32'],
    };
  };

const quantized: Record<string, Make> = {
  'QLinearConv with a scale per channel': (rng) => ({
    op: 'QLinearConv',
    inputs: [
      u8(rng, 1, 4, 6, 5),
      scale(0.02),
      zero('uint8', 120),
      i8(rng, 6, 2, 3, 3),
      scales(rng, 6),
      Tensor.from('int8', [6], new Int8Array(6)),
      scale(1.1),
      zero('uint8', 110),
      i32([6], 100, -200, 3, 4, 5, 6),
    ],
    attributes: { group: a.int(2), pads: a.ints([1, 0, 2, 1]), strides: a.ints([1, 2]) },
    outputs: ['uint8'],
    constant: [3, 4, 5],
    steps: 1,
  }),
  ConvInteger: (rng) => ({
    op: 'ConvInteger',
    inputs: [u8(rng, 1, 3, 5, 5), u8(rng, 4, 3, 2, 3), zero('uint8', 7), zero('uint8', 130)],
    attributes: { pads: a.ints([1, 1, 1, 1]) },
    outputs: ['int32'],
  }),
  'MatMulInteger per column': (rng) => ({
    op: 'MatMulInteger',
    inputs: [u8(rng, 2, 3, 8), i8(rng, 8, 5), zero('uint8', 100), i8(rng, 5)],
    outputs: ['int32'],
    weights: [1],
  }),
  QLinearMatMul: (rng) => ({
    op: 'QLinearMatMul',
    inputs: [
      u8(rng, 3, 8),
      scale(0.02),
      zero('uint8', 100),
      i8(rng, 8, 5),
      scale(0.03),
      zero('int8', 3),
      scale(0.4),
      zero('uint8', 128),
    ],
    outputs: ['uint8'],
    weights: [3],
    steps: 1,
  }),
  DynamicQuantizeLinear: (rng) => ({
    op: 'DynamicQuantizeLinear',
    inputs: [f32(rng, 5, 7)],
    outputs: ['uint8', 'float32', 'uint8'],
  }),
  'QuantizeLinear per axis': (rng) => ({
    op: 'QuantizeLinear',
    inputs: [f32(rng, 3, 4, 5), scales(rng, 4), i8(rng, 4)],
    attributes: { axis: a.int(-2) },
    outputs: ['int8'],
  }),
  'DequantizeLinear of int4 in blocks': (rng) => ({
    op: 'DequantizeLinear',
    inputs: [
      Tensor.from('int4', [8, 6], u8(rng, 24).data as Uint8Array),
      scales(rng, 2, 6),
      Tensor.from('int4', [2, 6], u8(rng, 6).data as Uint8Array),
    ],
    attributes: { axis: a.int(0), block_size: a.int(4) },
    outputs: ['float32'],
    constant: [0, 1, 2],
  }),
};

describeCases('operators of ai.onnx as onnxruntime computes them', [
  { cases: convolutions, seeds: 8 },
  { cases: images, seeds: 16 },
  { cases: { RNN: recurrent('RNN', 1), GRU: recurrent('GRU', 3), LSTM: recurrent('LSTM', 4) }, seeds: 12 },
  { cases: quantized, seeds: 3 },
]);
