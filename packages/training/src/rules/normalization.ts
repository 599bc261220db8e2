import { isStaticShape, standardOpDefs, type Value } from '@lithe/core';
import { type Emitter, productOf } from '../autodiff/emitter.ts';
import type { GradientContext, GradientRule, GradientRules } from '../autodiff/gradient-rule.ts';
import { nonZero } from './non-zero.ts';

interface Standardized {
  /** (x - mean) / sqrt(variance + epsilon) */
  readonly normal: Value;
  /** 1 / sqrt(variance + epsilon) */
  readonly inverse: Value;
}

/** Standardizes over axes: two passes, no cancellation. */
function standardize(emit: Emitter, x: Value, axes: readonly number[], epsilon: number): Standardized {
  const centered = emit.sub(x, emit.mean(x, axes, true));
  const variance = emit.mean(emit.mul(centered, centered), axes, true);
  const inverse = emit.op('Reciprocal', [emit.op('Sqrt', [emit.shift(variance, epsilon)])]);
  return { normal: emit.mul(centered, inverse), inverse };
}

/**
 * Gradient by x of its standardized form z, given the gradient g by z: (g - mean(g) - z mean(g z)) / sigma
 * (Ioffe and Szegedy, "Batch Normalization", 2015, section 3; the same for the other norms).
 */
function throughStandardize(
  emit: Emitter,
  gradient: Value,
  { normal, inverse }: Standardized,
  axes: readonly number[],
): Value {
  const centered = emit.sub(gradient, emit.mean(gradient, axes, true));
  const along = emit.mean(emit.mul(gradient, normal), axes, true);
  return emit.mul(inverse, emit.sub(centered, emit.mul(normal, along)));
}

function rankOf(context: GradientContext): number {
  return context.input(0).shape?.length ?? context.unknownSize('the rank of its input');
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

/** A per-channel vector `[C]` shaped to broadcast over `[N, C, …]`. */
function perChannel(emit: Emitter, vector: Value, rank: number): Value {
  return emit.reshape(vector, [1, -1, ...range(2, rank).map(() => 1)]);
}

/**
 * slope x + offset with a slope and an offset per channel, in one pass over `[N, C, …]`: batch normalization in
 * inference form with mean 0 and variance 1. (A product and a sum take two passes; measured in onnxruntime.)
 */
function channelLine(context: GradientContext, x: Value, slope: Value, offset: Value): Value {
  const { emit } = context;
  const channels = x.shape?.[1] ?? slope.shape?.[0];
  if (typeof channels !== 'number') return context.unknownSize('the number of its channels');
  const zeros = emit.floats([channels], new Float32Array(channels), x.dtype);
  const ones = emit.floats([channels], new Float32Array(channels).fill(1), x.dtype);
  return emit.op('BatchNormalization', [x, slope, offset, zeros, ones], { epsilon: 0 });
}

/** Elements that share one channel of `[N, C, …]`, as a float scalar. */
function elementsPerChannel(context: GradientContext): Value {
  const { emit } = context;
  const x = context.input(0);
  const dtype = x.dtype ?? 'float32';
  const others = (x.shape ?? []).filter((_, axis) => axis !== 1);
  if (isStaticShape(others)) return emit.scalar(productOf(others), dtype);
  const channels = x.shape?.[1];
  if (typeof channels !== 'number') return context.unknownSize('the number of its channels');
  return emit.scale(emit.cast(emit.op('Size', [x]), dtype), 1 / channels);
}

const batchNormalization: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { epsilon, training_mode: training } = context.attributes(standardOpDefs.BatchNormalization);
  const rank = rankOf(context);
  const axes = [0, ...range(2, rank)];
  const x = context.input(0);
  const scale = perChannel(emit, context.input(1), rank);
  const sum = (value: Value): Value => emit.sum(value, axes, false);
  if (training) {
    // With d = x - mean: dx = a g - a sum(g) / n - d a inverse^2 sum(g d) / n with a = scale inverse. The sums are the
    // gradients of bias and scale; what stays for an element is one product, one line of d and one addition.
    const centered = emit.sub(x, emit.mean(x, axes, true));
    const population = emit.mean(emit.mul(centered, centered), axes, false);
    const inverse = emit.op('Reciprocal', [emit.op('Sqrt', [emit.shift(population, epsilon)])]);
    const byScale = emit.mul(sum(emit.mul(gradient, centered)), inverse);
    const byBias = sum(gradient);
    const count = elementsPerChannel(context);
    const byX = (): Value => {
      const factor = emit.mul(context.input(1), inverse);
      const slope = emit.neg(emit.mul(factor, emit.mul(inverse, emit.div(byScale, count))));
      const offset = emit.neg(emit.mul(factor, emit.div(byBias, count)));
      const line = channelLine(context, centered, slope, offset);
      return emit.add(emit.mul(gradient, perChannel(emit, factor, rank)), line);
    };
    return [
      context.needs(0) ? byX() : null,
      context.needs(1) ? byScale : null,
      context.needs(2) ? byBias : null,
      null,
      null,
    ];
  }
  const mean = perChannel(emit, context.input(3), rank);
  const deviation = emit.op('Sqrt', [emit.shift(perChannel(emit, context.input(4), rank), epsilon)]);
  const normal = emit.div(emit.sub(x, mean), deviation);
  const byX = emit.mul(gradient, emit.div(scale, deviation));
  return [
    byX,
    context.needs(1) ? sum(emit.mul(gradient, normal)) : null,
    context.needs(2) ? sum(gradient) : null,
    context.needs(3) ? emit.neg(sum(byX)) : null,
    context.needs(4) ? sum(emit.scale(emit.div(emit.mul(byX, normal), deviation), -0.5)) : null,
  ];
};

