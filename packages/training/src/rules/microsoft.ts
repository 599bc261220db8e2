import { microsoftOpDefs, standardOpDefs, type TraitEntry, type Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';
import { type GradientContext, type GradientRule, gradient } from '../autodiff/gradient-rule.ts';
import { exactGeluSlope, tanhGeluSlope } from './gelu.ts';

/** An entry for an activation of `input 0 (+ input 1)` whose slope is known in terms of that sum. */
function biased(slope: (emit: Emitter, x: Value) => Value): GradientRule {
  return (context, upstream) => {
    const { emit } = context;
    const x = context.has(1) ? emit.add(context.input(0), context.input(1)) : context.input(0);
    const result = emit.mul(upstream, slope(emit, x));
    return [result, result];
  };
}

/** y = x s with s = sigmoid(alpha x): s + alpha x s (1 - s). */
const quickGelu: GradientRule = (context, upstream) => {
  const { emit } = context;
  const { alpha } = context.attributes(microsoftOpDefs.QuickGelu);
  const x = context.input(0);
  const s = emit.op('Sigmoid', [emit.scale(x, alpha)]);
  const bent = emit.mul(emit.scale(x, alpha), emit.mul(s, emit.sub(emit.scalar(1, x.dtype), s)));
  return [emit.mul(upstream, emit.add(s, bent))];
};

/**
 * Gradient of z scale with z = x / sqrt(mean(x^2) + epsilon) over the last axes (Zhang and Sennrich, "Root Mean Square
 * Layer Normalization", 2019): (g - z mean(g z)) / sqrt(...).
 */
const rootMeanSquare: GradientRule = (context: GradientContext, upstream) => {
  const { emit } = context;
  // The attributes of this operator, which is no standard one, are those of LayerNormalization.
  const { axis, epsilon } = context.attributes(standardOpDefs.LayerNormalization);
  if (context.gradient(1) !== null) return context.unsupported('a gradient flows into its deviation output');
  const [x, scale] = [context.input(0), context.input(1)];
  const rank = x.shape?.length ?? context.unknownSize('the rank of its input');
  const first = axis < 0 ? axis + rank : axis;
  const axes = Array.from({ length: rank - first }, (_, index) => first + index);
  const square = emit.shift(emit.mean(emit.mul(x, x), axes, true), epsilon);
  const inverse = emit.op('Reciprocal', [emit.op('Sqrt', [square])]);
  const normal = emit.mul(x, inverse);
  const scaled = emit.mul(upstream, scale);
  const along = emit.mean(emit.mul(scaled, normal), axes, true);
  return [
    context.needs(0) ? emit.mul(inverse, emit.sub(scaled, emit.mul(normal, along))) : null,
    context.needs(1) ? emit.mul(upstream, normal) : null,
  ];
};

/** Gradients of operators that onnxruntime adds to the standard ones. */
export const microsoftGradients: readonly TraitEntry<GradientRule>[] = [
  gradient.of(microsoftOpDefs.Gelu, biased(exactGeluSlope)),
  gradient.of(microsoftOpDefs.BiasGelu, biased(exactGeluSlope)),
  gradient.of(microsoftOpDefs.FastGelu, biased(tanhGeluSlope)),
  gradient.of(microsoftOpDefs.QuickGelu, quickGelu),
  gradient.of({ domain: '', type: 'SimplifiedLayerNormalization' }, rootMeanSquare),
];
