import { errors } from '@lithe/core';
import { SMALLEST_SCALE } from '../parameters/affine.ts';
import type { GroupParameters } from '../parameters/group-parameters.ts';
import type { IntegerRange } from '../parameters/integer-range.ts';
import { quantizeGroups } from '../parameters/kernels.ts';
import { HALF_EVEN } from '../parameters/rounding.ts';
import { blocksOf, rangeParameters } from './block-scales.ts';
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

/** Entries of the table of powers for errors below one step. */
const STEPS = 1024;

/** Scale and zero point of a block with their error, `sum |w - (q - z) s|`. */
interface Found {
  scale: number;
  zero: number;
  error: number;
}

/** Searches block after block; holds the scratch of one block. */
class BlockSolver {
  readonly #settings: Settings;
  readonly #low: number;
  readonly #high: number;
  /** `x^p` at steps of `1 / STEPS`: a table is ten times as fast as `**` (measured: 2 against 23 ns). */
  readonly #powers: Float64Array;
  /** Integers of the block, less the zero point. */
  readonly #offsets: Float64Array;
  /** The elements in steps, less the error that is left to the sparse term. */
  readonly #targets: Float64Array;
  #block: Float32Array = new Float32Array(0);

  constructor(range: IntegerRange, blockSize: number, settings: Settings) {
    this.#settings = settings;
    this.#low = range.low;
    this.#high = range.high;
    this.#powers = Float64Array.from({ length: STEPS + 2 }, (_, index) => (index / STEPS) ** settings.norm);
    this.#offsets = new Float64Array(blockSize);
    this.#targets = new Float64Array(blockSize);
  }

  /**
   * Rounds the block, takes the sparse part of the error off the elements, and gives the whole error. In steps of the
   * block, so that beta means the same for weights of any size.
   */
  #round(scale: number, zero: number, beta: number): number {
    const block = this.#block;
    const offsets = this.#offsets;
    const targets = this.#targets;
    const powers = this.#powers;
    const low = this.#low - zero;
    const high = this.#high - zero;
    const inverse = 1 / scale;
    const { norm } = this.#settings;
    let sum = 0;
    for (let index = 0; index < block.length; index++) {
      const value = block[index]! * inverse;
      let level = value + zero + HALF_EVEN - HALF_EVEN - zero;
      level = level > high ? high : level < low ? low : level;
      const error = value - level;
      const size = error < 0 ? -error : error;
      let power: number;
      if (size < 1) {
        const at = size * STEPS;
        const entry = at | 0;
        const first = powers[entry]!;
        power = first + (powers[entry + 1]! - first) * (at - entry);
      } else power = size ** norm;
      sum += size;
      offsets[index] = level;
      // The paper's generalized soft threshold: sign(e) max(0, |e| - |e|^(p - 1) / beta).
      const left = size - power / (size * beta);
      targets[index] = left > 0 ? value - (error < 0 ? -left : left) : value;
    }
    return sum * Math.abs(scale);
  }

  /** Rounds the block as {@link #round} does, and takes the parameters where they lower its error. */
  #keep(scale: number, zero: number, found: Found, beta: number): boolean {
    if (!(Math.abs(scale) >= SMALLEST_SCALE)) return false;
    const error = this.#round(scale, zero, beta);
    if (!(error < found.error)) return false;
    found.scale = scale;
    found.zero = zero;
    found.error = error;
    return true;
  }

  /** Moves the zero point, first anywhere, and takes the better whole number beside where it ends. */
  #searchZero(found: Found): void {
    const { iterations, kappa } = this.#settings;
    const { length } = this.#block;
    const { scale } = found;
    let { zero } = found;
    let { beta } = this.#settings;
    let least = Number.POSITIVE_INFINITY;
    for (let iteration = 0; iteration < iterations; iteration++, beta *= kappa) {
      const error = this.#round(scale, zero, beta);
      if (!(error < least)) break;
      least = error;
      let shift = 0;
      for (let index = 0; index < length; index++) shift += this.#offsets[index]! - this.#targets[index]!;
      zero = Math.min(this.#high, Math.max(this.#low, zero + shift / length));
    }
    const below = Math.floor(zero);
    for (const whole of [below, Math.min(this.#high, below + 1)]) {
      const tried = { scale, zero: whole, error: Number.POSITIVE_INFINITY };
      this.#keep(scale, whole, tried, this.#settings.beta);
      this.#searchScale(tried);
      if (tried.error < found.error) Object.assign(found, tried);
    }
  }

  /** Moves the scale under a fixed zero point: least squares to the elements without their sparse errors. */
  #searchScale(found: Found): void {
    const { iterations, kappa } = this.#settings;
    let { beta } = this.#settings;
    this.#round(found.scale, found.zero, beta);
    for (let iteration = 0; iteration < iterations; iteration++) {
      let product = 0;
      let square = 0;
      for (let index = 0; index < this.#block.length; index++) {
        const offset = this.#offsets[index]!;
        product += this.#targets[index]! * offset;
        square += offset * offset;
      }
      if (square === 0) return;
      beta *= kappa;
      if (!this.#keep(Math.fround((found.scale * product) / square), found.zero, found, beta)) return;
    }
  }

  /** Improves on the parameters of a block's whole range. */
  solve(block: Float32Array, found: Found, zeroMoves: boolean): void {
    this.#block = block;
    const { scale, zero } = found;
    found.error = Number.POSITIVE_INFINITY;
    this.#keep(scale, zero, found, this.#settings.beta);
    if (zeroMoves) this.#searchZero(found);
    else this.#searchScale(found);
  }
}

function solve(matrix: WeightMatrix, settings: Settings): GroupParameters {
  const parameters = rangeParameters(matrix);
  const { data, outputs, inputs, blockSize, range } = matrix;
  const scales = parameters.scales.slice();
  const zeroPoints = parameters.zeroPoints?.slice();
  const solver = new BlockSolver(range, Math.min(blockSize, inputs), settings);
  const found: Found = { scale: 1, zero: 0, error: 0 };
  for (let row = 0, group = 0; row < outputs; row++) {
    for (let first = 0; first < inputs; first += blockSize, group++) {
      const from = row * inputs + first;
      const block = data.subarray(from, row * inputs + Math.min(inputs, first + blockSize));
      found.scale = scales[group]!;
      found.zero = zeroPoints === undefined ? parameters.middle : zeroPoints[group]!;
      solver.solve(block, found, zeroPoints !== undefined);
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
 * than many small ones. Needs no data.
 *
 * Where we differ from the paper: errors are measured in steps of the block, so that the outcome does not depend on the
 * magnitude of the weights; zero points are whole numbers, since a float one makes runtimes leave their fast kernels;
 * the scale is fitted as well, which is all that can move without zero points; and each block stops by itself, as the
 * authors' code does: when its mean absolute error no longer falls. That error is never larger than what rounding to
 * nearest leaves.
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
