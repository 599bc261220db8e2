import {
  addDims,
  ceilDivideDim,
  divideDims,
  isAtLeast,
  maxDims,
  minDims,
  multiplyDims,
  productOfDims,
  sameDim,
  subtractDims,
} from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { elementsOf } from '../tensor/dtype.ts';
import {
  type AnyContext,
  axesOf,
  axisOf,
  broadcastShapes,
  knownIntegers,
  MAX_KNOWN,
  mergedDim,
  requireRank,
  sameAsInput,
  staticShape,
  unknownDims,
} from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the operators that move and reshape data. */
export const shapeSchemas = {
  CenterCropPad: {
    since: 18,
    inputs: 'input_data:T shape:Tind',
    outputs: 'output_data:T',
    types: { T: 'any', Tind: 'int32 int64' },
    attributes: { axes: 'ints?' },
  },
  Concat: {
    since: 13,
    inputs: 'inputs:T*',
    outputs: 'concat_result:T',
    types: { T: 'any' },
    attributes: { axis: 'int!' },
  },
  DepthToSpace: {
    since: 13,
    inputs: 'input:T',
    outputs: 'output:T',
    types: { T: 'any' },
    attributes: { blocksize: 'int!', mode: ['one', 'DCR', 'CRD'] },
  },
  Expand: { since: 13, inputs: 'input:T shape:int64', outputs: 'output:T', types: { T: 'any' } },
  Flatten: {
    since: 21,
    inputs: 'input:T',
    outputs: 'output:T',
    types: { T: 'any float8 fourbit' },
    attributes: { axis: ['int', 1] },
  },
  Pad: {
    since: 21,
    inputs: 'data:T pads:int64 constant_value:T? axes:Tind?',
    outputs: 'output:T',
    types: { T: 'any float8 fourbit', Tind: 'int32 int64' },
    attributes: { mode: ['one', 'constant', 'reflect', 'edge', 'wrap'] },
  },
  Reshape: {
    since: 21,
    inputs: 'data:T shape:int64',
    outputs: 'reshaped:T',
    types: { T: 'any float8 fourbit' },
    attributes: { allowzero: ['flag', false] },
  },
  ReverseSequence: {
    since: 10,
    inputs: 'input:T sequence_lens:int64',
    outputs: 'Y:T',
    types: { T: 'float int complex bool string' },
    attributes: { batch_axis: ['int', 1], time_axis: ['int', 0] },
  },
  Shape: {
    since: 21,
    inputs: 'data:T',
    outputs: 'shape:T1',
    types: { T: 'any float8 fourbit', T1: 'int64' },
    attributes: { end: 'int?', start: ['int', 0] },
  },
  Size: { since: 21, inputs: 'data:T', outputs: 'size:T1', types: { T: 'any float8 fourbit', T1: 'int64' } },
  Slice: {
    since: 13,
    inputs: 'data:T starts:Tind ends:Tind axes:Tind? steps:Tind?',
    outputs: 'output:T',
    types: { T: 'any', Tind: 'int32 int64' },
  },
  SpaceToDepth: {
    since: 13,
    inputs: 'input:T',
    outputs: 'output:T',
    types: { T: 'any' },
    attributes: { blocksize: 'int!' },
  },
  Split: {
    since: 18,
    inputs: 'input:T split:int64?',
    outputs: 'outputs:T*',
    types: { T: 'any' },
    attributes: { axis: ['int', 0], num_outputs: 'int?' },
  },
  Squeeze: {
    since: 21,
    inputs: 'data:T axes:int64?',
    outputs: 'squeezed:T',
    types: { T: 'any float8 fourbit' },
  },
  Tile: { since: 13, inputs: 'input:T repeats:T1', outputs: 'output:T', types: { T: 'any', T1: 'int64' } },
  Transpose: {
    since: 21,
    inputs: 'data:T',
    outputs: 'transposed:T',
    types: { T: 'any float8 fourbit' },
    attributes: { perm: 'ints?' },
  },
  Trilu: {
    since: 14,
    inputs: 'input:T k:int64?',
    outputs: 'output:T',
    types: { T: 'any' },
    attributes: { upper: ['flag', true] },
  },
  Unsqueeze: {
    since: 21,
    inputs: 'data:T axes:int64',
    outputs: 'expanded:T',
    types: { T: 'any float8 fourbit' },
  },
} as const;

