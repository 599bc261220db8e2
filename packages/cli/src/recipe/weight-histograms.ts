import { isFloat, type Model, Tensor, type Value } from '@lithe/core';
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
    histograms.push(histogramOf(value.name, unpacked(value, await value.initializer.load(signal))));
  }
  return histograms;
}

/** Inputs that say how weights are stored: scales, zero points, largest values of blocks. */
const storageInputs: Readonly<Record<string, readonly number[]>> = {
  QuantizeLinear: [1, 2],
  DequantizeLinear: [1, 2],
  MatMulNBits: [2, 3, 4],
  MatMulBnb4: [2],
  GatherBlockQuantized: [2, 3],
};

/** Inputs that hold two codes of 4 bits a byte, with the bits that an operator has when it does not say. */
const packedInputs: Readonly<Record<string, number>> = {
  MatMulNBits: 1,
  MatMulBnb4: 1,
  GatherBlockQuantized: 0,
};

/** Bytes of two codes each as codes; anything else as it is. */
function unpacked({ uses }: Value, tensor: Tensor): Tensor {
  if (tensor.dtype !== 'uint8') return tensor;
  const packed = uses.some(({ node, index }) => {
    const bits = node.attributes.get('bits');
    return packedInputs[node.opType] === index && (bits?.kind !== 'int' || bits.value === 4n);
  });
  return packed ? Tensor.fromBytes('uint4', [2 * tensor.size], tensor.bytes) : tensor;
}

/** Matrices and kernels, as floats or quantized; biases, shapes and scales of blocks are not drawn. */
function isWeight({ initializer, uses }: Value): boolean {
  if (initializer === undefined || initializer.shape.length < 2) return false;
  if (
    uses.length > 0 &&
    uses.every(({ node, index }) => storageInputs[node.opType]?.includes(index) === true)
  )
    return false;
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
