import type { Value } from '@lithe/core';
import type { Emitter } from '@lithe/training';
import type { ChannelLayout, FoldedNorm } from './folded-norm.ts';

/** A layer with its normalization folded in, as values of the graph. */
export interface FoldedLayer {
  /** Weights. */
  readonly weight: Value;
  /** Bias. */
  readonly bias: Value;
  /** Factor of each channel: gamma over the running deviation. */
  readonly factor: Value;
  /** Running deviation of each channel. */
  readonly deviation: Value;
}

/**
 * Computes the folded weights w gamma / sigma and the folded bias beta + (b - mu) gamma / sigma in the graph, sigma being
 * the running deviation.
 *
 * @see Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
 *   2018, section 3.2, equation 14
 */
export function emitFolded(emit: Emitter, norm: FoldedNorm, layout: ChannelLayout): FoldedLayer {
  const deviation = emit.op('Sqrt', [emit.shift(norm.variance, norm.epsilon)]);
  const factor = emit.div(norm.gamma, deviation);
  const shift = norm.bias === null ? emit.neg(norm.mean) : emit.sub(norm.bias, norm.mean);
  return {
    weight: scaleChannels(emit, norm.weight, { factor, layout }),
    bias: emit.add(norm.beta, emit.mul(shift, factor)),
    factor,
    deviation,
  };
}

/** Multiplies the weights of each output channel by its factor. */
export function scaleChannels(
  emit: Emitter,
  weight: Value,
  { factor, layout }: { readonly factor: Value; readonly layout: ChannelLayout },
): Value {
  const shape = (weight.shape ?? []) as readonly number[];
  const { groups, axis } = layout;
  if (groups === 1) {
    const along = shape.map((_, index) => (index === axis ? -1 : 1));
    return emit.mul(weight, emit.reshape(factor, along));
  }
  // Grouped along axis 0, with the output channels of a group along axis 1: [groups, inputs, outputs, …].
  const split = [groups, (shape[0] ?? groups) / groups, ...shape.slice(1)];
  const along = [groups, 1, shape[1] ?? 1, ...shape.slice(2).map(() => 1)];
  const scaled = emit.mul(emit.reshape(weight, split), emit.reshape(factor, along));
  return emit.reshape(scaled, shape);
}
