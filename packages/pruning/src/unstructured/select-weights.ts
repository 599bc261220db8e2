import { errors } from '@lithe/core';
import type { ParsedPattern } from './pattern.ts';

/** A matrix that a pattern is laid over. */
export interface MatrixForm {
  /** Rows. */
  readonly outputs: number;
  /** Columns. */
  readonly inputs: number;
  /** Columns that are neighbours; a divisor of {@link inputs}. */
  readonly run: number;
}

/** Blocks of a matrix. */
export interface BlockForm {
  /** Blocks one above the other. */
  readonly rows: number;
  /** Blocks side by side. */
  readonly columns: number;
}

type Blocks = Extract<ParsedPattern, { kind: 'blocks' }>;

/** How a matrix falls into blocks; those at the ends of runs and at the bottom may be smaller. */
export function blockForm({ outputs, inputs, run }: MatrixForm, pattern: Blocks): BlockForm {
  return {
    rows: Math.ceil(outputs / pattern.rows),
    columns: (inputs / run) * Math.ceil(run / pattern.columns),
  };
}

/** Block column of each column. */
function columnBlocks({ inputs, run }: MatrixForm, pattern: Blocks): Int32Array {
  const perRun = Math.ceil(run / pattern.columns);
  return Int32Array.from(
    { length: inputs },
    (_, column) => Math.floor(column / run) * perRun + Math.floor((column % run) / pattern.columns),
  );
}

/** Mean score of each block, row by row; the scores themselves for blocks of one. */
export function blockScores(form: MatrixForm, scores: Float32Array, pattern: Blocks): Float32Array {
  if (pattern.rows === 1 && pattern.columns === 1) return scores;
  const { rows, columns } = blockForm(form, pattern);
  const sums = new Float64Array(rows * columns);
  const counts = new Uint32Array(rows * columns);
  const blockOf = columnBlocks(form, pattern);
  for (let row = 0; row < form.outputs; row++) {
    const at = Math.floor(row / pattern.rows) * columns;
    for (let column = 0; column < form.inputs; column++) {
      const block = at + blockOf[column]!;
      sums[block]! += scores[row * form.inputs + column]!;
      counts[block]!++;
    }
  }
  return Float32Array.from(sums, (sum, block) => sum / counts[block]!);
}

/** Spreads what holds of blocks over their elements. */
export function spreadBlocks(form: MatrixForm, kept: Uint8Array, pattern: Blocks): Uint8Array {
  if (pattern.rows === 1 && pattern.columns === 1) return kept;
  const { columns } = blockForm(form, pattern);
  const blockOf = columnBlocks(form, pattern);
  const mask = new Uint8Array(form.outputs * form.inputs);
  for (let row = 0; row < form.outputs; row++) {
    const at = Math.floor(row / pattern.rows) * columns;
    for (let column = 0; column < form.inputs; column++)
      mask[row * form.inputs + column] = kept[at + blockOf[column]!]!;
  }
  return mask;
}

/** Whole numbers that order as the floats do: negative ones below, as in a radix sort. */
function keysOf(scores: Float32Array): Uint32Array {
  const keys = new Uint32Array(scores.buffer.slice(scores.byteOffset, scores.byteOffset + scores.byteLength));
  for (let index = 0; index < keys.length; index++) {
    const bits = keys[index]!;
    // Both zeros are one number.
    keys[index] = bits === 0x80000000 ? bits : bits > 0x80000000 ? ~bits : bits ^ 0x80000000;
  }
  return keys;
}

/** Where the smallest scores end. */
export interface Threshold {
  /** Key of the largest of them. */
  readonly key: number;
  /** Scores with that key that still count, in the order in which they come. */
  ties: number;
}

function placeOf(counts: Float64Array, wanted: number): { place: number; before: number } {
  let before = 0;
  let place = 0;
  while (place < counts.length - 1 && before + counts[place]! < wanted) before += counts[place++]!;
  return { place, before };
}

