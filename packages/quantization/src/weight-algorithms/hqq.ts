import { errors } from '@lithe/core';
import type { GroupParameters } from '../parameters/group-parameters.ts';
import { quantizeGroups } from '../parameters/kernels.ts';
import { HALF_EVEN } from '../parameters/rounding.ts';
import { blocksOf, rangeParameters } from './block-scales.ts';
import { type PowerTable, powerTable } from './power-table.ts';
import type { WeightAlgorithm, WeightMatrix } from './weight-algorithm.ts';

/** Options of {@link hqq}. */
export interface HqqOptions {
  /** Power of the norm that is made small, in (0, 1]; 0.7 by default. Below 1, a few large errors cost little. */
  readonly norm?: number | undefined;
  /** Weight of the quadratic term at the start; 10 by default. Errors are measured in steps of the block. */
  readonly beta?: number | undefined;
  /** Factor of {@link beta} from one iteration to the next; 1.01 by default. */
  readonly kappa?: number | undefined;
  /** Iterations at most; a block stops earlier when its error no longer falls. 20 by default. */
  readonly iterations?: number | undefined;
}

type Settings = { readonly [K in keyof HqqOptions]-?: number };

/** Scratch of one run over the blocks of a matrix. */
interface Solver {
  readonly low: number;
  readonly high: number;
  readonly settings: Settings;
  readonly table: PowerTable;
  /** Integers of the block, less the zero point. */
  readonly offsets: Float64Array;
  /** The elements less the error that is left to the sparse term. */
  readonly targets: Float64Array;
}

/** A block's parameters with their error, `sum |w - (q - z) s|^p`. */
interface Found {
  scale: number;
  zero: number;
  error: number;
}

function rounded(value: number): number {
  return value + HALF_EVEN - HALF_EVEN;
}

/** Error of one choice of scale and zero point, counted as the kernels round. */
function errorOf(block: Float32Array, scale: number, zero: number, solver: Solver): number {
  const { low, high, table } = solver;
  let error = 0;
  for (let index = 0; index < block.length; index++) {
    let level = Math.fround(block[index]! / scale) + HALF_EVEN - HALF_EVEN + zero;
    level = level > high ? high : level < low ? low : level;
    error += table.of(Math.abs(block[index]! / scale - (level - zero)));
  }
  return error * Math.abs(scale) ** solver.settings.norm;
}

function keepBetter(block: Float32Array, scale: number, zero: number, solver: Solver, found: Found): boolean {
  if (!(Math.abs(scale) >= 2 ** -126)) return false;
  const error = errorOf(block, scale, zero, solver);
  if (!(error < found.error)) return false;
  found.scale = scale;
  found.zero = zero;
  found.error = error;
  return true;
}

/**
 * The two steps of an iteration that both searches share: rounds the block, and takes the sparse part of the error off
 * the elements. In steps of the block, so that beta means the same for weights of any size.
 */
function shrink(block: Float32Array, scale: number, zero: number, beta: number, solver: Solver): void {
  const { low, high, table, offsets, targets } = solver;
  for (let index = 0; index < block.length; index++) {
    const value = block[index]! / scale;
    let level = rounded(value + zero);
    level = level > high ? high : level < low ? low : level;
    offsets[index] = level - zero;
    const error = value - (level - zero);
    const size = Math.abs(error);
    // The paper's generalized soft threshold: sign(e) max(0, |e| - |e|^(p - 1) / beta).
    const left = size === 0 ? 0 : size - table.of(size) / size / beta;
    targets[index] = left <= 0 ? value : value - (error < 0 ? -left : left);
  }
}

/** Moves the zero point, first anywhere, and takes the whole number next to where it ends. */
function searchZero(block: Float32Array, solver: Solver, found: Found): void {
  const { settings, low, high, offsets, targets } = solver;
  const { scale } = found;
  let zero = found.zero;
  let best = found.error;
  let beta = settings.beta;
  for (let iteration = 0; iteration < settings.iterations; iteration++, beta *= settings.kappa) {
    shrink(block, scale, zero, beta, solver);
    let shift = 0;
    for (let index = 0; index < block.length; index++) shift += offsets[index]! - targets[index]!;
    zero += shift / block.length;
    zero = zero > high ? high : zero < low ? low : zero;
    const error = errorOf(block, scale, zero, solver);
    if (!(error < best)) break;
    best = error;
  }
  const below = Math.floor(zero);
  for (const whole of [below, Math.min(high, below + 1)]) keepBetter(block, scale, whole, solver, found);
}

