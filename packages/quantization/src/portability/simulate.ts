import {
  createRunContext,
  type Dataset,
  errors,
  type Model,
  type Node,
  ReportBuilder,
  type RunContext,
  type Tensor,
} from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { convertToIntegerOperators } from '../passes/integer-operators/convert.ts';
import { type NodeSaturation, saturatingKernels } from './saturating-kernels.ts';

/** What saturation does to one layer. */
export interface LayerSaturation {
  /** Name of the node in the model. */
  readonly node: string;
  /** Share of the pairs of products whose sum leaves 16 bits. */
  readonly saturatedShare: number;
  /** Share of the layer's results that such a pair is part of. */
  readonly affectedShare: number;
  /** Signal to noise of the layer's results, in decibels, on the inputs it has without saturation; Infinity without any. */
  readonly sqnrDb: number;
}

/** What a processor without VNNI makes of a model. */
export interface SaturationReport {
  /** Layers whose sums may saturate, in order. */
  readonly layers: readonly LayerSaturation[];
  /** Samples it was tried on. */
  readonly samples: number;
  /** Signal to noise of the model's float outputs, in decibels, beside the same model without saturation. */
  readonly outputSqnrDb: number;
  /** Share of rows of the first output whose largest element stays where it is. */
  readonly agreement: number;
}

/** How {@link simulateSaturation} works. */
export interface SaturationOptions {
  /** At most this many samples; 8 by default: every layer is multiplied in plain code. */
  readonly samples?: number | undefined;
  /**
   * What becomes of Quantize/Dequantize pairs: onnxruntime fuses them (`qdq`, the default) and then shifts signed
   * activations to unsigned ones, or they will be written as integer operators (`qoperator`), which keep them and then
   * saturate nothing.
   */
  readonly format?: 'qdq' | 'qoperator' | undefined;
  /** Samples per batch; 1 by default. */
  readonly batchSize?: number | undefined;
  /** Randomness, progress, cancellation. */
  readonly context?: RunContext | undefined;
}

/** What was added up for one layer. */
class LayerTotals {
  pairs = 0;
  saturated = 0;
  outputs = 0;
  affected = 0;
  signal = 0;
  noise = 0;

  add(found: NodeSaturation): void {
    this.pairs += found.pairs;
    this.saturated += found.saturated;
    this.outputs += found.outputs;
    this.affected += found.affected;
    this.signal += found.signal;
    this.noise += found.noise;
  }
}

const decibels = (signal: number, noise: number): number =>
  noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(signal / noise);

/** Compares the outputs of two runs. */
class Comparison {
  signal = 0;
  noise = 0;
  rows = 0;
  agreeing = 0;

  add(exact: Readonly<Record<string, Tensor>>, saturated: Readonly<Record<string, Tensor>>): void {
    Object.entries(exact).forEach(([name, tensor], position) => {
      const other = saturated[name];
      if (tensor.dtype !== 'float32' || other === undefined) return;
      const [left, right] = [tensor.toFloat64Array(), other.toFloat64Array()];
      for (let index = 0; index < left.length; index++) {
        this.signal += left[index]! ** 2;
        this.noise += (left[index]! - right[index]!) ** 2;
      }
      if (position === 0) this.#agree(left, right, tensor.shape.at(-1) ?? 1);
    });
  }

  #agree(left: Float64Array, right: Float64Array, width: number): void {
    for (let row = 0; row + width <= left.length; row += width) {
      let [first, second] = [row, row];
      for (let index = row + 1; index < row + width; index++) {
        if (left[index]! > left[first]!) first = index;
        if (right[index]! > right[second]!) second = index;
      }
      this.rows++;
      if (first === second) this.agreeing++;
    }
  }
}

/**
 * Tries out what x86 processors without VNNI make of a quantized model: their kernels add two products of unsigned
 * activations and signed weights in 16 bits, which saturate silently. Every integer convolution and product is computed
 * exactly and with saturation, on real inputs; unsigned weights and depthwise convolutions do not saturate there.
 *
 * A layer that saturates wants weights of 7 bits (`reducedRange` of {@link staticInt8}), whose pairs always fit.
 *
 * @param model with Quantize/Dequantize pairs or integer operators; it is not changed
 * @throws {LitheError} DATA_INVALID when the dataset is empty
 * @see {@link multiplySaturating} for which products are added in 16 bits
 */
export async function simulateSaturation(
  model: Model,
  data: Dataset,
  options: SaturationOptions = {},
): Promise<SaturationReport> {
  const { samples: limit = 8, batchSize = 1, format = 'qdq' } = options;
  const context = options.context ?? createRunContext();
  const { signal } = context;
  const integers = model.clone();
  await convertToIntegerOperators(integers, { microsoft: false, report: new ReportBuilder(), signal });
  const totals = new Map<string, LayerTotals>();
  const original = new Set([...model.graph.nodesDeep()].map((node) => node.name));
  const keepsSigned = (node: Node): boolean => format === 'qoperator' || original.has(node.name);
  const count = (found: NodeSaturation): void => {
    const name = original.has(found.node) ? found.node : found.node.replace(/_quant$/, '');
    const known = totals.get(name) ?? new LayerTotals();
    known.add(found);
    totals.set(name, known);
  };
  const names = new Set(integers.graph.inputs.map((input) => input.name));
  const comparison = new Comparison();
  let samples = 0;
  for await (const batch of data.batches({ batchSize, limit, signal })) {
    signal.throwIfAborted();
    const feeds = Object.fromEntries(Object.entries(batch.inputs).filter(([name]) => names.has(name)));
    const exact = await evaluateModel(integers, feeds, {
      kernels: saturatingKernels(count, false, keepsSigned),
      signal,
    });
    const kernels = saturatingKernels(() => undefined, true, keepsSigned);
    comparison.add(exact, await evaluateModel(integers, feeds, { kernels, signal }));
    samples += batch.size;
    context.progress({ task: 'saturation', done: samples, total: Math.min(limit, data.size ?? limit) });
  }
  if (samples === 0) throw errors.dataInvalid(data.description, 'it holds no samples to try the model on.');
  const layers = [...totals].map(
    ([node, found]): LayerSaturation => ({
      node,
      saturatedShare: found.pairs === 0 ? 0 : found.saturated / found.pairs,
      affectedShare: found.outputs === 0 ? 0 : found.affected / found.outputs,
      sqnrDb: decibels(found.signal, found.noise),
    }),
  );
  return {
    layers,
    samples,
    outputSqnrDb: decibels(comparison.signal, comparison.noise),
    agreement: comparison.rows === 0 ? 1 : comparison.agreeing / comparison.rows,
  };
}

/**
 * Layers that lose more by saturation than by weights of 7 bits: below 40 dB, what rounding a weight to 8 bits leaves.
 */
export function layersToReduce(report: SaturationReport): readonly string[] {
  return report.layers.filter(({ sqnrDb }) => sqnrDb < 40).map(({ node }) => node);
}
