import { errors, formatShape } from '../errors/catalogue.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { argmax, numbersOf } from './numbers.ts';

/** How {@link ctcGreedyDecode} reads scores. */
export interface CtcOptions {
  /** Class that stands for no character; 0 by default. */
  readonly blank?: number | undefined;
}

/**
 * Best-path decoding of connectionist temporal classification (Graves et al., 2006, section 3.2): the largest class
 * of each step, repeats merged, blanks dropped.
 *
 * @param scores `[T, classes]` or `[N, T, classes]`; probabilities or logits
 * @returns the classes of each sample (one sample for rank 2)
 * @throws {LitheError} SHAPE_MISMATCH for another rank; VALUE_OUT_OF_RANGE when `blank` is no class
 *
 * @example
 * ```ts
 * import { ctcGreedyDecode, Tensor } from '@lithe/core';
 *
 * // Steps: class 1, class 1 again, blank, class 1, class 2.
 * const scores = new Float32Array([0, 9, 0, 0, 9, 0, 9, 0, 0, 0, 9, 0, 0, 0, 9]);
 * ctcGreedyDecode(Tensor.from('float32', [5, 3], scores)); // => [[1, 1, 2]]
 * ```
 */
export function ctcGreedyDecode(scores: Tensor, options: CtcOptions = {}): number[][] {
  const { blank = 0 } = options;
  const rank = scores.shape.length;
  if (rank !== 2 && rank !== 3) {
    throw errors.outputMismatch(
      'scores',
      `has shape ${formatShape(scores.shape)}, expected [T, classes] or [N, T, classes]`,
    );
  }
  const [samples, steps, classes] = (rank === 2 ? [1, ...scores.shape] : scores.shape) as [
    number,
    number,
    number,
  ];
  if (blank < 0 || blank >= classes)
    throw errors.valueOutOfRange('blank', blank, `the classes 0 to ${classes - 1}`);
  const values = numbersOf(scores, 'CTC decoding');
  const decoded: number[][] = [];
  for (let sample = 0; sample < samples; sample++) {
    const found: number[] = [];
    let previous = blank;
    for (let step = 0; step < steps; step++) {
      const start = (sample * steps + step) * classes;
      const best = argmax(values, start, start + classes);
      if (best !== previous && best !== blank) found.push(best);
      previous = best;
    }
    decoded.push(found);
  }
  return decoded;
}

/**
 * Edit distance of two sequences: the fewest insertions, deletions and replacements (Levenshtein, 1966). A string
 * counts by code points. Time is the product of the lengths, memory the shorter one.
 */
export function editDistance(left: string | readonly number[], right: string | readonly number[]): number {
  let long = codesOf(left);
  let short = codesOf(right);
  if (short.length > long.length) [long, short] = [short, long];
  const row = new Int32Array(short.length + 1);
  for (let index = 0; index <= short.length; index++) row[index] = index;
  for (let outer = 1; outer <= long.length; outer++) {
    let diagonal = row[0]!;
    row[0] = outer;
    const code = long[outer - 1];
    for (let inner = 1; inner <= short.length; inner++) {
      const replaced = diagonal + (code === short[inner - 1] ? 0 : 1);
      diagonal = row[inner]!;
      row[inner] = Math.min(replaced, diagonal + 1, row[inner - 1]! + 1);
    }
  }
  return row[short.length]!;
}

function codesOf(text: string | readonly number[]): readonly number[] {
  return typeof text === 'string'
    ? Array.from(text, (character) => character.codePointAt(0) as number)
    : text;
}

/**
 * Share of characters, in [0, 1], that are right: 1 minus the summed edit distance over the summed length of the
 * expected texts, at least 0. Texts may be strings or lists of classes, such as those of {@link ctcGreedyDecode}.
 * 1 when nothing was expected and nothing was found.
 *
 * @throws {LitheError} SHAPE_MISMATCH when the lists differ in length
 *
 * @example
 * ```ts
 * import { characterAccuracy } from '@lithe/core';
 *
 * characterAccuracy(['hello'], ['hallo']); // => 0.8
 * ```
 */
export function characterAccuracy(
  expected: readonly (string | readonly number[])[],
  actual: readonly (string | readonly number[])[],
): number {
  if (expected.length !== actual.length) {
    throw errors.outputMismatch('texts', `has ${actual.length} texts, expected ${expected.length}`);
  }
  let wrong = 0;
  let characters = 0;
  expected.forEach((text, index) => {
    wrong += editDistance(text, actual[index] as string | readonly number[]);
    characters += codesOf(text).length;
  });
  if (characters === 0) return wrong === 0 ? 1 : 0;
  return Math.max(0, 1 - wrong / characters);
}
