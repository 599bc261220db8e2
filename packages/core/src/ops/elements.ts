import type { Dim } from '../ir/types.ts';
import { elementsOf, stridesOf } from '../tensor/dtype.ts';
import { type AnyInferContext, MAX_KNOWN, staticShape } from './rules.ts';

/** For one axis of the output: how far each of its indices lies into the input, in elements. */
export type AxisOffsets = readonly number[];

/**
 * Follows known elements of an input into output 0 through an operator that only moves them, axis by axis: `tables`
 * gives the offsets that each output axis adds up.
 */
export function moveElements(
  context: AnyInferContext,
  input: number,
  tables: (shape: readonly number[], strides: readonly number[]) => readonly AxisOffsets[] | undefined,
): void {
  const shape = staticShape(context.shape(input));
  const sizes = context.sizes(input);
  if (shape === undefined || sizes === undefined || sizes.length !== elementsOf(shape)) return;
  const axes = tables(shape, stridesOf(shape));
  if (axes === undefined || axes.reduce((count, table) => count * table.length, 1) > MAX_KNOWN) return;
  let offsets: readonly number[] = [0];
  for (const table of axes) offsets = offsets.flatMap((offset) => table.map((step) => offset + step));
  context.outputSizes(
    0,
    offsets.map((offset) => sizes[offset] ?? null),
  );
}

/** Offsets of `count` indices in a row; of more than are followed, just so many that nothing is followed. */
export function everyIndex(count: number, stride: number): AxisOffsets {
  return Array.from({ length: Math.min(count, MAX_KNOWN + 1) }, (_, index) => index * stride);
}

/** Follows known elements of all inputs into output 0, put together along an axis. */
export function joinElements(context: AnyInferContext, axis: number): void {
  const parts: { readonly shape: readonly number[]; readonly sizes: readonly Dim[] }[] = [];
  let total = 0;
  for (let index = 0; index < context.inputCount; index++) {
    const shape = staticShape(context.shape(index));
    if (shape === undefined) return;
    total += elementsOf(shape);
    if (total > MAX_KNOWN) return;
    parts.push({ shape, sizes: context.sizes(index) ?? new Array<Dim>(elementsOf(shape)).fill(null) });
  }
  // An empty tensor may have huge dims beside the 0.
  const outer = total === 0 ? 0 : elementsOf((parts[0]?.shape ?? []).slice(0, axis));
  const joined: Dim[] = [];
  for (let block = 0; block < outer; block++) {
    for (const { shape, sizes } of parts) {
      const length = elementsOf(shape.slice(axis));
      for (let index = 0; index < length; index++) joined.push(sizes[block * length + index] ?? null);
    }
  }
  context.outputSizes(0, joined);
}
