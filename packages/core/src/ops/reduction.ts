import { addDims, maxDims, minDims, multiplyDims } from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { elementsOf } from '../tensor/dtype.ts';
import {
  type AnyInferContext,
  advance,
  axesOf,
  axisOf,
  knownIntegers,
  requireRank,
  sameAsInput,
  staticShape,
  unknownDims,
} from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the reductions. */
export const reductionSchemas = {
  ArgMax: {
    since: 13,
    inputs: 'data:T',
    outputs: 'reduced:int64',
    types: { T: 'number' },
    attributes: { axis: ['int', 0], keepdims: ['flag', true], select_last_index: ['flag', false] },
  },
  ArgMin: {
    since: 13,
    inputs: 'data:T',
    outputs: 'reduced:int64',
    types: { T: 'number' },
    attributes: { axis: ['int', 0], keepdims: ['flag', true], select_last_index: ['flag', false] },
  },
  CumSum: {
    since: 14,
    inputs: 'x:T axis:T2',
    outputs: 'y:T',
    types: { T: 'float bfloat16 int32 int64 uint32 uint64', T2: 'int32 int64' },
    attributes: { exclusive: ['flag', false], reverse: ['flag', false] },
  },
  ReduceL1: {
    since: 18,
    inputs: 'data:T axes:int64?',
    outputs: 'reduced:T',
    types: { T: 'float bfloat16 int32 int64 uint32 uint64' },
    attributes: { keepdims: ['flag', true], noop_with_empty_axes: ['flag', false] },
  },
  ReduceL2: {
    since: 18,
    inputs: 'data:T axes:int64?',
    outputs: 'reduced:T',
    types: { T: 'float bfloat16 int32 int64 uint32 uint64' },
    attributes: { keepdims: ['flag', true], noop_with_empty_axes: ['flag', false] },
  },
  ReduceLogSum: {
    since: 18,
    inputs: 'data:T axes:int64?',
    outputs: 'reduced:T',
    types: { T: 'float bfloat16 int32 int64 uint32 uint64' },
    attributes: { keepdims: ['flag', true], noop_with_empty_axes: ['flag', false] },
  },
  ReduceLogSumExp: {
    since: 18,
    inputs: 'data:T axes:int64?',
    outputs: 'reduced:T',
    types: { T: 'float bfloat16 int32 int64 uint32 uint64' },
    attributes: { keepdims: ['flag', true], noop_with_empty_axes: ['flag', false] },
  },
  ReduceMax: {
    since: 20,
    inputs: 'data:T axes:int64?',
    outputs: 'reduced:T',
    types: { T: 'float bfloat16 int8 int32 int64 uint8 uint32 uint64 bool' },
    attributes: { keepdims: ['flag', true], noop_with_empty_axes: ['flag', false] },
  },
  ReduceMean: {
    since: 18,
    inputs: 'data:T axes:int64?',
    outputs: 'reduced:T',
    types: { T: 'float bfloat16 int32 int64 uint32 uint64' },
    attributes: { keepdims: ['flag', true], noop_with_empty_axes: ['flag', false] },
  },
  ReduceMin: {
    since: 20,
    inputs: 'data:T axes:int64?',
    outputs: 'reduced:T',
    types: { T: 'float bfloat16 int8 int32 int64 uint8 uint32 uint64 bool' },
    attributes: { keepdims: ['flag', true], noop_with_empty_axes: ['flag', false] },
  },
  ReduceProd: {
    since: 18,
    inputs: 'data:T axes:int64?',
    outputs: 'reduced:T',
    types: { T: 'float bfloat16 int32 int64 uint32 uint64' },
    attributes: { keepdims: ['flag', true], noop_with_empty_axes: ['flag', false] },
  },
  ReduceSum: {
    since: 13,
    inputs: 'data:T axes:int64?',
    outputs: 'reduced:T',
    types: { T: 'float bfloat16 int32 int64 uint32 uint64' },
    attributes: { keepdims: ['flag', true], noop_with_empty_axes: ['flag', false] },
  },
  ReduceSumSquare: {
    since: 18,
    inputs: 'data:T axes:int64?',
    outputs: 'reduced:T',
    types: { T: 'float bfloat16 int32 int64 uint32 uint64' },
    attributes: { keepdims: ['flag', true], noop_with_empty_axes: ['flag', false] },
  },
} as const;

