import { errors, inverseFactor } from '@lithe/core';
import { dequantizeGroups, type IntegerArray, integerArray, quantizeGroups } from '../parameters/kernels.ts';
import type { Resolved } from '../passes/resolved.ts';
import { blocksOf, rangeParameters, searchedParameters } from './block-scales.ts';
import { compensate } from './compensate.ts';
import type {
  InputMoments,
  QuantizedMatrix,
  WeightAlgorithm,
  WeightMatrix,
  WeightTools,
} from './weight-algorithm.ts';

/** Options of {@link gptq}. */
export interface GptqOptions {
  /** Share of the mean of H's diagonal that is added to it; 0.01 by default. */
  readonly damping?: number | undefined;
  /**
   * Order in which input channels are rounded. `energy` (default): those with the largest activations first, with
   * scales found beforehand. `stored`: as they lie in the weight, each block's scale found as it comes up, from the
   * weights as they are by then. On a sentence encoder `energy` came 0.4 dB closer to the float model.
   */
  readonly order?: 'stored' | 'energy' | undefined;
  /** How a block's scale is found; see `roundToNearest`. `search` by default. */
  readonly scales?: 'range' | 'search' | undefined;
  /**
   * Whether a product is calibrated on what comes out of the quantized products before it. The data runs once for each
   * input that products share, and a float copy of the weights is held. `false` by default.
   */
  readonly sequential?: boolean | undefined;
}

type Settings = Resolved<GptqOptions>;

/** The inverse of a damped H, as the elimination reads it. */
interface Factor {
  /** `H^-1 = U' U` in the order of {@link order}, `[K, K]`. */
  readonly upper: Float64Array;
  /** Input channel at each place. */
  readonly order: Int32Array;
  /** What was added to the diagonal. */
  readonly lambda: number;
  /** Damping that it took. */
  readonly damping: number;
}

/** Damping grows with what is missing: with fewer rows than channels, H says nothing of most directions. */
function dampingFor(moments: InputMoments, damping: number): number {
  const { rows, inputs } = moments;
  return rows >= inputs ? damping : Math.min(1, (damping * inputs) / Math.max(1, rows));
}

function orderOf(moments: InputMoments, order: 'stored' | 'energy'): Int32Array {
  const { inputs, hessian } = moments;
  const places = Int32Array.from({ length: inputs }, (_, index) => index);
  if (order === 'stored') return places;
  const energy = Float64Array.from(places, (channel) => hessian[channel * (inputs + 1)]!);
  return places.sort((left, right) => energy[right]! - energy[left]! || left - right);
}

function factorOf(moments: InputMoments, what: string, options: Settings): Factor {
  const { inputs, hessian } = moments;
  let mean = 0;
  for (let channel = 0; channel < inputs; channel++) mean += hessian[channel * (inputs + 1)]! / inputs;
  const order = orderOf(moments, options.order);
  let damping = dampingFor(moments, options.damping);
  for (; ; damping = Math.max(damping * 10, 1e-6)) {
    // A channel that was always zero has no say: without damping of its own it would stop the factorization.
    const lambda = mean === 0 ? 1 : damping * mean;
    const copy = new Float64Array(inputs * inputs);
    for (let row = 0; row < inputs; row++) {
      const from = order[row]! * inputs;
      for (let column = 0; column < inputs; column++)
        copy[row * inputs + column] = hessian[from + order[column]!]!;
      copy[row * (inputs + 1)]! += lambda;
    }
    const upper = inverseFactor(copy, inputs);
    if (upper !== undefined) return { upper, order, lambda, damping };
    // Damping by the whole diagonal makes any sum of squares positive definite.
    if (damping > 1e3) throw errors.internal(`H of ${what} cannot be factored`);
  }
}

function changeOf(matrix: WeightMatrix, levels: IntegerArray, parameters: QuantizedMatrix['parameters']) {
  const change = dequantizeGroups(levels, blocksOf(matrix), parameters);
  for (let index = 0; index < change.length; index++) change[index]! -= matrix.data[index]!;
  return change;
}

function squares(change: Float32Array, row: number, inputs: number): number {
  let sum = 0;
  for (let index = row * inputs; index < (row + 1) * inputs; index++) sum += change[index]! ** 2;
  return sum;
}

