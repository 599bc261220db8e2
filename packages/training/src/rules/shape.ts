import { constantOf, isStaticShape, standardOpDefs, Tensor, type Value } from '@lithe/core';
import type { GradientContext, GradientRule, GradientRules } from '../autodiff/gradient-rule.ts';
import { multiplyAxis } from './axis-product.ts';

/** The elements of an integer input that is a constant in memory; `undefined` when the input is left out. */
function constantInts(context: GradientContext, index: number, what: string): number[] | undefined {
  if (!context.has(index)) return undefined;
  const source = constantOf(context.input(index));
  if (!(source instanceof Tensor)) return context.unsupported(`its ${what} are not a constant`);
  return [...source.toFloat64Array()];
}

function staticShape(context: GradientContext, value: Value): readonly number[] {
  if (isStaticShape(value.shape)) return value.shape;
  return context.unknownSize(`the shape of "${value.name}"`);
}

/** Rules that only move elements to another shape give the gradient back in the input's shape. */
const reshaped: GradientRule = (context, gradient) => [
  context.emit.reshapeLike(gradient, context.input(0)),
  ...context.node.inputs.slice(1).map(() => null),
];

const transpose: GradientRule = (context, gradient) => {
  const { perm } = context.attributes(standardOpDefs.Transpose);
  const rank = context.input(0).shape?.length ?? perm?.length;
  if (rank === undefined) return context.unknownSize('the rank of its input');
  const order = perm ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
  const inverse = new Array<number>(rank);
  order.forEach((axis, index) => {
    inverse[axis] = index;
  });
  return [context.emit.transpose(gradient, inverse)];
};

const concat: GradientRule = (context, gradient) => {
  const { emit, node } = context;
  const { axis } = context.attributes(standardOpDefs.Concat);
  const inputs = node.inputs as readonly Value[];
  if (inputs.length === 1) return [gradient];
  const sizes = inputs.map((input) => {
    const rank = input.shape?.length ?? 0;
    return input.shape?.[axis < 0 ? axis + rank : axis] ?? null;
  });
  if (isStaticShape(sizes)) return emit.node('Split', [gradient, emit.ints(sizes)], { axis }, inputs.length);
  const lengths = inputs.map((input) => emit.op('Gather', [emit.op('Shape', [input]), emit.ints([axis])]));
  return emit.node('Split', [gradient, emit.op('Concat', lengths, { axis: 0 })], { axis }, inputs.length);
};

const split: GradientRule = (context) => {
  const { emit, node } = context;
  const { axis } = context.attributes(standardOpDefs.Split);
  const parts = node.outputs.map((output, index) => context.gradient(index) ?? emit.zerosLike(output));
  return [emit.op('Concat', parts, { axis }), null];
};

/** Puts a slice's gradient back among zeros: with Pad for steps of 1, else by scattering. */
const slice: GradientRule = (context, gradient) => {
  const { emit } = context;
  const x = context.input(0);
  const rank = x.shape?.length ?? context.unknownSize('the rank of its input');
  const starts = constantInts(context, 1, 'starts') ?? [];
  const ends = constantInts(context, 2, 'ends') ?? [];
  const axes = constantInts(context, 3, 'axes') ?? starts.map((_, index) => index);
  const steps = constantInts(context, 4, 'steps') ?? starts.map(() => 1);
  const shape = x.shape ?? [];
  let result = gradient;
  const before = new Array<number>(rank).fill(0);
  const after = new Array<number>(rank).fill(0);
  for (const [index, given] of axes.entries()) {
    const axis = given < 0 ? given + rank : given;
    const size = shape[axis];
    const step = steps[index] as number;
    if (typeof size !== 'number') return context.unknownSize(`the size of axis ${axis}`);
    const at = (position: number): number => (position < 0 ? position + size : position);
    const start = Math.min(Math.max(at(starts[index] as number), 0), step > 0 ? size : size - 1);
    const end = Math.min(Math.max(at(ends[index] as number), step > 0 ? 0 : -1), size);
    if (step === 1) {
      before[axis] = start;
      after[axis] = size - Math.max(start, end);
      continue;
    }
    const count = Math.max(0, Math.ceil((end - start) / step));
    const positions = Array.from({ length: count }, (_, position) => start + position * step);
    result = spread(context, result, axis, positions, size);
  }
  const pads = [...before, ...after];
  return [
    pads.some((pad) => pad !== 0) ? emit.op('Pad', [result, emit.ints(pads)]) : result,
    null,
    null,
    null,
    null,
  ];
};

/** Puts the entries of an axis at the given positions of a longer one, zeros elsewhere: picked by number from what has a zero at its end. */
function spread(
  context: GradientContext,
  value: Value,
  axis: number,
  positions: readonly number[],
  size: number,
): Value {
  const { emit } = context;
  if (positions.length === 0) {
    const pads = (value.shape ?? []).map((_, index) => (index === axis ? size : 0));
    return emit.op('Pad', [value, emit.ints([...pads, ...pads.map(() => 0)])]);
  }
  const zero = emit.op('Unsqueeze', [emit.op('Gather', [value, emit.int(0)], { axis }), emit.ints([axis])]);
  const padded = emit.op('Concat', [value, emit.scale(zero, 0)], { axis });
  const source = new Array<number>(size).fill(positions.length);
  positions.forEach((position, index) => {
    source[position] = index;
  });
  return emit.op('Gather', [padded, emit.ints(source)], { axis });
}

