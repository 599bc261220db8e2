import type { Model, Tensor, Value } from '@lithe/core';
import { type ChannelSpec, channelMoments, type ProbeBuilder, probeBuilder } from './reductions.ts';
import { type ProbeSource, runOver } from './run-over.ts';

/** Mean and variance of each channel over all samples and positions. */
export interface Moments {
  /** Mean, `[channels]`. */
  readonly mean: Float64Array;
  /** Variance (divided by the count), `[channels]`. */
  readonly variance: Float64Array;
}

/** Merges the moments of batches into those of all of them, in float64. */
export interface MomentAccumulator {
  /** Takes in one batch of `count` positions. */
  add(mean: ArrayLike<number>, variance: ArrayLike<number>, count: number): void;
  /** The moments so far. */
  result(): Moments;
}

/**
 * Makes an accumulator.
 *
 * @see Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979,
 *   equation 2.1
 */
export function momentAccumulator(channels: number): MomentAccumulator {
  const mean = new Float64Array(channels);
  const squares = new Float64Array(channels);
  let total = 0;
  return {
    add: (batchMean, batchVariance, count) => {
      if (count === 0) return;
      const share = count / (total + count);
      for (let channel = 0; channel < channels; channel++) {
        const delta = batchMean[channel]! - mean[channel]!;
        squares[channel] =
          squares[channel]! + batchVariance[channel]! * count + delta * delta * total * share;
        mean[channel] = mean[channel]! + delta * share;
      }
      total += count;
    },
    result: () => ({ mean: mean.slice(), variance: squares.map((sum) => sum / Math.max(1, total)) }),
  };
}

/** A value whose channels are measured. */
export interface MomentRequest extends ChannelSpec {
  /** The value, of the model that is measured. */
  readonly value: Value;
}

/** Measures the channels of values of a model on real inputs. Reduced in the runtime: only numbers per channel come back. */
export async function measureMoments(
  model: Model,
  requests: readonly MomentRequest[],
  source: ProbeSource,
): Promise<readonly Moments[]> {
  if (requests.length === 0) return [];
  const draft = model.clone();
  const probe = probeBuilder(draft.graph);
  const found = requests.map((request) => {
    const value = draft.graph.value(request.value.name) as Value;
    const moments = channelMoments(probe, value, request);
    return { ...moments, size: elementCount(probe, value), into: momentAccumulator(request.count) };
  });
  draft.graph.setOutputs(found.flatMap(({ mean, variance, size }) => [mean, variance, size]));
  await runOver(draft, source, {
    task: 'measure channels',
    visit: (results) => {
      for (const { mean, variance, size, into } of found) {
        const numbers = (value: Value): ArrayLike<number> =>
          (results[value.name] as Tensor).data as Float32Array;
        const elements = Number((results[size.name] as Tensor<'int64'>).data[0] ?? 0n);
        into.add(numbers(mean), numbers(variance), elements / numbers(mean).length);
      }
    },
  });
  return found.map(({ into }) => into.result());
}

/** Number of elements of a value, as a scalar output. */
export function elementCount(probe: ProbeBuilder, value: Value): Value {
  return probe.node('Size', [value]);
}