/** Takes back rows that rounding to nearest does better on the calibration data, and adds up both errors. */
async function keepBetterRows(
  matrix: WeightMatrix,
  found: Pick<QuantizedMatrix, 'levels' | 'parameters'> & { readonly damped: Float64Array },
  lambda: number,
  tools: WeightTools,
): Promise<NonNullable<QuantizedMatrix['error']>> {
  const { outputs, inputs, range, moments } = matrix;
  const parameters = rangeParameters(matrix);
  const nearest = quantizeGroups(matrix.data, blocksOf(matrix), { parameters, range });
  const theirs = await tools.error(changeOf(matrix, nearest, parameters), moments as InputMoments);
  const change = changeOf(matrix, found.levels, found.parameters);
  const blocks = Math.ceil(inputs / matrix.blockSize);
  const total = { own: 0, roundToNearest: 0 };
  for (let row = 0; row < outputs; row++) {
    // The elimination knows its own error with the damping, D (H + lambda I) D'.
    const own = Math.max(0, found.damped[row]! - lambda * squares(change, row, inputs));
    total.roundToNearest += theirs[row]!;
    total.own += Math.min(own, theirs[row]!);
    if (own <= theirs[row]!) continue;
    found.levels.set(nearest.subarray(row * inputs, (row + 1) * inputs), row * inputs);
    const groups = [row * blocks, (row + 1) * blocks] as const;
    found.parameters.scales.set(parameters.scales.subarray(...groups), groups[0]);
    if (parameters.zeroPoints !== undefined)
      found.parameters.zeroPoints?.set(parameters.zeroPoints.subarray(...groups), groups[0]);
  }
  return total;
}

async function quantize(
  matrix: WeightMatrix,
  factor: Factor,
  { options, tools }: { readonly options: Settings; readonly tools: WeightTools },
): Promise<QuantizedMatrix> {
  const start = options.scales === 'search' ? searchedParameters(matrix) : rangeParameters(matrix);
  const parameters = {
    scales: start.scales.slice(),
    zeroPoints: start.zeroPoints?.slice(),
    middle: start.middle,
  };
  const levels = integerArray(matrix.range, matrix.data.length);
  const damped = compensate(matrix, {
    upper: factor.upper,
    order: factor.order,
    parameters,
    levels,
    scales: options.order === 'energy' ? 'given' : options.scales,
    signal: tools.signal,
  });
  const error = await keepBetterRows(matrix, { levels, parameters, damped }, factor.lambda, tools);
  const { moments, what } = matrix;
  const short = moments !== undefined && moments.rows < moments.inputs;
  const notes = short
    ? [
        `The data gave ${what} ${moments.rows} rows for sums of ${moments.inputs}; damping was raised to ${Number(factor.damping.toPrecision(2))}.`,
      ]
    : factor.damping > options.damping
      ? [`Damping was raised to ${Number(factor.damping.toPrecision(2))} for ${what}.`]
      : [];
  return { levels, parameters, error, notes };
}

/**
 * GPTQ: rounds the weights of a product one input channel after the other, and moves those not rounded yet so that
 * they make up for the error, as far as the inputs that were seen let them. Needs calibration data with about as many
 * rows (tokens) as the sums are long; with fewer, damping is raised and reported. A row of weights that rounding to
 * nearest does better on the data is rounded to nearest.
 *
 * For a weight `[K, N]` it takes `16 K^2` bytes and about `K^3 / 3 + N K^2 / 2` multiply-adds; products that read one
 * input share the first part.
 *
 * Where we differ from the paper: the upper factor of the inverse comes from a factorization in reversed order, without
 * the inverse; a channel that was always zero keeps its weights, rounded to nearest, instead of losing them.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when the damping is not positive
 * @see Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR 2023,
 *   algorithm 1
 *
 * @example
 * ```ts
 * import { gptq, weightOnly } from '@lithe/quantization';
 *
 * weightOnly({ bits: 4, algorithm: gptq({ sequential: true }) }).name; // => 'quantization/weight-only'
 * ```
 */
export function gptq(options: GptqOptions = {}): WeightAlgorithm {
  const { damping = 0.01, order = 'energy', scales = 'search', sequential = false } = options;
  if (!(damping > 0 && damping <= 1))
    throw errors.valueOutOfRange('The damping of gptq', damping, 'the numbers above 0 up to 1');
  const settings: Settings = { damping, order, scales, sequential };
  // Products that read one input share the factorization, for as long as its moments are held.
  const factors = new WeakMap<InputMoments, Factor>();
  return {
    name: 'gptq',
    settings: { ...settings },
    needs: 'input-moments',
    sequential,
    quantize: (matrix, tools) => {
      const { moments, what } = matrix;
      if (moments === undefined)
        throw errors.optionsInvalid('gptq', [`There are no moments of the inputs of ${what}.`]);
      const factor = factors.get(moments) ?? factorOf(moments, what, settings);
      factors.set(moments, factor);
      return quantize(matrix, factor, { options: settings, tools });
    },
  };
}
