import type { Rng, Tensor } from '@lithe/core';
import type { LinearLayer } from '../layers/linear-layer.ts';
import { type AxisTable, axisTables, tapOffsets } from './positions.ts';

/** How a layer's weight is seen while its rounding is learned: one matrix `[outputs, length]` for each group. */
export interface MatrixView {
  /** Groups. */
  readonly groups: number;
  /** Outputs of a group. */
  readonly outputs: number;
  /** Length of the sums. */
  readonly length: number;
  /** Element of the weight at each place of `[groups, outputs, length]`; `undefined` where it is the same. */
  readonly order: Int32Array | undefined;
}

/** Lays a weight out as matrices. */
export function matrixView(layer: LinearLayer): MatrixView {
  const { layout, node } = layer;
  const { rows, columns, taps, groups } = layout;
  if (node.is('Conv')) return { groups, outputs: rows / groups, length: columns * taps, order: undefined };
  if (layout.output.step === 0) return { groups: 1, outputs: rows, length: columns, order: undefined };
  // Inputs are rows: [inputs, outputs of the group, taps] becomes [outputs of the group, inputs, taps].
  const inputs = rows / groups;
  const order = new Int32Array(rows * columns * taps);
  let at = 0;
  for (let group = 0; group < groups; group++) {
    for (let output = 0; output < columns; output++) {
      for (let input = 0; input < inputs; input++) {
        const first = ((group * inputs + input) * columns + output) * taps;
        for (let tap = 0; tap < taps; tap++) order[at++] = first + tap;
      }
    }
  }
  return { groups, outputs: columns, length: inputs * taps, order };
}

/** Inputs and results of one layer at a number of places. */
export interface LayerRows {
  /** What is summed over, `[groups, rows, length]`. */
  readonly inputs: Float32Array<ArrayBuffer>;
  /** What the float model makes of it, `[groups, rows, outputs]`. */
  readonly targets: Float32Array<ArrayBuffer>;
  /** Rows filled so far. */
  count: number;
  /** Rows there is room for. */
  readonly capacity: number;
}

/** Makes room for rows. */
export function layerRows(view: MatrixView, capacity: number): LayerRows {
  return {
    inputs: new Float32Array(view.groups * capacity * view.length),
    targets: new Float32Array(view.groups * capacity * view.outputs),
    count: 0,
    capacity,
  };
}

/** One batch of a layer. */
export interface LayerBatch {
  /** What the quantized layer reads. */
  readonly input: Tensor;
  /** What the float layer makes. */
  readonly output: Tensor;
}

/** Takes the rows at some positions of each sample of a convolution. */
function takePatches(
  layer: LinearLayer,
  view: MatrixView,
  batch: LayerBatch,
  fill: { readonly rows: LayerRows; readonly perSample: number; readonly rng: Rng },
): boolean {
  const { rows, perSample, rng } = fill;
  const x = batch.input.data as Float32Array;
  const y = batch.output.data as Float32Array;
  const [samples = 0, channels = 0, ...input] = batch.input.shape;
  const output = batch.output.shape.slice(2);
  const tables = axisTables(layer.node, layer.source.shape.slice(2), { input, output });
  if (tables === undefined) return false;
  const size = input.reduce((product, dim) => product * dim, 1);
  const positions = output.reduce((product, dim) => product * dim, 1);
  const offsets = new Int32Array(tables.reduce((product: number, { taps }: AxisTable) => product * taps, 1));
  const { groups, outputs, length } = view;
  const perGroup = channels / groups;
  for (let sample = 0; sample < samples; sample++) {
    for (let pick = 0; pick < Math.min(perSample, positions) && rows.count < rows.capacity; pick++) {
      const position = rng.integer(positions);
      tapOffsets(tables, input, position, offsets);
      const row = rows.count++;
      for (let group = 0; group < groups; group++) {
        let at = (group * rows.capacity + row) * length;
        let from = (sample * channels + group * perGroup) * size;
        for (let channel = 0; channel < perGroup; channel++, from += size) {
          for (let tap = 0; tap < offsets.length; tap++, at++) {
            const offset = offsets[tap]!;
            rows.inputs[at] = offset < 0 ? 0 : x[from + offset]!;
          }
        }
        const to = (group * rows.capacity + row) * outputs;
        let source = (sample * groups + group) * outputs * positions + position;
        for (let channel = 0; channel < outputs; channel++, source += positions)
          rows.targets[to + channel] = y[source]!;
      }
    }
  }
  return true;
}

/** Takes some rows of a product's `[rows, length]`. */
function takeRows(
  view: MatrixView,
  batch: LayerBatch,
  fill: { readonly rows: LayerRows; readonly perSample: number; readonly rng: Rng },
): void {
  const { rows, perSample, rng } = fill;
  const { outputs, length } = view;
  const x = batch.input.data as Float32Array;
  const y = batch.output.data as Float32Array;
  const all = x.length / length;
  const samples = batch.input.shape.length > 2 ? (batch.input.shape[0] ?? 1) : all;
  const wanted = Math.min(all, samples * perSample, rows.capacity - rows.count);
  for (let pick = 0; pick < wanted; pick++) {
    const from = wanted === all ? pick : rng.integer(all);
    const row = rows.count++;
    rows.inputs.set(x.subarray(from * length, (from + 1) * length), row * length);
    rows.targets.set(y.subarray(from * outputs, (from + 1) * outputs), row * outputs);
  }
}

/**
 * Adds rows of one batch: what the layer sums over at some positions of each sample, and what comes out there.
 *
 * @returns false when the window of a convolution cannot be told
 */
export function addRows(
  layer: LinearLayer,
  view: MatrixView,
  batch: LayerBatch,
  fill: { readonly rows: LayerRows; readonly perSample: number; readonly rng: Rng },
): boolean {
  if (layer.channels === 'second') return takePatches(layer, view, batch, fill);
  takeRows(view, batch, fill);
  return true;
}
