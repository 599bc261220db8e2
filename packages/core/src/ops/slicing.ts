import {
  addDims,
  ceilDivideDim,
  divideDims,
  isAtLeast,
  maxDims,
  minDims,
  multiplyDims,
  sameDim,
  subtractDims,
} from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { type AxisOffsets, everyIndex, joinElements, moveElements } from './elements.ts';
import {
  type AnyInferContext,
  axesOf,
  axisOf,
  knownIntegers,
  MAX_KNOWN,
  mergedDim,
  requireRank,
  sameAsInput,
  unknownDims,
} from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';
import { lengthOf } from './shape.ts';

/** Schemas of the operators that cut data and put it together. */
export const slicingSchemas = {
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
  Pad: {
    since: 21,
    inputs: 'data:T pads:int64 constant_value:T? axes:Tind?',
    outputs: 'output:T',
    types: { T: 'any float8 fourbit', Tind: 'int32 int64' },
    attributes: { mode: ['one', 'constant', 'reflect', 'edge', 'wrap'] },
  },
  ReverseSequence: {
    since: 10,
    inputs: 'input:T sequence_lens:int64',
    outputs: 'Y:T',
    types: { T: 'float int complex bool string' },
    attributes: { batch_axis: ['int', 1], time_axis: ['int', 0] },
  },
  Slice: {
    since: 13,
    inputs: 'data:T starts:Tind ends:Tind axes:Tind? steps:Tind?',
    outputs: 'output:T',
    types: { T: 'any', Tind: 'int32 int64' },
  },
  Split: {
    since: 18,
    inputs: 'input:T split:int64?',
    outputs: 'outputs:T*',
    types: { T: 'any' },
    attributes: { axis: ['int', 0], num_outputs: 'int?' },
  },
  Tile: { since: 13, inputs: 'input:T repeats:T1', outputs: 'output:T', types: { T: 'any', T1: 'int64' } },
  Trilu: {
    since: 14,
    inputs: 'input:T k:int64?',
    outputs: 'output:T',
    types: { T: 'any' },
    attributes: { upper: ['flag', true] },
  },
} as const;

