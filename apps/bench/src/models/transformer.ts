import { GraphBuilder, type Model, Tensor, type Value } from '@lithe/core';
import { seededWeights, type Weights } from './weights.ts';

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

/** Builds one stack. */
class Stack {
  readonly b = new GraphBuilder('transformer');
  readonly #weights: Weights;
  readonly #sizes: Required<TransformerSizes>;

  constructor(sizes: Required<TransformerSizes>, seed: number) {
    this.#sizes = sizes;
    this.#weights = seededWeights(this.b, seed);
  }

  linear(x: Value, from: number, to: number): Value {
    const { op } = this.b;
    const product = op.MatMul([x, this.#weights.normal([from, to], Math.sqrt(1 / from))]);
    return op.Add([product, this.#weights.fill(to, 0.01)]);
  }

  norm(x: Value): Value {
    const { width } = this.#sizes;
    const scale = this.#weights.fill(width, 1);
    return this.b.op.LayerNormalization([x, scale, this.#weights.fill(width, 0)], { axis: -1 });
  }

  attention(x: Value): Value {
    const { op } = this.b;
    const { width, heads, tokens } = this.#sizes;
    const split = this.#weights.integers([1, tokens, heads, width / heads]);
    const head = (perm: readonly number[]): Value =>
      op.Transpose([op.Reshape([this.linear(x, width, width), split])], { perm });
    const query = head([0, 2, 1, 3]);
    const key = head([0, 2, 3, 1]);
    const value = head([0, 2, 1, 3]);
    const factor = this.b.constant(
      this.b.graph.uniqueName('factor'),
      Tensor.from('float32', [], Float32Array.of(1 / Math.sqrt(width / heads))),
    );
    const shares = op.Softmax([op.Mul([op.MatMul([query, key]), factor])], { axis: -1 });
    const mixed = op.Transpose([op.MatMul([shares, value])], { perm: [0, 2, 1, 3] });
    const joined = op.Reshape([mixed, this.#weights.integers([1, tokens, width])]);
    return this.linear(joined, width, width);
  }
}

/**
 * A stack of transformer encoder blocks (Vaswani et al., "Attention Is All You Need", 2017; normalization first), with
 * random weights: input `x` `[1, tokens, width]`, output of the same shape.
 */
export async function transformerStack(sizes: TransformerSizes = {}, seed = 1): Promise<Model> {
  const all = { layers: 4, width: 384, inner: 1536, heads: 6, tokens: 128, ...sizes };
  const { layers, width, inner, tokens } = all;
  const stack = new Stack(all, seed);
  const { b } = stack;
  let x = b.input('x', 'float32', [1, tokens, width]);
  for (let layer = 0; layer < layers; layer++) {
    x = b.op.Add([x, stack.attention(stack.norm(x))]);
    const middle = b.op.Gelu([stack.linear(stack.norm(x), width, inner)]);
    x = b.op.Add([x, stack.linear(middle, inner, width)]);
  }
  b.output('y', stack.norm(x));
  return b.build();
}
