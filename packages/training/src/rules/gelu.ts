import type { Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';

/** Slope of x P(x) with the normal distribution P and its density p: P + x p. */
export function exactGeluSlope(emit: Emitter, x: Value): Value {
  const distribution = emit.scale(emit.shift(emit.op('Erf', [emit.scale(x, Math.SQRT1_2)]), 1), 0.5);
  const density = emit.scale(emit.op('Exp', [emit.mul(emit.scale(x, -0.5), x)]), 1 / Math.sqrt(2 * Math.PI));
  return emit.add(distribution, emit.mul(x, density));
}

/** Slope of x (1 + tanh u) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3) (Hendrycks and Gimpel, 2016). */
export function tanhGeluSlope(emit: Emitter, x: Value): Value {
  const root = Math.sqrt(2 / Math.PI);
  const square = emit.mul(x, x);
  const inner = emit.mul(x, emit.shift(emit.scale(square, root * 0.044715), root));
  const t = emit.op('Tanh', [inner]);
  const slope = emit.shift(emit.scale(square, 3 * root * 0.044715), root);
  const secant = emit.sub(emit.scalar(1, x.dtype), emit.mul(t, t));
  return emit.scale(emit.add(emit.shift(t, 1), emit.mul(x, emit.mul(secant, slope))), 0.5);
}
