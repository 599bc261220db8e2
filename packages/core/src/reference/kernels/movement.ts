import { attr } from '../../op/attributes.ts';
import { elementsOf, stridesOf } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { joinFlat, normalAxis, take, toIntegers, walk } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { normalAxes, permute } from './shape.ts';

/** Tensors one behind the other along an axis, as ONNX `Concat` does. */
export function concatTensors(context: KernelContext, tensors: readonly Tensor[], axis: number): Tensor {
  const first = tensors[0] ?? context.fail('there is nothing to concatenate');
  for (const tensor of tensors) {
    const fits =
      tensor.shape.length === first.shape.length &&
      tensor.shape.every((dim, at) => at === axis || dim === first.shape[at]);
    if (!fits)
      context.fail(
        `shape [${tensor.shape.join(', ')}] does not fit [${first.shape.join(', ')}] off axis ${axis}`,
      );
    if (tensor.dtype !== first.dtype) context.fail(`dtypes ${first.dtype} and ${tensor.dtype} are mixed`);
  }
  const dims = [...first.shape];
  dims[axis] = tensors.reduce((sum, tensor) => sum + tensor.shape[axis]!, 0);
  const positions = new Int32Array(context.guard(first.dtype, dims));
  const outer = elementsOf(first.shape.slice(0, axis));
  let at = 0;
  for (let row = 0; row < outer; row++) {
    let base = 0;
    for (const tensor of tensors) {
      const block = elementsOf(tensor.shape.slice(axis));
      for (let index = 0; index < block; index++) positions[at++] = base + row * block + index;
      base += tensor.size;
    }
  }
  return take(joinFlat(tensors), positions, dims);
}

/** ONNX `Concat` (opset 13). */
const concat: ReferenceKernel = (context) => {
  const { axis } = context.attributes({ axis: attr.requiredInt() });
  const tensors = context.inputs.map((_, index) => context.tensor(index));
  const rank = tensors[0]?.shape.length ?? 0;
  return [
    concatTensors(
      context,
      tensors,
      normalAxis(axis, rank) ?? context.fail(`axis ${axis} is not one of ${rank}`),
    ),
  ];
};

/** `length` elements of an axis from `start` on, `step` apart. */
export function sliceAxis(
  tensor: Tensor,
  axis: number,
  range: { readonly start: number; readonly step: number; readonly length: number },
): Tensor {
  const strides = stridesOf(tensor.shape);
  const dims = [...tensor.shape];
  dims[axis] = range.length;
  const offset = range.length === 0 ? 0 : range.start * strides[axis]!;
  strides[axis]! *= range.step;
  return take(tensor, walk(dims, strides, offset), dims);
}

/** Splits a tensor along an axis into parts of these sizes. */
export function splitTensor(tensor: Tensor, axis: number, sizes: readonly number[]): Tensor[] {
  let start = 0;
  return sizes.map((length) => {
    const part = sliceAxis(tensor, axis, { start, step: 1, length });
    start += length;
    return part;
  });
}

/** ONNX `Split` (opset 18): parts of given sizes, or `num_outputs` equal ones (the last may be smaller). */
const split: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const { axis, num_outputs: parts } = context.attributes({
    axis: attr.int(0),
    num_outputs: attr.optionalInt(),
  });
  const at = normalAxis(axis, input.shape.length) ?? context.fail(`axis ${axis} is out of range`);
  const total = input.shape[at]!;
  const given = context.optional(1);
  const count = parts ?? context.outputCount;
  if (count !== context.outputCount)
    context.fail(`num_outputs is ${count}, there are ${context.outputCount} outputs`);
  const chunk = Math.ceil(total / count);
  const sizes =
    given === undefined
      ? Array.from({ length: count }, (_, index) => Math.max(0, Math.min(chunk, total - index * chunk)))
      : toIntegers(given);
  if (sizes.reduce((sum, size) => sum + size, 0) !== total || sizes.some((size) => size < 0)) {
    context.fail(`parts of [${sizes.join(', ')}] do not make up ${total}`);
  }
  return splitTensor(input, at, sizes);
};

/** ONNX `Slice` (opset 13): numpy slicing; negative steps walk backwards. */
const slice: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const starts = toIntegers(context.tensor(1));
  const ends = toIntegers(context.tensor(2));
  const given = context.optional(3);
  const axes = given === undefined ? starts.map((_, index) => index) : toIntegers(given);
  const stepsGiven = context.optional(4);
  const steps = stepsGiven === undefined ? starts.map(() => 1) : toIntegers(stepsGiven);
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length) {
    context.fail('starts, ends, axes and steps have different lengths');
  }
  const dims = [...input.shape];
  const strides = stridesOf(input.shape);
  let offset = 0;
  normalAxes(context, axes, dims.length).forEach((axis, index) => {
    const dim = dims[axis]!;
    const step = steps[index]!;
    if (step === 0) context.fail('a step is 0');
    const limit = (position: number, low: number, high: number): number =>
      Math.min(Math.max(position < 0 ? position + dim : position, low), high);
    const start = step > 0 ? limit(starts[index]!, 0, dim) : limit(starts[index]!, 0, dim - 1);
    const end = step > 0 ? limit(ends[index]!, 0, dim) : limit(ends[index]!, -1, dim - 1);
    dims[axis] = Math.max(0, Math.ceil((end - start) / step));
    offset += start * strides[axis]!;
    strides[axis]! *= step;
  });
  return [take(input, walk(dims, strides, offset), dims)];
};