/** The number of entries of a one-dimensional input. */
function lengthOf(context: AnyContext, index: number): number | undefined {
  const [length] = context.shape(index) ?? [];
  return typeof length === 'number' ? length : context.sizes(index)?.length;
}

/** Reads known elements out of input 0 at the positions that `offsets` gives. */
function pick(context: AnyContext, offsets: (sizes: readonly Dim[]) => readonly Dim[] | undefined): void {
  const sizes = context.sizes(0);
  const picked = sizes === undefined ? undefined : offsets(sizes);
  if (picked !== undefined) context.outputSizes(0, picked);
}

function keepElements(context: AnyContext): void {
  pick(context, (sizes) => sizes);
}

function inferReshape(context: InferContext<{ readonly allowzero: boolean }>): void {
  const data = context.shape(0);
  const target = context.sizes(1);
  if (target === undefined) {
    const rank = lengthOf(context, 1);
    return context.output(0, undefined, rank === undefined || rank > 64 ? undefined : unknownDims(rank));
  }
  const { allowzero } = context.attributes;
  const open = target.indexOf(-1);
  if (open !== target.lastIndexOf(-1))
    context.fail(`a target must not have -1 twice, as [${target.join(', ')}] does`);
  const copied = (axis: number): Dim => {
    if (data === undefined) return null;
    return axis < data.length
      ? (data[axis] ?? null)
      : context.fail(`the target [${target.join(', ')}] copies dim ${axis}, which the input lacks`);
  };
  const shape = target.map((size, axis) => {
    if (size === -1) return null;
    if (size === 0 && !allowzero) return copied(axis);
    // A symbol that may be 0 would copy a dim then; 0 elements are 0 elements either way.
    return typeof size === 'number' && size < -1 ? context.fail(`a target must not hold ${size}`) : size;
  });
  const all = data === undefined ? null : productOfDims(data);
  const rest = productOfDims(shape.filter((_, axis) => axis !== open));
  if (open >= 0) shape[open] = openDim(context, data, shape, open, all, rest);
  else if (sameDim(all, rest) === false)
    context.fail(`${all} elements of [${(data ?? []).join(', ')}] do not fill [${target.join(', ')}]`);
  context.output(0, undefined, shape);
  keepElements(context);
}

/** The size that -1 stands for. */
function openDim(
  context: AnyContext,
  data: readonly Dim[] | undefined,
  shape: readonly Dim[],
  open: number,
  all: Dim,
  rest: Dim,
): Dim {
  const quotient = divideDims(all, rest);
  if (quotient === undefined)
    return context.fail(
      `${all} elements can not be split by [${shape.map((dim, axis) => (axis === open ? -1 : dim)).join(', ')}]`,
    );
  if (quotient !== null || data === undefined) return quotient;
  // Dims that stand on both sides cancel even if they are unknown together with others.
  const left = [...data];
  const right = shape.filter((_, axis) => axis !== open);
  for (let index = right.length - 1; index >= 0; index--) {
    const found = right[index] === null ? -1 : left.indexOf(right[index] ?? null);
    if (found < 0) continue;
    left.splice(found, 1);
    right.splice(index, 1);
  }
  return divideDims(productOfDims(left), productOfDims(right)) ?? null;
}

