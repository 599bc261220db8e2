import { divideDims, isAtLeast, multiplyDims, productOfDims, sameDim } from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { everyIndex, moveElements } from './elements.ts';
import {
  type AnyInferContext,
  axesOf,
  axisOf,
  broadcastShapes,
  exactQuotient,
  knownIntegers,
  requireRank,
  staticShape,
  unknownDims,
} from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the operators that reshape data. */
export const shapeSchemas = {
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
  Reshape: {
    since: 21,
    inputs: 'data:T shape:int64',
    outputs: 'reshaped:T',
    types: { T: 'any float8 fourbit' },
    attributes: { allowzero: ['flag', false] },
  },
  Shape: {
    since: 21,
    inputs: 'data:T',
    outputs: 'shape:T1',
    types: { T: 'any float8 fourbit', T1: 'int64' },
    attributes: { end: 'int?', start: ['int', 0] },
  },
  Size: { since: 21, inputs: 'data:T', outputs: 'size:T1', types: { T: 'any float8 fourbit', T1: 'int64' } },
  SpaceToDepth: {
    since: 13,
    inputs: 'input:T',
    outputs: 'output:T',
    types: { T: 'any' },
    attributes: { blocksize: 'int!' },
  },
  Squeeze: {
    since: 21,
    inputs: 'data:T axes:int64?',
    outputs: 'squeezed:T',
    types: { T: 'any float8 fourbit' },
  },
  Transpose: {
    since: 21,
    inputs: 'data:T',
    outputs: 'transposed:T',
    types: { T: 'any float8 fourbit' },
    attributes: { perm: 'ints?' },
  },
  Unsqueeze: {
    since: 21,
    inputs: 'data:T axes:int64',
    outputs: 'expanded:T',
    types: { T: 'any float8 fourbit' },
  },
} as const;

/** More dims than a tensor of a real model has; a file that asks for more gets a shape of unknown rank. */
const MAX_RANK = 64;

/** The number of entries of a one-dimensional input that lists dims or axes; `undefined` when it is not known, or absurd. */
export function lengthOf(context: AnyInferContext, index: number): number | undefined {
  const [length] = context.shape(index) ?? [];
  const count = typeof length === 'number' ? length : context.sizes(index)?.length;
  return count === undefined || count > MAX_RANK ? undefined : count;
}

/** Output 0 has the known elements of input 0, in the same order. */
export function keepElements(context: AnyInferContext): void {
  const sizes = context.sizes(0);
  if (sizes !== undefined) context.outputSizes(0, sizes);
}