/** Attributes that all reductions share. */
interface ReduceAttributes {
  /** Whether reduced axes stay, with size 1. */
  readonly keepdims: boolean;
  /** Whether no axes means no reduction rather than all axes. */
  readonly noop_with_empty_axes: boolean;
}

function reducedShape(shape: readonly Dim[], axes: ReadonlySet<number>, keepdims: boolean): readonly Dim[] {
  return shape.flatMap((dim, axis) => (axes.has(axis) ? (keepdims ? [1] : []) : [dim]));
}

/** Which axes a reduction runs over; `undefined` when that is not known. */
function reducedAxes(context: InferContext<ReduceAttributes>, rank: number): ReadonlySet<number> | undefined {
  const given = context.has(1) ? knownIntegers(context, 1) : [];
  if (given === undefined) return undefined;
  if (given.length > 0) return new Set(axesOf(context, given, rank));
  return new Set(
    context.attributes.noop_with_empty_axes ? [] : Array.from({ length: rank }, (_, axis) => axis),
  );
}

function reduce(rule?: (left: Dim, right: Dim) => Dim): (context: InferContext<ReduceAttributes>) => void {
  return (context) => {
    const shape = context.shape(0);
    if (shape === undefined) {
      context.output(0, undefined, undefined);
      return;
    }
    const axes = reducedAxes(context, shape.length);
    const { keepdims } = context.attributes;
    if (axes === undefined) {
      const count = context.shape(1)?.[0];
      const kept = keepdims
        ? shape.length
        : typeof count === 'number' && count > 0
          ? shape.length - count
          : undefined;
      context.output(0, undefined, kept === undefined || kept < 0 ? undefined : unknownDims(kept));
      return;
    }
    context.output(0, undefined, reducedShape(shape, axes, keepdims));
    if (rule !== undefined) followReduction(context, axes, rule);
  };
}

/** Follows sizes through a reduction. */
function followReduction(
  context: AnyInferContext,
  axes: ReadonlySet<number>,
  rule: (left: Dim, right: Dim) => Dim,
): void {
  const shape = staticShape(context.shape(0));
  const sizes = context.sizes(0);
  if (shape === undefined || sizes === undefined || sizes.length === 0) return;
  const kept = shape.map((dim, axis) => (axes.has(axis) ? 1 : dim));
  const results: (Dim | undefined)[] = new Array(elementsOf(kept));
  const position = new Array<number>(shape.length).fill(0);
  for (const size of sizes) {
    let offset = 0;
    for (let axis = 0; axis < kept.length; axis++)
      offset = offset * (kept[axis] as number) + (axes.has(axis) ? 0 : (position[axis] as number));
    const before = results[offset];
    results[offset] = before === undefined ? size : rule(before, size);
    advance(position, shape);
  }
  context.outputSizes(
    0,
    results.map((item) => item ?? null),
  );
}

function inferArg(context: InferContext<{ readonly axis: number; readonly keepdims: boolean }>): void {
  const shape = context.shape(0);
  if (shape === undefined) {
    context.output(0, 'int64', undefined);
    return;
  }
  if (shape.length === 0) {
    context.output(0, 'int64', []);
    return;
  }
  const axis = axisOf(context, context.attributes.axis, shape.length);
  context.output(0, 'int64', reducedShape(shape, new Set([axis]), context.attributes.keepdims));
}

function inferCumSum(context: AnyInferContext): void {
  const [axis] = knownIntegers(context, 1) ?? [];
  const shape = requireRank(context, 0, 1);
  if (axis !== undefined && shape !== undefined) axisOf(context, axis, shape.length);
  sameAsInput(context);
}

/** Definitions of the reductions. */
export const reductionOps: OpFamily<typeof reductionSchemas> = opFamily(reductionSchemas, {
  ArgMax: inferArg,
  ArgMin: inferArg,
  CumSum: inferCumSum,
  ReduceL1: reduce(),
  ReduceL2: reduce(),
  ReduceLogSum: reduce(),
  ReduceLogSumExp: reduce(),
  ReduceMax: reduce(maxDims),
  ReduceMean: reduce(),
  ReduceMin: reduce(minDims),
  ReduceProd: reduce(multiplyDims),
  ReduceSum: reduce(addDims),
  ReduceSumSquare: reduce(),
});