function inferShape(
  context: InferContext<{ readonly start: number; readonly end: number | undefined }>,
): void {
  const shape = context.shape(0);
  if (shape === undefined) return context.output(0, 'int64', [null]);
  const clamp = (index: number): number =>
    Math.min(Math.max(index < 0 ? index + shape.length : index, 0), shape.length);
  const dims = shape.slice(clamp(context.attributes.start), clamp(context.attributes.end ?? shape.length));
  context.output(0, 'int64', [dims.length]);
  context.outputSizes(0, dims);
}

function inferSize(context: AnyContext): void {
  context.output(0, 'int64', []);
  const shape = context.shape(0);
  if (shape !== undefined) context.outputSizes(0, [productOfDims(shape)]);
}

function inferFlatten(context: InferContext<{ readonly axis: number }>): void {
  const shape = context.shape(0);
  if (shape === undefined) return context.output(0, undefined, unknownDims(2));
  const { axis } = context.attributes;
  const at = axis === shape.length ? axis : axisOf(context, axis, Math.max(1, shape.length));
  context.output(0, undefined, [productOfDims(shape.slice(0, at)), productOfDims(shape.slice(at))]);
  keepElements(context);
}

function inferSqueeze(context: AnyContext): void {
  const shape = context.shape(0);
  const given = context.has(1) ? knownIntegers(context, 1) : undefined;
  keepElements(context);
  if (shape === undefined) return context.output(0, undefined, undefined);
  if (given !== undefined) {
    const axes = new Set(axesOf(context, given, shape.length));
    for (const axis of axes) {
      const dim = shape[axis] ?? null;
      if (typeof dim === 'number' && dim !== 1)
        context.fail(`axis ${axis} of [${shape.join(', ')}] is not 1 and can not be squeezed`);
    }
    return context.output(
      0,
      undefined,
      shape.filter((_, axis) => !axes.has(axis)),
    );
  }
  const count = context.has(1) ? lengthOf(context, 1) : undefined;
  if (context.has(1))
    return context.output(
      0,
      undefined,
      count === undefined || count > shape.length ? undefined : unknownDims(shape.length - count),
    );
  // Without axes every 1 goes; a symbol might be one.
  const isKnown = shape.every((dim) => typeof dim === 'number' || isAtLeast(dim, 2));
  context.output(0, undefined, isKnown ? shape.filter((dim) => dim !== 1) : undefined);
}

function inferUnsqueeze(context: AnyContext): void {
  const shape = context.shape(0);
  const given = knownIntegers(context, 1);
  keepElements(context);
  if (shape === undefined) return context.output(0, undefined, undefined);
  if (given === undefined) {
    const count = lengthOf(context, 1);
    return context.output(
      0,
      undefined,
      count === undefined || count > 64 ? undefined : unknownDims(shape.length + count),
    );
  }
  const rank = shape.length + given.length;
  const axes = new Set(axesOf(context, given, rank));
  let next = 0;
  context.output(
    0,
    undefined,
    Array.from({ length: rank }, (_, axis): Dim => (axes.has(axis) ? 1 : (shape[next++] ?? null))),
  );
}

function inferTranspose(context: InferContext<{ readonly perm: readonly number[] | undefined }>): void {
  const shape = context.shape(0);
  const { perm } = context.attributes;
  if (shape === undefined)
    return context.output(0, undefined, perm === undefined ? undefined : unknownDims(perm.length));
  const order = perm ?? shape.map((_, axis) => shape.length - 1 - axis);
  if (order.length !== shape.length)
    context.fail(`perm [${order.join(', ')}] does not fit [${shape.join(', ')}]`);
  const axes = axesOf(context, order, shape.length, 'perm');
  context.output(
    0,
    undefined,
    axes.map((axis) => shape[axis] ?? null),
  );
  if (shape.length < 2) keepElements(context);
}

