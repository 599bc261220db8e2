import { attribute, type Model, Tensor, type Value } from '@lithe/core';
import { type Author, author } from './author.ts';

/** Sizes of {@link transformerStack}. */
export interface TransformerSizes {
  /** Blocks. */
  readonly layers?: number;
  /** Features per token. */
  readonly width?: number;
  /** Features in the middle of the feed-forward part. */
  readonly inner?: number;
  /** Heads. */
  readonly heads?: number;
  /** Tokens. */
  readonly tokens?: number;
}

function linear(net: Author, x: Value, from: number, to: number): Value {
  return net.add('Add', [net.add('MatMul', [x, net.weight([from, to], Math.sqrt(1 / from))]), net.fill(to, 0.01)]);
}

function norm(net: Author, x: Value, width: number): Value {
  return net.add('LayerNormalization', [x, net.fill(width, 1), net.fill(width, 0)], { axis: attribute.int(-1) });
}

function attention(net: Author, x: Value, sizes: Required<TransformerSizes>): Value {
  const { width, heads, tokens } = sizes;
  const split = net.integers([1, tokens, heads, width / heads]);
  const head = (order: readonly number[]): Value =>
    net.add('Transpose', [net.add('Reshape', [linear(net, x, width, width), split])], { perm: attribute.ints(order) });
  const query = head([0, 2, 1, 3]);
  const key = head([0, 2, 3, 1]);
  const value = head([0, 2, 1, 3]);
  const factor = net.graph.addInitializer(
    net.graph.uniqueName('factor'),
    Tensor.from('float32', [], new Float32Array([1 / Math.sqrt(width / heads)])),
  );
  const weights = net.add('Softmax', [net.add('Mul', [net.add('MatMul', [query, key]), factor])], { axis: attribute.int(-1) });
  const mixed = net.add('Transpose', [net.add('MatMul', [weights, value])], { perm: attribute.ints([0, 2, 1, 3]) });
  return linear(net, net.add('Reshape', [mixed, net.integers([1, tokens, width])]), width, width);
}

/**
 * A stack of transformer encoder blocks (Vaswani et al., "Attention Is All You Need", 2017; normalization first), with
 * random weights: input `x` `[1, tokens, width]`, output of the same shape.
 */
export function transformerStack(sizes: TransformerSizes = {}, seed = 1): Model {
  const all = { layers: 4, width: 384, inner: 1536, heads: 6, tokens: 128, ...sizes };
  const { layers, width, inner, tokens } = all;
  const net = author('transformer', seed);
  let x = net.input('x', [1, tokens, width]);
  for (let layer = 0; layer < layers; layer++) {
    x = net.add('Add', [x, attention(net, norm(net, x, width), all)]);
    const middle = net.add('Gelu', [linear(net, norm(net, x, width), width, inner)]);
    x = net.add('Add', [x, linear(net, middle, inner, width)]);
  }
  return net.model([norm(net, x, width)]);
}