function inferReshape(context: InferContext<{ readonly allowzero: boolean }>): void {
  const data = context.shape(0);
  const target = context.sizes(1);
  if (target === undefined) {
    const rank = lengthOf(context, 1);
    context.output(0, undefined, rank === undefined ? undefined : unknownDims(rank));
    return;
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
  context: AnyInferContext,
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
  return exactQuotient(productOfDims(left), productOfDims(right)) ?? null;
}

function inferShape(
  context: InferContext<{ readonly start: number; readonly end: number | undefined }>,
): void {
  const shape = context.shape(0);
  if (shape === undefined) {
    context.output(0, 'int64', [null]);
    return;
  }
  const clamp = (index: number): number =>
    Math.min(Math.max(index < 0 ? index + shape.length : index, 0), shape.length);
  const dims = shape.slice(clamp(context.attributes.start), clamp(context.attributes.end ?? shape.length));
  context.output(0, 'int64', [dims.length]);
  context.outputSizes(0, dims);
}

function inferSize(context: AnyInferContext): void {
  context.output(0, 'int64', []);
  const shape = context.shape(0);
  if (shape !== undefined) context.outputSizes(0, [productOfDims(shape)]);
}

function inferFlatten(context: InferContext<{ readonly axis: number }>): void {
  const shape = context.shape(0);
  if (shape === undefined) {
    context.output(0, undefined, unknownDims(2));
    return;
  }
  const { axis } = context.attributes;
  const at = axis === shape.length ? axis : axisOf(context, axis, Math.max(1, shape.length));
  context.output(0, undefined, [productOfDims(shape.slice(0, at)), productOfDims(shape.slice(at))]);
  keepElements(context);
}

function inferSqueeze(context: AnyInferContext): void {
  const shape = context.shape(0);
  const given = context.has(1) ? knownIntegers(context, 1) : undefined;
  keepElements(context);
  if (shape === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  if (given !== undefined) {
    const axes = new Set(axesOf(context, given, shape.length));
    for (const axis of axes) {
      const dim = shape[axis] ?? null;
      if (typeof dim === 'number' && dim !== 1)
        context.fail(`axis ${axis} of [${shape.join(', ')}] is not 1 and can not be squeezed`);
    }
    context.output(
      0,
      undefined,
      shape.filter((_, axis) => !axes.has(axis)),
    );
    return;
  }
  const count = context.has(1) ? lengthOf(context, 1) : undefined;
  if (context.has(1)) {
    context.output(
      0,
      undefined,
      count === undefined || count > shape.length ? undefined : unknownDims(shape.length - count),
    );
    return;
  }
  // Without axes every 1 goes; a symbol might be one.
  const isKnown = shape.every((dim) => typeof dim === 'number' || isAtLeast(dim, 2));
  context.output(0, undefined, isKnown ? shape.filter((dim) => dim !== 1) : undefined);
}

function inferUnsqueeze(context: AnyInferContext): void {
  const shape = context.shape(0);
  const given = knownIntegers(context, 1);
  keepElements(context);
  if (shape === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  if (given === undefined) {
    const count = lengthOf(context, 1);
    context.output(0, undefined, count === undefined ? undefined : unknownDims(shape.length + count));
    return;
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
  if (shape === undefined) {
    context.output(0, undefined, perm === undefined ? undefined : unknownDims(perm.length));
    return;
  }
  const order = perm ?? shape.map((_, axis) => shape.length - 1 - axis);
  if (order.length !== shape.length)
    context.fail(`perm [${order.join(', ')}] does not fit [${shape.join(', ')}]`);
  const axes = axesOf(context, order, shape.length, 'perm');
  context.output(
    0,
    undefined,
    axes.map((axis) => shape[axis] ?? null),
  );
  moveElements(context, 0, (dims, strides) =>
    axes.map((axis) => everyIndex(dims[axis] as number, strides[axis] as number)),
  );
}

function inferExpand(context: AnyInferContext): void {
  const shape = context.shape(0);
  const target = context.sizes(1);
  if (target === undefined || shape === undefined) {
    const rank = lengthOf(context, 1);
    const known = rank !== undefined && shape !== undefined;
    context.output(0, undefined, known ? unknownDims(Math.max(rank, shape.length)) : undefined);
    return;
  }
  const result = broadcastShapes(context, [shape, target.map((size) => size)]);
  context.output(0, undefined, result);
  const dims = staticShape(result);
  if (dims === undefined) return;
  moveElements(context, 0, (own, strides) =>
    dims.map((dim, axis) => {
      const inner = axis - dims.length + own.length;
      return everyIndex(dim, inner < 0 || own[inner] === 1 ? 0 : (strides[inner] as number));
    }),
  );
}

interface BlockAttributes {
  readonly blocksize: number;
}

function inferDepthToSpace(context: InferContext<BlockAttributes>): void {
  const shape = requireRank(context, 0, 4, true) ?? unknownDims(4);
  const { blocksize } = context.attributes;
  if (blocksize < 1) context.fail(`blocksize must be at least 1, not ${blocksize}`);
  const channels = exactQuotient(shape[1] ?? null, blocksize * blocksize);
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
    const part = exactQuotient(dim, blocksize);
    return part === undefined ? context.fail(`${dim} can not be split into blocks of ${blocksize}`) : part;
  });
  context.output(0, undefined, [
    shape[0] ?? null,
    multiplyDims(shape[1] ?? null, blocksize * blocksize),
    ...spatial,
  ]);
}

/** Definitions of the operators that reshape data. */
export const shapeOps: OpFamily<typeof shapeSchemas> = opFamily(shapeSchemas, {
  DepthToSpace: inferDepthToSpace,
  Expand: inferExpand,
  Flatten: inferFlatten,
  Reshape: inferReshape,
  Shape: inferShape,
  Size: inferSize,
  SpaceToDepth: inferSpaceToDepth,
  Squeeze: inferSqueeze,
  Transpose: inferTranspose,
  Unsqueeze: inferUnsqueeze,
});
