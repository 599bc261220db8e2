import { errors } from '@lithe/core';
import { dequantizeGroups } from '../parameters/kernels.ts';
import { blocksOf } from './block-scales.ts';
import { roundToNearest } from './round-to-nearest.ts';
import type { ProductGroup, WeightAlgorithm, WeightMatrix, WeightTools } from './weight-algorithm.ts';

/** Options of {@link awq}. */
export interface AwqOptions {
  /** Powers of the activations' magnitude that are tried, evenly from 0 to below 1; 20 by default. */
  readonly gridSteps?: number | undefined;
  /**
   * How the scaled weights are rounded: any algorithm; by default to nearest, each block's range narrowed where that
   * lowers its error (the paper's search for clipping).
   */
  readonly rounding?: WeightAlgorithm | undefined;
}

/** Least share of the error that scaling must take away to be worth a multiplication at run time. */
const SMALLEST_GAIN = 0.01;

function scaled(matrix: WeightMatrix, factors: Float32Array): WeightMatrix {
  const { data, outputs, inputs } = matrix;
  const out = new Float32Array(data.length);
  for (let row = 0, at = 0; row < outputs; row++)
    for (let channel = 0; channel < inputs; channel++, at++) out[at] = data[at]! * factors[channel]!;
  return { ...matrix, data: out };
}

/** What rounding the scaled weights adds to the products' squared errors. */
async function errorWith(group: ProductGroup, factors: Float32Array, tools: WeightTools): Promise<number> {
  let total = 0;
  for (const matrix of group.matrices) {
    const { data, outputs, inputs } = matrix;
    const { levels, parameters } = await roundToNearest().quantize(scaled(matrix, factors), tools);
    const change = dequantizeGroups(levels, blocksOf(matrix), parameters);
    for (let row = 0, at = 0; row < outputs; row++)
      for (let channel = 0; channel < inputs; channel++, at++)
        change[at] = change[at]! / factors[channel]! - data[at]!;
    for (const error of await tools.error(change, group.moments)) total += error;
  }
  return total;
}

/**
 * `magnitude^power`, brought around 1 as the paper's code has it: divided by the geometric mean of its extremes. A channel
 * that was always zero keeps its weights as they are: its errors do not show in the data, so that nothing would stop the
 * search from giving its precision to the others.
 */
function factorsOf(magnitudes: Float64Array, power: number): Float32Array {
  const raw = magnitudes.map((value) => Math.max(value ** power, 1e-4));
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  for (let channel = 0; channel < raw.length; channel++) {
    if (magnitudes[channel] === 0) continue;
    least = Math.min(least, raw[channel]!);
    most = Math.max(most, raw[channel]!);
  }
  const middle = Math.sqrt(least * most);
  return Float32Array.from(raw, (value, channel) => (magnitudes[channel] === 0 ? 1 : value / middle));
}

/**
 * Activation-aware weight quantization: input channels with large activations get larger weights before rounding, and
 * the activations are divided by the same factors, so that their relative errors shrink. How much larger is searched:
 * the mean magnitude of the channel to a power from 0 to 1, the one with the least error of the products on calibration
 * data. The division goes into what the activations are computed from (a normalization, a bias, products before, also
 * through `Relu` and gates) where nothing else reads that, and into a `Mul` of its own otherwise.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when the number of steps is not a whole number from 1 to 1000
 * @see Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", MLSys 2024,
 *   section 3.2. The search for clipping weighs errors by the mean square of each channel, instead of multiplying
 *   samples out.
 *
 * @example
 * ```ts
 * import { awq, gptq, weightOnly } from '@lithe/quantization';
 *
 * weightOnly({ algorithm: awq({ rounding: gptq() }) }).name; // => 'quantization/weight-only'
 * ```
 */
export function awq(options: AwqOptions = {}): WeightAlgorithm {
  const { gridSteps = 20, rounding = roundToNearest({ scales: 'search' }) } = options;
  if (!Number.isSafeInteger(gridSteps) || gridSteps < 1 || gridSteps > 1000)
    throw errors.valueOutOfRange('The grid of awq', gridSteps, 'the whole numbers from 1 to 1000');
  return {
    name: `awq+${rounding.name}`,
    settings: { gridSteps, rounding: { name: rounding.name, ...rounding.settings } },
    needs: 'input-moments',
    sequential: rounding.sequential,
    scaleInputs: async (group, tools) => {
      const { moments } = group;
      const plain = await errorWith(group, new Float32Array(moments.inputs).fill(1), tools);
      let least = plain * (1 - SMALLEST_GAIN);
      let best: Float32Array | undefined;
      for (let step = 1; step < gridSteps; step++) {
        tools.signal.throwIfAborted();
        const factors = factorsOf(moments.meanMagnitude, step / gridSteps);
        const error = await errorWith(group, factors, tools);
        if (error < least) {
          least = error;
          best = factors;
        }
      }
      return best;
    },
    quantize: (matrix, tools) => rounding.quantize(matrix, tools),
  };
}
