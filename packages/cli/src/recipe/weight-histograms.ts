import { isFloat, type Model, type Tensor, type Value } from '@lithe/core';
import type { WeightHistogram } from '../report/run-report.ts';

/** Bins of a histogram. */
const BINS = 64;

/** Histograms of a model; of larger models those of the largest weights. */
const MAX_HISTOGRAMS = 64;

/**
 * How the weights of each layer are spread: of every matrix and kernel, in graph order. One weight is in memory at a
 * time, and each is read once for its range and once for its counts.
 */
export async function weightHistograms(
  model: Model,
  signal: AbortSignal,
): Promise<readonly WeightHistogram[]> {
  const values = [...model.graph.initializers].filter(isWeight);
  const sizes = new Map(values.map((value) => [value, value.initializer?.byteLength ?? 0]));
  const largest = new Set(
    [...values]
      .sort((left, right) => (sizes.get(right) ?? 0) - (sizes.get(left) ?? 0))
      .slice(0, MAX_HISTOGRAMS),
  );
  const histograms: WeightHistogram[] = [];
  for (const value of values) {
    if (!largest.has(value) || value.initializer === undefined) continue;
    signal.throwIfAborted();
    histograms.push(histogramOf(value.name, await value.initializer.load(signal)));
  }
  return histograms;
}

/** Matrices and kernels, as floats or quantized; biases and shapes are not drawn. */
function isWeight(value: Value): boolean {
  const { initializer } = value;
  if (initializer === undefined || initializer.shape.length < 2) return false;
  const { dtype } = initializer;
  return isFloat(dtype) || dtype === 'int8' || dtype === 'uint8' || dtype === 'int4' || dtype === 'uint4';
}

/** Counts of 64 equal bins between the smallest and the largest finite weight. */
export function histogramOf(weight: string, tensor: Tensor): WeightHistogram {
  const data = tensor.toFloat64Array();
  let [low, high, zeros] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
  for (let index = 0; index < data.length; index++) {
    const number = data[index]!;
    if (number === 0) zeros++;
    if (!Number.isFinite(number)) continue;
    if (number < low) low = number;
    if (number > high) high = number;
  }
  const counts = new Array<number>(BINS).fill(0);
  if (low > high) return { weight, range: [0, 0], counts, zeros };
  const scale = high > low ? BINS / (high - low) : 0;
  for (let index = 0; index < data.length; index++) {
    const number = data[index]!;
    if (!Number.isFinite(number)) continue;
    const bin = Math.min(BINS - 1, Math.floor((number - low) * scale));
    counts[bin] = counts[bin]! + 1;
  }
  return { weight, range: [low, high], counts, zeros };
}
