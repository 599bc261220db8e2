import { dtypes, type Node, standardOpDefs, type Value } from '@lithe/core';
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

/** The zero point as floats, shaped as {@link alongAxis} does; `undefined` where it is left out and so 0. */
function zeroPoint(context: GradientContext, axis: number, float: 'float32'): Value | undefined {
  // Cast first: few runtimes reshape integers of 4 bits.
  return context.has(2) ? alongAxis(context, context.emit.cast(context.input(2), float), axis) : undefined;
}

/**
 * Whether a quantizer's result is expanded again with the scale it was made with alone: then the scale cancels out of the
 * gradient, s / s, and neither rule multiplies by it. Other readers of the integers hand no gradient back; the rules
 * themselves add some.
 */
function isPair(quantizer: Node | null | undefined): boolean {
  if (quantizer?.is('QuantizeLinear') !== true) return false;
  return quantizer
    .output()
    .uses.filter(({ node, index }) => node.is('DequantizeLinear') && index === 0)
    .every(
      ({ node }) =>
        node.graph === quantizer.graph &&
        node.input(1) === quantizer.input(1) &&
        node.input(2) === quantizer.input(2) &&
        axisOf(node) === axisOf(quantizer),
    );
}

function axisOf(node: Node): string {
  const found = node.attributes.get('axis');
  return found?.kind === 'int' ? String(found.value) : '1';
}

/** Numbers that are rounded to an integer of the range, as 1 and 0. */
function insideMask(context: GradientContext, axis: number): Value {
  const { emit } = context;
  const x = context.input(0);
  const float = (x.dtype ?? 'float32') as 'float32';
  const range = dtypes[context.output().dtype ?? 'uint8'].range;
  if (range === undefined) return context.unsupported('quantization to floats has no gradient rule');
  const scale = alongAxis(context, context.input(1), axis);
  const zero = zeroPoint(context, axis, float) ?? emit.scalar(0, float);
  const end = (level: number): Value => emit.mul(emit.sub(emit.scalar(level, float), zero), scale);
  const low = end(Number(range[0]) - 0.5);
  const high = end(Number(range[1]) + 0.5);
  // One scale for all: one pass to clip, one to compare.
  if ((context.input(1).shape?.length ?? 1) === 0)
    return emit.mask(emit.op('Equal', [emit.op('Clip', [x, low, high]), x]), float);
  const inside = emit.op('And', [emit.op('GreaterOrEqual', [x, low]), emit.op('LessOrEqual', [x, high])]);
  return emit.mask(inside, float);
}

/**
 * Rounding and clamping let the gradient through where nothing was clamped ("straight-through": Bengio et al., 2013,
 * arXiv:1308.3432), and the step size learns from what rounding and clamping did (Esser et al., "Learned Step Size
 * Quantization", 2020, equations 2 and 3): dq/dx = 1/s inside the range, dq/ds = -x/s^2 inside it, else 0. Together
 * with the rule of DequantizeLinear these are the paper's, but that the range reaches half a step beyond its ends, to
 * where rounding still lands on them, as in PyTorch.
 */
const quantizeLinear: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { axis } = context.attributes(standardOpDefs.QuantizeLinear);
  const mask = insideMask(context, axis);
  const scale = alongAxis(context, context.input(1), axis);
  if (!isPair(context.node)) {
    const through = emit.div(emit.mul(gradient, mask), scale);
    const byScale = (): Value => emit.neg(emit.div(emit.mul(through, context.input(0)), scale));
    return [through, context.needs(1) ? sumToParameter(context, byScale(), axis) : null, null];
  }
  // The scale's part of both rules at once: their difference is small, and two sums would lose it.
  const byStep = (): Value => {
    const inside = emit.mul(emit.div(context.input(0), scale), mask);
    return emit.mul(gradient, emit.sub(levelsOf(context, context.output(), axis), inside));
  };
  return [
    context.needs(0) ? emit.mul(gradient, mask) : null,
    context.needs(1) ? sumToParameter(context, byStep(), axis) : null,
    null,
  ];
};

const dequantizeLinear: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { axis } = context.attributes(standardOpDefs.DequantizeLinear);
  const levels = context.input(0);
  if (isPair(levels.producer) && context.needs(0)) return [gradient, null, null];
  const scale = alongAxis(context, context.input(1), axis);
  const byScale = (): Value => emit.mul(gradient, levelsOf(context, levels, axis));
  return [
    context.needs(0) ? emit.mul(gradient, scale) : null,
    context.needs(1) ? sumToParameter(context, byScale(), axis) : null,
    null,
  ];
};

/** Integers less their zero point, as floats. */
function levelsOf(context: GradientContext, levels: Value, axis: number): Value {
  const { emit } = context;
  const float = (context.input(1).dtype ?? 'float32') as 'float32';
  const value = emit.cast(levels, float);
  const zero = zeroPoint(context, axis, float);
  return zero === undefined ? value : emit.sub(value, zero);
}

/** Sums over everything a scale is shared by. */
function sumToParameter(context: GradientContext, value: Value, axis: number): Value {
  const rank = context.input(0).shape?.length ?? context.unknownSize('the rank of its input');
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
