import { z } from 'zod';
import type { Calibrator } from './calibrator.ts';
import { entropyCalibrator } from './entropy.ts';
import { minMaxCalibrator } from './min-max.ts';
import { movingAverageCalibrator } from './moving-average.ts';
import { mseCalibrator } from './mse.ts';
import { percentileCalibrator } from './percentile.ts';

/** Names of this package's calibrators, for recipes. */
export type CalibratorName = 'min-max' | 'moving-average' | 'percentile' | 'entropy' | 'mse';

/** A calibrator: one of this package with its defaults, by name, or any as a value. */
export type CalibratorChoice = CalibratorName | Calibrator;

const named: Readonly<Record<CalibratorName, () => Calibrator>> = {
  'min-max': minMaxCalibrator,
  'moving-average': movingAverageCalibrator,
  percentile: percentileCalibrator,
  entropy: entropyCalibrator,
  mse: mseCalibrator,
};

/** The calibrator that was chosen. */
export function calibratorOf(choice: CalibratorChoice): Calibrator {
  return typeof choice === 'string' ? named[choice]() : choice;
}

/** Schema of {@link CalibratorChoice}. */
export const calibratorChoice: z.ZodType<CalibratorChoice, CalibratorChoice> = z.union([
  z.enum(['min-max', 'moving-average', 'percentile', 'entropy', 'mse']),
  z.custom<Calibrator>(
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      typeof (value as Partial<Calibrator>).name === 'string' &&
      typeof (value as Partial<Calibrator>).range === 'function',
    'must be a calibrator or the name of one',
  ),
]);