/**
 * Finds where the `count` smallest of all scores end: two passes over them that count by the upper and the lower half of
 * their bits, so that neither order nor memory depends on how many there are.
 *
 * @param passes gives the parts anew for each pass
 */
export async function thresholdOf(
  passes: () => AsyncIterable<Float32Array> | Iterable<Float32Array>,
  count: number,
): Promise<Threshold> {
  const upper = new Float64Array(2 ** 16);
  for await (const scores of passes()) {
    const keys = keysOf(scores);
    for (let index = 0; index < keys.length; index++) upper[keys[index]! >>> 16]!++;
  }
  const high = placeOf(upper, count);
  const lower = new Float64Array(2 ** 16);
  for await (const scores of passes()) {
    const keys = keysOf(scores);
    for (let index = 0; index < keys.length; index++)
      if (keys[index]! >>> 16 === high.place) lower[keys[index]! & 0xffff]!++;
  }
  const low = placeOf(lower, count - high.before);
  return { key: high.place * 2 ** 16 + low.place, ties: count - high.before - low.before };
}

/** Keeps what lies above a threshold: 1 stays, 0 goes. Uses up its ties. */
export function keepAbove(scores: Float32Array, threshold: Threshold): Uint8Array {
  const keys = keysOf(scores);
  const kept = new Uint8Array(keys.length).fill(1);
  for (let index = 0; index < keys.length; index++) {
    if (keys[index]! > threshold.key) continue;
    if (keys[index]! < threshold.key || threshold.ties > 0) kept[index] = 0;
    if (keys[index]! === threshold.key) threshold.ties--;
  }
  return kept;
}

/** Keeps all but the `count` smallest; of equal ones the first go. */
export async function keepAllBut(scores: Float32Array, count: number): Promise<Uint8Array> {
  if (count <= 0) return new Uint8Array(scores.length).fill(1);
  return keepAbove(scores, await thresholdOf(() => [scores], count));
}

/** The same for each row by itself. */
export function keepInRows(scores: Float32Array, columns: number, ratio: number): Uint8Array {
  const kept = new Uint8Array(scores.length).fill(1);
  const count = Math.round(ratio * columns);
  if (count === 0) return kept;
  for (let from = 0; from < scores.length; from += columns) {
    const row = scores.subarray(from, from + columns);
    const limit = row.toSorted()[count - 1]!;
    let ties = count;
    for (const score of row) if (score < limit) ties--;
    for (let index = 0; index < columns; index++) {
      const score = row[index]!;
      if (score < limit || (score === limit && ties-- > 0)) kept[from + index] = 0;
    }
  }
  return kept;
}

/** Keeps the `kept` largest of each `of` neighbours of a row; of equal ones the first stay. Shorter groups at the ends of runs keep as many. */
export function keepNOfM(
  form: MatrixForm,
  scores: Float32Array,
  { kept, of }: { readonly kept: number; readonly of: number },
): Uint8Array {
  const mask = new Uint8Array(scores.length);
  for (let run = 0; run < scores.length; run += form.run) {
    for (let from = run; from < run + form.run; from += of) {
      const to = Math.min(run + form.run, from + of);
      for (let index = from; index < to; index++) {
        const score = scores[index]!;
        let better = 0;
        for (let other = from; other < to; other++)
          if (scores[other]! > score || (scores[other]! === score && other < index)) better++;
        if (better < kept) mask[index] = 1;
      }
    }
  }
  return mask;
}

/**
 * Refuses scores that cannot be ranked.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE when one is not finite
 */
export function checkScores(scores: Float32Array, name: string): Float32Array {
  for (let index = 0; index < scores.length; index++) {
    const score = scores[index]!;
    if (!Number.isFinite(score))
      throw errors.valueOutOfRange(`A score of weight "${name}"`, score, 'the finite numbers');
  }
  return scores;
}