function inferExpand(context: AnyContext): void {
  const shape = context.shape(0);
  const target = context.sizes(1);
  if (target === undefined || shape === undefined) {
    const rank = lengthOf(context, 1);
    const known = rank !== undefined && shape !== undefined && rank <= 64;
    return context.output(0, undefined, known ? unknownDims(Math.max(rank, shape.length)) : undefined);
  }
  const result = broadcastShapes(context, [shape, target.map((size) => size)]);
  context.output(0, undefined, result);
  const dims = staticShape(result);
  const sizes = context.sizes(0);
  if (dims !== undefined && sizes?.length === 1 && elementsOf(dims) <= MAX_KNOWN) {
    context.outputSizes(0, new Array<Dim>(elementsOf(dims)).fill(sizes[0] ?? null));
  }
}

function inferTile(context: AnyContext): void {
  const shape = context.shape(0);
  const repeats = context.sizes(1);
  if (shape === undefined) return context.output(0, undefined, undefined);
  if (repeats !== undefined && repeats.length !== shape.length)
    context.fail(`repeats must have ${shape.length} entries, not ${repeats.length}`);
  context.output(
    0,
    undefined,
    shape.map((dim, axis) => multiplyDims(dim, repeats?.[axis] ?? null)),
  );
}

function inferConcat(context: InferContext<{ readonly axis: number }>): void {
  const shapes = Array.from({ length: context.inputCount }, (_, index) => context.shape(index));
  const known = shapes.find((shape) => shape !== undefined);
  if (known === undefined) return context.output(0, undefined, undefined);
  const axis = axisOf(context, context.attributes.axis, known.length);
  let result: Dim[] | undefined;
  for (const shape of shapes) {
    if (shape !== undefined && shape.length !== known.length)
      context.fail(`inputs must have one rank, not [${known.join(', ')}] and [${shape.join(', ')}]`);
    const dims = shape ?? unknownDims(known.length);
    result = result === undefined ? [...dims] : joined(context, result, dims, axis);
  }
  context.output(0, undefined, result);
  if (known.length !== 1) return;
  const parts = shapes.map(
    (shape, index) =>
      context.sizes(index) ??
      (typeof shape?.[0] === 'number' && shape[0] <= MAX_KNOWN ? unknownDims(shape[0]) : undefined),
  );
  const total = parts.reduce((sum, part) => sum + (part?.length ?? MAX_KNOWN + 1), 0);
  if (total <= MAX_KNOWN)
    context.outputSizes(
      0,
      parts.flatMap((part) => [...(part ?? [])]),
    );
}

function joined(context: AnyContext, left: readonly Dim[], right: readonly Dim[], axis: number): Dim[] {
  return left.map((dim, index) => {
    const other = right[index] ?? null;
    return index === axis
      ? addDims(dim, other)
      : mergedDim(context, dim, other, `dim ${index} of all inputs`);
  });
}

function inferSplit(
  context: InferContext<{ readonly axis: number; readonly num_outputs: number | undefined }>,
): void {
  const shape = requireRank(context, 0, 1);
  const count = context.outputCount;
  if (shape === undefined) {
    for (let index = 0; index < count; index++) context.output(index, undefined, undefined);
    return;
  }
  const axis = axisOf(context, context.attributes.axis, shape.length);
  const given = context.has(1) ? context.sizes(1) : undefined;
  if (given !== undefined && given.length !== count)
    context.fail(`split has ${given.length} entries, but the node ${count} outputs`);
  const size = shape[axis] ?? null;
  if (
    given !== undefined &&
    sameDim(
      size,
      given.reduce<Dim>((sum, part) => addDims(sum, part), 0),
    ) === false
  ) {
    context.fail(`split [${given.join(', ')}] does not add up to ${size}`);
  }
  const even = context.has(1) ? null : (divideDims(size, count) ?? ceilDivideDim(size, count));
  for (let index = 0; index < count; index++) {
    const last = (): Dim =>
      even === null || context.has(1) ? null : subtractDims(size, multiplyDims(even, count - 1));
    const part = given === undefined ? (index === count - 1 ? last() : even) : (given[index] ?? null);
    context.output(
      index,
      undefined,
      shape.map((dim, position) => (position === axis ? part : dim)),
    );
  }
  const sizes = context.sizes(0);
  if (sizes === undefined || shape.length !== 1) return;
  let from = 0;
  for (let index = 0; index < count; index++) {
    const part = given === undefined ? (index === count - 1 ? sizes.length - from : even) : given[index];
    if (typeof part !== 'number') return;
    context.outputSizes(index, sizes.slice(from, from + part));
    from += part;
  }
}

