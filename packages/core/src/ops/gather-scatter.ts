import { multiplyDims, sameDim } from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { everyIndex, moveElements } from './elements.ts';
import {
  type AnyInferContext,
  axisOf,
  knownIntegers,
  mergedDim,
  mergedShape,
  requireRank,
  sameAsInput,
  unknownDims,
} from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the operators that select and scatter elements. */
export const gatherScatterSchemas = {
  Compress: {
    since: 11,
    inputs: 'input:T condition:T1',
    outputs: 'output:T',
    types: { T: 'float int complex bool string', T1: 'bool' },
    attributes: { axis: 'int?' },
  },
  Gather: {
    since: 13,
    inputs: 'data:T indices:Tind',
    outputs: 'output:T',
    types: { T: 'any', Tind: 'int32 int64' },
    attributes: { axis: ['int', 0] },
  },
  GatherElements: {
    since: 13,
    inputs: 'data:T indices:Tind',
    outputs: 'output:T',
    types: { T: 'any', Tind: 'int32 int64' },
    attributes: { axis: ['int', 0] },
  },
  GatherND: {
    since: 13,
    inputs: 'data:T indices:int64',
    outputs: 'output:T',
    types: { T: 'any' },
    attributes: { batch_dims: ['int', 0] },
  },
  NonMaxSuppression: {
    since: 11,
    inputs:
      'boxes:float32 scores:float32 max_output_boxes_per_class:int64? iou_threshold:float32? score_threshold:float32?',
    outputs: 'selected_indices:int64',
    attributes: { center_point_box: ['flag', false] },
  },
  NonZero: { since: 13, inputs: 'X:T', outputs: 'Y:int64', types: { T: 'any' } },
  OneHot: {
    since: 11,
    inputs: 'indices:T1 depth:T2 values:T3',
    outputs: 'output:T3',
    types: { T1: 'float int', T2: 'float int', T3: 'float int complex bool string' },
    attributes: { axis: ['int', -1] },
  },
  ScatterElements: {
    since: 18,
    inputs: 'data:T indices:Tind updates:T',
    outputs: 'output:T',
    types: { T: 'any', Tind: 'int32 int64' },
    attributes: { axis: ['int', 0], reduction: ['one', 'none', 'add', 'mul', 'max', 'min'] },
  },
  ScatterND: {
    since: 18,
    inputs: 'data:T indices:int64 updates:T',
    outputs: 'output:T',
    types: { T: 'any' },
    attributes: { reduction: ['one', 'none', 'add', 'mul', 'max', 'min'] },
  },
  TopK: {
    since: 11,
    inputs: 'X:T K:int64',
    outputs: 'Values:T Indices:I',
    types: { T: 'float int', I: 'int64' },
    attributes: { axis: ['int', -1], largest: ['flag', true], sorted: ['flag', true] },
  },
  Unique: {
    since: 11,
    inputs: 'X:T',
    outputs: 'Y:T indices:int64? inverse_indices:int64? counts:int64?',
    types: { T: 'float int complex bool string' },
    attributes: { axis: 'int?', sorted: ['flag', true] },
  },
} as const;

interface AxisAttributes {
  readonly axis: number;
}

