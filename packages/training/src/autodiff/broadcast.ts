import type { Value } from '@lithe/core';
import { type Emitter, sameDims } from './emitter.ts';

/**
 * Undoes broadcasting: sums a gradient over the axes along which `input` was repeated, so that it has the input's
 * shape again. Axes whose sizes are not known to be equal must be equal by name, or 1 in the input.
 */
export function sumToShape(emit: Emitter, gradient: Value, input: Value): Value {
  const from = gradient.shape;
  const to = input.shape;
  if (from === undefined || to === undefined || sameDims(from, to)) return gradient;
  const lead = from.length - to.length;
  if (lead < 0) return emit.reshapeLike(gradient, input);
  const leading = Array.from({ length: lead }, (_, axis) => axis);
  const repeated = to.flatMap((dim, axis) => (dim === 1 && from[axis + lead] !== 1 ? [axis + lead] : []));
  let result = gradient;
  if (repeated.length > 0) result = emit.sum(result, repeated, true);
  if (lead > 0) result = emit.sum(result, leading, false);
  return result;
}
