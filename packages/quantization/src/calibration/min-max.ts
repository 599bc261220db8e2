import type { Calibrator } from './calibrator.ts';

/**
 * From the smallest to the largest element that was seen: nothing is clipped, and one outlier widens the steps for all.
 */
export function minMaxCalibrator(): Calibrator {
  return {
    name: 'min-max',
    range: ({ minimum, maximum }) => ({ minimum, maximum }),
  };
}
