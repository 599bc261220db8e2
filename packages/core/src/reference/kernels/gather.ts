import { attr } from '../../op/attributes.ts';
import { elementsOf, stridesOf } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import {
  fromNumbers,
  fromStore,
  int64Tensor,
  isWide,
  makeStore,
  normalAxis,
  sameShape,
  storeOf,
  take,
  toBigints,
  toIntegers,
} from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { isReal, outputType } from './numeric.ts';

function axisOf(context: KernelContext, axis: number, rank: number): number {
  return normalAxis(axis, rank) ?? context.fail(`axis ${axis} is not one of ${rank} axes`);
}

/** An index counted from the front of an axis of `dim` elements. */
function within(context: KernelContext, index: number, dim: number): number {
  if (index < -dim || index >= dim) context.fail(`index ${index} is outside an axis of ${dim}`);
  return index < 0 ? index + dim : index;
}

/** ONNX `Gather` (opset 13): slices of `data` along `axis` at `indices`, whose shape takes the place of the axis. */
const gather: ReferenceKernel = (context) => {
  const data = context.tensor(0);
  const indices = context.tensor(1);
  const { axis } = context.attributes({ axis: attr.int(0) });
  return [gatherAxis(context, data, { indices, axis: axisOf(context, axis, data.shape.length) })];
};

/** Slices of `data` along an axis, as ONNX `Gather` takes them. */
export function gatherAxis(
  context: KernelContext,
  data: Tensor,
  { indices, axis }: { readonly indices: Tensor; readonly axis: number },
): Tensor {
  const wanted = toIntegers(indices);
  const dim = data.shape[axis]!;
  const outer = elementsOf(data.shape.slice(0, axis));
  const inner = elementsOf(data.shape.slice(axis + 1));
  const shape = [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)];
  const positions = new Int32Array(context.guard(data.dtype, shape));
  let at = 0;
  for (let row = 0; row < outer; row++) {
    for (const index of wanted) {
      const base = (row * dim + within(context, index, dim)) * inner;
      for (let column = 0; column < inner; column++) positions[at++] = base + column;
    }
  }
  return take(data, positions, shape);
}

/** Positions in `data` that an element-wise index along `axis` names. */
function elementPositions(context: KernelContext, data: Tensor, indices: Tensor, axis: number): Int32Array {
  if (indices.shape.length !== data.shape.length) context.fail('data and indices differ in rank');
  const wanted = toIntegers(indices);
  const strides = stridesOf(data.shape);
  const indexStrides = stridesOf(indices.shape);
  const positions = new Int32Array(wanted.length);
  for (let index = 0; index < positions.length; index++) {
    let position = 0;
    for (let at = 0; at < data.shape.length; at++) {
      const place =
        at === axis
          ? within(context, wanted[index]!, data.shape[axis]!)
          : Math.floor(index / indexStrides[at]!) % indices.shape[at]!;
      position += place * strides[at]!;
    }
    positions[index] = position;
  }
  return positions;
}

/** ONNX `GatherElements` (opset 13): element-wise indices along an axis. */
const gatherElements: ReferenceKernel = (context) => {
  const [data, indices] = [context.tensor(0), context.tensor(1)];
  const { axis } = context.attributes({ axis: attr.int(0) });
  const positions = elementPositions(context, data, indices, axisOf(context, axis, data.shape.length));
  return [take(data, positions, indices.shape)];
};

/** Start in `data` of each slice that a row of `indices` names, and the size of a slice. */
function slicePositions(
  context: KernelContext,
  data: Tensor,
  indices: Tensor,
  batchDims: number,
): { starts: number[]; slice: number; depth: number } {
  const depth = indices.shape.at(-1) ?? context.fail('indices are a scalar');
  if (batchDims + depth > data.shape.length)
    context.fail(`rows of ${depth} indices do not fit ${data.shape.length} axes`);
  const shared = data.shape.slice(0, batchDims);
  if (
    batchDims < 0 ||
    batchDims >= indices.shape.length ||
    !sameShape(shared, indices.shape.slice(0, batchDims))
  )
    context.fail(`data and indices do not share ${batchDims} axes`);
  const wanted = toIntegers(indices);
  const strides = stridesOf(data.shape);
  const slice = elementsOf(data.shape.slice(batchDims + depth));
  const batches = elementsOf(indices.shape.slice(0, batchDims));
  const rows = elementsOf(indices.shape.slice(0, -1));
  const perBatch = batches === 0 ? 0 : rows / batches;
  const batchSize = elementsOf(data.shape.slice(batchDims));
  const starts: number[] = [];
  for (let row = 0; row < rows; row++) {
    let start = Math.floor(row / perBatch) * batchSize;
    for (let at = 0; at < depth; at++) {
      start +=
        within(context, wanted[row * depth + at]!, data.shape[batchDims + at]!) * strides[batchDims + at]!;
    }
    starts.push(start);
  }
  return { starts, slice, depth };
}

