import { errors, formatShape } from '../errors/catalogue.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { numbersOf } from './numbers.ts';

/**
 * Sums over two streams of numbers, from which every measure of their difference follows. Constant in size.
 * Equal elements, NaN beside NaN and infinity beside the same infinity among them, have no error; NaN or infinity
 * beside anything else has an infinite one and is counted in `mismatched`.
 */
export interface DifferenceSums {
  /** Elements seen. */
  elements: number;
  /** Sum of squares of the expected elements that are finite. */
  signal: number;
  /** Sum of squares of the actual elements that are finite. */
  energy: number;
  /** Sum of products. */
  product: number;
  /** Sum of squared errors. */
  noise: number;
  /** Largest absolute error. */
  maxAbs: number;
  /** Largest finite magnitude of an expected element. */
  peak: number;
  /** Elements whose error is infinite. */
  mismatched: number;
}

/** Sums of nothing. */
export function emptySums(): DifferenceSums {
  return { elements: 0, signal: 0, energy: 0, product: 0, noise: 0, maxAbs: 0, peak: 0, mismatched: 0 };
}

/**
 * Adds the elements of two tensors of one shape to the sums. Dtypes may differ; complex numbers count as pairs.
 *
 * @throws {LitheError} SHAPE_MISMATCH when shapes differ; DTYPE_UNSUPPORTED when one holds strings
 */
export function addDifference(sums: DifferenceSums, expected: Tensor, actual: Tensor, name = 'actual'): void {
  if (
    expected.shape.length !== actual.shape.length ||
    expected.shape.some((dim, axis) => dim !== actual.shape[axis])
  ) {
    throw errors.outputMismatch(
      name,
      `has shape ${formatShape(actual.shape)}, expected ${formatShape(expected.shape)}`,
    );
  }
  if (expected.dtype.startsWith('complex') !== actual.dtype.startsWith('complex')) {
    throw errors.outputMismatch(name, `is of dtype ${actual.dtype}, expected ${expected.dtype}`);
  }
  if (isWide(expected) && isWide(actual)) addWide(sums, expected, actual);
  else addNumbers(sums, numbersOf(expected, 'A comparison'), numbersOf(actual, 'A comparison'));
}

const isWide = (tensor: Tensor): tensor is Tensor<'int64' | 'uint64'> =>
  tensor.dtype === 'int64' || tensor.dtype === 'uint64';

/** 64-bit integers are subtracted before they become float64, so that a difference of one is seen at any size. */
function addWide(
  sums: DifferenceSums,
  expected: Tensor<'int64' | 'uint64'>,
  actual: Tensor<'int64' | 'uint64'>,
): void {
  const left = expected.data;
  const right = actual.data;
  for (let index = 0; index < left.length; index++) {
    const e = left[index]!;
    const a = right[index]!;
    addOne(sums, Number(e), Number(a), e === a ? 0 : Number(e > a ? e - a : a - e));
  }
  sums.elements += left.length;
}

function addOne(sums: DifferenceSums, expected: number, actual: number, error: number): void {
  sums.signal += expected * expected;
  sums.energy += actual * actual;
  sums.product += expected * actual;
  sums.noise += error * error;
  if (error > sums.maxAbs) sums.maxAbs = error;
  const magnitude = Math.abs(expected);
  if (magnitude > sums.peak) sums.peak = magnitude;
}

function addNumbers(
  sums: DifferenceSums,
  expected: Float32Array | Float64Array,
  actual: Float32Array | Float64Array,
): void {
  let { signal, energy, product, noise, maxAbs, peak, mismatched } = sums;
  for (let index = 0; index < expected.length; index++) {
    const e = expected[index]!;
    const a = actual[index]!;
    const error = Math.abs(e - a);
    // One test finds every NaN and infinity: both make the difference NaN or infinite.
    if (!(error < Number.POSITIVE_INFINITY)) {
      const same = e === a || (Number.isNaN(e) && Number.isNaN(a));
      // Two finite numbers of opposite sign near the end of float64 also land here, rightly.
      if (!same) mismatched++;
      if (Number.isFinite(e)) {
        signal += e * e;
        if (Math.abs(e) > peak) peak = Math.abs(e);
      }
      if (Number.isFinite(a)) energy += a * a;
      continue;
    }
    signal += e * e;
    energy += a * a;
    product += e * a;
    noise += error * error;
    if (error > maxAbs) maxAbs = error;
    if (e > peak) peak = e;
    else if (-e > peak) peak = -e;
  }
  sums.elements += expected.length;
  sums.signal = signal;
  sums.energy = energy;
  sums.product = product;
  sums.noise = noise;
  sums.maxAbs = mismatched > 0 ? Number.POSITIVE_INFINITY : maxAbs;
  sums.peak = peak;
  sums.mismatched = mismatched;
}

/**
 * Signal to noise in decibels.
 *
 * @param floor smallest root mean square that counts as the signal's
 */
export function sqnrOf(sums: DifferenceSums, floor = 0): number {
  if (sums.mismatched > 0) return Number.NEGATIVE_INFINITY;
  if (sums.maxAbs === 0) return Number.POSITIVE_INFINITY;
  if (sums.peak === 0 && floor === 0) return Number.NEGATIVE_INFINITY;
  const { noise } = sums;
  const signal = Math.max(sums.signal, floor * floor * sums.elements);
  // Squares leave the range of float64 below 1e-162 and above 1e154; the largest elements stand for the sums there.
  const inRange =
    signal > 0 && noise > 0 && signal < Number.POSITIVE_INFINITY && noise < Number.POSITIVE_INFINITY;
  return inRange ? 10 * Math.log10(signal / noise) : 20 * Math.log10(sums.peak / sums.maxAbs);
}

/** Cosine of the angle between the two streams. */
export function cosineOf(sums: DifferenceSums): number {
  if (sums.mismatched > 0) return 0;
  if (sums.maxAbs === 0) return 1;
  const cosine = sums.product / (Math.sqrt(sums.signal) * Math.sqrt(sums.energy));
  // Not a number where one side is zero, or its squares leave the range of float64: nothing is known to be alike.
  return Number.isNaN(cosine) ? 0 : Math.max(-1, Math.min(1, cosine));
}

/** Largest error over the largest magnitude. */
export function maxRelativeOf(sums: DifferenceSums): number {
  if (sums.maxAbs === 0) return 0;
  return sums.peak === 0 ? Number.POSITIVE_INFINITY : sums.maxAbs / sums.peak;
}
