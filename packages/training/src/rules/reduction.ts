import { constantOf, type Dim, isStaticShape, standardOpDefs, Tensor, type Value } from '@lithe/core';
import { productOf } from '../autodiff/emitter.ts';
import type { GradientContext, GradientRule, GradientRules } from '../autodiff/gradient-rule.ts';
import { nonZero } from './non-zero.ts';

/** A value of reduced shape with the reduced axes put back as 1, so that it broadcasts against the input. */
function keepAxes(context: GradientContext, value: Value, axes: readonly number[], kept: boolean): Value {
  if (kept || axes.length === 0) return value;
  return context.emit.op('Unsqueeze', [value, context.emit.ints(axes)]);
}

/** The axes a reduction works over, counted from the front, and whether they are kept as 1. */
function reducedAxes(context: GradientContext): { readonly axes: readonly number[]; readonly kept: boolean } {
  const { keepdims, noop_with_empty_axes: noop } = context.attributes(standardOpDefs.ReduceSum);
  const rank = context.input(0).shape?.length;
  if (rank === undefined) return context.unknownSize('the rank of its input');
  const all = Array.from({ length: rank }, (_, axis) => axis);
  if (!context.has(1)) return { axes: noop ? [] : all, kept: keepdims };
  const source = constantOf(context.input(1));
  if (!(source instanceof Tensor)) return context.unsupported('its axes are not a constant in memory');
  const axes = [...source.toFloat64Array()]
    .map((axis) => (axis < 0 ? axis + rank : axis))
    .sort((left, right) => left - right);
  return { axes: axes.length === 0 && !noop ? all : axes, kept: keepdims };
}

function countOf(context: GradientContext, axes: readonly number[]): Value {
  const { emit } = context;
  const x = context.input(0);
  const dtype = x.dtype ?? 'float32';
  const dims: readonly Dim[] = axes.map((axis) => x.shape?.[axis] ?? null);
  if (isStaticShape(dims)) return emit.scalar(productOf(dims), dtype);
  const sizes = emit.op('Gather', [emit.op('Shape', [x]), emit.ints(axes)]);
  return emit.cast(emit.op('ReduceProd', [sizes], { keepdims: 0 }), dtype);
}

/** Wraps a rule: `local` gets gradient and result with their reduced axes put back. */
function reduction(
  local: (context: GradientContext, gradient: Value, y: Value, axes: readonly number[]) => Value,
): GradientRule {
  return (context, gradient) => {
    const { axes, kept } = reducedAxes(context);
    const wide = keepAxes(context, gradient, axes, kept);
    const result = keepAxes(context, context.output(), axes, kept);
    return [context.emit.expandLike(local(context, wide, result, axes), context.input(0)), null];
  };
}

/** The gradient is shared among equal extremes, which is the mean of the one-sided ones. */
const extreme = reduction(({ emit, input }, gradient, y, axes) => {
  const x = input(0);
  const winners = emit.mask(emit.op('Equal', [x, y]), x.dtype ?? 'float32');
  return emit.mul(winners, emit.div(gradient, emit.sum(winners, axes, true)));
});

/**
 * The product of all others: the product over non-zero elements, divided by the element itself; where one element is
 * zero only it has a gradient, where more are none has.
 */
const product = reduction(({ emit, input }, gradient, _y, axes) => {
  if (axes.length === 0) return gradient;
  const x = input(0);
  const dtype = x.dtype ?? 'float32';
  const isZero = emit.op('Equal', [x, emit.scalar(0, dtype)]);
  const zero = emit.mask(isZero, dtype);
  const safe = emit.op('Where', [isZero, emit.scalar(1, dtype), x]);
  const others = emit.div(emit.op('ReduceProd', [safe, emit.ints(axes)], { keepdims: 1 }), safe);
  // Zeros among the others: all zeros less this element's own.
  const zeros = emit.sub(emit.sum(zero, axes, true), zero);
  const alone = emit.mask(emit.op('Equal', [zeros, emit.scalar(0, dtype)]), dtype);
  return emit.mul(gradient, emit.mul(others, alone));
});

/** Gradients of reductions. */
export const reductionGradients: GradientRules<
  | 'ReduceSum'
  | 'ReduceMean'
  | 'ReduceMax'
  | 'ReduceMin'
  | 'ReduceProd'
  | 'ReduceSumSquare'
  | 'ReduceL1'
  | 'ReduceL2'
  | 'ReduceLogSum'
  | 'ReduceLogSumExp'
  | 'CumSum'
  | 'ArgMax'
  | 'ArgMin'
> = {
  ReduceSum: reduction((_, gradient) => gradient),
  ReduceMean: reduction((context, gradient, _y, axes) => context.emit.div(gradient, countOf(context, axes))),
  ReduceMax: extreme,
  ReduceMin: extreme,
  ReduceProd: product,
  ReduceSumSquare: reduction(({ emit, input }, gradient) => emit.mul(emit.scale(gradient, 2), input(0))),
  ReduceL1: reduction(({ emit, input }, gradient) => emit.mul(gradient, emit.op('Sign', [input(0)]))),
  ReduceL2: reduction(({ emit, input }, gradient, y) =>
    emit.div(emit.mul(gradient, input(0)), nonZero(emit, y)),
  ),
  ReduceLogSum: reduction(({ emit, input }, gradient, y) =>
    emit.div(gradient, emit.expandLike(emit.op('Exp', [y]), input(0))),
  ),
  ReduceLogSumExp: reduction(({ emit, input }, gradient, y) =>
    emit.mul(gradient, emit.op('Exp', [emit.sub(input(0), y)])),
  ),
  CumSum: (context, gradient) => {
    const { exclusive, reverse } = context.attributes(standardOpDefs.CumSum);
    return [
      context.emit.op('CumSum', [gradient, context.input(1)], {
        exclusive: exclusive ? 1 : 0,
        reverse: reverse ? 0 : 1,
      }),
      null,
    ];
  },
  ArgMax: 'none',
  ArgMin: 'none',
};