/** ONNX `GatherND` (opset 13): the slices that the rows of `indices` name, after `batch_dims` shared axes. */
const gatherNd: ReferenceKernel = (context) => {
  const [data, indices] = [context.tensor(0), context.tensor(1)];
  const { batch_dims: batchDims } = context.attributes({ batch_dims: attr.int(0) });
  const { starts, slice, depth } = slicePositions(context, data, indices, batchDims);
  const shape = [...indices.shape.slice(0, -1), ...data.shape.slice(batchDims + depth)];
  const positions = new Int32Array(context.guard(data.dtype, shape));
  let at = 0;
  for (const start of starts) for (let index = 0; index < slice; index++) positions[at++] = start + index;
  return [take(data, positions, shape)];
};

type Reduction = 'none' | 'add' | 'mul' | 'max' | 'min';
const reductions: readonly Reduction[] = ['none', 'add', 'mul', 'max', 'min'];

/** `data` with `updates` put (or reduced) in at `positions`, in order. */
function scatter(
  context: KernelContext,
  data: Tensor,
  updates: Tensor,
  { positions, reduction }: { readonly positions: Int32Array; readonly reduction: Reduction },
): Tensor {
  if (updates.dtype !== data.dtype) context.fail(`updates are ${updates.dtype}, data ${data.dtype}`);
  if (reduction === 'none') {
    const out = storeOf(data).slice() as (number | bigint | string)[];
    const source = storeOf(updates);
    const slots = out.length === data.size ? 1 : 2;
    for (let index = 0; index < positions.length * slots; index++) {
      out[positions[Math.floor(index / slots)]! * slots + (index % slots)] = source[index]!;
    }
    return fromStore(data.dtype, data.shape, out as ReturnType<typeof makeStore>);
  }
  if (!isReal(data.dtype)) context.wrongType(data.dtype, ['real numbers']);
  if (isWide(data.dtype)) {
    const out = toBigints(data).slice();
    const source = toBigints(updates);
    for (let index = 0; index < positions.length; index++) {
      const at = positions[index]!;
      const [a, b] = [out[at]!, source[index]!];
      out[at] =
        reduction === 'add'
          ? a + b
          : reduction === 'mul'
            ? a * b
            : reduction === 'max'
              ? a > b
                ? a
                : b
              : a < b
                ? a
                : b;
    }
    return fromStore(data.dtype, data.shape, out);
  }
  const out = data.toFloat64Array();
  const source = updates.toFloat64Array();
  for (let index = 0; index < positions.length; index++) {
    const at = positions[index]!;
    const [a, b] = [out[at]!, source[index]!];
    out[at] =
      reduction === 'add'
        ? a + b
        : reduction === 'mul'
          ? a * b
          : reduction === 'max'
            ? Math.max(a, b)
            : Math.min(a, b);
  }
  return fromNumbers(data.dtype, data.shape, out);
}

/** ONNX `ScatterElements` (opset 18): element-wise indices along an axis; `reduction` for repeated ones. */
const scatterElements: ReferenceKernel = (context) => {
  const [data, indices, updates] = [context.tensor(0), context.tensor(1), context.tensor(2)];
  const { axis, reduction } = context.attributes({
    axis: attr.int(0),
    reduction: attr.oneOf(reductions, 'none'),
  });
  if (!sameShape(indices.shape, updates.shape)) context.fail('indices and updates differ in shape');
  const positions = elementPositions(context, data, indices, axisOf(context, axis, data.shape.length));
  return [scatter(context, data, updates, { positions, reduction })];
};

/** ONNX `ScatterND` (opset 18): whole slices at the rows of `indices`. */
const scatterNd: ReferenceKernel = (context) => {
  const [data, indices, updates] = [context.tensor(0), context.tensor(1), context.tensor(2)];
  const { reduction } = context.attributes({ reduction: attr.oneOf(reductions, 'none') });
  const { starts, slice } = slicePositions(context, data, indices, 0);
  if (updates.size !== starts.length * slice)
    context.fail(`${updates.size} updates for ${starts.length} slices of ${slice}`);
  const positions = new Int32Array(starts.length * slice);
  let at = 0;
  for (const start of starts) for (let index = 0; index < slice; index++) positions[at++] = start + index;
  return [scatter(context, data, updates, { positions, reduction })];
};

