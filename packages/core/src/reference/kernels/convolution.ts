import { attr } from '../../op/attributes.ts';
import { elementsOf } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { isReal, REAL } from './numeric.ts';
import { planWindow, type Window, windowAttributes, windowTable } from './window.ts';

const convAttributes = { ...windowAttributes, group: attr.int(1) } as const;

/** The numbers of a convolution and their shape. */
export interface Convolved {
  /** Results in float64. */
  readonly values: Float64Array;
  /** `[N, M, spatial…]`. */
  readonly shape: readonly number[];
}

/**
 * Convolves numbers by the attributes of the node: `y[n, m, p] = sum over c, k of x[n, c, p s + k d] w[m, c, k]`,
 * padding as zero.
 *
 * @param x `[N, C, spatial…]`
 * @param w `[M, C / group, kernel…]`
 */
export function convolve(
  context: KernelContext,
  x: { readonly values: Float64Array; readonly shape: readonly number[] },
  w: { readonly values: Float64Array; readonly shape: readonly number[] },
): Convolved {
  const options = context.attributes(convAttributes);
  if (x.shape.length < 3 || w.shape.length !== x.shape.length) {
    context.fail(
      `input [${x.shape.join(', ')}] and weights [${w.shape.join(', ')}] do not have spatial axes of one number`,
    );
  }
  const [batch, channels] = x.shape as [number, number];
  const [maps, perGroup] = w.shape as [number, number];
  const { group } = options;
  if (group < 1 || channels !== perGroup * group || maps % group !== 0) {
    context.fail(`${channels} channels and ${maps} maps of ${perGroup} do not split into ${group} groups`);
  }
  const kernel = w.shape.slice(2);
  if (options.kernel_shape !== undefined && options.kernel_shape.join() !== kernel.join()) {
    context.fail(
      `kernel_shape [${options.kernel_shape.join(', ')}] is not that of the weights [${kernel.join(', ')}]`,
    );
  }
  const window = planWindow(context, x.shape.slice(2), kernel, options);
  const shape = [batch, maps, ...window.output];
  context.guard('float64', shape);
  const table = windowTable(context, window);
  const values = new Float64Array(elementsOf(shape));
  const places = elementsOf(window.output);
  const area = elementsOf(window.input);
  const taps = elementsOf(kernel);
  const mapsPerGroup = maps / group;
  for (let n = 0; n < batch; n++) {
    for (let m = 0; m < maps; m++) {
      const firstChannel = Math.floor(m / mapsPerGroup) * perGroup;
      const to = (n * maps + m) * places;
      for (let c = 0; c < perGroup; c++) {
        addChannel(values, to, {
          x: x.values,
          from: (n * channels + firstChannel + c) * area,
          w: w.values,
          weights: (m * perGroup + c) * taps,
          table,
          places,
          taps,
        });
      }
    }
  }
  return { values, shape };
}

interface ChannelTerms {
  readonly x: Float64Array;
  readonly from: number;
  readonly w: Float64Array;
  readonly weights: number;
  readonly table: Int32Array;
  readonly places: number;
  readonly taps: number;
}

/** Adds one input channel's share to one map. */
function addChannel(
  values: Float64Array,
  to: number,
  { x, from, w, weights, table, places, taps }: ChannelTerms,
): void {
  for (let place = 0; place < places; place++) {
    let sum = 0;
    for (let tap = 0; tap < taps; tap++) {
      const at = table[place * taps + tap]!;
      if (at >= 0) sum += x[from + at]! * w[weights + tap]!;
    }
    values[to + place]! += sum;
  }
}

/** Adds a bias `[M]` to `[N, M, spatial…]`. */
export function addBias(context: KernelContext, { values, shape }: Convolved, bias: Float64Array): void {
  const maps = shape[1]!;
  if (bias.length !== maps) context.fail(`a bias of ${bias.length} elements for ${maps} maps`);
  const places = elementsOf(shape.slice(2));
  for (let index = 0; index < values.length; index++)
    values[index]! += bias[Math.floor(index / places) % maps]!;
}

/** `Conv` of three inputs, in float64, before it is rounded. */
export function convNumbers(
  context: KernelContext,
  x: Tensor,
  w: Tensor,
  bias: Tensor | undefined,
): Convolved {
  if (!isReal(x.dtype)) context.wrongType(x.dtype, REAL);
  if (x.dtype !== w.dtype) context.fail(`inputs have dtypes ${x.dtype} and ${w.dtype}`);
  const result = convolve(
    context,
    { values: x.toFloat64Array(), shape: x.shape },
    { values: w.toFloat64Array(), shape: w.shape },
  );
  if (bias !== undefined) addBias(context, result, bias.toFloat64Array());
  return result;
}

/** ONNX `Conv` (opset 11): any number of spatial axes, groups, dilations. */
const conv: ReferenceKernel = (context) => {
  const x = context.tensor(0);
  const { values, shape } = convNumbers(context, x, context.tensor(1), context.optional(2));
  return [fromNumbers(x.dtype, shape, values)];
};