/** Moves the scale under a fixed zero point: least squares to the elements without their sparse errors. */
function searchScale(block: Float32Array, solver: Solver, found: Found): void {
  const { settings, offsets, targets } = solver;
  let { scale } = found;
  const { zero } = found;
  let beta = settings.beta;
  for (let iteration = 0; iteration < settings.iterations; iteration++, beta *= settings.kappa) {
    shrink(block, scale, zero, beta, solver);
    let product = 0;
    let square = 0;
    for (let index = 0; index < block.length; index++) {
      product += targets[index]! * offsets[index]!;
      square += offsets[index]! * offsets[index]!;
    }
    if (square === 0) return;
    scale = Math.fround((scale * product) / square);
    if (!keepBetter(block, scale, zero, solver, found)) return;
  }
}

function solve(matrix: WeightMatrix, settings: Settings): GroupParameters {
  const parameters = rangeParameters(matrix);
  const { data, outputs, inputs, blockSize, range } = matrix;
  const scales = parameters.scales.slice();
  const zeroPoints = parameters.zeroPoints?.slice();
  const solver: Solver = {
    low: range.low,
    high: range.high,
    settings,
    table: powerTable(settings.norm),
    offsets: new Float64Array(blockSize),
    targets: new Float64Array(blockSize),
  };
  const found: Found = { scale: 1, zero: 0, error: 0 };
  for (let row = 0, group = 0; row < outputs; row++) {
    for (let first = 0; first < inputs; first += blockSize, group++) {
      const block = data.subarray(row * inputs + first, row * inputs + Math.min(inputs, first + blockSize));
      found.scale = scales[group]!;
      found.zero = zeroPoints === undefined ? parameters.middle : zeroPoints[group]!;
      found.error = errorOf(block, found.scale, found.zero, solver);
      if (zeroPoints !== undefined) searchZero(block, solver, found);
      searchScale(block, solver, found);
      scales[group] = found.scale;
      if (zeroPoints !== undefined) zeroPoints[group] = found.zero;
    }
  }
  return { scales, zeroPoints, middle: parameters.middle };
}

function checked(name: string, value: number, fits: boolean, allowed: string): void {
  if (!fits) throw errors.valueOutOfRange(name, value, allowed);
}

/**
 * Half-quadratic quantization: chooses zero points and scales for a norm below 1, in which few large errors cost less
 * than many small ones. Needs no data and takes a few seconds for ten million weights.
 *
 * Where we differ from the paper: errors are measured in steps of the block, so that the outcome does not depend on the
 * magnitude of the weights; zero points are whole numbers, since a float one makes runtimes leave their fast kernels;
 * the scale is fitted as well, which is all that can move without zero points; and each block stops by itself. A block
 * never ends with a larger error than rounding to nearest gives it.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when an option is not in its range
 * @see Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", 2023
 *
 * @example
 * ```ts
 * import { hqq, weightOnly } from '@lithe/quantization';
 *
 * weightOnly({ algorithm: hqq(), symmetric: false }).name; // => 'quantization/weight-only'
 * ```
 */
export function hqq(options: HqqOptions = {}): WeightAlgorithm {
  const { norm = 0.7, beta = 10, kappa = 1.01, iterations = 20 } = options;
  checked('The norm of hqq', norm, norm > 0 && norm <= 1, 'the numbers above 0 up to 1');
  checked('The beta of hqq', beta, beta > 0 && beta < Number.POSITIVE_INFINITY, 'the positive numbers');
  checked('The kappa of hqq', kappa, kappa >= 1 && kappa <= 10, 'the numbers from 1 to 10');
  const counts = Number.isSafeInteger(iterations) && iterations >= 1 && iterations <= 1000;
  checked('The number of iterations of hqq', iterations, counts, 'the whole numbers from 1 to 1000');
  const settings: Settings = { norm, beta, kappa, iterations };
  return {
    name: 'hqq',
    settings: { ...settings },
    needs: 'weights',
    quantize: (matrix) => {
      const parameters = solve(matrix, settings);
      const { range } = matrix;
      return { levels: quantizeGroups(matrix.data, blocksOf(matrix), { parameters, range }), parameters };
    },
  };
}