const layerNormalization: GradientRule = (context, gradient) => {
  const { emit, node } = context;
  const { axis, epsilon } = context.attributes(standardOpDefs.LayerNormalization);
  const later = node.outputs.slice(1).some((_, index) => context.gradient(index + 1) !== null);
  if (later) return context.unsupported('a gradient flows into its mean or deviation output');
  const rank = rankOf(context);
  const first = axis < 0 ? axis + rank : axis;
  const axes = range(first, rank);
  const standardized = standardize(emit, context.input(0), axes, epsilon);
  const scaled = emit.mul(gradient, context.input(1));
  return [
    context.needs(0) ? throughStandardize(emit, scaled, standardized, axes) : null,
    context.needs(1) ? emit.mul(gradient, standardized.normal) : null,
    context.has(2) && context.needs(2) ? gradient : null,
  ];
};

const instanceNormalization: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { epsilon } = context.attributes(standardOpDefs.InstanceNormalization);
  const rank = rankOf(context);
  const axes = range(2, rank);
  const standardized = standardize(emit, context.input(0), axes, epsilon);
  const scaled = emit.mul(gradient, perChannel(emit, context.input(1), rank));
  const sum = (value: Value): Value => emit.sum(value, [0, ...axes], false);
  return [
    context.needs(0) ? throughStandardize(emit, scaled, standardized, axes) : null,
    context.needs(1) ? sum(emit.mul(gradient, standardized.normal)) : null,
    context.needs(2) ? sum(gradient) : null,
  ];
};

const groupNormalization: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { epsilon, num_groups: groups } = context.attributes(standardOpDefs.GroupNormalization);
  const rank = rankOf(context);
  const x = context.input(0);
  // [N, G, rest]: every group is standardized by itself.
  const grouped = standardize(emit, emit.reshape(x, [0, groups, -1]), [2], epsilon);
  const normal = emit.reshapeLike(grouped.normal, x);
  const scaled = emit.reshape(emit.mul(gradient, perChannel(emit, context.input(1), rank)), [0, groups, -1]);
  const axes = [0, ...range(2, rank)];
  return [
    context.needs(0) ? emit.reshapeLike(throughStandardize(emit, scaled, grouped, [2]), x) : null,
    context.needs(1) ? emit.sum(emit.mul(gradient, normal), axes, false) : null,
    context.needs(2) ? emit.sum(gradient, axes, false) : null,
  ];
};

