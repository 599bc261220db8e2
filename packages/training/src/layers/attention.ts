import { errors, type Value } from '@lithe/core';
import { xavierUniform } from './initializer.ts';
import { float32, int64s, knownDim, type LayerScope } from './layer-scope.ts';
import { linear } from './weighted.ts';

/** Options of an attention layer. */
export interface AttentionOptions {
  /** Added to the scores before softmax, `[N, heads, T, T]` or a shape that broadcasts to it: large negative where nothing may be seen. */
  readonly mask?: Value | undefined;
  /** Name of the layer; `attention1` and so on by default. */
  readonly name?: string | undefined;
}

/**
 * Adds self-attention: softmax(Q K^T / sqrt(d)) V for each head, and a linear layer over the heads side by side
 * (Vaswani et al., "Attention Is All You Need", 2017, section 3.2).
 *
 * @throws {LitheError} OPTIONS_INVALID when the heads do not divide the width
 */
export function multiHeadAttention(
  scope: LayerScope,
  x: Value,
  options: AttentionOptions & { readonly heads: number },
): Value {
  const { heads, mask } = options;
  const name = scope.name('attention', options.name);
  const width = knownDim(x, -1, 'multiHeadAttention');
  if (width % heads !== 0)
    throw errors.optionsInvalid('multiHeadAttention', [`${heads} heads do not divide a width of ${width}.`]);
  const size = width / heads;
  const { op } = scope.builder;
  const initializer = xavierUniform();
  const project = (part: string): Value =>
    linear(scope, x, { features: width, name: `${name}.${part}`, initializer });
  const split = (value: Value, perm: readonly number[]): Value =>
    op.Transpose([op.Reshape([value, int64s([0, 0, heads, size])])], { perm });
  const queries = split(project('query'), [0, 2, 1, 3]);
  const keys = split(project('key'), [0, 2, 3, 1]);
  const values = split(project('value'), [0, 2, 1, 3]);
  const scaled = op.Mul([op.MatMul([queries, keys]), float32(1 / Math.sqrt(size))]);
  const weights = op.Softmax([mask === undefined ? scaled : op.Add([scaled, mask])], { axis: -1 });
  const joined = op.Transpose([op.MatMul([weights, values])], { perm: [0, 2, 1, 3] });
  const flat = op.Reshape([joined, int64s([0, 0, width])]);
  return linear(scope, flat, { features: width, name: `${name}.output`, initializer });
}
