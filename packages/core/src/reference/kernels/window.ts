import { type AttributeSpec, type AttributesOf, attr } from '../../op/attributes.ts';
import { elementsOf, stridesOf } from '../../tensor/dtype.ts';
import type { KernelContext } from '../kernel.ts';

/** The types of {@link windowAttributes}. */
export type WindowAttributes = {
  /** How padding is chosen. */
  readonly auto_pad: AttributeSpec<'NOTSET' | 'SAME_UPPER' | 'SAME_LOWER' | 'VALID'>;
  /** Distance of taps; 1 by default. */
  readonly dilations: AttributeSpec<readonly number[] | undefined>;
  /** Dims of the window. */
  readonly kernel_shape: AttributeSpec<readonly number[] | undefined>;
  /** Padding: all starts, then all ends; 0 by default. */
  readonly pads: AttributeSpec<readonly number[] | undefined>;
  /** Steps; 1 by default. */
  readonly strides: AttributeSpec<readonly number[] | undefined>;
};

/** Attributes that sliding windows share. */
export const windowAttributes: WindowAttributes = {
  auto_pad: attr.oneOf(['NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'], 'NOTSET'),
  dilations: attr.optionalInts(),
  kernel_shape: attr.optionalInts(),
  pads: attr.optionalInts(),
  strides: attr.optionalInts(),
};

/** A sliding window over spatial axes, every list one per axis. */
export interface Window {
  /** Dims it slides over. */
  readonly input: readonly number[];
  /** Its own dims. */
  readonly kernel: readonly number[];
  /** Steps. */
  readonly strides: readonly number[];
  /** Distance of its taps. */
  readonly dilations: readonly number[];
  /** Padding before each axis. */
  readonly before: readonly number[];
  /** Padding behind each axis. */
  readonly after: readonly number[];
  /** Number of places it takes. */
  readonly output: readonly number[];
}

/** Places a window by the attributes of a node (`auto_pad` included), as `Conv` and the pooling operators do. */
export function planWindow(
  context: KernelContext,
  input: readonly number[],
  kernel: readonly number[],
  options: AttributesOf<WindowAttributes> & { readonly ceil_mode?: boolean },
): Window {
  const rank = input.length;
  const ones = input.map(() => 1);
  const strides = options.strides ?? ones;
  const dilations = options.dilations ?? ones;
  const pads = options.pads ?? [...ones, ...ones].map(() => 0);
  if (
    kernel.length !== rank ||
    strides.length !== rank ||
    dilations.length !== rank ||
    pads.length !== 2 * rank
  ) {
    context.fail(`kernel, strides, dilations or pads do not fit ${rank} spatial axes`);
  }
  if ([...strides, ...dilations, ...kernel].some((item) => item < 1))
    context.fail('a kernel dim, stride or dilation is less than 1');
  const before = pads.slice(0, rank);
  const after = pads.slice(rank);
  const output = input.map((dim, axis) => {
    const extent = (kernel[axis]! - 1) * dilations[axis]! + 1;
    const stride = strides[axis]!;
    if (options.auto_pad === 'SAME_UPPER' || options.auto_pad === 'SAME_LOWER') {
      const places = Math.ceil(dim / stride);
      const total = Math.max(0, (places - 1) * stride + extent - dim);
      const small = Math.floor(total / 2);
      before[axis] = options.auto_pad === 'SAME_UPPER' ? small : total - small;
      after[axis] = total - before[axis]!;
      return places;
    }
    if (options.auto_pad === 'VALID') {
      before[axis] = 0;
      after[axis] = 0;
    }
    const room = dim + before[axis]! + after[axis]! - extent;
    if (options.ceil_mode !== true) return Math.max(0, Math.floor(room / stride) + 1);
    const places = Math.ceil(room / stride) + 1;
    // A window must start inside the input or the padding before it.
    return Math.max(0, (places - 1) * stride >= dim + before[axis]! ? places - 1 : places);
  });
  return { input, kernel, strides, dilations, before, after, output };
}

/** A tap that falls on padding. */
export const ON_PADDING = -1;
/** A tap that falls beyond the padding (windows that `ceil_mode` let in). */
export const BEYOND = -2;

/**
 * Where each tap of each place of a window falls: entry `place * taps + tap` is a position in the flat input,
 * {@link ON_PADDING} or {@link BEYOND}.
 */
export function windowTable(context: KernelContext, window: Window): Int32Array {
  const { input, kernel, strides, dilations, before, after, output } = window;
  const rank = input.length;
  const taps = elementsOf(kernel);
  const places = elementsOf(output);
  context.guard('int32', [places, taps]);
  const table = new Int32Array(places * taps);
  const inputStrides = stridesOf(input);
  const kernelStrides = stridesOf(kernel);
  const outputStrides = stridesOf(output);
  for (let place = 0; place < places; place++) {
    for (let tap = 0; tap < taps; tap++) {
      let position = 0;
      for (let axis = 0; axis < rank; axis++) {
        const step = Math.floor(place / outputStrides[axis]!) % output[axis]!;
        const inside = Math.floor(tap / kernelStrides[axis]!) % kernel[axis]!;
        const at = step * strides[axis]! - before[axis]! + inside * dilations[axis]!;
        if (at < 0 || at >= input[axis]!) {
          const beyond = at >= input[axis]! + after[axis]!;
          position = beyond ? BEYOND : ON_PADDING;
          if (beyond) break;
          // Another axis may still lie beyond.
          for (let other = axis + 1; other < rank; other++) {
            const otherStep = Math.floor(place / outputStrides[other]!) % output[other]!;
            const otherInside = Math.floor(tap / kernelStrides[other]!) % kernel[other]!;
            const otherAt = otherStep * strides[other]! - before[other]! + otherInside * dilations[other]!;
            if (otherAt >= input[other]! + after[other]!) position = BEYOND;
          }
          break;
        }
        position += at * inputStrides[axis]!;
      }
      table[place * taps + tap] = position;
    }
  }
  return table;
}