/** ONNX `Tile` (opset 13): repeats along each axis. */
const tile: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const repeats = toIntegers(context.tensor(1));
  if (repeats.length !== input.shape.length)
    context.fail(`${repeats.length} repeats for ${input.shape.length} axes`);
  const dims = input.shape.map((dim, axis) => dim * repeats[axis]!);
  context.guard(input.dtype, dims);
  // Each axis as two: the repeat (stride 0) and the dim itself.
  const strides = stridesOf(input.shape);
  const paired = input.shape.flatMap((dim, axis) => [repeats[axis]!, dim]);
  return [
    take(
      input,
      walk(
        paired,
        strides.flatMap((stride) => [0, stride]),
      ),
      dims,
    ),
  ];
};

/** Position in an axis of `dim` elements that index `at` (maybe outside) reads; -1 reads the constant. */
function padded(at: number, dim: number, mode: 'constant' | 'edge' | 'reflect' | 'wrap'): number {
  if (at >= 0 && at < dim) return at;
  if (mode === 'constant') return -1;
  if (mode === 'edge') return at < 0 ? 0 : dim - 1;
  if (mode === 'wrap') return ((at % dim) + dim) % dim;
  if (dim === 1) return 0;
  const period = 2 * (dim - 1);
  const phase = ((at % period) + period) % period;
  return phase < dim ? phase : period - phase;
}

/** ONNX `Pad` (opset 21): constant, reflect, edge or wrap; negative pads cut. */
const pad: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const { mode } = context.attributes({
    mode: attr.oneOf(['constant', 'reflect', 'edge', 'wrap'], 'constant'),
  });
  const pads = toIntegers(context.tensor(1));
  const value = context.optional(2);
  const rank = input.shape.length;
  const given = context.optional(3);
  const axes =
    given === undefined ? input.shape.map((_, axis) => axis) : normalAxes(context, toIntegers(given), rank);
  if (pads.length !== 2 * axes.length) context.fail(`${pads.length} pads for ${axes.length} axes`);
  const before = new Array<number>(rank).fill(0);
  const dims = [...input.shape];
  axes.forEach((axis, index) => {
    before[axis] = pads[index]!;
    dims[axis]! += pads[index]! + pads[index + axes.length]!;
  });
  const strides = stridesOf(input.shape);
  const total = context.guard(input.dtype, dims);
  if (mode !== 'constant' && total > 0 && input.size === 0) context.fail('there is nothing to pad with');
  // Positions axis by axis: one offset per index of each axis, -1 where the constant goes.
  let positions = new Int32Array([0]);
  for (let axis = 0; axis < rank; axis++) {
    const next = new Int32Array(positions.length * dims[axis]!);
    let at = 0;
    for (const base of positions) {
      for (let index = 0; index < dims[axis]!; index++) {
        const source = padded(index - before[axis]!, input.shape[axis]!, mode);
        next[at++] = base < 0 || source < 0 ? -1 : base + source * strides[axis]!;
      }
    }
    positions = next;
  }
  const fill =
    value === undefined ? undefined : (value.data as unknown as readonly (number | bigint | string)[])[0];
  return [take(input, positions, dims, fill)];
};

/** ONNX `DepthToSpace` (opset 13): blocks from channels; `DCR` (block first) or `CRD` (channel first). */
const depthToSpace: ReferenceKernel = (context) => {
  const { blocksize: b, mode } = context.attributes({
    blocksize: attr.requiredInt(),
    mode: attr.oneOf(['DCR', 'CRD'], 'DCR'),
  });
  const input = context.tensor(0);
  if (input.shape.length !== 4) context.fail(`the input has ${input.shape.length} axes, not 4`);
  const [n, c, h, w] = input.shape as [number, number, number, number];
  if (b < 1 || c % (b * b) !== 0)
    context.fail(`${c} channels are not a multiple of blocksize squared (${b * b})`);
  const inner = c / (b * b);
  const moved =
    mode === 'DCR'
      ? permute(input.reshape([n, b, b, inner, h, w]), [0, 3, 4, 1, 5, 2])
      : permute(input.reshape([n, inner, b, b, h, w]), [0, 1, 4, 2, 5, 3]);
  return [moved.reshape([n, inner, h * b, w * b])];
};

