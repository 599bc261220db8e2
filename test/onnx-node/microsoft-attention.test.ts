import { attribute as a, type Rng, type Tensor } from '@lithe/core';
import { describeCases } from './describe-cases.ts';
import { f32, i8, i32, i64, type Make, microsoft, pick, scale, u8, zero } from './operands.ts';

const rotaryTables = (rng: Rng, pairs: number): [Tensor, Tensor] => [
  f32(rng, 16, pairs),
  f32(rng, 16, pairs),
];

const attentionCases: Record<string, Make> = {
  Attention: (rng) => {
    const mask = pick(rng, null, i32([2], 3, 2), i32([2, 3], 1, 1, 0, 1, 1, 1));
    return {
      op: 'Attention',
      domain: microsoft,
      inputs: [f32(rng, 2, 3, 8), f32(rng, 8, 24), f32(rng, 24), mask],
      attributes: { num_heads: a.int(2), unidirectional: a.int(rng.integer(2)) },
      outputs: ['float32'],
      tolerance: { absolute: 1e-4, relative: 1e-4 },
    };
  },
  'Attention with a past': (rng) => ({
    op: 'Attention',
    domain: microsoft,
    inputs: [f32(rng, 2, 3, 8), f32(rng, 8, 24), f32(rng, 24), null, f32(rng, 2, 2, 2, 4, 4)],
    attributes: { num_heads: a.int(2), unidirectional: a.int(1) },
    outputs: ['float32', 'float32'],
    tolerance: { absolute: 1e-4, relative: 1e-4 },
  }),
  QAttention: (rng) => ({
    op: 'QAttention',
    domain: microsoft,
    inputs: [
      u8(rng, 2, 3, 8),
      i8(rng, 8, 24),
      f32(rng, 24),
      scale(0.01),
      scale(0.01),
      null,
      zero('uint8', 128),
      zero('int8', 3),
    ],
    attributes: { num_heads: a.int(2) },
    outputs: ['float32'],
    constant: [1, 4, 7],
    weights: [1],
    tolerance: { absolute: 1e-4, relative: 1e-4 },
  }),
  MultiHeadAttention: (rng) => ({
    op: 'MultiHeadAttention',
    domain: microsoft,
    inputs: [
      f32(rng, 2, 3, 8),
      f32(rng, 2, 5, 8),
      f32(rng, 2, 5, 8),
      pick(rng, null, f32(rng, 24)),
      pick(rng, null, i32([2, 5], 1, 1, 1, 0, 0, 1, 0, 1, 1, 1)),
      pick(rng, null, f32(rng, 1, 2, 3, 5)),
    ],
    attributes: { num_heads: a.int(2), ...(rng.integer(2) === 1 ? { scale: a.float(0.3) } : {}) },
    outputs: ['float32'],
    tolerance: { absolute: 1e-4, relative: 1e-4 },
  }),
  'MultiHeadAttention with a past': (rng) => ({
    op: 'MultiHeadAttention',
    domain: microsoft,
    inputs: [
      f32(rng, 1, 2, 8),
      f32(rng, 1, 2, 8),
      f32(rng, 1, 2, 8),
      null,
      null,
      null,
      f32(rng, 1, 2, 3, 4),
      f32(rng, 1, 2, 3, 4),
    ],
    attributes: { num_heads: a.int(2), unidirectional: a.int(rng.integer(2)) },
    outputs: ['float32', 'float32', 'float32'],
    tolerance: { absolute: 1e-4, relative: 1e-4 },
  }),
  RotaryEmbedding: (rng) => ({
    op: 'RotaryEmbedding',
    domain: microsoft,
    inputs: [
      f32(rng, 2, 3, 8),
      pick(rng, i64([1], 2), i64([2, 3], 0, 1, 2, 5, 6, 7)),
      ...rotaryTables(rng, 2),
    ],
    attributes: { interleaved: a.int(rng.integer(2)) },
    outputs: ['float32'],
  }),
  'GroupQueryAttention of a prompt': (rng) => ({
    op: 'GroupQueryAttention',
    domain: microsoft,
    inputs: [
      f32(rng, 1, 4, 64),
      f32(rng, 1, 4, 32),
      f32(rng, 1, 4, 32),
      null,
      null,
      i32([1], 3),
      i32([1], 4),
      ...rotaryTables(rng, 8),
    ],
    attributes: {
      num_heads: a.int(4),
      kv_num_heads: a.int(2),
      do_rotary: a.int(1),
      rotary_interleaved: a.int(rng.integer(2)),
      local_window_size: a.int(pick(rng, -1, 2)),
    },
    outputs: ['float32', 'float32', 'float32'],
    tolerance: { absolute: 1e-4, relative: 1e-4 },
  }),
  'GroupQueryAttention of the next token': (rng) => ({
    op: 'GroupQueryAttention',
    domain: microsoft,
    inputs: [
      f32(rng, 1, 1, 64),
      f32(rng, 1, 1, 32),
      f32(rng, 1, 1, 32),
      f32(rng, 1, 2, 5, 16),
      f32(rng, 1, 2, 5, 16),
      i32([1], 5),
      i32([1], 6),
      ...rotaryTables(rng, 8),
    ],
    attributes: {
      num_heads: a.int(4),
      kv_num_heads: a.int(2),
      do_rotary: a.int(1),
      softcap: a.float(pick(rng, 0, 3)),
    },
    outputs: ['float32', 'float32', 'float32'],
    tolerance: { absolute: 1e-4, relative: 1e-4 },
  }),
  'GroupQueryAttention of packed queries, keys and values': (rng) => ({
    op: 'GroupQueryAttention',
    domain: microsoft,
    inputs: [f32(rng, 1, 3, 128), null, null, null, null, i32([1], 2), i32([1], 3)],
    attributes: { num_heads: a.int(4), kv_num_heads: a.int(2) },
    outputs: ['float32', 'float32', 'float32'],
    tolerance: { absolute: 1e-4, relative: 1e-4 },
  }),
};

describeCases('attention of com.microsoft as onnxruntime computes it', [{ cases: attentionCases, seeds: 4 }]);
