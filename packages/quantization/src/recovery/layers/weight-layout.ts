import type { Node } from '@lithe/core';
import { intOf } from './attributes.ts';

/**
 * Which channel each row and column of a weight belongs to: `base[row] + step * column`, the weight seen as
 * `[rows, columns, taps]`.
 */
export interface ChannelMap {
  /** Channel of the first column of each row. */
  readonly base: Int32Array;
  /** 1 where columns are channels of their own, 0 where a row is one channel. */
  readonly step: 0 | 1;
}

/** How the channels of a linear operator lie in its weight. */
export interface WeightLayout {
  /** First axis of the weight. */
  readonly rows: number;
  /** Second axis. */
  readonly columns: number;
  /** Product of the remaining axes. */
  readonly taps: number;
  /** Channels of the output. */
  readonly outputs: number;
  /** Channels of the input. */
  readonly inputs: number;
  /** Groups of a convolution; 1 for products. */
  readonly groups: number;
  /** Output channel of each row and column. */
  readonly output: ChannelMap;
  /** Input channel of each row and column. */
  readonly input: ChannelMap;
}

const rowsAsChannels = (rows: number): ChannelMap => ({
  base: Int32Array.from({ length: rows }, (_, row) => row),
  step: 0,
});

/** Columns as channels, counted on from one group of rows to the next. */
function columnsAsChannels(rows: number, columns: number, groups: number): ChannelMap {
  const perGroup = rows / groups;
  return {
    base: Int32Array.from({ length: rows }, (_, row) => Math.floor(row / perGroup) * columns),
    step: 1,
  };
}

/**
 * Reads how the weight of a `Conv`, `ConvTranspose`, `Gemm` or `MatMul` is laid out.
 *
 * @param shape of the weight
 * @returns `undefined` when the shape does not fit the operator
 */
export function weightLayout(node: Node, shape: readonly number[]): WeightLayout | undefined {
  const [rows, columns] = shape;
  if (rows === undefined || columns === undefined || rows === 0 || columns === 0) return undefined;
  const taps = shape.slice(2).reduce((product, dim) => product * dim, 1);
  if (node.is('Conv') || node.is('ConvTranspose')) {
    const groups = intOf(node, 'group', 1);
    if (shape.length < 3 || !(groups >= 1) || rows % groups !== 0 || taps === 0) return undefined;
    const own = rowsAsChannels(rows);
    const across = columnsAsChannels(rows, columns, groups);
    const sizes = { rows, columns, taps, groups };
    return node.is('Conv')
      ? { ...sizes, outputs: rows, inputs: columns * groups, output: own, input: across }
      : { ...sizes, outputs: columns * groups, inputs: rows, output: across, input: own };
  }
  if (shape.length !== 2) return undefined;
  const flipped = node.is('Gemm') && intOf(node, 'transB', 0) === 1;
  const own = rowsAsChannels(rows);
  const across = columnsAsChannels(rows, columns, 1);
  const sizes = { rows, columns, taps, groups: 1 };
  return flipped
    ? { ...sizes, outputs: rows, inputs: columns, output: own, input: across }
    : { ...sizes, outputs: columns, inputs: rows, output: across, input: own };
}

/** Largest magnitude over the taps, `[rows, columns]`. */
export function tapMagnitudes(data: Float32Array, layout: WeightLayout): Float64Array {
  const { rows, columns, taps } = layout;
  const magnitudes = new Float64Array(rows * columns);
  for (let cell = 0, at = 0; cell < magnitudes.length; cell++) {
    let most = 0;
    for (let tap = 0; tap < taps; tap++, at++) {
      const value = Math.abs(data[at]!);
      if (!(value <= most)) most = value;
    }
    magnitudes[cell] = most;
  }
  return magnitudes;
}

/**
 * Largest cell of each channel.
 *
 * @param cells `[rows, columns]`
 */
export function channelMaxima(
  cells: Float64Array,
  layout: WeightLayout,
  side: 'output' | 'input',
): Float64Array {
  const { rows, columns } = layout;
  const { base, step } = layout[side];
  const maxima = new Float64Array(side === 'output' ? layout.outputs : layout.inputs);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0, channel = base[row]!; column < columns; column++, at++, channel += step) {
      if (!(cells[at]! <= maxima[channel]!)) maxima[channel] = cells[at]!;
    }
  }
  return maxima;
}

/**
 * Multiplies each channel by a factor, in place.
 *
 * @param cells `[rows, columns, taps]`, or `[rows, columns]` with `taps` 1
 */
export function scaleChannels(
  cells: Float64Array | Float32Array,
  layout: WeightLayout,
  options: {
    /** Whose channels. */
    readonly side: 'output' | 'input';
    /** One per channel. */
    readonly factors: Float64Array;
    /** Elements per cell; those of the layout by default. */
    readonly taps?: number | undefined;
  },
): void {
  const { rows, columns } = layout;
  const { side, factors, taps = layout.taps } = options;
  const { base, step } = layout[side];
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0, channel = base[row]!; column < columns; column++, channel += step) {
      const factor = factors[channel]!;
      for (const end = at + taps; at < end; at++) cells[at] = cells[at]! * factor;
    }
  }
}

/** Sums weight times `shift` of the input channel over all inputs and taps: what a constant input adds to each output. */
export function sumOverInputs(data: Float32Array, layout: WeightLayout, shift: Float64Array): Float64Array {
  const { rows, columns, taps } = layout;
  const sums = new Float64Array(layout.outputs);
  for (let row = 0, at = 0; row < rows; row++) {
    let output = layout.output.base[row]!;
    let input = layout.input.base[row]!;
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (const end = at + taps; at < end; at++) sum += data[at]!;
      sums[output] = sums[output]! + sum * shift[input]!;
      output += layout.output.step;
      input += layout.input.step;
    }
  }
  return sums;
}