/** ONNX `ConvTranspose` (opset 11): the transpose of `Conv`'s map; weights are `[C, M / group, kernel…]`. */
const convTranspose: ReferenceKernel = (context) => {
  const options = context.attributes({
    ...convAttributes,
    output_padding: attr.optionalInts(),
    output_shape: attr.optionalInts(),
  });
  const [x, w] = [context.tensor(0), context.tensor(1)];
  if (!isReal(x.dtype)) context.wrongType(x.dtype, REAL);
  if (x.shape.length < 3 || w.shape.length !== x.shape.length)
    context.fail('input and weights differ in spatial axes');
  const [batch, channels] = x.shape as [number, number];
  const perGroup = w.shape[1]!;
  const { group } = options;
  if (w.shape[0] !== channels || channels % group !== 0)
    context.fail(`${channels} channels do not fit weights [${w.shape.join(', ')}]`);
  const maps = perGroup * group;
  const window = planTranspose(context, x.shape.slice(2), { kernel: w.shape.slice(2), options });
  const shape = [batch, maps, ...window.input];
  context.guard('float64', shape);
  const table = windowTable(context, window);
  const values = new Float64Array(elementsOf(shape));
  const area = elementsOf(window.input);
  const places = elementsOf(window.output);
  const taps = elementsOf(window.kernel);
  const [xs, ws] = [x.toFloat64Array(), w.toFloat64Array()];
  for (let n = 0; n < batch; n++) {
    for (let c = 0; c < channels; c++) {
      const g = Math.floor(c / (channels / group));
      for (let m = 0; m < perGroup; m++) {
        const to = (n * maps + g * perGroup + m) * area;
        const from = (n * channels + c) * places;
        const weights = (c * perGroup + m) * taps;
        for (let place = 0; place < places; place++) {
          const value = xs[from + place]!;
          for (let tap = 0; tap < taps; tap++) {
            const at = table[place * taps + tap]!;
            if (at >= 0) values[to + at]! += value * ws[weights + tap]!;
          }
        }
      }
    }
  }
  const bias = context.optional(2);
  if (bias !== undefined) addBias(context, { values, shape }, bias.toFloat64Array());
  return [fromNumbers(x.dtype, shape, values)];
};

interface TransposeOptions {
  readonly auto_pad: 'NOTSET' | 'SAME_UPPER' | 'SAME_LOWER' | 'VALID';
  readonly dilations: readonly number[] | undefined;
  readonly pads: readonly number[] | undefined;
  readonly strides: readonly number[] | undefined;
  readonly output_padding: readonly number[] | undefined;
  readonly output_shape: readonly number[] | undefined;
}

/** The window whose convolution the node transposes: its "output" is the input of the node. */
function planTranspose(
  context: KernelContext,
  spatial: readonly number[],
  { kernel, options }: { readonly kernel: readonly number[]; readonly options: TransposeOptions },
): Window {
  const rank = spatial.length;
  const ones = spatial.map(() => 1);
  const zeros = spatial.map(() => 0);
  const strides = options.strides ?? ones;
  const dilations = options.dilations ?? ones;
  const extra = options.output_padding ?? zeros;
  const pads = options.pads ?? [...zeros, ...zeros];
  if (
    strides.length !== rank ||
    dilations.length !== rank ||
    extra.length !== rank ||
    pads.length !== 2 * rank
  ) {
    context.fail(`strides, dilations, pads or output_padding do not fit ${rank} spatial axes`);
  }
  const same = options.auto_pad === 'SAME_UPPER' || options.auto_pad === 'SAME_LOWER';
  const wanted =
    options.output_shape?.slice(-rank) ??
    (same ? spatial.map((dim, axis) => dim * strides[axis]!) : undefined);
  const before = pads.slice(0, rank);
  const after = pads.slice(rank);
  const input = spatial.map((dim, axis) => {
    const full = strides[axis]! * (dim - 1) + extra[axis]! + (kernel[axis]! - 1) * dilations[axis]! + 1;
    if (wanted === undefined) return Math.max(0, full - before[axis]! - after[axis]!);
    const total = full - wanted[axis]!;
    const small = Math.floor(total / 2);
    // The specification puts the odd one first except for SAME_UPPER.
    before[axis] = options.auto_pad === 'SAME_UPPER' ? small : total - small;
    after[axis] = total - before[axis]!;
    return wanted[axis]!;
  });
  return { input, kernel, strides, dilations, before, after, output: spatial };
}

/** ONNX `Col2Im` (opset 18): adds the columns of blocks back into an image. */
const col2Im: ReferenceKernel = (context) => {
  const options = context.attributes({
    dilations: attr.optionalInts(),
    pads: attr.optionalInts(),
    strides: attr.optionalInts(),
  });
  const input = context.tensor(0);
  const image = Array.from(context.tensor(1).toFloat64Array());
  const block = Array.from(context.tensor(2).toFloat64Array());
  if (input.shape.length !== 3) context.fail(`the input has ${input.shape.length} axes, not 3`);
  const [batch, rows, blocks] = input.shape as [number, number, number];
  const window = planWindow(context, image, block, {
    ...options,
    auto_pad: 'NOTSET',
    kernel_shape: undefined,
  });
  const taps = elementsOf(block);
  const channels = rows / taps;
  if (!Number.isInteger(channels) || elementsOf(window.output) !== blocks) {
    context.fail(
      `[${input.shape.join(', ')}] is not made of blocks [${block.join(', ')}] of an image [${image.join(', ')}]`,
    );
  }
  const shape = [batch, channels, ...image];
  const values = new Float64Array(context.guard(input.dtype, shape));
  const table = windowTable(context, window);
  const source = input.toFloat64Array();
  const area = elementsOf(image);
  for (let plane = 0; plane < batch * channels; plane++) {
    for (let place = 0; place < blocks; place++) {
      for (let tap = 0; tap < taps; tap++) {
        const at = table[place * taps + tap]!;
        if (at >= 0) values[plane * area + at]! += source[(plane * taps + tap) * blocks + place]!;
      }
    }
  }
  return [fromNumbers(input.dtype, shape, values)];
};

/** Convolutions: `ai.onnx`. */
export const convolutionKernels: KernelTable = { Col2Im: col2Im, Conv: conv, ConvTranspose: convTranspose };
