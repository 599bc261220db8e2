import { asymmetricParameters } from '../parameters/affine.ts';
import type { IntegerRange } from '../parameters/integer-range.ts';
import { HALF_EVEN } from '../parameters/rounding.ts';
import { type Calibrator, histogramOf, type RealRange } from './calibrator.ts';
import type { TensorStatistics } from './statistics.ts';

/** The bins that hold something other than zeros: edges, and values per unit of length. */
interface Density {
  readonly left: Float64Array;
  readonly right: Float64Array;
  readonly height: Float64Array;
}

function densityOf(statistics: TensorStatistics): Density {
  const { exponent, first, counts } = histogramOf(statistics, 'mse');
  const width = 2 ** exponent;
  const left: number[] = [];
  const right: number[] = [];
  const height: number[] = [];
  for (let bin = 0; bin < counts.length; bin++) {
    // Zeros are exact at any scale.
    const count = counts[bin]! - (first + bin === 0 ? (statistics.zeros ?? 0) : 0);
    if (count <= 0) continue;
    const from = Math.max((first + bin) * width, statistics.minimum);
    const to = Math.min((first + bin + 1) * width, statistics.maximum);
    // A bin whose values are all the extreme itself has no length: give it a little, that it keeps its weight.
    const start = to - from > width * 1e-6 ? from : to - width * 1e-6;
    left.push(start);
    right.push(to);
    height.push(count / (to - start));
  }
  return {
    left: Float64Array.from(left),
    right: Float64Array.from(right),
    height: Float64Array.from(height),
  };
}

/** An antiderivative of the squared error of rounding to whole numbers. */
function roundingErrors(x: number): number {
  const nearest = x + HALF_EVEN - HALF_EVEN;
  const rest = x - nearest;
  return nearest / 12 + (rest * rest * rest) / 3;
}

const cube = (x: number): number => x * x * x;

/**
 * Expected squared error, times the number of values, of quantizing to a range, where values are spread evenly within
 * each bin: the integral of the squared rounding error inside and of the squared distance to the end beyond.
 */
function expectedError(density: Density, range: RealRange, integers: IntegerRange): number {
  const { scale, zeroPoint } = asymmetricParameters(range.minimum, range.maximum, integers);
  const lowest = integers.low - zeroPoint;
  const highest = integers.high - zeroPoint;
  const atLowest = roundingErrors(lowest);
  const atHighest = roundingErrors(highest);
  const { left, right, height } = density;
  const inverse = 1 / scale;
  let sum = 0;
  let end = Number.NaN;
  let atEnd = 0;
  for (let bin = 0; bin < height.length; bin++) {
    const start = left[bin]!;
    let atStart = atEnd;
    // Neighbouring bins share an edge.
    if (start !== end) {
      const x = start * inverse;
      if (x > highest) atStart = atHighest + cube(x - highest) / 3;
      else atStart = x < lowest ? atLowest - cube(lowest - x) / 3 : roundingErrors(x);
    }
    end = right[bin]!;
    const x = end * inverse;
    if (x > highest) atEnd = atHighest + cube(x - highest) / 3;
    else atEnd = x < lowest ? atLowest - cube(lowest - x) / 3 : roundingErrors(x);
    sum += height[bin]! * (atEnd - atStart);
  }
  return sum * cube(scale);
}

/** Factors of the first sweep: eight to an octave, down to a 1,024th. */
const COARSE: readonly number[] = Array.from({ length: 81 }, (_, index) => 2 ** (-index / 8));
/** Spread of the sweeps that refine both ends, the upper and the lower, in turn. */
const FINE: readonly number[] = [0.3, 0.1, 0.03, 0.01];
const FINE_STEPS = 12;

/**
 * The range of least expected squared error between values and what quantization makes of them, clipping and rounding
 * together, computed from the histogram: first a common threshold for both ends, then each end for itself.
 *
 * @see Banner et al., "Post-training 4-bit quantization of convolution networks for rapid-deployment", 2019, section 3,
 *   for the error as a function of the clipping value. There it is solved for Gaussian and Laplace distributions; here it
 *   is evaluated for the distribution that was seen.
 */
export function mseCalibrator(): Calibrator {
  return {
    name: 'mse',
    range: (statistics, integers) => {
      const { minimum, maximum } = statistics;
      const density = densityOf(statistics);
      let best: RealRange = { minimum: Math.min(0, minimum), maximum: Math.max(0, maximum) };
      if (density.height.length === 0 || minimum === maximum) return best;
      let least = expectedError(density, best, integers);
      const attempt = (low: number, high: number): void => {
        const range = {
          minimum: Math.max(low, Math.min(0, minimum)),
          maximum: Math.min(high, Math.max(0, maximum)),
        };
        const error = expectedError(density, range, integers);
        // Wins of rounding noise are none: of equals the first, which is the widest.
        if (error >= least * (1 - 1e-9)) return;
        least = error;
        best = range;
      };
      const reach = Math.max(best.maximum, -best.minimum);
      for (const factor of COARSE) attempt(-reach * factor, reach * factor);
      for (const spread of FINE) {
        for (const [low, high] of [
          [1, 1],
          [0, 1],
          [1, 0],
        ] as const) {
          const around = best;
          for (let step = -FINE_STEPS; step <= FINE_STEPS; step++) {
            const change = (spread * step) / FINE_STEPS;
            attempt(around.minimum * (1 + low * change), around.maximum * (1 + high * change));
          }
        }
      }
      return best;
    },
  };
}
