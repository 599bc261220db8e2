import type { Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';

/**
 * 1 where `value` is 0, else `value`: a denominator. The slope of a norm at zeros, which has none, becomes 0, the
 * element of its subdifferential that PyTorch takes too.
 */
export function nonZero(emit: Emitter, value: Value): Value {
  const zero = emit.op('Equal', [value, emit.scalar(0, value.dtype)]);
  return emit.op('Where', [zero, emit.scalar(1, value.dtype), value]);
}