/** ONNX `OneHot` (opset 11): `values[1]` at each index along a new axis, `values[0]` elsewhere. */
const oneHot: ReferenceKernel = (context) => {
  const { axis } = context.attributes({ axis: attr.int(-1) });
  const indices = context.tensor(0).toFloat64Array();
  const depth = context.tensor(1).toFloat64Array()[0] ?? context.fail('depth is empty');
  const values = context.tensor(2);
  if (values.size !== 2) context.fail(`values has ${values.size} elements, not 2`);
  const dims = context.tensor(0).shape;
  const at = axisOf(context, axis, dims.length + 1);
  const shape = [...dims.slice(0, at), Math.trunc(depth), ...dims.slice(at)];
  const positions = new Int32Array(context.guard(values.dtype, shape));
  const inner = elementsOf(dims.slice(at));
  for (let index = 0; index < indices.length; index++) {
    const raw = Math.trunc(indices[index]!);
    const hot = raw < 0 ? raw + depth : raw;
    if (hot >= 0 && hot < depth)
      positions[(Math.floor(index / inner) * depth + hot) * inner + (index % inner)] = 1;
  }
  return [take(values, positions, shape)];
};

/** ONNX `Compress` (opset 11): the slices (elements, without `axis`) whose condition holds. */
const compress: ReferenceKernel = (context) => {
  const { axis } = context.attributes({ axis: attr.optionalInt() });
  const whole = context.tensor(0);
  const input = axis === undefined ? whole.reshape([whole.size]) : whole;
  const at = axisOf(context, axis ?? 0, input.shape.length);
  const condition = context.tensor(1).toFloat64Array();
  const kept: number[] = [];
  for (let index = 0; index < Math.min(condition.length, input.shape[at]!); index++)
    if (condition[index] !== 0) kept.push(index);
  return [gatherAxis(context, input, { indices: int64Tensor([kept.length], kept), axis: at })];
};

/** ONNX `NonZero` (opset 13): coordinates of the elements that are not zero, `[rank, count]`, row-major. */
const nonZero: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const values = input.toFloat64Array();
  const found: number[] = [];
  for (let index = 0; index < values.length; index++) if (values[index] !== 0) found.push(index);
  const strides = stridesOf(input.shape);
  const out: number[] = [];
  for (let axis = 0; axis < strides.length; axis++) {
    for (const index of found) out.push(Math.floor(index / strides[axis]!) % input.shape[axis]!);
  }
  return [int64Tensor([strides.length, found.length], out)];
};

/** ONNX `Range` (opset 11): from `start` up to `limit` (not itself) by `delta`. */
const range: ReferenceKernel = (context) => {
  const start = context.tensor(0);
  const { dtype } = start;
  const [from, to, step] = [0, 1, 2].map(
    (index) => context.tensor(index).toFloat64Array()[0] ?? context.fail('an input is empty'),
  ) as [number, number, number];
  if (step === 0) context.fail('delta is 0');
  const count = Math.max(0, Math.ceil((to - from) / step));
  const total = context.guard(dtype, [count]);
  if (isWide(dtype)) {
    const first = toBigints(start)[0]!;
    const delta = toBigints(context.tensor(2))[0]!;
    const out = makeStore(dtype, total);
    for (let index = 0; index < total; index++) out[index] = first + BigInt(index) * delta;
    return [fromStore(dtype, [count], out)];
  }
  const out = new Float64Array(total);
  for (let index = 0; index < total; index++) out[index] = from + index * step;
  return [fromNumbers(dtype, [count], out)];
};

/** ONNX `EyeLike` (opset 9): ones on diagonal `k`. */
const eyeLike: ReferenceKernel = (context) => {
  const { k, dtype } = context.attributes({ k: attr.int(0), dtype: attr.optionalInt() });
  const input = context.tensor(0);
  if (input.shape.length !== 2) context.fail(`the input has ${input.shape.length} axes, not 2`);
  const [rows, columns] = input.shape as [number, number];
  const out = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++)
    if (row + k >= 0 && row + k < columns) out[row * columns + row + k] = 1;
  return [fromNumbers(outputType(context, dtype, input.dtype), input.shape, out)];
};

/** Picks and places elements by index: `ai.onnx`. */
export const gatherKernels: KernelTable = {
  Compress: compress,
  EyeLike: eyeLike,
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherNd,
  NonZero: nonZero,
  OneHot: oneHot,
  Range: range,
  ScatterElements: scatterElements,
  ScatterND: scatterNd,
};
