import { dtypes, standardOpDefs, type Value } from '@lithe/core';
import type { GradientContext, GradientRule, GradientRules } from '../autodiff/gradient-rule.ts';

/** A scale or zero point shaped to broadcast against `x`: per tensor as it is, per channel along its axis. */
function alongAxis(context: GradientContext, parameter: Value, axis: number): Value {
  const rank = context.input(0).shape?.length;
  const own = parameter.shape;
  if (own === undefined || own.length === 0 || rank === undefined) return parameter;
  if (own.length > 1) return context.unsupported('blocked quantization has no gradient rule');
  const at = axis < 0 ? axis + rank : axis;
  return context.emit.reshape(
    parameter,
    Array.from({ length: rank }, (_, index) => (index === at ? -1 : 1)),
  );
}

/**
 * Rounding and clamping let the gradient through where nothing was clamped ("straight-through": Bengio et al., 2013,
 * arXiv:1308.3432), and the step size learns from what rounding and clamping did (Esser et al., "Learned Step Size
 * Quantization", 2020, equations 2 and 3): dq/dx = 1/s inside the range, dq/ds = -x/s^2 inside it, else 0. Together
 * with the rule of DequantizeLinear these are the paper's.
 */
const quantizeLinear: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { axis } = context.attributes(standardOpDefs.QuantizeLinear);
  const x = context.input(0);
  const float = x.dtype ?? 'float32';
  const scale = alongAxis(context, context.input(1), axis);
  const range = dtypes[context.output().dtype ?? 'uint8'].range;
  if (range === undefined) return context.unsupported('quantization to floats has no gradient rule');
  const zero = context.has(2)
    ? emit.cast(alongAxis(context, context.input(2), axis), float)
    : emit.scalar(0, float);
  const steps = emit.div(x, scale);
  const position = emit.add(emit.op('Round', [steps]), zero);
  const inside = emit.op('And', [
    emit.op('GreaterOrEqual', [position, emit.scalar(Number(range[0]), float)]),
    emit.op('LessOrEqual', [position, emit.scalar(Number(range[1]), float)]),
  ]);
  const through = emit.div(emit.mul(gradient, emit.mask(inside, float)), scale);
  const byScale = (): Value => emit.neg(emit.mul(through, steps));
  return [through, context.needs(1) ? sumToParameter(context, byScale(), axis) : null, null];
};

const dequantizeLinear: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { axis } = context.attributes(standardOpDefs.DequantizeLinear);
  const float = gradient.dtype ?? 'float32';
  const scale = alongAxis(context, context.input(1), axis);
  const level = (): Value => {
    const value = emit.cast(context.input(0), float);
    return context.has(2)
      ? emit.sub(value, emit.cast(alongAxis(context, context.input(2), axis), float))
      : value;
  };
  return [
    context.needs(0) ? emit.mul(gradient, scale) : null,
    context.needs(1) ? sumToParameter(context, emit.mul(gradient, level()), axis) : null,
    null,
  ];
};

/** Sums over everything a scale is shared by. */
function sumToParameter(context: GradientContext, value: Value, axis: number): Value {
  const rank = context.input(0).shape?.length ?? context.unsupported('the rank of its input is not known');
  const perTensor = (context.input(1).shape?.length ?? 0) === 0;
  const at = axis < 0 ? axis + rank : axis;
  const axes = Array.from({ length: rank }, (_, index) => index).filter((index) => perTensor || index !== at);
  return context.emit.sum(value, axes, false);
}

/** Gradients of quantization. */
export const quantizationGradients: GradientRules<'QuantizeLinear' | 'DequantizeLinear'> = {
  QuantizeLinear: quantizeLinear,
  DequantizeLinear: dequantizeLinear,
};