const lpNormalization: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { axis, p } = context.attributes(standardOpDefs.LpNormalization);
  const [x, y] = [context.input(0), context.output()];
  const norm = emit.op(p === 1 ? 'ReduceL1' : 'ReduceL2', [x, emit.ints([axis])], { keepdims: 1 });
  const along = emit.sum(emit.mul(gradient, y), [axis], true);
  const direction = p === 1 ? emit.op('Sign', [x]) : y;
  const slope = emit.div(emit.sub(gradient, emit.mul(direction, along)), nonZero(emit, norm));
  // A lane of zeros stays zero.
  const zero = emit.scalar(0, x.dtype);
  return [emit.op('Where', [emit.op('Equal', [norm, zero]), zero, slope])];
};

const meanVarianceNormalization: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { axes = [0, 2, 3] } = context.attributes(standardOpDefs.MeanVarianceNormalization);
  // y = d / (s + e) with d = x - mean, s = sqrt(mean(d^2)), e = 1e-9.
  const x = context.input(0);
  const d = emit.sub(x, emit.mean(x, axes, true));
  const s = emit.op('Sqrt', [emit.mean(emit.mul(d, d), axes, true)]);
  const width = emit.shift(s, 1e-9);
  const centered = emit.div(emit.sub(gradient, emit.mean(gradient, axes, true)), width);
  const along = emit.div(
    emit.mean(emit.mul(gradient, d), axes, true),
    emit.mul(nonZero(emit, s), emit.mul(width, width)),
  );
  return [emit.sub(centered, emit.mul(d, along))];
};

/** Sum over `before` channels before and `behind` channels behind each one: a product with a band of ones. */
function channelWindow(emit: Emitter, value: Value, before: number, behind: number, channels: number): Value {
  const matrix = new Float64Array(channels * channels);
  for (let row = 0; row < channels; row++) {
    for (let column = Math.max(0, row - before); column <= Math.min(channels - 1, row + behind); column++)
      matrix[row * channels + column] = 1;
  }
  const flat = emit.reshape(value, [0, channels, -1]);
  return emit.reshapeLike(emit.matmul(emit.floats([channels, channels], matrix, value.dtype), flat), value);
}

/** y = x s^-beta with s = bias + alpha / size * (sum of squares of the channels around): g s^-beta - (2 alpha beta / size) x W^T(g y / s). */
const localResponse: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { alpha, beta, bias, size } = context.attributes(standardOpDefs.LRN);
  const x = context.input(0);
  const channels = x.shape?.[1];
  if (typeof channels !== 'number') return context.unknownSize('the number of its channels');
  const before = Math.floor((size - 1) / 2);
  const behind = size - 1 - before;
  const s = emit.shift(
    emit.scale(channelWindow(emit, emit.mul(x, x), before, behind, channels), alpha / size),
    bias,
  );
  const power = emit.op('Pow', [s, emit.scalar(-beta, x.dtype)]);
  const shared = emit.div(emit.mul(gradient, context.output()), s);
  const around = channelWindow(emit, shared, behind, before, channels);
  return [emit.sub(emit.mul(gradient, power), emit.scale(emit.mul(x, around), (2 * alpha * beta) / size))];
};

/** Gradients of normalizations. */
export const normalizationGradients: GradientRules<
  | 'BatchNormalization'
  | 'LayerNormalization'
  | 'InstanceNormalization'
  | 'GroupNormalization'
  | 'LpNormalization'
  | 'MeanVarianceNormalization'
  | 'LRN'
> = {
  BatchNormalization: batchNormalization,
  LayerNormalization: layerNormalization,
  InstanceNormalization: instanceNormalization,
  GroupNormalization: groupNormalization,
  LpNormalization: lpNormalization,
  MeanVarianceNormalization: meanVarianceNormalization,
  LRN: localResponse,
};
