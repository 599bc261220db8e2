import type { Value } from '@lithe/core';
import type { Emitter } from '../autodiff/emitter.ts';

/** Multiplies an axis `[…, out, …]` by a matrix `[in, out]`, giving `[…, in, …]`. */
export function multiplyAxis(emit: Emitter, value: Value, matrix: Value, axis: number): Value {
  const rank = value.shape?.length ?? 4;
  if (axis === rank - 1) return emit.matmul(value, emit.swapLast(matrix));
  if (axis === rank - 2) return emit.matmul(matrix, value);
  const order = Array.from({ length: rank }, (_, index) => index);
  const swapped = order.map((index) => (index === axis ? rank - 1 : index === rank - 1 ? axis : index));
  return emit.transpose(emit.matmul(emit.transpose(value, swapped), emit.swapLast(matrix)), swapped);
}