function inferTile(context: AnyInferContext): void {
  const shape = context.shape(0);
  const repeats = context.sizes(1);
  if (shape === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  if (repeats !== undefined && repeats.length !== shape.length)
    context.fail(`repeats must have ${shape.length} entries, not ${repeats.length}`);
  context.output(
    0,
    undefined,
    shape.map((dim, axis) => multiplyDims(dim, repeats?.[axis] ?? null)),
  );
  moveElements(context, 0, (dims, strides) => {
    const counts = dims.map((dim, axis) => multiplyDims(dim, repeats?.[axis] ?? null));
    if (!counts.every((count) => typeof count === 'number' && count <= MAX_KNOWN)) return undefined;
    return counts.map((count, axis) =>
      Array.from(
        { length: count as number },
        (_, index) => (index % (dims[axis] as number)) * (strides[axis] as number),
      ),
    );
  });
}

function inferConcat(context: InferContext<{ readonly axis: number }>): void {
  const shapes = Array.from({ length: context.inputCount }, (_, index) => context.shape(index));
  const known = shapes.find((shape) => shape !== undefined);
  if (known === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  const axis = axisOf(context, context.attributes.axis, known.length);
  let result: Dim[] | undefined;
  for (const shape of shapes) {
    if (shape !== undefined && shape.length !== known.length)
      context.fail(`inputs must have one rank, not [${known.join(', ')}] and [${shape.join(', ')}]`);
    const dims = shape ?? unknownDims(known.length);
    result = result === undefined ? [...dims] : joinShapes(context, result, dims, axis);
  }
  context.output(0, undefined, result);
  joinElements(context, axis);
}

/** What is known of the shape of two tensors put together along an axis. */
export function joinShapes(
  context: AnyInferContext,
  left: readonly Dim[],
  right: readonly Dim[],
  axis: number,
): Dim[] {
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

/** Beyond this an end stands for "as far as it goes". */
const FAR = 2 ** 53;

/** A bound counted from the front, not clamped; `null` when its sign is not known. */
function fromFront(size: Dim, index: Dim): Dim {
  if (index === null) return null;
  if (typeof index === 'number') return index < 0 ? addDims(size, index) : index;
  if (isAtLeast(index, 0)) return index;
  return isAtLeast(subtractDims(-1, index), 0) ? addDims(size, index) : null;
}

/** The size that a slice leaves of an axis. `size` itself is a size: it is never negative, whatever expression it is. */
function slicedDim(size: Dim, { start, end, step }: SliceRange): Dim {
  if (step < 0) return reversedDim(size, { start, end, step });
  const isWhole = typeof end === 'number' && end >= FAR;
  if (isWhole && typeof start === 'number' && start < 0 && start > -FAR)
    return ceilDivideDim(minDims(-start, size), step);
  const first = typeof start === 'number' && start <= -FAR ? 0 : fromFront(size, start);
  const from = typeof start === 'number' && start >= 0 ? first : start === null ? null : maxDims(first, 0);
  const last = isWhole ? size : fromFront(size, end);
  // An end that counts from the back lies within the axis by itself.
  const isBehind = typeof end === 'number' && end < 0;
  const to = isWhole || isBehind || last === size ? last : minDims(last, size);
  const length = subtractDims(to, from);
  return ceilDivideDim(length === size ? size : maxDims(length, 0), step);
}

function reversedDim(size: Dim, { start, end, step }: SliceRange): Dim {
  const last = addDims(size, -1);
  const isFar = (index: Dim): boolean => typeof index === 'number' && Math.abs(index) >= 2 ** 31 - 1;
  const isLast = start === -1 || (isFar(start) && (start as number) > 0);
  if (isLast && isFar(end) && (end as number) < 0) return ceilDivideDim(size, -step);
  const from = isLast ? last : minDims(maxDims(fromFront(size, start), 0), last);
  const to = isFar(end) && (end as number) < 0 ? -1 : minDims(maxDims(fromFront(size, end), -1), last);
  const length = subtractDims(from, to);
  return ceilDivideDim(length === size ? size : maxDims(length, 0), -step);
}

function inferSlice(context: AnyInferContext): void {
  const shape = requireRank(context, 0, 1);
  if (shape === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  const [starts, ends] = [context.sizes(1), context.sizes(2)];
  const steps = context.has(4) ? knownIntegers(context, 4) : undefined;
  const given = context.has(3) ? knownIntegers(context, 3) : undefined;
  const count = starts?.length ?? ends?.length ?? lengthOf(context, 1);
  if (count === undefined || (context.has(3) && given === undefined)) {
    context.output(0, undefined, unknownDims(shape.length));
    return;
  }
  if (count > shape.length) context.fail(`${count} axes can not be sliced of [${shape.join(', ')}]`);
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
  if (context.has(4) && steps === undefined) return;
  moveElements(context, 0, (dims, strides) => {
    const tables = dims.map((dim, axis) => {
      const range = ranges.get(axis);
      return range === undefined
        ? everyIndex(dim, strides[axis] as number)
        : slicedOffsets(dim, strides[axis] as number, range);
    });
    return tables.includes(undefined) ? undefined : (tables as readonly AxisOffsets[]);
  });
}

/** Offsets of the indices that a slice keeps of an axis. */
function slicedOffsets(
  dim: number,
  stride: number,
  { start, end, step }: SliceRange,
): AxisOffsets | undefined {
  if (typeof start !== 'number' || typeof end !== 'number' || dim > MAX_KNOWN) return undefined;
  const at = (index: number, low: number, high: number): number =>
    Math.min(Math.max(index < 0 ? index + dim : index, low), high);
  const kept: number[] = [];
  const [low, high] = step > 0 ? [0, dim] : [-1, dim - 1];
  const [first, last] = [at(start, Math.max(low, 0), high), at(end, low, high)];
  for (let index = first; step > 0 ? index < last : index > last; index += step) kept.push(index * stride);
  return kept;
}

function inferPad(context: AnyInferContext): void {
  const shape = context.shape(0);
  if (shape === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  const pads = context.sizes(1);
  const given = context.has(3) ? knownIntegers(context, 3) : shape.map((_, axis) => axis);
  if (pads === undefined || given === undefined) {
    context.output(0, undefined, unknownDims(shape.length));
    return;
  }
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

function inferCenterCropPad(context: InferContext<{ readonly axes: readonly number[] | undefined }>): void {
  const shape = context.shape(0);
  if (shape === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
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

/** At least two dims, and the same shape. */
function inferMatrixLike(context: AnyInferContext): void {
  requireRank(context, 0, 2);
  sameAsInput(context);
}

/** Definitions of the operators that cut data and put it together. */
export const slicingOps: OpFamily<typeof slicingSchemas> = opFamily(slicingSchemas, {
  CenterCropPad: inferCenterCropPad,
  Concat: inferConcat,
  Pad: inferPad,
  ReverseSequence: inferMatrixLike,
  Slice: inferSlice,
  Split: inferSplit,
  Tile: inferTile,
  Trilu: inferMatrixLike,
});
