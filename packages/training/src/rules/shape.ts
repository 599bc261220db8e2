import { constantOf, isStaticShape, standardOpDefs, Tensor, type Value } from '@lithe/core';
import type { GradientContext, GradientRule, GradientRules } from '../autodiff/gradient-rule.ts';

/** The elements of an integer input that is a constant in memory; `undefined` when the input is left out. */
function constantInts(context: GradientContext, index: number, what: string): number[] | undefined {
  if (!context.has(index)) return undefined;
  const source = constantOf(context.input(index));
  if (!(source instanceof Tensor)) return context.unsupported(`its ${what} are not a constant`);
  return [...source.toFloat64Array()];
}

function staticShape(context: GradientContext, value: Value): readonly number[] {
  if (isStaticShape(value.shape)) return value.shape;
  return context.unsupported(`the shape of "${value.name}" is not fully known`);
}

/** Rules that only move elements to another shape give the gradient back in the input's shape. */
const reshaped: GradientRule = (context, gradient) => [
  context.emit.reshapeLike(gradient, context.input(0)),
  ...context.node.inputs.slice(1).map(() => null),
];

const transpose: GradientRule = (context, gradient) => {
  const { perm } = context.attributes(standardOpDefs.Transpose);
  const rank = context.input(0).shape?.length ?? perm?.length;
  if (rank === undefined) return context.unsupported('the rank of its input is not known');
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
  const rank = x.shape?.length ?? context.unsupported('the rank of its input is not known');
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
    if (typeof size !== 'number') return context.unsupported(`the size of axis ${axis} is not known`);
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

/** Puts the entries of an axis at the given positions of a longer one, zeros elsewhere: a product with a 0/1 matrix. */
function spread(
  context: GradientContext,
  value: Value,
  axis: number,
  positions: readonly number[],
  size: number,
): Value {
  const { emit } = context;
  const zero = emit.op('Unsqueeze', [emit.op('Gather', [value, emit.int(0)], { axis }), emit.ints([axis])]);
  const padded = emit.op('Concat', [value, emit.scale(zero, 0)], { axis });
  const source = new Array<number>(size).fill(positions.length);
  positions.forEach((position, index) => {
    source[position] = index;
  });
  return emit.op('Gather', [padded, emit.ints(source)], { axis });
}

const pad: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { mode } = context.attributes(standardOpDefs.Pad);
  if (mode !== 'constant') return context.unsupported(`padding mode "${mode}" has no gradient rule`);
  const x = context.input(0);
  const rank = x.shape?.length ?? context.unsupported('the rank of its input is not known');
  const pads = constantInts(context, 1, 'pads') ?? [];
  const axes = constantInts(context, 3, 'axes') ?? Array.from({ length: rank }, (_, axis) => axis);
  const starts: number[] = [];
  const ends: number[] = [];
  axes.forEach((_, index) => {
    starts.push(pads[index] as number);
    const tail = pads[index + axes.length] as number;
    ends.push(tail === 0 ? Number.MAX_SAFE_INTEGER : -tail);
  });
  if (pads.some((value) => value < 0))
    return context.unsupported('negative pads (cropping) have no gradient rule');
  return [
    emit.op('Slice', [gradient, emit.ints(starts), emit.ints(ends), emit.ints(axes)]),
    null,
    null,
    null,
  ];
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

const gather: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { axis: given } = context.attributes(standardOpDefs.Gather);
  const [x, indices] = [context.input(0), context.input(1)];
  const rank = x.shape?.length ?? context.unsupported('the rank of its input is not known');
  const indexRank = indices.shape?.length ?? context.unsupported('the rank of its indices is not known');
  const axis = given < 0 ? given + rank : given;
  // The indexed axes of the gradient come first and become one; then rows are added into a table of zeros.
  const lead = Array.from({ length: indexRank }, (_, index) => axis + index);
  const outer = Array.from({ length: axis }, (_, index) => index);
  const inner = Array.from({ length: rank - axis - 1 }, (_, index) => axis + indexRank + index);
  const moved = emit.transpose(gradient, [...lead, ...outer, ...inner]);
  const order = [axis, ...outer, ...inner.map((_, index) => axis + 1 + index)];
  const rest = order.slice(1).map((index) => x.shape?.[index] ?? null);
  const size = x.shape?.[axis];
  if (!isStaticShape(rest) || typeof size !== 'number')
    return context.unsupported('the shape of its table is not fully known');
  const rows = emit.reshape(moved, [-1, ...rest]);
  const flat = emit.reshape(indices, [-1, 1]);
  const wrapped = emit.op('Where', [
    emit.op('Less', [flat, emit.scalar(0, flat.dtype ?? 'int64')]),
    emit.add(flat, emit.scalar(size, flat.dtype ?? 'int64')),
    flat,
  ]);
  const zeros = emit.op('Expand', [emit.scalar(0, x.dtype ?? 'float32'), emit.ints([size, ...rest])]);
  const table = emit.op('ScatterND', [zeros, emit.cast(wrapped, 'int64'), rows], { reduction: 'add' });
  const inverse = new Array<number>(rank);
  order.forEach((from, index) => {
    inverse[from] = index;
  });
  return [emit.transpose(table, inverse), null];
};

