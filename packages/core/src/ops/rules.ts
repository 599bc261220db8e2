import { addDims, broadcastDims, divideDims, floorDivideDim, mergeDims } from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { type DType, dtypeFromOnnx, elementsOf } from '../tensor/dtype.ts';

/** Most elements whose values are followed. */
export const MAX_KNOWN = 4096;

/** A context of any attributes. */
export type AnyInferContext = InferContext<unknown>;

/** The dims of a shape as numbers, when all are. */
export function staticShape(shape: readonly Dim[] | undefined): readonly number[] | undefined {
  return shape?.every((dim) => typeof dim === 'number') === true ? (shape as readonly number[]) : undefined;
}

/** A shape of this rank whose dims are not known. */
export function unknownDims(rank: number): Dim[] {
  return new Array<Dim>(rank).fill(null);
}

/** Output 0 has the shape and dtype of input 0. */
export function sameAsInput(context: AnyInferContext): void {
  context.output(0, undefined, context.shape(0));
}

/** Output 0 has the shape and dtype of input 0, and so does what is known of its elements. */
export function passThrough(context: AnyInferContext): void {
  context.outputType(0, context.type(0));
  const sizes = context.sizes(0);
  if (sizes !== undefined) context.outputSizes(0, sizes);
}

/** An axis counted from the front. Fails when it lies outside the rank. */
export function axisOf(context: AnyInferContext, axis: number, rank: number, name = 'axis'): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) {
    return context.fail(
      `${name} must lie between ${-rank} and ${rank - 1} for an input of rank ${rank}, not be ${axis}`,
    );
  }
  return axis < 0 ? axis + rank : axis;
}

/** Axes counted from the front, in the given order. Fails when one lies outside the rank or comes twice. */
export function axesOf(
  context: AnyInferContext,
  axes: readonly number[],
  rank: number,
  name = 'axes',
): readonly number[] {
  const found = axes.map((axis) => axisOf(context, axis, rank, name));
  if (new Set(found).size !== found.length)
    context.fail(`${name} must not name an axis twice, as [${axes.join(', ')}] does`);
  return found;
}

/** The rank of an input that must have at least (or with `exactly`, just) this many dims. */
export function requireRank(
  context: AnyInferContext,
  index: number,
  least: number,
  exactly = false,
): readonly Dim[] | undefined {
  const shape = context.shape(index);
  if (shape === undefined) return undefined;
  if (exactly ? shape.length !== least : shape.length < least) {
    const name = `input ${index}`;
    context.fail(
      `${name} must have ${exactly ? '' : 'at least '}${least} dims, not ${shape.length}: [${shape.join(', ')}]`,
    );
  }
  return shape;
}

/** The whole numbers of a small constant input; `undefined` while one of them is not known. */
export function knownIntegers(context: AnyInferContext, index: number): readonly number[] | undefined {
  const sizes = context.sizes(index);
  return sizes?.every((size) => typeof size === 'number') === true ? (sizes as readonly number[]) : undefined;
}

/** Numpy broadcasting of any number of shapes. `undefined` when one is of unknown rank. Fails when they do not fit. */
export function broadcastShapes(
  context: AnyInferContext,
  shapes: readonly (readonly Dim[] | undefined)[],
): readonly Dim[] | undefined {
  let result: readonly Dim[] = [];
  for (const shape of shapes) {
    if (shape === undefined) return undefined;
    result = broadcastPair(context, result, shape);
  }
  return result;
}

function broadcastPair(
  context: AnyInferContext,
  left: readonly Dim[],
  right: readonly Dim[],
): readonly Dim[] {
  const rank = Math.max(left.length, right.length);
  const result: Dim[] = [];
  for (let index = 0; index < rank; index++) {
    const first = left[left.length - rank + index] ?? (index < rank - left.length ? 1 : null);
    const second = right[right.length - rank + index] ?? (index < rank - right.length ? 1 : null);
    const dim = broadcastDims(first, second);
    if (dim === undefined)
      context.fail(`shapes [${left.join(', ')}] and [${right.join(', ')}] can not be broadcast`);
    result.push(dim ?? null);
  }
  return result;
}

/** What is known of one size from two sources. Fails when they contradict each other. */
export function mergedDim(context: AnyInferContext, left: Dim, right: Dim, what: string): Dim {
  const merged = mergeDims(left, right);
  return merged === undefined ? context.fail(`${what} must be equal, not ${left} and ${right}`) : merged;
}