/** One axis of a slice. */
interface SliceRange {
  readonly start: Dim;
  readonly end: Dim;
  readonly step: number;
}

/** A bound of a slice counted from the front and clamped into the axis. */
function bound(size: Dim, index: Dim, low: Dim, high: Dim): Dim {
  if (typeof index === 'number' && index >= 2 ** 53) return high;
  if (typeof index === 'number' && index <= -(2 ** 53)) return low;
  const isNegative = typeof index === 'number' ? index < 0 : isAtLeast(subtractDims(0, index), 1);
  if (typeof index === 'string' && !isNegative && !isAtLeast(index, 0)) return null;
  return minDims(maxDims(isNegative ? addDims(index, size) : index, low), high);
}

function slicedDim(size: Dim, { start, end, step }: SliceRange): Dim {
  if (step > 0) {
    const length = subtractDims(bound(size, end, 0, size), bound(size, start, 0, size));
    return ceilDivideDim(maxDims(length, 0), step);
  }
  const last = addDims(size, -1);
  const length = subtractDims(
    bound(size, start, 0, last),
    typeof end === 'number' && end <= -(2 ** 31) ? -1 : bound(size, end, -1, last),
  );
  return maxDims(ceilDivideDim(length, -step), 0);
}

function inferSlice(context: AnyContext): void {
  const shape = requireRank(context, 0, 1);
  if (shape === undefined) return context.output(0, undefined, undefined);
  const [starts, ends] = [context.sizes(1), context.sizes(2)];
  const steps = context.has(4) ? knownIntegers(context, 4) : undefined;
  const given = context.has(3) ? knownIntegers(context, 3) : undefined;
  const count = starts?.length ?? ends?.length ?? lengthOf(context, 1);
  if (count === undefined || (context.has(3) && given === undefined))
    return context.output(0, undefined, unknownDims(shape.length));
  const axes = axesOf(context, given ?? Array.from({ length: count }, (_, axis) => axis), shape.length);
  if (axes.length !== count) context.fail(`starts has ${count} entries, axes ${axes.length}`);
  const result: Dim[] = [...shape];
  const ranges = new Map<number, SliceRange>();
  axes.forEach((axis, index) => {
    const step = context.has(4) ? steps?.[index] : 1;
    if (step === 0) context.fail('a step must not be 0');
    const range = { start: starts?.[index] ?? null, end: ends?.[index] ?? null, step: step ?? 1 };
    ranges.set(axis, range);
    result[axis] = step === undefined ? null : slicedDim(shape[axis] ?? null, range);
  });
  context.output(0, undefined, result);
  const only = ranges.get(0);
  if (shape.length === 1 && only !== undefined && (steps !== undefined || !context.has(4)))
    pick(context, (sizes) => sliced(sizes, only));
}

function sliced(sizes: readonly Dim[], { start, end, step }: SliceRange): readonly Dim[] | undefined {
  if (typeof start !== 'number' || typeof end !== 'number') return undefined;
  const at = (index: number, low: number, high: number): number =>
    Math.min(Math.max(index < 0 ? index + sizes.length : index, low), high);
  const picked: Dim[] = [];
  if (step > 0)
    for (let index = at(start, 0, sizes.length); index < at(end, 0, sizes.length); index += step)
      picked.push(sizes[index] ?? null);
  else
    for (let index = at(start, 0, sizes.length - 1); index > at(end, -1, sizes.length - 1); index += step)
      picked.push(sizes[index] ?? null);
  return picked;
}

