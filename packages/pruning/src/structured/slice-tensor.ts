import {
  dtypes,
  elementsOf,
  lazyTensor,
  packNibbles,
  Tensor,
  type TensorSource,
  unpackUint4,
} from '@lithe/core';

/** Indices that are kept of an axis. */
export interface AxisCut {
  /** The axis, counted from the front. */
  readonly axis: number;
  /** Indices that stay, ascending. */
  readonly kept: readonly number[];
}

/** Neighbouring kept indices, as start and count, one after the other. */
function runsOf(kept: readonly number[]): Int32Array {
  const runs: number[] = [];
  for (const index of kept) {
    const last = runs.length - 2;
    if (last >= 0 && (runs[last] as number) + (runs[last + 1] as number) === index) runs[last + 1]!++;
    else runs.push(index, 1);
  }
  return Int32Array.from(runs);
}

/** Copies the kept indices of one axis; `width` is the size of an element in bytes. */
function cutBytes(
  bytes: Uint8Array,
  shape: readonly number[],
  { axis, kept }: AxisCut,
  width: number,
): Uint8Array {
  const outer = elementsOf(shape.slice(0, axis));
  const inner = elementsOf(shape.slice(axis + 1)) * width;
  const row = (shape[axis] as number) * inner;
  const runs = runsOf(kept);
  // One run of the first axis is a view: nothing is copied.
  if (outer === 1 && runs.length === 2) {
    const start = (runs[0] as number) * inner;
    return bytes.subarray(start, start + (runs[1] as number) * inner);
  }
  const result = new Uint8Array(outer * kept.length * inner);
  let to = 0;
  for (let block = 0; block < outer; block++) {
    const from = block * row;
    for (let run = 0; run < runs.length; run += 2) {
      const start = from + (runs[run] as number) * inner;
      const length = (runs[run + 1] as number) * inner;
      // A call costs more than a few bytes copied here.
      if (length < 32)
        for (let offset = 0; offset < length; offset++) result[to + offset] = bytes[start + offset]!;
      else result.set(bytes.subarray(start, start + length), to);
      to += length;
    }
  }
  return result;
}

function cutStrings(
  data: readonly string[],
  shape: readonly number[],
  { axis, kept }: AxisCut,
): readonly string[] {
  const outer = elementsOf(shape.slice(0, axis));
  const inner = elementsOf(shape.slice(axis + 1));
  const result: string[] = [];
  for (let block = 0; block < outer; block++) {
    for (const index of kept) {
      const start = (block * (shape[axis] as number) + index) * inner;
      for (let offset = 0; offset < inner; offset++) result.push(data[start + offset] as string);
    }
  }
  return result;
}

function cutShape(shape: readonly number[], cut: AxisCut): readonly number[] {
  return shape.map((dim, axis) => (axis === cut.axis ? cut.kept.length : dim));
}

/** Keeps some indices of a tensor's axes. */
export function sliceTensor(tensor: Tensor, cuts: readonly AxisCut[]): Tensor {
  const { dtype } = tensor;
  let { shape } = tensor;
  if (dtype === 'string') {
    let data = tensor.data as readonly string[];
    for (const cut of cuts) {
      data = cutStrings(data, shape, cut);
      shape = cutShape(shape, cut);
    }
    return Tensor.from('string', shape, data as string[]);
  }
  const isPacked = dtype === 'int4' || dtype === 'uint4';
  // Signed or not, the four bits of an element are only moved.
  let bytes = isPacked ? unpackUint4(tensor.bytes, tensor.size) : tensor.bytes;
  const width = isPacked ? 1 : dtypes[dtype].bits / 8;
  for (const cut of cuts) {
    bytes = cutBytes(bytes, shape, cut, width);
    shape = cutShape(shape, cut);
  }
  return Tensor.fromBytes(dtype, shape, isPacked ? packNibbles(bytes) : bytes);
}

/**
 * Keeps some indices of a tensor's axes. What lies in memory is cut at once, so that what is cut away is freed; what
 * lies in a file is cut when it is read.
 */
export function sliceSource(source: TensorSource, cuts: readonly AxisCut[]): TensorSource {
  if (source instanceof Tensor) return sliceTensor(source, cuts);
  let shape: readonly number[] = source.shape;
  for (const cut of cuts) shape = cutShape(shape, cut);
  return lazyTensor(source.dtype, shape, async (signal) => sliceTensor(await source.load(signal), cuts));
}
