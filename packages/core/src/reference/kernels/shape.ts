import { attr } from '../../op/attributes.ts';
import { elementsOf } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import {
  broadcastShapes,
  broadcastWalk,
  int64Tensor,
  normalAxis,
  take,
  toIntegers,
  walk,
} from '../elements.ts';
import { isTensor, type KernelContext, type KernelTable, type ReferenceKernel } from '../kernel.ts';

/** Axes of a tensor counted from the front, each once. */
export function normalAxes(context: KernelContext, axes: readonly number[], rank: number): number[] {
  const normal = axes.map(
    (axis) => normalAxis(axis, rank) ?? context.fail(`axis ${axis} is not one of ${rank} axes`),
  );
  if (new Set(normal).size !== normal.length) context.fail(`axes [${axes.join(', ')}] name one twice`);
  return normal;
}

/** ONNX `Shape` (opset 21): dims [start, end) of the input. */
const shape: ReferenceKernel = (context) => {
  const dims = context.tensor(0).shape;
  const { start, end } = context.attributes({ start: attr.int(0), end: attr.optionalInt() });
  const limit = (at: number): number => Math.min(Math.max(at < 0 ? at + dims.length : at, 0), dims.length);
  const slice = dims.slice(limit(start), limit(end ?? dims.length));
  return [int64Tensor([slice.length], slice)];
};

/** ONNX `Size` (opset 21): number of elements. */
const size: ReferenceKernel = (context) => [int64Tensor([], [context.tensor(0).size])];

/** ONNX `Reshape` (opset 21): -1 is what remains; 0 copies a dim unless `allowzero`. */
const reshape: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const { allowzero } = context.attributes({ allowzero: attr.flag(false) });
  const target = toIntegers(context.tensor(1)).map((dim, axis) =>
    dim === 0 && !allowzero
      ? (input.shape[axis] ?? context.fail(`dim ${axis} of the target is 0, the input has none`))
      : dim,
  );
  const unknown = target.indexOf(-1);
  if (unknown >= 0) {
    const known = elementsOf(target.filter((_, axis) => axis !== unknown));
    const rest = input.size / known;
    if (target.lastIndexOf(-1) !== unknown || !Number.isInteger(rest)) {
      context.fail(`${input.size} elements cannot take shape [${target.join(', ')}]`);
    }
    target[unknown] = rest;
  }
  if (elementsOf(target) !== input.size || target.some((dim) => dim < 0)) {
    context.fail(`${input.size} elements cannot take shape [${target.join(', ')}]`);
  }
  return [input.reshape(target)];
};

/** ONNX `Flatten` (opset 21): to a matrix, split before `axis`. */
const flatten: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const { axis } = context.attributes({ axis: attr.int(1) });
  const rank = input.shape.length;
  if (axis < -rank || axis > rank) context.fail(`axis ${axis} is outside [-${rank}, ${rank}]`);
  const at = axis < 0 ? axis + rank : axis;
  return [input.reshape([elementsOf(input.shape.slice(0, at)), elementsOf(input.shape.slice(at))])];
};

/** ONNX `Squeeze` (opset 21): takes out dims of 1; all of them without `axes`. */
const squeeze: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const given = context.optional(1);
  const axes =
    given === undefined
      ? input.shape.flatMap((dim, axis) => (dim === 1 ? [axis] : []))
      : normalAxes(context, toIntegers(given), input.shape.length);
  for (const axis of axes)
    if (input.shape[axis] !== 1) context.fail(`dim ${axis} is ${input.shape[axis]}, not 1`);
  return [input.reshape(input.shape.filter((_, axis) => !axes.includes(axis)))];
};

/** ONNX `Unsqueeze` (opset 21): puts in dims of 1; axes count in the result. */
const unsqueeze: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const given = toIntegers(context.tensor(1));
  const axes = new Set(normalAxes(context, given, input.shape.length + given.length));
  const dims: number[] = [];
  let from = 0;
  for (let axis = 0; axis < input.shape.length + given.length; axis++) {
    dims.push(axes.has(axis) ? 1 : input.shape[from++]!);
  }
  return [input.reshape(dims)];
};

/** ONNX `Identity` (opset 21): any value. */
const identity: ReferenceKernel = (context) => [context.value(0)];

/** ONNX `Expand` (opset 13): broadcasts to a shape (both ways). */
const expand: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const wanted = toIntegers(context.tensor(1));
  if (wanted.some((dim) => dim < 0))
    context.fail(`the target shape [${wanted.join(', ')}] has a negative dim`);
  const dims =
    broadcastShapes([input.shape, wanted]) ??
    context.fail(`shape [${input.shape.join(', ')}] does not broadcast with [${wanted.join(', ')}]`);
  context.guard(input.dtype, dims);
  const positions = broadcastWalk(input.shape, dims);
  return [positions === undefined ? input : take(input, positions, dims)];
};

/** The input with its axes in another order. */
export function permute(input: Tensor, order: readonly number[]): Tensor {
  const strides = new Array<number>(input.shape.length);
  let stride = 1;
  for (let axis = strides.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= input.shape[axis]!;
  }
  const dims = order.map((axis) => input.shape[axis]!);
  return take(
    input,
    walk(
      dims,
      order.map((axis) => strides[axis]!),
    ),
    dims,
  );
}

/** ONNX `Transpose` (opset 21): axes reversed unless `perm` says otherwise. */
const transpose: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const rank = input.shape.length;
  const { perm } = context.attributes({ perm: attr.optionalInts() });
  const order =
    perm === undefined ? input.shape.map((_, axis) => rank - 1 - axis) : normalAxes(context, perm, rank);
  if (order.length !== rank) context.fail(`perm has ${order.length} axes, the input ${rank}`);
  return [permute(input, order)];
};

/** ONNX `ConstantOfShape` (opset 21): one value everywhere, float32 zero by default. */
const constantOfShape: ReferenceKernel = (context) => {
  const dims = toIntegers(context.tensor(0));
  const value = context.attributeTensor('value') ?? Tensor.from('float32', [1], new Float32Array(1));
  if (value.size !== 1) context.fail(`the value has ${value.size} elements, not 1`);
  return [take(value.reshape([1]), new Int32Array(context.guard(value.dtype, dims)), dims)];
};

/** ONNX `Constant` (opset 21): the value of its attribute. */
const constant: ReferenceKernel = (context) => {
  const source = context.node.constantSource();
  if (isTensor(source as Tensor | undefined)) return [source as Tensor];
  return [context.attributeTensor('value') ?? context.fail('it holds no dense tensor')];
};

/** Shapes and views of `ai.onnx`. */
export const shapeKernels: KernelTable = {
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Expand: expand,
  Flatten: flatten,
  Identity: identity,
  Reshape: reshape,
  Shape: shape,
  Size: size,
  Squeeze: squeeze,
  Transpose: transpose,
  Unsqueeze: unsqueeze,
};