function inferPad(context: AnyContext): void {
  const shape = context.shape(0);
  if (shape === undefined) return context.output(0, undefined, undefined);
  const pads = context.sizes(1);
  const given = context.has(3) ? knownIntegers(context, 3) : shape.map((_, axis) => axis);
  if (pads === undefined || given === undefined)
    return context.output(0, undefined, unknownDims(shape.length));
  const axes = axesOf(context, given, shape.length);
  if (pads.length !== axes.length * 2)
    context.fail(`pads must have ${axes.length * 2} entries, not ${pads.length}`);
  const result = [...shape];
  axes.forEach((axis, index) => {
    result[axis] = addDims(
      addDims(result[axis] ?? null, pads[index] ?? null),
      pads[index + axes.length] ?? null,
    );
  });
  context.output(0, undefined, result);
}

interface BlockAttributes {
  readonly blocksize: number;
}

function inferDepthToSpace(context: InferContext<BlockAttributes>): void {
  const shape = requireRank(context, 0, 4, true) ?? unknownDims(4);
  const { blocksize } = context.attributes;
  if (blocksize < 1) context.fail(`blocksize must be at least 1, not ${blocksize}`);
  const channels = divideDims(shape[1] ?? null, blocksize * blocksize);
  if (channels === undefined)
    context.fail(`${shape[1]} channels can not be spread over blocks of ${blocksize}`);
  context.output(0, undefined, [
    shape[0] ?? null,
    channels ?? null,
    ...shape.slice(2).map((dim) => multiplyDims(dim, blocksize)),
  ]);
}

function inferSpaceToDepth(context: InferContext<BlockAttributes>): void {
  const shape = requireRank(context, 0, 4, true) ?? unknownDims(4);
  const { blocksize } = context.attributes;
  if (blocksize < 1) context.fail(`blocksize must be at least 1, not ${blocksize}`);
  const spatial = shape.slice(2).map((dim) => {
    const part = divideDims(dim, blocksize);
    return part === undefined ? context.fail(`${dim} can not be split into blocks of ${blocksize}`) : part;
  });
  context.output(0, undefined, [
    shape[0] ?? null,
    multiplyDims(shape[1] ?? null, blocksize * blocksize),
    ...spatial,
  ]);
}

function inferCenterCropPad(context: InferContext<{ readonly axes: readonly number[] | undefined }>): void {
  const shape = context.shape(0);
  if (shape === undefined) return context.output(0, undefined, undefined);
  const axes = axesOf(context, context.attributes.axes ?? shape.map((_, axis) => axis), shape.length);
  const target = context.sizes(1);
  if (target !== undefined && target.length !== axes.length)
    context.fail(`shape must have ${axes.length} entries, not ${target.length}`);
  const result = [...shape];
  axes.forEach((axis, index) => {
    result[axis] = target?.[index] ?? null;
  });
  context.output(0, undefined, result);
}

/** Definitions of the operators that move and reshape data. */
export const shapeOps: OpFamily<typeof shapeSchemas> = opFamily(shapeSchemas, {
  CenterCropPad: inferCenterCropPad,
  Concat: inferConcat,
  DepthToSpace: inferDepthToSpace,
  Expand: inferExpand,
  Flatten: inferFlatten,
  Pad: inferPad,
  Reshape: inferReshape,
  ReverseSequence: (context) => {
    requireRank(context, 0, 2);
    sameAsInput(context);
  },
  Shape: inferShape,
  Size: inferSize,
  Slice: inferSlice,
  SpaceToDepth: inferSpaceToDepth,
  Split: inferSplit,
  Squeeze: inferSqueeze,
  Tile: inferTile,
  Transpose: inferTranspose,
  Trilu: (context) => {
    requireRank(context, 0, 2);
    sameAsInput(context);
  },
  Unsqueeze: inferUnsqueeze,
});