const gatherElements: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { axis } = context.attributes(standardOpDefs.GatherElements);
  const zeros = emit.zerosLike(context.input(0));
  return [emit.op('ScatterElements', [zeros, context.input(1), gradient], { axis, reduction: 'add' }), null];
};

const gatherNd: GradientRule = (context, gradient) => {
  const { batch_dims: batchDims } = context.attributes(standardOpDefs.GatherND);
  if (batchDims !== 0) return context.unsupported('batch_dims other than 0 have no gradient rule');
  const { emit } = context;
  return [
    emit.op('ScatterND', [emit.zerosLike(context.input(0)), context.input(1), gradient], {
      reduction: 'add',
    }),
    null,
  ];
};

const scatterNd: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { reduction } = context.attributes(standardOpDefs.ScatterND);
  const indices = context.input(1);
  const byUpdates = context.needs(2) ? emit.op('GatherND', [gradient, indices]) : null;
  if (reduction === 'add') return [gradient, null, byUpdates];
  if (reduction !== 'none') return context.unsupported(`reduction "${reduction}" has no gradient rule`);
  return [emit.op('ScatterND', [gradient, indices, emit.zerosLike(context.input(2))]), null, byUpdates];
};

const scatterElements: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { axis, reduction } = context.attributes(standardOpDefs.ScatterElements);
  const indices = context.input(1);
  const byUpdates = context.needs(2) ? emit.op('GatherElements', [gradient, indices], { axis }) : null;
  if (reduction === 'add') return [gradient, null, byUpdates];
  if (reduction !== 'none') return context.unsupported(`reduction "${reduction}" has no gradient rule`);
  return [
    emit.op('ScatterElements', [gradient, indices, emit.zerosLike(context.input(2))], { axis }),
    null,
    byUpdates,
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
    return context.unsupported('the shape of its input is not known');
  }
  const apart = emit.reshape(gradient, [0, channels / blocksize ** 2, height, blocksize, width, blocksize]);
  return [emit.reshape(emit.transpose(apart, [0, 1, 3, 5, 2, 4]), [0, channels, height, width])];
};

const trilu: GradientRule = (context, gradient) => {
  const { upper } = context.attributes(standardOpDefs.Trilu);
  const inputs = context.has(1) ? [gradient, context.input(1)] : [gradient];
  return [context.emit.op('Trilu', inputs, { upper: upper ? 1 : 0 }), null];
};

const topK: GradientRule = (context, gradient) => {
  const { emit, node } = context;
  const { axis } = context.attributes(standardOpDefs.TopK);
  const indices = node.outputs[1];
  if (indices === undefined) return context.unsupported('its output of indices is left out');
  return [emit.op('ScatterElements', [emit.zerosLike(context.input(0)), indices, gradient], { axis }), null];
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
  | 'Gather'
  | 'GatherElements'
  | 'GatherND'
  | 'ScatterND'
  | 'ScatterElements'
  | 'DepthToSpace'
  | 'SpaceToDepth'
  | 'Trilu'
  | 'Shape'
  | 'Size'
  | 'TopK'
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
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherNd,
  ScatterND: scatterNd,
  ScatterElements: scatterElements,
  DepthToSpace: depthToSpace,
  SpaceToDepth: (context, gradient) => {
    const { blocksize } = context.attributes(standardOpDefs.SpaceToDepth);
    return [context.emit.op('DepthToSpace', [gradient], { blocksize, mode: 'DCR' })];
  },
  Trilu: trilu,
  TopK: topK,
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
