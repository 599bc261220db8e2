import type { Dataset, Executable, Feeds, Model } from '@lithe/core';

/** What a model gave on the held-out samples. */
export interface Evaluation {
  /** Share of what it got right. */
  readonly accuracy: number;
  /** Its outputs on some of the samples, for the signal to noise. */
  readonly outputs: readonly Feeds[];
}

/** A model with real data, which is quantized in every way. */
export interface Subject {
  /** Name in the table. */
  readonly name: string;
  /** The float model as it is found. */
  readonly model: Model;
  /** What accuracy counts. */
  readonly measure: string;
  /** Samples that ranges are taken from, one a batch. */
  readonly calibration: readonly Feeds[];
  /** What is timed. */
  readonly timed: Feeds;
  /** Which of our ways are tried beside those that every model gets. */
  readonly kind: 'convolutional' | 'transformer';
  /** Whether it has so many layers that each is not tried on 64 samples. */
  readonly large: boolean;
  /** Runs a model on held-out samples. */
  evaluate(executable: Executable): Promise<Evaluation>;
}

/** Calibration samples as a dataset. */
export function datasetOf(samples: readonly Feeds[], description: string): Dataset {
  return {
    size: samples.length,
    description,
    async *batches(options = {}) {
      for (const inputs of samples.slice(0, options.limit ?? samples.length)) yield { inputs, size: 1 };
    },
  };
}
