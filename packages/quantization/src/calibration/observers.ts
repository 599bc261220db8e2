import { channelSums } from './channel-sums.ts';
import type { Observer } from './statistics.ts';
import { streamingHistogram } from './streaming-histogram.ts';

/** Bins of a histogram where nothing else is said. */
export const DEFAULT_BINS = 4096;

/** Batches whose extremes are remembered. At the usual constant 0.01, an older one weighs less than 0.00004. */
export const REMEMBERED_BATCHES = 1024;

interface Extremes {
  minimum: number;
  maximum: number;
  finite: boolean;
}

const nothing = (): Extremes => ({
  minimum: Number.POSITIVE_INFINITY,
  maximum: Number.NEGATIVE_INFINITY,
  finite: true,
});

function widen(extremes: Extremes, data: Float32Array): void {
  let low = extremes.minimum;
  let high = extremes.maximum;
  for (let index = 0; index < data.length; index++) {
    const value = data[index]!;
    if (value >= low && value <= high) continue;
    if (value - value !== 0) extremes.finite = false;
    else {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  extremes.minimum = low;
  extremes.maximum = high;
}

/** Number of zeros, either sign: without a branch, which would be mispredicted half of the time. */
function zerosIn(data: Float32Array): number {
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  let others = 0;
  for (let index = 0; index < bits.length; index++) {
    const magnitude = bits[index]! << 1;
    others += (magnitude | -magnitude) >>> 31;
  }
  return data.length - others;
}

/** Keeps the smallest and largest element, and nothing else. About 1 GB/s on one core. */
export function minMaxObserver(): Observer {
  const seen = nothing();
  return {
    update: (data) => widen(seen, data),
    result: () =>
      seen.minimum <= seen.maximum ? { ...seen } : { minimum: 0, maximum: 0, finite: seen.finite },
  };
}

/** What {@link statisticsObserver} keeps. */
export interface StatisticsObserverOptions {
  /** Name of the value, for messages. */
  readonly name?: string | undefined;
  /** Bins of the histogram; 4,096 by default. */
  readonly bins?: number | undefined;
  /** Axis whose channels are told apart; none by default. */
  readonly channels?: number | undefined;
}

/** The latest extremes of batches, in a ring. */
function rememberedExtremes(): {
  readonly add: (minimum: number, maximum: number) => void;
  readonly result: () => { readonly minima: readonly number[]; readonly maxima: readonly number[] };
} {
  const minima = new Float32Array(REMEMBERED_BATCHES);
  const maxima = new Float32Array(REMEMBERED_BATCHES);
  let batches = 0;
  const ordered = (ring: Float32Array): readonly number[] => {
    const start = batches % REMEMBERED_BATCHES;
    return batches <= REMEMBERED_BATCHES
      ? Array.from(ring.subarray(0, batches))
      : [...ring.subarray(start), ...ring.subarray(0, start)];
  };
  return {
    add: (minimum, maximum) => {
      minima[batches % REMEMBERED_BATCHES] = minimum + 0; // -0 would not survive JSON
      maxima[batches % REMEMBERED_BATCHES] = maximum + 0;
      batches++;
    },
    result: () => ({ minima: ordered(minima), maxima: ordered(maxima) }),
  };
}

/**
 * Keeps all that the calibrators of this package need: extremes, a histogram, mean and mean square, the extremes of the
 * latest batches and, where asked for, the same by channel. Memory is fixed: 8 bytes a bin, 8 KiB for batches, 32 bytes
 * a channel.
 */
export function statisticsObserver(options: StatisticsObserverOptions = {}): Observer {
  const { name = '', bins = DEFAULT_BINS } = options;
  const all = nothing();
  const histogram = streamingHistogram(bins);
  const batches = rememberedExtremes();
  const channels = options.channels === undefined ? undefined : channelSums(name, options.channels);
  let elements = 0;
  let zeros = 0;
  let sum = 0;
  let squares = 0;
  return {
    update: (data, shape) => {
      const here = nothing();
      widen(here, data);
      if (!here.finite) all.finite = false;
      channels?.update(data, shape);
      if (!(here.minimum <= here.maximum)) return;
      if (here.minimum < all.minimum) all.minimum = here.minimum;
      if (here.maximum > all.maximum) all.maximum = here.maximum;
      batches.add(here.minimum, here.maximum);
      histogram.cover(here.minimum, here.maximum);
      const moments = histogram.count(data, here.finite);
      elements += moments.elements;
      zeros += zerosIn(data);
      sum += moments.sum;
      squares += moments.squares;
    },
    result: () => {
      const byChannel = channels?.result();
      return {
        minimum: elements === 0 ? 0 : all.minimum + 0,
        maximum: elements === 0 ? 0 : all.maximum + 0,
        finite: all.finite,
        elements,
        zeros,
        mean: elements === 0 ? 0 : sum / elements,
        meanSquare: elements === 0 ? 0 : squares / elements,
        histogram: histogram.result(),
        batches: batches.result(),
        ...(byChannel === undefined ? {} : { channels: byChannel }),
      };
    },
  };
}
