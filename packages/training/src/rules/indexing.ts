import { isStaticShape, standardOpDefs, tensorType, type Value } from '@lithe/core';
import type { GradientRule, GradientRules } from '../autodiff/gradient-rule.ts';

const gather: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { axis: given } = context.attributes(standardOpDefs.Gather);
  const [x, indices] = [context.input(0), context.input(1)];
  const rank = x.shape?.length ?? context.unknownSize('the rank of its input');
  const indexRank = indices.shape?.length ?? context.unknownSize('the rank of its indices');
  const axis = given < 0 ? given + rank : given;
  // The indexed axes of the gradient come first and become one; then rows are added into a table of zeros.
  const lead = Array.from({ length: indexRank }, (_, index) => axis + index);
  const outer = Array.from({ length: axis }, (_, index) => index);
  const inner = Array.from({ length: rank - axis - 1 }, (_, index) => axis + indexRank + index);
  const moved = emit.transpose(gradient, [...lead, ...outer, ...inner]);
  const order = [axis, ...outer, ...inner.map((_, index) => axis + 1 + index)];
  const rest = order.slice(1).map((index) => x.shape?.[index] ?? null);
  const size = x.shape?.[axis];
  if (typeof size !== 'number') return context.unknownSize('the length of the axis it picks from');
  // Where a size is open, such as that of the batch, shapes are taken from the table as it comes.
  const behind = (first: number): Value => {
    if (isStaticShape(rest)) return emit.ints([first, ...rest]);
    const sizes = emit.op('Gather', [emit.op('Shape', [x]), emit.ints(order.slice(1))], { axis: 0 });
    return emit.op('Concat', [emit.ints([first]), sizes], { axis: 0 });
  };
  const rows = emit.op('Reshape', [moved, behind(-1)]);
  const flat = emit.reshape(indices, [-1, 1]);
  const wrapped = emit.op('Where', [
    emit.op('Less', [flat, emit.scalar(0, flat.dtype ?? 'int64')]),
    emit.add(flat, emit.scalar(size, flat.dtype ?? 'int64')),
    flat,
  ]);
  const dtype = x.dtype ?? 'float32';
  const zeros = emit.op('Expand', [emit.scalar(0, dtype), behind(size)]);
  zeros.type = tensorType(dtype, [size, ...rest]);
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

const topK: GradientRule = (context, gradient) => {
  const { emit, node } = context;
  const { axis } = context.attributes(standardOpDefs.TopK);
  const indices = node.outputs[1];
  if (indices === undefined) return context.unsupported('its output of indices is left out');
  return [emit.op('ScatterElements', [emit.zerosLike(context.input(0)), indices, gradient], { axis }), null];
};

/** Gradients of operators that pick elements by number. */
export const indexingGradients: GradientRules<
  'Gather' | 'GatherElements' | 'GatherND' | 'ScatterND' | 'ScatterElements' | 'TopK'
> = {
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherNd,
  ScatterND: scatterNd,
  ScatterElements: scatterElements,
  TopK: topK,
};
