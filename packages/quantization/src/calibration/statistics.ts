/**
 * How often values fell where, on a grid of bins that starts at a multiple of the bin width: bin `i` counts the values
 * in `[(first + i) * width, (first + i + 1) * width)`, where `width = 2 ** exponent`. One bin begins at 0.
 */
export interface ValueHistogram {
  /** Binary logarithm of the bin width. */
  readonly exponent: number;
  /** Lower edge of the first bin, in bin widths: 0 or negative. */
  readonly first: number;
  /** Values in each bin. */
  readonly counts: readonly number[];
}

/** Smallest and largest element of each of the latest batches, oldest first. */
export interface BatchExtremes {
  /** Smallest element of each batch. */
  readonly minima: readonly number[];
  /** Largest element of each batch. */
  readonly maxima: readonly number[];
}

/** What was seen of each channel of an activation. */
export interface ChannelStatistics {
  /** Axis that counts the channels; negative from the end. */
  readonly axis: number;
  /** Smallest element of each channel. */
  readonly minimum: readonly number[];
  /** Largest element of each channel. */
  readonly maximum: readonly number[];
  /** Mean of each channel. */
  readonly mean: readonly number[];
  /** Mean of the squares of each channel. */
  readonly meanSquare: readonly number[];
}

/** What was seen of one activation. Only finite elements count, but for `finite` itself. */
export interface TensorStatistics {
  /** Smallest element. */
  readonly minimum: number;
  /** Largest element. */
  readonly maximum: number;
  /** Whether all elements were finite. */
  readonly finite: boolean;
  /** Number of elements. */
  readonly elements?: number | undefined;
  /** How many of them were exactly 0. */
  readonly zeros?: number | undefined;
  /** Their mean. */
  readonly mean?: number | undefined;
  /** Mean of their squares. */
  readonly meanSquare?: number | undefined;
  /** Where they fell. */
  readonly histogram?: ValueHistogram | undefined;
  /** Extremes of the latest batches, for moving averages. */
  readonly batches?: BatchExtremes | undefined;
  /** The same by channel, for values where it was asked for. */
  readonly channels?: ChannelStatistics | undefined;
}

/**
 * What was seen of a model's activations on real inputs: plain data that survives JSON. Whatever has passed through a
 * file goes through {@link readCalibrationStats}.
 */
export interface CalibrationStats {
  /** Version of this form. */
  readonly version: 1;
  /** Number of samples seen. */
  readonly samples: number;
  /** Where they came from. */
  readonly source: string;
  /** By value name. */
  readonly tensors: Readonly<Record<string, TensorStatistics>>;
}

/**
 * What was seen of one value, if it was observed. Unlike plain indexing it is not misled by values that are named like
 * members of every object.
 */
export function statisticsOf(stats: CalibrationStats, name: string): TensorStatistics | undefined {
  return Object.hasOwn(stats.tensors, name) ? stats.tensors[name] : undefined;
}

/** Reduces the elements of one activation as batches pass, in fixed memory. */
export interface Observer {
  /**
   * Takes in the elements of one batch. They are not kept.
   *
   * @param shape of the batch, for observers that tell channels apart
   */
  update(data: Float32Array, shape: readonly number[]): void;
  /** What was seen so far. */
  result(): TensorStatistics;
}
