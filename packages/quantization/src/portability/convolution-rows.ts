import type { Node } from '@lithe/core';

/** How a convolution's window moves, every list one entry per spatial axis. */
export interface WindowGeometry {
  /** Dims of the input. */
  readonly input: readonly number[];
  /** Dims of the result. */
  readonly output: readonly number[];
  /** Dims of the window. */
  readonly kernel: readonly number[];
  /** Steps. */
  readonly strides: readonly number[];
  /** Distance of taps. */
  readonly dilations: readonly number[];
  /** Padding before each axis. */
  readonly before: readonly number[];
}

function ints(node: Node, name: string): readonly number[] | undefined {
  const found = node.attributes.get(name);
  return found?.kind === 'ints' ? found.value.map(Number) : undefined;
}

/** Reads the window of a convolution and finds the spatial dims of its result. */
export function windowOf(node: Node, input: readonly number[], kernel: readonly number[]): WindowGeometry {
  const ones = input.map(() => 1);
  const strides = ints(node, 'strides') ?? ones;
  const dilations = ints(node, 'dilations') ?? ones;
  const auto = node.attributes.get('auto_pad');
  const mode = auto?.kind === 'string' ? auto.value : 'NOTSET';
  const pads = mode === 'NOTSET' ? ints(node, 'pads') : undefined;
  const same = mode === 'SAME_UPPER' || mode === 'SAME_LOWER';
  const axes = input.map((dim, axis) => {
    const stride = strides[axis]!;
    const extent = (kernel[axis]! - 1) * dilations[axis]! + 1;
    if (same) {
      const places = Math.ceil(dim / stride);
      const total = Math.max(0, (places - 1) * stride + extent - dim);
      return { places, before: mode === 'SAME_UPPER' ? Math.floor(total / 2) : Math.ceil(total / 2) };
    }
    const before = pads?.[axis] ?? 0;
    const padded = dim + before + (pads?.[axis + input.length] ?? 0);
    return { places: Math.floor((padded - extent) / stride) + 1, before };
  });
  const [output, before] = [axes.map(({ places }) => places), axes.map((axis) => axis.before)];
  return { input, output, kernel, strides, dilations, before };
}

const product = (dims: readonly number[]): number => dims.reduce((all, dim) => all * dim, 1);

/**
 * Where each tap of each place falls in the flat input: `place * taps + tap`; -1 on padding.
 */
export function tapTable(window: WindowGeometry): Int32Array {
  const { input, output, kernel, strides, dilations, before } = window;
  const taps = product(kernel);
  const table = new Int32Array(product(output) * taps);
  const place = output.map(() => 0);
  const tap = kernel.map(() => 0);
  const advance = (digits: number[], dims: readonly number[]): void => {
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      if (++digits[axis]! < dims[axis]!) return;
      digits[axis] = 0;
    }
  };
  for (let at = 0; at < table.length; at++) {
    let position = 0;
    for (let axis = 0; axis < input.length; axis++) {
      const index = place[axis]! * strides[axis]! - before[axis]! + tap[axis]! * dilations[axis]!;
      position = position < 0 || index < 0 || index >= input[axis]! ? -1 : position * input[axis]! + index;
    }
    table[at] = position;
    advance(tap, kernel);
    if ((at + 1) % taps === 0) advance(place, output);
  }
  return table;
}

/** A part of an input to lay out: one sample, the channels of one group. */
export interface RowsInput {
  /** Unsigned levels of the whole input, `[N, C, spatial…]`. */
  readonly levels: Uint8Array;
  /** First element of the part. */
  readonly from: number;
  /** Channels of the group. */
  readonly channels: number;
  /** Elements of one channel. */
  readonly area: number;
  /** Level that stands for 0, which padding is. */
  readonly zero: number;
}

/**
 * Lays the windows of a part of an input out as rows: tap after tap, the channels of each tap next to each other, as
 * onnxruntime does (channels last).
 */
export function windowRows(input: RowsInput, table: Int32Array): Uint8Array {
  const { levels, from, channels, area, zero } = input;
  const rows = new Uint8Array(table.length * channels);
  for (let at = 0, to = 0; at < table.length; at++) {
    const position = table[at]!;
    if (position < 0) {
      rows.fill(zero, to, to + channels);
      to += channels;
    } else
      for (let channel = 0; channel < channels; channel++)
        rows[to++] = levels[from + channel * area + position]!;
  }
  return rows;
}

/** Weights `[M, C / group, kernel…]` with the channels of each tap next to each other: `[M, taps, C / group]`. */
export function channelsLastWeights(levels: Int8Array, maps: number, channels: number): Int8Array {
  const taps = levels.length / (maps * channels);
  const out = new Int8Array(levels.length);
  for (let map = 0, to = 0; map < maps; map++) {
    const base = map * channels * taps;
    for (let tap = 0; tap < taps; tap++)
      for (let channel = 0; channel < channels; channel++) out[to++] = levels[base + channel * taps + tap]!;
  }
  return out;
}
