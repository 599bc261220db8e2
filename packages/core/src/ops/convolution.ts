import { addDims, ceilDivideDim, divideDims, multiplyDims, productOfDims, sameDim } from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { CostContext, InferContext } from '../op/op-def.ts';
import { elementsOf } from '../tensor/dtype.ts';
import { type AnyInferContext, mergedDim, requireRank, unknownDims, windowedDim } from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';
import { lengthOf } from './shape.ts';

/** Schemas of the convolutions. */
export const convolutionSchemas = {
  Col2Im: {
    since: 18,
    inputs: 'input:T image_shape:int64 block_shape:int64',
    outputs: 'output:T',
    types: { T: 'any' },
    attributes: { dilations: 'ints?', pads: 'ints?', strides: 'ints?' },
  },
  Conv: {
    since: 11,
    inputs: 'X:T W:T B:T?',
    outputs: 'Y:T',
    types: { T: 'float' },
    attributes: {
      auto_pad: ['one', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'],
      dilations: 'ints?',
      group: ['int', 1],
      kernel_shape: 'ints?',
      pads: 'ints?',
      strides: 'ints?',
    },
  },
  ConvInteger: {
    since: 10,
    inputs: 'x:T1 w:T2 x_zero_point:T1? w_zero_point:T2?',
    outputs: 'y:T3',
    types: { T1: 'int8 uint8', T2: 'int8 uint8', T3: 'int32' },
    attributes: {
      auto_pad: ['one', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'],
      dilations: 'ints?',
      group: ['int', 1],
      kernel_shape: 'ints?',
      pads: 'ints?',
      strides: 'ints?',
    },
  },
  ConvTranspose: {
    since: 11,
    inputs: 'X:T W:T B:T?',
    outputs: 'Y:T',
    types: { T: 'float' },
    attributes: {
      auto_pad: ['one', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'],
      dilations: 'ints?',
      group: ['int', 1],
      kernel_shape: 'ints?',
      output_padding: 'ints?',
      output_shape: 'ints?',
      pads: 'ints?',
      strides: 'ints?',
    },
  },
  DeformConv: {
    since: 19,
    inputs: 'X:T W:T offset:T B:T? mask:T?',
    outputs: 'Y:T',
    types: { T: 'float' },
    attributes: {
      dilations: 'ints?',
      group: ['int', 1],
      kernel_shape: 'ints?',
      offset_group: ['int', 1],
      pads: 'ints?',
      strides: 'ints?',
    },
  },
  QLinearConv: {
    since: 10,
    inputs:
      'x:T1 x_scale:float32 x_zero_point:T1 w:T2 w_scale:float32 w_zero_point:T2 y_scale:float32 y_zero_point:T3 B:T4?',
    outputs: 'y:T3',
    types: { T1: 'int8 uint8', T2: 'int8 uint8', T3: 'int8 uint8', T4: 'int32' },
    attributes: {
      auto_pad: ['one', 'NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'],
      dilations: 'ints?',
      group: ['int', 1],
      kernel_shape: 'ints?',
      pads: 'ints?',
      strides: 'ints?',
    },
  },
} as const;

/** Attributes that convolutions and pooling share. */
export interface WindowAttributes {
  /** How padding is computed, if not given. */
  readonly auto_pad?: 'NOTSET' | 'SAME_UPPER' | 'SAME_LOWER' | 'VALID';
  /** Distance of the window's elements per spatial axis. */
  readonly dilations?: readonly number[] | undefined;
  /** Size of the window per spatial axis. */
  readonly kernel_shape?: readonly number[] | undefined;
  /** Padding: all begins, then all ends. */
  readonly pads?: readonly number[] | undefined;
  /** Step per spatial axis. */
  readonly strides?: readonly number[] | undefined;
}

function listOf(
  context: AnyInferContext,
  given: readonly number[] | undefined,
  name: string,
  count: number,
  fallback: number,
  least: number,
): readonly number[] {
  const list = given ?? new Array<number>(count).fill(fallback);
  if (list.length !== count) context.fail(`${name} must have ${count} entries, not ${list.length}`);
  for (const item of list)
    if (item < least) context.fail(`${name} must not be below ${least}, as [${list.join(', ')}] is`);
  return list;
}

/** Sizes of the spatial axes after a window with these attributes has moved over them. */
export function windowedShape(
  context: InferContext<WindowAttributes>,
  spatial: readonly Dim[],
  kernel: readonly Dim[],
  ceil = false,
): readonly Dim[] {
  const { attributes } = context;
  const strides = listOf(context, attributes.strides, 'strides', spatial.length, 1, 1);
  const dilations = listOf(context, attributes.dilations, 'dilations', spatial.length, 1, 1);
  const pads = listOf(context, attributes.pads, 'pads', spatial.length * 2, 0, -Infinity);
  return spatial.map((size, axis) => {
    const stride = strides[axis] as number;
    const dilation = dilations[axis] as number;
    if (attributes.auto_pad === 'SAME_UPPER' || attributes.auto_pad === 'SAME_LOWER')
      return ceilDivideDim(size, stride);
    const given = (pads[axis] as number) + (pads[axis + spatial.length] as number);
    const padding = attributes.auto_pad === 'VALID' ? 0 : given;
    const window = { kernel: kernel[axis] ?? null, stride, dilation, padding };
    const dim = windowedDim(context, size, window, ceil);
    if (!ceil) return dim;
    // A last window that would start behind the input and its front padding is left out.
    const [front, back] =
      attributes.auto_pad === 'VALID' ? [0, 0] : [pads[axis] as number, given - (pads[axis] as number)];
    if (typeof dim === 'number' && typeof size === 'number')
      return (dim - 1) * stride >= size + front ? dim - 1 : dim;
    const span = typeof window.kernel === 'number' ? dilation * (window.kernel - 1) + 1 : 0;
    return back + stride <= span ? dim : null;
  });
}

/** Sizes of a kernel, from the attribute and the weights, which must agree. */
function kernelOf(context: InferContext<WindowAttributes>, weight: readonly Dim[]): readonly Dim[] {
  const { kernel_shape: declared } = context.attributes;
  if (declared === undefined) return weight;
  if (declared.length !== weight.length)
    context.fail(`kernel_shape must have ${weight.length} entries, not ${declared.length}`);
  return declared.map((size, axis) =>
    mergedDim(context, size, weight[axis] ?? null, 'kernel_shape and the size of the weights'),
  );
}

interface ConvAttributes extends WindowAttributes {
  readonly group: number;
  readonly channels_last?: boolean;
}

/** Moves the channels of a shape from axis 1 to the end, or back, where an operator keeps them last. */
export function channelsLast(shape: readonly Dim[], isLast: boolean, way: 'from' | 'to'): readonly Dim[] {
  if (!isLast) return shape;
  const [batch = null, ...rest] = shape;
  return way === 'to'
    ? [batch, rest.at(-1) ?? null, ...rest.slice(0, -1)]
    : [batch, ...rest.slice(1), rest[0] ?? null];
}

/** Conv and its integer forms: data at input 0, weights at `weightIndex`. */
export function convolution(
  weightIndex: number,
  biasIndex: number,
): (context: InferContext<ConvAttributes>) => void {
  return (context) => {
    const last = context.attributes.channels_last ?? false;
    const given = requireRank(context, 0, 3);
    const data = given === undefined ? undefined : channelsLast(given, last, 'to');
    const weight = requireRank(context, weightIndex, data?.length ?? 3, data !== undefined);
    if (data === undefined) {
      context.output(0, undefined, weight === undefined ? undefined : unknownDims(weight.length));
      return;
    }
    if (weight === undefined) {
      context.output(0, undefined, [data[0] ?? null, ...unknownDims(data.length - 1)]);
      return;
    }
    const { group } = context.attributes;
    const [outputs = null, channels = null] = weight;
    if (group < 1) context.fail(`group must be at least 1, not ${group}`);
    if (sameDim(data[1] ?? null, multiplyDims(channels, group)) === false) {
      context.fail(
        `the input has ${data[1]} channels, but the weights [${weight.join(', ')}] with group ${group} take ${multiplyDims(channels, group)}`,
      );
    }
    if (typeof outputs === 'number' && outputs % group !== 0)
      context.fail(`${outputs} output channels can not be split into ${group} groups`);
    const bias = context.shape(biasIndex);
    if (bias !== undefined && (bias.length !== 1 || sameDim(bias[0] ?? null, outputs) === false)) {
      context.fail(`the bias must have shape [${outputs}], not [${bias.join(', ')}]`);
    }
    const spatial = windowedShape(context, data.slice(2), kernelOf(context, weight.slice(2)));
    context.output(0, undefined, channelsLast([data[0] ?? null, outputs, ...spatial], last, 'from'));
  };
}

/** Each output element takes channels / group * kernel multiplications. */
export function convolutionMacs(weightIndex: number): (context: CostContext<unknown>) => number {
  return (context) => {
    const output = context.outputShape(0);
    const weight = context.inputShape(weightIndex);
    return output === undefined || weight === undefined
      ? 0
      : elementsOf(output) * elementsOf(weight.slice(1));
  };
}

interface ConvTransposeAttributes extends ConvAttributes {
  readonly output_padding: readonly number[] | undefined;
  readonly output_shape: readonly number[] | undefined;
}

function inferConvTranspose(context: InferContext<ConvTransposeAttributes>): void {
  const data = requireRank(context, 0, 3);
  const weight = requireRank(context, 1, data?.length ?? 3, data !== undefined);
  if (data === undefined || weight === undefined) {
    const rank = data?.length ?? weight?.length;
    context.output(0, undefined, rank === undefined ? undefined : unknownDims(rank));
    return;
  }
  const { attributes } = context;
  if (attributes.group < 1) context.fail(`group must be at least 1, not ${attributes.group}`);
  if (sameDim(data[1] ?? null, weight[0] ?? null) === false) {
    context.fail(
      `the input has ${data[1]} channels, but the weights [${weight.join(', ')}] take ${weight[0]}`,
    );
  }
  const count = data.length - 2;
  const kernel = kernelOf(context, weight.slice(2));
  const strides = listOf(context, attributes.strides, 'strides', count, 1, 1);
  const dilations = listOf(context, attributes.dilations, 'dilations', count, 1, 1);
  const pads = listOf(context, attributes.pads, 'pads', count * 2, 0, -Infinity);
  const extra = listOf(context, attributes.output_padding, 'output_padding', count, 0, 0);
  const given = attributes.output_shape === undefined ? undefined : attributes.output_shape.slice(-count);
  const spatial = data.slice(2).map((size, axis): Dim => {
    if (given !== undefined) return given[axis] ?? null;
    const stride = strides[axis] as number;
    if (attributes.auto_pad === 'SAME_UPPER' || attributes.auto_pad === 'SAME_LOWER')
      return multiplyDims(size, stride);
    const window = kernel[axis];
    if (typeof window !== 'number') return null;
    const padding =
      attributes.auto_pad === 'VALID' ? 0 : (pads[axis] as number) + (pads[axis + count] as number);
    const span = (window - 1) * (dilations[axis] as number) + 1 + (extra[axis] as number) - padding;
    return addDims(multiplyDims(addDims(size, -1), stride), span);
  });
  context.output(0, undefined, [
    data[0] ?? null,
    multiplyDims(weight[1] ?? null, attributes.group),
    ...spatial,
  ]);
}

/** Each input element is spread over output channels / group * kernel. */
function convTransposeMacs(context: CostContext<unknown>): number {
  const data = context.inputShape(0);
  const weight = context.inputShape(1);
  return data === undefined || weight === undefined ? 0 : elementsOf(data) * elementsOf(weight.slice(1));
}

function inferCol2Im(context: InferContext<{ readonly dilations: readonly number[] | undefined }>): void {
  const data = requireRank(context, 0, 3, true);
  const image = context.sizes(1);
  const block = context.sizes(2);
  const count = image?.length ?? block?.length ?? lengthOf(context, 1);
  if (count === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  const channels = block === undefined ? null : (divideDims(data?.[1] ?? null, productOfDims(block)) ?? null);
  context.output(0, undefined, [data?.[0] ?? null, channels, ...(image ?? unknownDims(count))]);
}

/** Definitions of the convolutions. */
export const convolutionOps: OpFamily<typeof convolutionSchemas> = opFamily(convolutionSchemas, {
  Col2Im: inferCol2Im,
  Conv: { infer: convolution(1, 2), macs: convolutionMacs(1) },
  ConvInteger: { infer: convolution(1, -1), macs: convolutionMacs(1) },
  ConvTranspose: { infer: inferConvTranspose, macs: convTransposeMacs },
  DeformConv: { infer: convolution(1, 3), macs: convolutionMacs(1) },
  QLinearConv: { infer: convolution(3, 8), macs: convolutionMacs(3) },
});
