import { channelMaxima, scaleChannels, type WeightLayout } from '../layers/weight-layout.ts';

/** One layer, reduced to what equalization looks at. */
export interface EqualizedLayer {
  /** Largest magnitude over the taps of each row and column; changed in place. */
  readonly cells: Float64Array;
  /** How channels lie in them. */
  readonly layout: WeightLayout;
}

/** Two layers with a factor per channel between them. */
export interface EqualizedPair {
  /** Its output channels are divided by the factors. */
  readonly from: EqualizedLayer;
  /** Its input channels are multiplied by them. */
  readonly to: EqualizedLayer;
  /** Input channels of {@link to} per output channel of {@link from}. */
  readonly repeat: number;
}

/** How long {@link equalize} goes on. */
export interface EqualizeLimits {
  /** Sweeps over all pairs at most. */
  readonly sweeps: number;
  /** It ends when no factor of a sweep is further from 1 than this. */
  readonly tolerance: number;
}

/** Result of {@link equalize}. */
export interface Equalization {
  /** Factors of each pair, one per output channel of its first layer. */
  readonly factors: readonly Float64Array[];
  /** Sweeps it took. */
  readonly sweeps: number;
}

/** Largest input channel of each output channel before it. */
function repeatedMaxima(maxima: Float64Array, repeat: number): Float64Array {
  if (repeat === 1) return maxima;
  const found = new Float64Array(maxima.length / repeat);
  for (let index = 0; index < maxima.length; index++) {
    const channel = Math.floor(index / repeat);
    if (maxima[index]! > found[channel]!) found[channel] = maxima[index]!;
  }
  return found;
}

/** Repeats each factor for the input channels that belong to it. */
export function repeated(factors: Float64Array, repeat: number): Float64Array {
  return repeat === 1
    ? factors
    : Float64Array.from(
        { length: factors.length * repeat },
        (_, index) => factors[Math.floor(index / repeat)]!,
      );
}

/**
 * Finds the factors that make the ranges of the two weights at each channel between layers equal:
 * `s = sqrt(r1 r2) / r2`, the first layer divided by it and the second multiplied, pair after pair until nothing moves.
 * A layer between two others (a depthwise convolution) belongs to two pairs, and the three ranges meet at their
 * geometric mean. Channels without weights on one side keep the factor 1.
 *
 * @see Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.1.2 and
 *   equation 11; appendix A shows that the fixed point maximizes the precision of all channels
 */
export function equalize(pairs: readonly EqualizedPair[], limits: EqualizeLimits): Equalization {
  const factors = pairs.map(({ from }) => new Float64Array(from.layout.outputs).fill(1));
  let sweeps = 0;
  for (let moved = Number.POSITIVE_INFINITY; sweeps < limits.sweeps && moved > limits.tolerance; sweeps++) {
    moved = 0;
    for (const [index, { from, to, repeat }] of pairs.entries()) {
      const before = channelMaxima(from.cells, from.layout, 'output');
      const after = repeatedMaxima(channelMaxima(to.cells, to.layout, 'input'), repeat);
      const scale = new Float64Array(before.length);
      const total = factors[index] as Float64Array;
      for (let channel = 0; channel < scale.length; channel++) {
        const ratio = Math.sqrt(before[channel]! / after[channel]!);
        // 0 or infinite where a side has no weights, NaN where neither has.
        const factor = ratio > 0 && ratio < Number.POSITIVE_INFINITY ? ratio : 1;
        scale[channel] = factor;
        total[channel] = total[channel]! * factor;
        moved = Math.max(moved, Math.abs(Math.log(factor)));
      }
      const inverse = scale.map((factor) => 1 / factor);
      scaleChannels(from.cells, from.layout, { side: 'output', factors: inverse, taps: 1 });
      scaleChannels(to.cells, to.layout, { side: 'input', factors: repeated(scale, repeat), taps: 1 });
    }
  }
  return { factors, sweeps };
}
