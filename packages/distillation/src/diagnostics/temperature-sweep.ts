import { errors } from '@lithe/core';

/** One temperature tried. */
export interface SweepPoint {
  /** The temperature. */
  readonly temperature: number;
  /** What the trial gave, one number per seed. */
  readonly metrics: readonly number[];
  /** Their mean. */
  readonly mean: number;
  /** Their standard deviation, that of a sample; 0 for one seed. */
  readonly deviation: number;
}

/** What {@link temperatureSweep} found. */
export interface Sweep {
  /** In the order tried. */
  readonly points: readonly SweepPoint[];
  /** The point with the largest mean; a trial that gave no number is the worst. */
  readonly best: SweepPoint;
  /**
   * Whether the best is ahead of the worst by more than the larger of their deviations; `false` with one seed, which shows
   * no spread to compare with.
   */
  readonly matters: boolean;
}

/** What is tried. */
export interface SweepOptions {
  /** Temperatures; 1, 2, 4 and 8 by default. */
  readonly temperatures?: readonly number[] | undefined;
  /** Seeds for each; 0 alone by default. */
  readonly seeds?: readonly number[] | undefined;
  /** Trains and measures a student, for a few epochs or on a part of the data; larger is better. */
  run(temperature: number, seed: number): Promise<number>;
}

/**
 * Tries temperatures. Which is best depends on how sure the teacher is and on how much smaller the student is; with
 * seeds, the spread of a point says whether the difference means anything.
 *
 * @throws {LitheError} OPTIONS_INVALID when there is nothing to try
 */
export async function temperatureSweep(options: SweepOptions): Promise<Sweep> {
  const { temperatures = [1, 2, 4, 8], seeds = [0] } = options;
  if (
    temperatures.length === 0 ||
    seeds.length === 0 ||
    temperatures.some((value) => !(value > 0 && Number.isFinite(value)))
  )
    throw errors.optionsInvalid('temperatureSweep', ['There must be temperatures above 0, and a seed.']);
  const points: SweepPoint[] = [];
  for (const temperature of temperatures) {
    const metrics: number[] = [];
    for (const seed of seeds) metrics.push(await options.run(temperature, seed));
    const mean = metrics.reduce((total, value) => total + value, 0) / metrics.length;
    const squares = metrics.reduce((total, value) => total + (value - mean) ** 2, 0);
    points.push({
      temperature,
      metrics,
      mean,
      deviation: metrics.length < 2 ? 0 : Math.sqrt(squares / (metrics.length - 1)),
    });
  }
  const worth = ({ mean }: SweepPoint): number => (Number.isNaN(mean) ? Number.NEGATIVE_INFINITY : mean);
  const sorted = points.toSorted((left, right) =>
    worth(left) < worth(right) ? 1 : worth(left) > worth(right) ? -1 : 0,
  );
  const numbers = sorted.filter(({ mean }) => Number.isFinite(mean));
  const [best, worst] = [sorted[0] as SweepPoint, numbers.at(-1)];
  const matters =
    worst !== undefined &&
    seeds.length > 1 &&
    best.mean - worst.mean > Math.max(best.deviation, worst.deviation);
  return { points, best, matters };
}
