import { errors } from '@lithe/core';
import type { Calibrator } from './calibrator.ts';
import { REMEMBERED_BATCHES } from './observers.ts';

/** Options of {@link movingAverageCalibrator}. */
export interface MovingAverageOptions {
  /** Weight of each batch against those before it, from 0.005 to 1; 0.01 by default. */
  readonly constant?: number | undefined;
}

function average(values: readonly number[], constant: number): number {
  let mean = values[0] ?? 0;
  for (let index = 1; index < values.length; index++) mean += constant * (values[index]! - mean);
  return mean;
}

/**
 * Exponential moving average of the extremes of the batches, which dampens outliers by their rarity. It depends on the
 * size and order of the batches. Of more than 1,024 batches only the latest count.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when the constant is outside [0.005, 1]
 * @see Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
 *   2018, section 3.1
 */
export function movingAverageCalibrator(options: MovingAverageOptions = {}): Calibrator {
  const { constant = 0.01 } = options;
  const name = 'moving-average';
  if (!(constant >= 0.005 && constant <= 1)) {
    throw errors.valueOutOfRange(
      'The constant of the moving average',
      constant,
      `[0.005, 1]; with a smaller one, more than the ${REMEMBERED_BATCHES} remembered batches would count`,
    );
  }
  return {
    name,
    range: ({ batches }) => {
      if (batches === undefined || batches.minima.length === 0) {
        throw errors.optionsInvalid(
          `calibrator "${name}"`,
          ['The statistics hold no extremes of batches.'],
          'Observe the model again without an observer of your own.',
        );
      }
      return { minimum: average(batches.minima, constant), maximum: average(batches.maxima, constant) };
    },
  };
}