/** What is known of one shape from two sources of the same rank. Fails when they contradict each other. */
export function mergedShape(
  context: AnyInferContext,
  left: readonly Dim[],
  right: readonly Dim[],
  what: string,
): readonly Dim[] {
  return left.map((dim, axis) => mergedDim(context, dim, right[axis] ?? null, `dim ${axis} of ${what}`));
}

/**
 * `left / right` where the operator is only valid if nothing is left over, so that rounding down changes nothing.
 *
 * @returns the quotient; `null` when it is not known; `undefined` when the division of two numbers leaves a rest
 */
export function exactQuotient(left: Dim, right: Dim): Dim | undefined {
  const quotient = divideDims(left, right);
  return quotient === null && typeof right === 'number' ? floorDivideDim(left, right) : quotient;
}

/** Computes one element of a result from one element of each operand. */
export type ElementRule = (...operands: readonly Dim[]) => Dim;

/**
 * Follows the elements of inputs through an elementwise operator into output 0. The shape of the output must have been
 * computed; nothing is told when an operand is not known at all or the output is large.
 */
export function followElements(
  context: AnyInferContext,
  outputShape: readonly Dim[] | undefined,
  rule: ElementRule,
): void {
  const shape = staticShape(outputShape);
  if (shape === undefined || elementsOf(shape) > MAX_KNOWN) return;
  const operands: { readonly sizes: readonly Dim[]; readonly strides: readonly number[] }[] = [];
  for (let index = 0; index < context.inputCount; index++) {
    const sizes = context.sizes(index);
    const own = staticShape(context.shape(index));
    if (sizes === undefined || own === undefined) return;
    operands.push({ sizes, strides: broadcastStrides(own, shape.length) });
  }
  const result: Dim[] = new Array(elementsOf(shape));
  const position = new Array<number>(shape.length).fill(0);
  for (let element = 0; element < result.length; element++) {
    const values = operands.map(({ sizes, strides }) => {
      let offset = 0;
      for (let axis = 0; axis < strides.length; axis++)
        offset += (strides[axis] as number) * (position[axis] as number);
      return sizes[offset] ?? null;
    });
    result[element] = rule(...values);
    advance(position, shape);
  }
  context.outputSizes(0, result);
}

/** Strides for reading a small tensor as if it were broadcast to `rank` dims. */
function broadcastStrides(shape: readonly number[], rank: number): readonly number[] {
  const strides = new Array<number>(rank).fill(0);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const dim = shape[axis] as number;
    strides[axis + rank - shape.length] = dim === 1 ? 0 : stride;
    stride *= dim;
  }
  return strides;
}

/** Moves a row-major position one element on. */
export function advance(position: number[], shape: readonly number[]): void {
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    position[axis] = (position[axis] as number) + 1;
    if ((position[axis] as number) < (shape[axis] as number)) return;
    position[axis] = 0;
  }
}

/** A rule on numbers that leaves symbols unknown. */
export function onNumbers(rule: (...operands: readonly number[]) => number): ElementRule {
  return (...operands) =>
    operands.every((item) => typeof item === 'number') ? rule(...(operands as readonly number[])) : null;
}

/** The dtype that an attribute names by its number in files. Fails when there is none. */
export function dtypeOf(context: AnyInferContext, code: number | undefined): DType | undefined {
  if (code === undefined || code === 0) return undefined;
  const dtype = dtypeFromOnnx(code);
  return dtype ?? context.fail(`dtype number ${code} is not one that ONNX defines here`);
}

/** How a window moves along one spatial axis. */
export interface WindowAxis {
  /** Size of the window. */
  readonly kernel: Dim;
  /** Step. */
  readonly stride: number;
  /** Distance of the window's elements. */
  readonly dilation: number;
  /** Padding in front and behind, in all. */
  readonly padding: number;
}

/** The size that a sliding window leaves of an axis. */
export function windowedDim(context: AnyInferContext, size: Dim, axis: WindowAxis, ceil: boolean): Dim {
  const { kernel, stride, dilation, padding } = axis;
  if (typeof kernel !== 'number') return null;
  const span = addDims(size, padding - dilation * (kernel - 1) - 1);
  if (typeof span === 'number' && span < 0) {
    context.fail(
      `a window of ${dilation * (kernel - 1) + 1} does not fit into ${size} with a padding of ${padding}`,
    );
  }
  return addDims(floorDivideDim(ceil ? addDims(span, stride - 1) : span, stride), 1);
}