function inferGather(context: InferContext<AxisAttributes>): void {
  const data = requireRank(context, 0, 1);
  const indices = context.shape(1);
  if (data === undefined || indices === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  const axis = axisOf(context, context.attributes.axis, data.length);
  context.output(0, undefined, [...data.slice(0, axis), ...indices, ...data.slice(axis + 1)]);
  const positions = knownIntegers(context, 1);
  if (positions === undefined) return;
  const size = data[axis];
  const found = positions.map((index) => {
    if (typeof size === 'number' && (index < -size || index >= size)) {
      context.fail(`index ${index} lies outside axis ${axis} of ${size} elements`);
    }
    return typeof size === 'number' && index < 0 ? index + size : index;
  });
  moveElements(context, 0, (dims, strides) =>
    dims.map((dim, position) => {
      const stride = strides[position] as number;
      return position === axis ? found.map((index) => index * stride) : everyIndex(dim, stride);
    }),
  );
}

function inferGatherElements(context: InferContext<AxisAttributes>): void {
  const data = requireRank(context, 0, 1);
  const indices = context.shape(1);
  if (data !== undefined) axisOf(context, context.attributes.axis, data.length);
  if (data !== undefined && indices !== undefined && data.length !== indices.length) {
    context.fail(`indices must have ${data.length} dims, not [${indices.join(', ')}]`);
  }
  context.output(0, undefined, indices);
}

function inferGatherNd(context: InferContext<{ readonly batch_dims: number }>): void {
  const data = requireRank(context, 0, 1);
  const indices = requireRank(context, 1, 1);
  const depth = indices?.at(-1);
  if (data === undefined || indices === undefined || typeof depth !== 'number') {
    context.output(0, undefined, undefined);
    return;
  }
  const { batch_dims: batch } = context.attributes;
  if (
    batch < 0 ||
    batch >= Math.min(data.length, indices.length) ||
    depth < 1 ||
    depth + batch > data.length
  ) {
    context.fail(
      `indices [${indices.join(', ')}] with batch_dims ${batch} do not fit data [${data.join(', ')}]`,
    );
  }
  context.output(0, undefined, [...indices.slice(0, -1), ...data.slice(batch + depth)]);
}

function inferScatterElements(context: InferContext<AxisAttributes>): void {
  const data = requireRank(context, 0, 1);
  const [indices, updates] = [context.shape(1), context.shape(2)];
  if (data !== undefined) axisOf(context, context.attributes.axis, data.length);
  for (const shape of [indices, updates]) {
    if (shape !== undefined && data !== undefined && shape.length !== data.length) {
      context.fail(`indices and updates must have ${data.length} dims, not [${shape.join(', ')}]`);
    }
  }
  if (indices !== undefined && updates !== undefined)
    mergedShape(context, indices, updates, 'indices and updates');
  sameAsInput(context);
}

function inferScatterNd(context: AnyInferContext): void {
  const data = requireRank(context, 0, 1);
  const depth = requireRank(context, 1, 1)?.at(-1);
  if (data !== undefined && typeof depth === 'number' && depth > data.length) {
    context.fail(`indices of depth ${depth} do not fit data [${data.join(', ')}]`);
  }
  sameAsInput(context);
  followScatterNd(context, data);
}

/** Follows sizes that are written into a vector of sizes. */
function followScatterNd(context: AnyInferContext, data: readonly Dim[] | undefined): void {
  const [sizes, positions, updates] = [context.sizes(0), knownIntegers(context, 1), context.sizes(2)];
  const isPlain = context.attribute('reduction') === undefined && data?.length === 1;
  if (!isPlain || sizes === undefined || positions === undefined || updates?.length !== positions.length)
    return;
  const result = [...sizes];
  positions.forEach((index, at) => {
    result[index < 0 ? index + sizes.length : index] = updates[at] ?? null;
  });
  if (result.length === sizes.length) context.outputSizes(0, result);
}

function inferCompress(context: InferContext<{ readonly axis: number | undefined }>): void {
  const data = requireRank(context, 0, 1);
  const flags = knownIntegers(context, 1);
  const limit =
    context.attributes.axis === undefined
      ? undefined
      : data?.[axisOf(context, context.attributes.axis, data.length)];
  const known = flags?.slice(0, typeof limit === 'number' ? limit : undefined);
  const count =
    known === undefined ? context.freshDim('compress') : known.filter((flag) => flag !== 0).length;
  if (context.attributes.axis === undefined) {
    context.output(0, undefined, [count]);
    return;
  }
  if (data === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  const axis = axisOf(context, context.attributes.axis, data.length);
  context.output(
    0,
    undefined,
    data.map((dim, index) => (index === axis ? count : dim)),
  );
}

function inferOneHot(context: InferContext<AxisAttributes>): void {
  const indices = context.shape(0);
  if (indices === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  const axis = axisOf(context, context.attributes.axis, indices.length + 1);
  const depth = context.sizes(1)?.[0] ?? null;
  const whole = typeof depth === 'number' ? Math.trunc(depth) : depth;
  context.output(0, undefined, [...indices.slice(0, axis), whole, ...indices.slice(axis)]);
}

function inferNonZero(context: AnyInferContext): void {
  const rank = context.shape(0)?.length ?? null;
  const sizes = knownIntegers(context, 0);
  const count = sizes === undefined ? context.freshDim('nonzero') : sizes.filter((size) => size !== 0).length;
  context.output(0, 'int64', [rank, count]);
  if (sizes !== undefined && rank === 1)
    context.outputSizes(
      0,
      sizes.flatMap((size, index) => (size === 0 ? [] : [index])),
    );
}

function inferTopK(context: InferContext<AxisAttributes>): void {
  const data = requireRank(context, 0, 1);
  const count = context.sizes(1)?.[0] ?? context.freshDim('top');
  const axis = data === undefined ? 0 : axisOf(context, context.attributes.axis, data.length);
  const size = data?.[axis];
  if (typeof count === 'number' && typeof size === 'number' && count > size)
    context.fail(`k is ${count}, but axis ${axis} has ${size} elements`);
  const shape = data?.map((dim, index) => (index === axis ? count : dim));
  context.output(0, undefined, shape);
  context.output(1, 'int64', shape);
}

function inferUnique(context: InferContext<{ readonly axis: number | undefined }>): void {
  const data = context.shape(0);
  const count = context.freshDim('unique');
  const { axis: given } = context.attributes;
  const axis = data === undefined || given === undefined ? undefined : axisOf(context, given, data.length);
  const shape = given === undefined ? [count] : data?.map((dim, index) => (index === axis ? count : dim));
  context.output(0, undefined, shape);
  context.output(1, 'int64', [count]);
  const all = data?.reduce<Dim>((product, dim) => multiplyDims(product, dim), 1) ?? null;
  context.output(2, 'int64', [
    axis === undefined ? (given === undefined ? all : null) : (data?.[axis] ?? null),
  ]);
  context.output(3, 'int64', [count]);
}

function inferNonMaxSuppression(context: AnyInferContext): void {
  const boxes = requireRank(context, 0, 3, true) ?? unknownDims(3);
  const scores = requireRank(context, 1, 3, true) ?? unknownDims(3);
  mergedDim(context, boxes[0] ?? null, scores[0] ?? null, 'the batches of boxes and scores');
  mergedDim(context, boxes[1] ?? null, scores[2] ?? null, 'the number of boxes and of scores');
  if (sameDim(boxes[2] ?? null, 4) === false) context.fail(`boxes must have 4 coordinates, not ${boxes[2]}`);
  const perClass = context.has(2) ? context.sizes(2)?.[0] : 0;
  context.output(0, 'int64', [perClass === 0 ? 0 : context.freshDim('selected'), 3]);
}

/** Definitions of the operators that select and scatter elements. */
export const gatherScatterOps: OpFamily<typeof gatherScatterSchemas> = opFamily(gatherScatterSchemas, {
  Compress: inferCompress,
  Gather: inferGather,
  GatherElements: inferGatherElements,
  GatherND: inferGatherNd,
  NonMaxSuppression: inferNonMaxSuppression,
  NonZero: inferNonZero,
  OneHot: inferOneHot,
  ScatterElements: inferScatterElements,
  ScatterND: inferScatterNd,
  TopK: inferTopK,
  Unique: inferUnique,
});
