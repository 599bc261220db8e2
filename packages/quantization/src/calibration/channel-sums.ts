import { errors } from '@lithe/core';
import type { ChannelStatistics } from './statistics.ts';

/** Sums by channel as batches pass. */
export interface ChannelSums {
  /** Takes in a batch. */
  update(data: Float32Array, shape: readonly number[]): void;
  /** What was seen; `undefined` before the first batch. */
  result(): ChannelStatistics | undefined;
}

/**
 * Extremes, mean and mean square of each channel, summed in float64.
 *
 * @param name of the value, for messages
 * @param axis that counts the channels; negative from the end
 */
export function channelSums(name: string, axis: number): ChannelSums {
  let channels = -1;
  let elements = new Float64Array(0);
  let minimum = new Float32Array(0);
  let maximum = new Float32Array(0);
  let sum = new Float64Array(0);
  let squares = new Float64Array(0);
  return {
    update: (data, shape) => {
      const at = axis < 0 ? shape.length + axis : axis;
      const here = shape[at];
      if (here === undefined) {
        throw errors.valueOutOfRange(`The channel axis of value "${name}"`, axis, `its ${shape.length} axes`);
      }
      if (channels === -1) {
        channels = here;
        elements = new Float64Array(here);
        minimum = new Float32Array(here).fill(Number.POSITIVE_INFINITY);
        maximum = new Float32Array(here).fill(Number.NEGATIVE_INFINITY);
        sum = new Float64Array(here);
        squares = new Float64Array(here);
      } else if (channels !== here) {
        throw errors.dataInvalid(
          name,
          `it has ${channels} channels along axis ${axis} in one batch and ${here} in another.`,
        );
      }
      const inner = shape.slice(at + 1).reduce((left, right) => left * right, 1);
      for (
        let index = 0, channel = 0;
        index < data.length;
        channel = channel + 1 === here ? 0 : channel + 1
      ) {
        let low = minimum[channel]!;
        let high = maximum[channel]!;
        let total = 0;
        let square = 0;
        let finite = 0;
        for (const end = index + inner; index < end; index++) {
          const value = data[index]!;
          if (value - value !== 0) continue;
          finite++;
          if (value < low) low = value;
          if (value > high) high = value;
          total += value;
          square += value * value;
        }
        minimum[channel] = low;
        maximum[channel] = high;
        elements[channel]! += finite;
        sum[channel]! += total;
        squares[channel]! += square;
      }
    },
    result: () => {
      if (channels === -1) return undefined;
      const seen = (index: number): boolean => elements[index]! > 0;
      return {
        axis,
        minimum: Array.from(minimum, (value, index) => (seen(index) ? value + 0 : 0)),
        maximum: Array.from(maximum, (value, index) => (seen(index) ? value + 0 : 0)),
        mean: Array.from(sum, (value, index) => (seen(index) ? value / elements[index]! + 0 : 0)),
        meanSquare: Array.from(squares, (value, index) => (seen(index) ? value / elements[index]! + 0 : 0)),
      };
    },
  };
}
