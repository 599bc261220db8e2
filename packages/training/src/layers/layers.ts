import { createRng, errors, type GraphBuilder, type Rng, type Value } from '@lithe/core';
import { type AttentionOptions, multiHeadAttention } from './attention.ts';
import { float32, int64s, layerScope } from './layer-scope.ts';
import { type BatchNormOptions, batchNorm2d, type LayerNormOptions, layerNorm } from './normalization.ts';
import { averagePool, maxPool, type PoolOptions } from './pool.ts';
import {
  type Conv2dOptions,
  conv2d,
  type EmbeddingOptions,
  embedding,
  type LinearOptions,
  linear,
} from './weighted.ts';

/**
 * A small vocabulary of layers on a graph builder. Each method adds the nodes and weights of one layer behind a value
 * and gives its output. Weights are called after their layer: `conv1.weight`, `linear2.bias`.
 */
export interface Layers {
  /** A convolution over `[N, C, H, W]`. */
  conv2d(x: Value, filters: number, options?: Conv2dOptions): Value;
  /** x W + b along the last axis, of any rank. */
  linear(x: Value, features: number, options?: LinearOptions): Value;
  /** A vector for each number: int64 `[…]` to float32 `[…, width]`. */
  embedding(numbers: Value, entries: number, width: number, options?: EmbeddingOptions): Value;
  /** Normalization over the batch, by channel (axis 1). */
  batchNorm2d(x: Value, options?: BatchNormOptions): Value;
  /** Normalization over the last axis. */
  layerNorm(x: Value, options?: LayerNormOptions): Value;
  /** Self-attention with several heads over `[N, T, D]`. */
  multiHeadAttention(x: Value, heads: number, options?: AttentionOptions): Value;
  /** The largest value of each window; windows of `size` next to one another by default. */
  maxPool(x: Value, size: number, options?: PoolOptions): Value;
  /** The mean of each window; windows of `size` next to one another by default. */
  averagePool(x: Value, size: number, options?: PoolOptions): Value;
  /** The mean of each channel: `[N, C, H, W]` to `[N, C]`. */
  globalAveragePool(x: Value): Value;
  /** `[N, …]` to `[N, features]`. */
  flatten(x: Value): Value;
  /** max(x, 0) */
  relu(x: Value): Value;
  /** x between 0 and 6. */
  relu6(x: Value): Value;
  /** x Phi(x), exact. */
  gelu(x: Value): Value;
  /** left + right: a residual connection. */
  add(left: Value, right: Value): Value;
  /** Drops this share of the elements while training; does nothing in inference. */
  dropout(x: Value, ratio: number): Value;
}

/**
 * Layers on a builder.
 *
 * @param rng randomness of the weights, or a seed
 * @example
 * ```ts
 * import { formatType, GraphBuilder } from '@lithe/core';
 * import { layers } from '@lithe/training';
 *
 * const b = new GraphBuilder('digits');
 * const net = layers(b, 1);
 * let x = b.input('x', 'float32', ['N', 1, 28, 28]);
 * x = net.maxPool(net.relu(net.conv2d(x, 32, { kernel: 3, padding: 1 })), 2);
 * x = net.maxPool(net.relu(net.conv2d(x, 64, { kernel: 3, padding: 1 })), 2);
 * x = net.relu(net.linear(net.flatten(x), 128));
 * b.output('logits', net.linear(x, 10));
 * const model = await b.build();
 * formatType(model.graph.outputs[0]?.type); // => 'float32[N, 10]'
 * ```
 */
export function layers(builder: GraphBuilder, rng: Rng | number): Layers {
  const scope = layerScope(builder, typeof rng === 'number' ? createRng(rng) : rng);
  const { op } = builder;
  return {
    conv2d: (x, filters, options = {}) => conv2d(scope, x, { ...options, filters }),
    linear: (x, features, options = {}) => linear(scope, x, { ...options, features }),
    embedding: (numbers, entries, width, options = {}) =>
      embedding(scope, numbers, { ...options, entries, width }),
    batchNorm2d: (x, options = {}) => batchNorm2d(scope, x, options),
    layerNorm: (x, options = {}) => layerNorm(scope, x, options),
    multiHeadAttention: (x, heads, options = {}) => multiHeadAttention(scope, x, { ...options, heads }),
    maxPool: (x, size, options = {}) => maxPool(scope, x, { ...options, size }),
    averagePool: (x, size, options = {}) => averagePool(scope, x, { ...options, size }),
    globalAveragePool: (x) => op.ReduceMean([x, int64s([2, 3])], { keepdims: false }),
    flatten: (x) => op.Flatten([x]),
    relu: (x) => op.Relu([x]),
    relu6: (x) => op.Clip([x, float32(0), float32(6)]),
    gelu: (x) => op.Gelu([x]),
    add: (left, right) => op.Add([left, right]),
    dropout: (x, ratio) => {
      if (!(ratio >= 0 && ratio < 1)) throw errors.optionsInvalid('dropout', ['"ratio" must be in [0, 1).']);
      return ratio === 0 ? x : op.Dropout([x, float32(ratio)]);
    },
  };
}