/** The element of an axis that a place of the padded axis was copied from; -1 for a constant. */
function padSource(place: number, size: number, mode: string): number {
  if (place >= 0 && place < size) return place;
  if (mode === 'edge') return Math.min(Math.max(place, 0), size - 1);
  if (mode === 'wrap') return ((place % size) + size) % size;
  if (mode !== 'reflect') return -1;
  const period = Math.max(1, 2 * (size - 1));
  const inside = ((place % period) + period) % period;
  return inside < size ? inside : period - inside;
}

/** Padding with a constant is undone by a slice; other modes and cropping, axis by axis, by a product with a 0/1 matrix. */
const pad: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { mode } = context.attributes(standardOpDefs.Pad);
  const x = context.input(0);
  const rank = x.shape?.length ?? context.unknownSize('the rank of its input');
  const pads = constantInts(context, 1, 'pads') ?? [];
  const axes = constantInts(context, 3, 'axes') ?? Array.from({ length: rank }, (_, axis) => axis);
  const sliced: { readonly axis: number; readonly start: number; readonly end: number }[] = [];
  let result = gradient;
  for (const [index, axis] of axes.entries()) {
    const before = pads[index] as number;
    const behind = pads[index + axes.length] as number;
    if (before === 0 && behind === 0) continue;
    if (mode === 'constant' && before >= 0 && behind >= 0) {
      sliced.push({ axis, start: before, end: behind === 0 ? Number.MAX_SAFE_INTEGER : -behind });
      continue;
    }
    const at = axis < 0 ? axis + rank : axis;
    const size = x.shape?.[at];
    if (typeof size !== 'number') return context.unknownSize(`the size of axis ${at}`);
    const out = size + before + behind;
    const matrix = new Float64Array(size * out);
    for (let place = 0; place < out; place++) {
      const source = padSource(place - before, size, mode);
      if (source >= 0) matrix[source * out + place] = 1;
    }
    result = multiplyAxis(emit, result, emit.floats([size, out], matrix, gradient.dtype), at);
  }
  if (sliced.length > 0) {
    const lists = [
      sliced.map(({ start }) => start),
      sliced.map(({ end }) => end),
      sliced.map(({ axis }) => axis),
    ];
    result = emit.op('Slice', [result, ...lists.map((list) => emit.ints(list))]);
  }
  return [result, null, null, null];
};

const tile: GradientRule = (context, gradient) => {
  const { emit } = context;
  const repeats = constantInts(context, 1, 'repeats') ?? [];
  const shape = staticShape(context, context.input(0));
  const apart = shape.flatMap((dim, axis) => [repeats[axis] as number, dim]);
  return [
    emit.sum(
      emit.reshape(gradient, apart),
      repeats.map((_, axis) => 2 * axis),
      false,
    ),
    null,
  ];
};

const depthToSpace: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { blocksize, mode } = context.attributes(standardOpDefs.DepthToSpace);
  if (mode === 'DCR') return [emit.op('SpaceToDepth', [gradient], { blocksize })];
  // CRD: [N, C, H, b, W, b] came from [N, C, b, b, H, W].
  const shape = context.input(0).shape ?? [];
  const [, channels, height, width] = shape;
  if (typeof channels !== 'number' || typeof height !== 'number' || typeof width !== 'number') {
    return context.unknownSize('the shape of its input');
  }
  const apart = emit.reshape(gradient, [0, channels / blocksize ** 2, height, blocksize, width, blocksize]);
  return [emit.reshape(emit.transpose(apart, [0, 1, 3, 5, 2, 4]), [0, channels, height, width])];
};

const trilu: GradientRule = (context, gradient) => {
  const { upper } = context.attributes(standardOpDefs.Trilu);
  const inputs = context.has(1) ? [gradient, context.input(1)] : [gradient];
  return [context.emit.op('Trilu', inputs, { upper: upper ? 1 : 0 }), null];
};

/** Gradients of operators that move elements. */
export const shapeGradients: GradientRules<
  | 'Reshape'
  | 'Flatten'
  | 'Squeeze'
  | 'Unsqueeze'
  | 'Expand'
  | 'Transpose'
  | 'Concat'
  | 'Split'
  | 'Slice'
  | 'Pad'
  | 'Tile'
  | 'DepthToSpace'
  | 'SpaceToDepth'
  | 'Trilu'
  | 'Shape'
  | 'Size'
  | 'ReverseSequence'
> = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  // The caller sums over the axes that were repeated.
  Expand: (_, gradient) => [gradient, null],
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Pad: pad,
  Tile: tile,
  DepthToSpace: depthToSpace,
  SpaceToDepth: (context, gradient) => {
    const { blocksize } = context.attributes(standardOpDefs.SpaceToDepth);
    return [context.emit.op('DepthToSpace', [gradient], { blocksize, mode: 'DCR' })];
  },
  Trilu: trilu,
  ReverseSequence: (context, gradient) => {
    const { batch_axis, time_axis } = context.attributes(standardOpDefs.ReverseSequence);
    return [
      context.emit.op('ReverseSequence', [gradient, context.input(1)], { batch_axis, time_axis }),
      null,
    ];
  },
  Shape: 'none',
  Size: 'none',
};
