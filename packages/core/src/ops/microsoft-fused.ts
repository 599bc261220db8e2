import { addDims, divideDims, maxDims, multiplyDims } from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { CostContext, InferContext } from '../op/op-def.ts';
import { elementsOf } from '../tensor/dtype.ts';
import { convolution, convolutionMacs } from './convolution.ts';
import { gemmMacs, gemmShape, matMulShape } from './matrix.ts';
import { type AnyInferContext, axisOf, requireRank, sameAsInput } from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the fused operators of `com.microsoft`. */
export const microsoftFusedSchemas = {
  Attention: {
    since: 1,
    inputs: 'input:T weights:T bias:T? mask_index:M? past:T? attention_bias:T? past_sequence_length:M?',
    outputs: 'output:T present:T?',
    types: { T: 'float32 float16 bfloat16', M: 'int32' },
    attributes: {
      do_rotary: 'int?',
      mask_filter_value: 'float?',
      num_heads: 'int!',
      past_present_share_buffer: 'int?',
      qkv_hidden_sizes: 'ints?',
      rotary_embedding_dim: 'int?',
      scale: 'float?',
      unidirectional: ['flag', false],
    },
  },
  BiasAdd: { since: 1, inputs: 'X:T bias:T skip:T', outputs: 'Y:T', types: { T: 'float32 float16' } },
  BiasGelu: { since: 1, inputs: 'A:T B:T', outputs: 'C:T', types: { T: 'float bfloat16' } },
  EmbedLayerNormalization: {
    since: 1,
    inputs:
      'input_ids:T1 segment_ids:T1? word_embedding:T position_embedding:T segment_embedding:T? gamma:T beta:T mask:T1? position_ids:T1?',
    outputs: 'output:T mask_index:T1? embedding_sum:T?',
    types: { T1: 'int32', T: 'float32 float16' },
    attributes: { epsilon: ['float', 1e-12], mask_index_type: 'int?' },
  },
  FastGelu: { since: 1, inputs: 'X:T bias:T?', outputs: 'Y:T', types: { T: 'float bfloat16' } },
  FusedConv: {
    since: 1,
    inputs: 'X:T W:T B:T? Z:T?',
    outputs: 'Y:T',
    types: { T: 'float' },
    attributes: {
      activation: 'string?',
      activation_params: 'floats?',
      auto_pad: ['one', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'],
      dilations: 'ints?',
      group: ['int', 1],
      kernel_shape: 'ints?',
      pads: 'ints?',
      strides: 'ints?',
    },
  },
  FusedGemm: {
    since: 1,
    inputs: 'A:T B:T C:T?',
    outputs: 'Y:T',
    types: { T: 'float int32 int64 uint32 uint64' },
    attributes: {
      activation: 'string?',
      activation_alpha: 'float?',
      activation_beta: 'float?',
      activation_gamma: 'float?',
      alpha: ['float', 1],
      beta: ['float', 1],
      transA: ['flag', false],
      transB: ['flag', false],
    },
  },
  FusedMatMul: {
    since: 1,
    inputs: 'A:T B:T',
    outputs: 'Y:T',
    types: { T: 'float bfloat16' },
    attributes: {
      alpha: ['float', 1],
      transA: ['flag', false],
      transB: ['flag', false],
      transBatchA: ['flag', false],
      transBatchB: ['flag', false],
    },
  },
  Gelu: { since: 1, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float bfloat16' } },
  GroupQueryAttention: {
    since: 1,
    inputs:
      'query:T key:T? value:T? past_key:T_CACHE? past_value:T_CACHE? seqlens_k:M total_sequence_length:M cos_cache:T? sin_cache:T? position_ids:int64? attention_bias:T? head_sink:T? k_scale:T_KV_SCALE? v_scale:T_KV_SCALE? q_norm_weight:T? k_norm_weight:T?',
    outputs: 'output:T present_key:T_CACHE? present_value:T_CACHE? output_qk:T?',
    types: {
      T: 'float32 float16 bfloat16',
      T_CACHE: 'float32 float16 bfloat16 int8 uint8 float8e4m3fn',
      T_KV_SCALE: 'float32',
      M: 'int32',
    },
    attributes: {
      causal: ['int', 1],
      do_rotary: 'int?',
      k_quant_type: ['string', 'NONE'],
      kv_cache_bit_width: 'int?',
      kv_num_heads: 'int!',
      local_window_size: ['int', -1],
      num_heads: 'int!',
      qk_norm_epsilon: ['float', 1e-6],
      qk_output: ['int', 0],
      rotary_interleaved: 'int?',
      scale: 'float?',
      sliding_window_cache: ['int', 0],
      smooth_softmax: ['int', -1],
      softcap: 'float?',
      v_quant_type: ['string', 'NONE'],
    },
  },
  MultiHeadAttention: {
    since: 1,
    inputs:
      'query:T key:T? value:T? bias:T? key_padding_mask:M? attention_bias:T? past_key:T? past_value:T? past_sequence_length:M? cache_indirection:M?',
    outputs: 'output:T present_key:T? present_value:T? qk:QK?',
    types: { T: 'float32 float16 bfloat16', QK: 'float32 float16 bfloat16', M: 'int32' },
    attributes: {
      mask_filter_value: 'float?',
      num_heads: 'int!',
      scale: 'float?',
      unidirectional: ['flag', false],
    },
  },
  QAttention: {
    since: 1,
    inputs:
      'input:T1 weight:T2 bias:T3 input_scale:T3 weight_scale:T3 mask_index:T4? input_zero_point:T1? weight_zero_point:T2? past:T3?',
    outputs: 'output:T3 present:T3?',
    types: { T1: 'int8 uint8', T2: 'int8 uint8', T3: 'float32 float16', T4: 'int32' },
    attributes: {
      do_rotary: 'int?',
      mask_filter_value: 'float?',
      num_heads: 'int!',
      past_present_share_buffer: 'int?',
      scale: 'float?',
      unidirectional: ['flag', false],
    },
  },
  QuickGelu: {
    since: 1,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float bfloat16' },
    attributes: { alpha: ['float', 1.702] },
  },
  RotaryEmbedding: {
    since: 1,
    inputs: 'input:T position_ids:M cos_cache:T sin_cache:T',
    outputs: 'output:T',
    types: { T: 'float32 float16 bfloat16', M: 'int64' },
    attributes: {
      interleaved: 'int?',
      is_packed_batching: 'int?',
      num_heads: 'int?',
      rotary_embedding_dim: 'int?',
      scale: 'float?',
    },
  },
  SkipLayerNormalization: {
    since: 1,
    inputs: 'input:T skip:T gamma:T beta:T? bias:T?',
    outputs: 'output:T mean:U? inv_std_var:U? input_skip_bias_sum:T?',
    types: { T: 'float32 float16 bfloat16', U: 'float32' },
    attributes: { epsilon: ['float', 1e-12] },
  },
  SkipSimplifiedLayerNormalization: {
    since: 1,
    inputs: 'input:T skip:T gamma:T bias:T?',
    outputs: 'output:T mean:U? inv_std_var:U? input_skip_bias_sum:T?',
    types: { T: 'float32 float16 bfloat16', U: 'float32' },
    attributes: { epsilon: ['float', 1e-12] },
  },
} as const;

/** Schemas of operators that onnxruntime keeps in `ai.onnx` without their being standard. */
export const runtimeSchemas = {
  SimplifiedLayerNormalization: {
    since: 1,
    inputs: 'X:T scale:V',
    outputs: 'Y:V inv_std_var:U?',
    types: { T: 'float bfloat16', U: 'float32 float64', V: 'float bfloat16' },
    attributes: { axis: ['int', -1], epsilon: ['float', 1e-5], stash_type: ['int', 1] },
  },
} as const;

interface TransposeAttributes {
  readonly transA: boolean;
  readonly transB: boolean;
  readonly transBatchA: boolean;
  readonly transBatchB: boolean;
}

/** The shape of an operand as the product sees it: batch dims may lie behind the first matrix dim. */
function operand(
  shape: readonly Dim[] | undefined,
  transposed: boolean,
  batchBehind: boolean,
): readonly Dim[] | undefined {
  if (shape === undefined || shape.length < 2) return shape;
  const ordered = batchBehind ? [...shape.slice(1, -1), shape[0] ?? null, shape.at(-1) ?? null] : [...shape];
  return transposed ? [...ordered.slice(0, -2), ordered.at(-1) ?? null, ordered.at(-2) ?? null] : ordered;
}

function inferFusedMatMul(context: InferContext<TransposeAttributes>): void {
  const { transA, transB, transBatchA, transBatchB } = context.attributes;
  const left = operand(context.shape(0), transA, transBatchA);
  const right = operand(context.shape(1), transB, transBatchB);
  context.output(0, undefined, matMulShape(context, left, right));
}

function fusedMatMulMacs(context: CostContext<TransposeAttributes>): number {
  const output = context.outputShape(0);
  const left = context.inputShape(0);
  if (output === undefined || left === undefined) return 0;
  const { transA, transBatchA } = context.attributes;
  return elementsOf(output) * (operand(left, transA, transBatchA)?.at(-1) as number);
}

function normalized(context: AnyInferContext, shape: readonly Dim[] | undefined): void {
  const statistics = shape?.map((dim, axis) => (axis === shape.length - 1 ? 1 : dim));
  context.output(0, undefined, shape);
  context.output(1, 'float32', statistics);
  context.output(2, 'float32', statistics);
  context.output(3, undefined, shape);
}

function inferSimplifiedLayerNormalization(context: InferContext<{ readonly axis: number }>): void {
  const shape = context.shape(0);
  context.output(0, undefined, shape);
  if (shape === undefined) {
    context.output(1, 'float32', undefined);
    return;
  }
  const axis = axisOf(context, context.attributes.axis, shape.length);
  context.output(
    1,
    'float32',
    shape.map((dim, index) => (index < axis ? dim : 1)),
  );
}

/** Ids [batch, length], word table [words, hidden]. */
function inferEmbedLayerNormalization(context: AnyInferContext): void {
  const [batch = null, length = null] = requireRank(context, 0, 2, true) ?? [];
  const hidden = requireRank(context, 2, 2, true)?.[1] ?? null;
  context.output(0, undefined, [batch, length, hidden]);
  context.output(1, 'int32', [batch]);
  context.output(2, undefined, [batch, length, hidden]);
}

interface AttentionAttributes {
  readonly num_heads: number;
  readonly qkv_hidden_sizes?: readonly number[] | undefined;
}

/** Input [batch, length, features], weights [features, 3 * hidden]; past and present [2, batch, heads, time, head]. */
function inferAttention(pastIndex: number): (context: InferContext<AttentionAttributes>) => void {
  return (context) => {
    const [batch = null, length = null] = requireRank(context, 0, 3, true) ?? [];
    const weights = requireRank(context, 1, 2, true);
    const { num_heads: heads, qkv_hidden_sizes: sizes } = context.attributes;
    if (heads < 1) context.fail(`num_heads must be at least 1, not ${heads}`);
    const hidden = sizes?.[2] ?? divideDims(weights?.[1] ?? null, 3) ?? null;
    context.output(0, context.dtype(pastIndex === 8 ? 3 : 0), [batch, length, hidden]);
    const past = context.has(pastIndex) ? (context.shape(pastIndex)?.[3] ?? null) : 0;
    const total = context.has(6) && pastIndex === 4 ? null : addDims(past, length);
    context.output(1, undefined, [2, batch, heads, total, divideDims(hidden, heads) ?? null]);
  };
}

/** The projection of queries, keys and values, and two products per head. */
function attentionMacs(context: CostContext<AttentionAttributes>): number {
  const [batch = 0, length = 0, features = 0] = context.inputShape(0) ?? [];
  const columns = context.inputShape(1)?.[1] ?? 0;
  const hidden = context.outputShape(0)?.[2] ?? 0;
  const total = context.outputShape(1)?.[3] ?? length;
  return batch * length * (features * columns + 2 * total * hidden);
}

/** Query [batch, length, hidden] or packed [batch, length, heads, 3, head]; values [batch, time, hidden] or [batch, heads, time, head]. */
function inferMultiHeadAttention(context: InferContext<AttentionAttributes>): void {
  const query = requireRank(context, 0, 3);
  const value = context.shape(2);
  const { num_heads: heads } = context.attributes;
  if (heads < 1) context.fail(`num_heads must be at least 1, not ${heads}`);
  const [batch = null, length = null] = query ?? [];
  const isPacked = query?.length === 5;
  let hidden: Dim = null;
  if (isPacked) hidden = multiplyDims(query[2] ?? null, query[4] ?? null);
  else if (value?.length === 3) hidden = value[2] ?? null;
  else if (value?.length === 4) hidden = multiplyDims(value[1] ?? null, value[3] ?? null);
  else if (context.shape(1)?.length === 5) hidden = query?.[2] ?? null;
  context.output(0, undefined, [batch, length, hidden]);
  const key = context.shape(1);
  const own = isPacked ? length : (key?.[key.length === 4 ? 2 : 1] ?? null);
  const time = addDims(context.has(6) ? (context.shape(6)?.[2] ?? null) : 0, own);
  const keyHidden = isPacked
    ? hidden
    : key?.length === 4
      ? multiplyDims(key[1] ?? null, key[3] ?? null)
      : (key?.[2] ?? null);
  context.output(1, undefined, [
    batch,
    heads,
    time,
    key?.length === 5 ? null : (divideDims(keyHidden, heads) ?? null),
  ]);
  context.output(2, undefined, [batch, heads, time, divideDims(hidden, heads) ?? null]);
  context.output(3, undefined, [batch, heads, length, null]);
}

function multiHeadAttentionMacs(context: CostContext<unknown>): number {
  const query = context.inputShape(0);
  const output = context.outputShape(0);
  const key = context.inputShape(1);
  if (query === undefined || output === undefined) return 0;
  const time = key === undefined ? (query[1] ?? 0) : key.length === 4 ? (key[2] ?? 0) : (key[1] ?? 0);
  return 2 * elementsOf(output) * time;
}

interface GroupAttributes {
  readonly num_heads: number;
  readonly kv_num_heads: number;
}

/** Query [batch, length, heads * head], or with keys and values packed behind it when there is no key. */
function inferGroupQueryAttention(context: InferContext<GroupAttributes>): void {
  const [batch = null, length = null, width = null] = requireRank(context, 0, 3, true) ?? [];
  const { num_heads: heads, kv_num_heads: groups } = context.attributes;
  const packed = context.has(1) ? heads : heads + 2 * groups;
  const head = divideDims(width, packed) ?? null;
  context.output(0, undefined, [batch, length, context.has(1) ? width : multiplyDims(head, heads)]);
  const cache = context.dtype(3) ?? context.dtype(0);
  const size = context.shape(3)?.[3] ?? head;
  // The cache keeps its size where it is large enough.
  const past = context.has(3) ? (context.shape(3)?.[2] ?? null) : 0;
  const time = maxDims(past, context.sizes(6)?.[0] ?? null) ?? context.freshDim('cache');
  for (const index of [1, 2]) context.output(index, cache, [batch, groups, time, size]);
  context.output(3, undefined, [batch, heads, length, null]);
}

/** Definitions of the fused operators of `com.microsoft`. */
export const microsoftFusedOps: OpFamily<typeof microsoftFusedSchemas> = opFamily(
  microsoftFusedSchemas,
  {
    Attention: { infer: inferAttention(4), macs: attentionMacs },
    BiasAdd: sameAsInput,
    BiasGelu: sameAsInput,
    EmbedLayerNormalization: inferEmbedLayerNormalization,
    FastGelu: sameAsInput,
    FusedConv: { infer: convolution(1, 2), macs: convolutionMacs(1) },
    FusedGemm: { infer: (context) => context.output(0, undefined, gemmShape(context, 1, 2)), macs: gemmMacs },
    FusedMatMul: { infer: inferFusedMatMul, macs: fusedMatMulMacs },
    Gelu: sameAsInput,
    GroupQueryAttention: inferGroupQueryAttention,
    MultiHeadAttention: { infer: inferMultiHeadAttention, macs: multiHeadAttentionMacs },
    QAttention: { infer: inferAttention(8), macs: attentionMacs },
    QuickGelu: sameAsInput,
    RotaryEmbedding: sameAsInput,
    SkipLayerNormalization: (context) => normalized(context, context.shape(0)),
    SkipSimplifiedLayerNormalization: (context) => normalized(context, context.shape(0)),
  },
  'com.microsoft',
);

/** Definitions of operators that onnxruntime keeps in `ai.onnx` without their being standard. */
export const runtimeOps: OpFamily<typeof runtimeSchemas> = opFamily(runtimeSchemas, {
  SimplifiedLayerNormalization: inferSimplifiedLayerNormalization,
});