/** ONNX `SpaceToDepth` (opset 13): blocks into channels. */
const spaceToDepth: ReferenceKernel = (context) => {
  const { blocksize: b } = context.attributes({ blocksize: attr.requiredInt() });
  const input = context.tensor(0);
  if (input.shape.length !== 4) context.fail(`the input has ${input.shape.length} axes, not 4`);
  const [n, c, h, w] = input.shape as [number, number, number, number];
  if (b < 1 || h % b !== 0 || w % b !== 0) context.fail(`[${h}, ${w}] is not a multiple of blocksize ${b}`);
  const moved = permute(input.reshape([n, c, h / b, b, w / b, b]), [0, 3, 5, 1, 2, 4]);
  return [moved.reshape([n, c * b * b, h / b, w / b])];
};

/** ONNX `ReverseSequence` (opset 10): reverses the first `sequence_lens[b]` steps of each batch entry. */
const reverseSequence: ReferenceKernel = (context) => {
  const { batch_axis: batchAxis, time_axis: timeAxis } = context.attributes({
    batch_axis: attr.int(1),
    time_axis: attr.int(0),
  });
  const input = context.tensor(0);
  const lengths = toIntegers(context.tensor(1));
  const strides = stridesOf(input.shape);
  const [batch, time] = [input.shape[batchAxis]!, input.shape[timeAxis]!];
  if (lengths.length !== batch) context.fail(`${lengths.length} lengths for ${batch} batch entries`);
  const positions = walk(input.shape, strides);
  for (let index = 0; index < positions.length; index++) {
    const entry = Math.floor(index / strides[batchAxis]!) % batch;
    const step = Math.floor(index / strides[timeAxis]!) % time;
    const length = lengths[entry]!;
    if (length < 0 || length > time) context.fail(`length ${length} is outside [0, ${time}]`);
    if (step < length) positions[index]! += (length - 1 - 2 * step) * strides[timeAxis]!;
  }
  return [take(input, positions, input.shape)];
};

/** ONNX `Trilu` (opset 14): the upper or lower triangle of each matrix, from diagonal `k` on. */
const trilu: ReferenceKernel = (context) => {
  const { upper } = context.attributes({ upper: attr.flag(true) });
  const input = context.tensor(0);
  const k = context.optional(1)?.toFloat64Array()[0] ?? 0;
  const columns = input.shape.at(-1) ?? context.fail('the input is no matrix');
  const rows = input.shape.at(-2) ?? context.fail('the input is no matrix');
  const positions = walk(input.shape, stridesOf(input.shape));
  for (let index = 0; index < positions.length; index++) {
    const column = index % columns;
    const row = Math.floor(index / columns) % rows;
    if (upper ? column < row + k : column > row + k) positions[index] = -1;
  }
  return [take(input, positions, input.shape)];
};

/** ONNX `CenterCropPad` (opset 18): crops or zero-pads axes to sizes, centred; an odd rest goes to the end. */
const centerCropPad: ReferenceKernel = (context) => {
  const { axes } = context.attributes({ axes: attr.optionalInts() });
  const input = context.tensor(0);
  const sizes = toIntegers(context.tensor(1));
  const over = normalAxes(context, axes ?? input.shape.map((_, axis) => axis), input.shape.length);
  if (sizes.length !== over.length) context.fail(`${sizes.length} sizes for ${over.length} axes`);
  const dims = [...input.shape];
  const shift = new Array<number>(dims.length).fill(0);
  over.forEach((axis, index) => {
    const [from, to] = [input.shape[axis]!, sizes[index]!];
    shift[axis] = to > from ? -Math.floor((to - from) / 2) : Math.floor((from - to) / 2);
    dims[axis] = to;
  });
  const strides = stridesOf(input.shape);
  const outStrides = stridesOf(dims);
  const positions = new Int32Array(context.guard(input.dtype, dims));
  for (let index = 0; index < positions.length; index++) {
    let at = 0;
    for (let axis = 0; axis < dims.length && at >= 0; axis++) {
      const place = (Math.floor(index / outStrides[axis]!) % dims[axis]!) + shift[axis]!;
      at = place < 0 || place >= input.shape[axis]! ? -1 : at + place * strides[axis]!;
    }
    positions[index] = at;
  }
  return [take(input, positions, dims)];
};

/** Moves elements without changing them: `ai.onnx`. */
export const movementKernels: KernelTable = {
  CenterCropPad: centerCropPad,
  Concat: concat,
  DepthToSpace: depthToSpace,
  Pad: pad,
  ReverseSequence: reverseSequence,
  Slice: slice,
  SpaceToDepth: spaceToDepth,
  Split: split,
  Tile: tile,
  Trilu: trilu,
};
