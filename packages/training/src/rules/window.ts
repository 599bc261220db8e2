import { type Dim, isStaticShape } from '@lithe/core';
import type { GradientContext } from '../autodiff/gradient-rule.ts';

/** A sliding window, with all its numbers worked out. One entry per spatial axis. */
export interface Window {
  /** Size. */
  readonly kernel: readonly number[];
  /** Steps between windows. */
  readonly strides: readonly number[];
  /** Steps within a window. */
  readonly dilations: readonly number[];
  /** Rows added before. */
  readonly padsBegin: readonly number[];
  /** Rows added behind. */
  readonly padsEnd: readonly number[];
}

/** The attributes that windows are described by. */
export interface WindowAttributes {
  /** Size. */
  readonly kernel_shape?: readonly number[] | undefined;
  /** Steps between windows. */
  readonly strides?: readonly number[] | undefined;
  /** Steps within a window. */
  readonly dilations?: readonly number[] | undefined;
  /** Rows added: all begins, then all ends. */
  readonly pads?: readonly number[] | undefined;
  /** How pads are found where they are not given. */
  readonly auto_pad: string;
}

/** Sizes of the two sides of a transposed convolution. */
export interface TransposedSizes {
  /** Tag. */
  readonly transposed: true;
  /** Spatial size of the input. */
  readonly size: readonly number[];
  /** Spatial size of the output. */
  readonly out: readonly number[];
}

/** Works out a window's numbers by the rules of the ONNX specification (`auto_pad` included). */
export function windowOf(
  context: GradientContext,
  attributes: WindowAttributes,
  weightKernel: readonly Dim[] | undefined,
  transposed?: TransposedSizes,
): Window {
  const kernel = attributes.kernel_shape ?? weightKernel;
  if (!isStaticShape(kernel)) return context.unknownSize('its kernel size');
  const strides = attributes.strides ?? kernel.map(() => 1);
  const dilations = attributes.dilations ?? kernel.map(() => 1);
  const base = { kernel, strides, dilations };
  if (transposed !== undefined) return { ...base, ...transposedPads(base, attributes, transposed) };
  if (attributes.auto_pad === 'SAME_UPPER' || attributes.auto_pad === 'SAME_LOWER') {
    const size = context.input(0).shape?.slice(2);
    if (!isStaticShape(size)) return context.unknownSize('the spatial size of its input');
    return { ...base, ...samePads(base, size, attributes.auto_pad === 'SAME_UPPER') };
  }
  const pads = attributes.auto_pad === 'VALID' ? undefined : attributes.pads;
  const rank = kernel.length;
  return {
    ...base,
    padsBegin: pads?.slice(0, rank) ?? kernel.map(() => 0),
    padsEnd: pads?.slice(rank) ?? kernel.map(() => 0),
  };
}

type Base = Pick<Window, 'kernel' | 'strides' | 'dilations'>;
type Pads = Pick<Window, 'padsBegin' | 'padsEnd'>;

function halves(total: number, upper: boolean): readonly [number, number] {
  const small = Math.floor(total / 2);
  return upper ? [small, total - small] : [total - small, small];
}

function samePads({ kernel, strides, dilations }: Base, size: readonly number[], upper: boolean): Pads {
  const pairs = kernel.map((span, axis) => {
    const out = Math.ceil(size[axis]! / strides[axis]!);
    const total = Math.max(0, (out - 1) * strides[axis]! + (span - 1) * dilations[axis]! + 1 - size[axis]!);
    return halves(total, upper);
  });
  return { padsBegin: pairs.map(([begin]) => begin), padsEnd: pairs.map(([, end]) => end) };
}

/** Pads of a transposed convolution from the sizes it really has: what the specification calls total padding. */
function transposedPads(
  { kernel, strides, dilations }: Base,
  attributes: WindowAttributes,
  { size, out }: TransposedSizes,
): Pads {
  const rank = kernel.length;
  const explicit = attributes.auto_pad === 'NOTSET' ? attributes.pads : undefined;
  const begin: number[] = [];
  const end: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const full = strides[axis]! * (size[axis]! - 1) + (kernel[axis]! - 1) * dilations[axis]! + 1;
    // Output padding counts as a negative pad at the end: it lengthens the output.
    const total = full - out[axis]!;
    if (explicit !== undefined) {
      begin.push(explicit[axis]!);
      end.push(total - explicit[axis]!);
    } else {
      const [first, second] = halves(Math.max(total, 0), attributes.auto_pad === 'SAME_UPPER');
      begin.push(first);
      end.push(total < 0 ? total : second);
    }
  }
  return { padsBegin: begin, padsEnd: end };
}

/** The position in a box of the given size that comes `flat`-th, the last axis fastest. */
export function positionOf(flat: number, size: readonly number[]): number[] {
  const position = new Array<number>(size.length);
  let rest = flat;
  for (let axis = size.length - 1; axis >= 0; axis--) {
    position[axis] = rest % size[axis]!;
    rest = Math.floor(rest / size[axis]!);
  }
  return position;
}
