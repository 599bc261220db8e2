import type { Feeds } from '../data/dataset.ts';
import { errors } from '../errors/catalogue.ts';
import { isFloat } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { countAgreement } from './classification.ts';
import {
  addDifference,
  cosineOf,
  type DifferenceSums,
  emptySums,
  maxRelativeOf,
  sqnrOf,
} from './difference.ts';

/** How far one output is from what was expected, over everything compared. */
export interface OutputDrift {
  /** Signal to noise in decibels; infinite when equal. */
  readonly sqnrDb: number;
  /** Cosine of the angle between expected and actual; 1 when equal. */
  readonly cosine: number;
  /** Largest absolute difference; infinite when a NaN or infinity stands on one side only. */
  readonly maxAbs: number;
  /** Largest absolute difference over the largest expected magnitude. */
  readonly maxRelative: number;
  /**
   * Share of rows whose largest element is at the same place. Only for outputs that hold class scores: those named in
   * the options, and floats of shape `[N, C]` with more than one class.
   */
  readonly top1Agreement?: number | undefined;
  /** Rows that {@link top1Agreement} was taken over. */
  readonly rows?: number | undefined;
}

/** What is known about outputs that are compared. */
export interface DriftOptions {
  /**
   * Magnitudes that outputs are known to reach, by name. A root mean square below it counts as that much: where a
   * detector's probabilities all stay near 0, noise near 0 says the same thing and must not be taken for an error.
   */
  readonly floors?: Readonly<Record<string, number>> | undefined;
  /** Outputs that hold class scores along their last axis, whatever their rank: the steps of a text recognizer. */
  readonly scores?: readonly string[] | undefined;
}

/** {@link OutputDrift} of a whole model: each measure is that of the worst output. */
export interface Drift extends OutputDrift {
  /** Samples compared. */
  readonly samples: number;
  /** Each output by name. */
  readonly outputs: Readonly<Record<string, OutputDrift>>;
}

/** Compares outputs batch after batch, in constant memory. */
export interface DriftAccumulator {
  /**
   * Adds one batch of outputs.
   *
   * @param samples number of samples in it; 1 by default
   * @throws {LitheError} SHAPE_MISMATCH when an output is missing or of another shape
   */
  add(expected: Feeds, actual: Feeds, samples?: number): void;
  /** The drift over everything that was added. */
  result(): Drift;
}

interface OutputSums {
  readonly sums: DifferenceSums;
  rows: number;
  agreeing: number;
  /** Whether every tensor so far looked like class scores. */
  scores: boolean;
  /** Whether the caller says that they are. */
  readonly named: boolean;
}

/**
 * Makes an accumulator of drift. Outputs are matched by name; those that `expected` does not list are not looked at.
 * Strings are compared for equality: one that differs counts as an infinite error.
 *
 * @example
 * ```ts
 * import { createDrift, Tensor } from '@lithe/core';
 *
 * const tensor = (...values: number[]) => Tensor.from('float32', [values.length], new Float32Array(values));
 * const drift = createDrift();
 * drift.add({ y: tensor(1, 2) }, { y: tensor(1, 2) });
 * drift.add({ y: tensor(4, 0) }, { y: tensor(4, 1) });
 * drift.result().maxRelative; // => 0.25
 * drift.result().samples; // => 2
 * ```
 */
export function createDrift(options: DriftOptions = {}): DriftAccumulator {
  const byName = new Map<string, OutputSums>();
  let samples = 0;
  return {
    add: (expected, actual, count = 1) => {
      for (const [name, tensor] of Object.entries(expected)) {
        const other = Object.hasOwn(actual, name) ? actual[name] : undefined;
        if (other === undefined) throw errors.outputMismatch(name, 'is missing');
        let output = byName.get(name);
        if (output === undefined) {
          const named = options.scores?.includes(name) === true;
          output = { sums: emptySums(), rows: 0, agreeing: 0, scores: true, named };
          byName.set(name, output);
        }
        addOutput(output, tensor, other, name);
      }
      samples += count;
    },
    result: () => summarize(byName, samples, options),
  };
}

/**
 * Compares two sets of outputs. Each measure is that of the worst output; {@link Drift.outputs} has them apart.
 *
 * @throws {LitheError} SHAPE_MISMATCH when an output is missing or of another shape
 */
export function compareOutputs(expected: Feeds, actual: Feeds, options: DriftOptions = {}): Drift {
  const drift = createDrift(options);
  drift.add(expected, actual);
  return drift.result();
}

function addOutput(output: OutputSums, expected: Tensor, actual: Tensor, name: string): void {
  if (expected.dtype === 'string' || actual.dtype === 'string') {
    addStrings(output, expected, actual, name);
    return;
  }
  addDifference(output.sums, expected, actual, name);
  const { shape, dtype } = expected;
  const table = output.named ? shape.length >= 2 : shape.length === 2;
  output.scores &&= table && (shape.at(-1) as number) > 1 && isFloat(dtype);
  if (!output.scores) return;
  const { rows, agreeing } = countAgreement(expected, actual, name);
  output.rows += rows;
  output.agreeing += agreeing;
}

function addStrings(output: OutputSums, expected: Tensor, actual: Tensor, name: string): void {
  if (expected.dtype !== actual.dtype || expected.shape.join() !== actual.shape.join()) {
    throw errors.outputMismatch(name, `is ${actual.toString()}, expected ${expected.toString()}`);
  }
  const left = (expected as Tensor<'string'>).data;
  const right = (actual as Tensor<'string'>).data;
  for (let index = 0; index < left.length; index++)
    if (left[index] !== right[index]) output.sums.mismatched++;
  output.sums.elements += left.length;
  if (output.sums.mismatched > 0) output.sums.maxAbs = Number.POSITIVE_INFINITY;
  output.scores = false;
}

function summarize(byName: ReadonlyMap<string, OutputSums>, samples: number, options: DriftOptions): Drift {
  const outputs: Record<string, OutputDrift> = {};
  let sqnrDb = Number.POSITIVE_INFINITY;
  let cosine = 1;
  let maxAbs = 0;
  let maxRelative = 0;
  let top1: { readonly top1Agreement: number; readonly rows: number } | undefined;
  for (const [name, { sums, scores, rows, agreeing }] of byName) {
    const one = {
      sqnrDb: sqnrOf(sums, options.floors?.[name]),
      cosine: cosineOf(sums),
      maxAbs: sums.maxAbs,
      maxRelative: maxRelativeOf(sums),
      ...(scores && rows > 0 ? { top1Agreement: agreeing / rows, rows } : {}),
    };
    outputs[name] = one;
    sqnrDb = Math.min(sqnrDb, one.sqnrDb);
    cosine = Math.min(cosine, one.cosine);
    maxAbs = Math.max(maxAbs, one.maxAbs);
    maxRelative = Math.max(maxRelative, one.maxRelative);
    if (
      one.top1Agreement !== undefined &&
      one.rows !== undefined &&
      one.top1Agreement <= (top1?.top1Agreement ?? 1)
    ) {
      top1 = { top1Agreement: one.top1Agreement, rows: one.rows };
    }
  }
  return {
    sqnrDb,
    cosine,
    maxAbs,
    maxRelative,
    ...top1,
    samples,
    outputs,
  };
}
