import { errors } from '@lithe/core';

/** How sparsity grows while a model is trained. */
export interface SparsitySchedule {
  /** Share of zeros at the end, in (0, 1). */
  readonly ratio: number;
  /** Share of zeros at the start; 0 by default. */
  readonly initialRatio?: number | undefined;
  /** Update after which masks are chosen first, from 1; 1 by default. */
  readonly begin?: number | undefined;
  /** Updates between two choices; 100 by default. */
  readonly every?: number | undefined;
  /** Choices after the first: the last is made after update `begin + times * every`. */
  readonly times: number;
}

/** {@link SparsitySchedule} with defaults. */
export type FullSchedule = { readonly [K in keyof SparsitySchedule]-?: number };

/**
 * Fills in defaults and refuses what cannot be kept.
 *
 * @throws {LitheError} VALUE_OUT_OF_RANGE
 */
export function fullSchedule(schedule: SparsitySchedule): FullSchedule {
  const { ratio, initialRatio = 0, begin = 1, every = 100, times } = schedule;
  if (!(ratio > 0 && ratio < 1))
    throw errors.valueOutOfRange('The ratio of a sparsity schedule', ratio, 'the numbers between 0 and 1');
  if (!(initialRatio >= 0 && initialRatio <= ratio))
    throw errors.valueOutOfRange('The initial ratio', initialRatio, 'the numbers from 0 to the final ratio');
  for (const [name, value] of Object.entries({ begin, every, times }))
    if (!Number.isInteger(value) || value < 1)
      throw errors.valueOutOfRange(`"${name}" of a sparsity schedule`, value, 'the whole numbers from 1');
  return { ratio, initialRatio, begin, every, times };
}

/**
 * The share of zeros after an update: `s_f + (s_i - s_f) (1 - (t - t0) / (n dt))³`, constant between two choices, fast
 * at first and slow at the end.
 *
 * @param update number of the update, from 1
 * @returns 0 before the first choice
 * @throws {LitheError} VALUE_OUT_OF_RANGE when the schedule cannot be kept
 * @see Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017,
 *   equation 1
 * @example
 * ```ts
 * import { sparsityAt } from '@lithe/pruning';
 *
 * const schedule = { ratio: 0.5, begin: 10, every: 10, times: 2 };
 * [9, 10, 20, 25, 30, 99].map((update) => sparsityAt(update, schedule)); // => [0, 0, 0.4375, 0.4375, 0.5, 0.5]
 * ```
 */
export function sparsityAt(update: number, schedule: SparsitySchedule): number {
  const { ratio, initialRatio, begin, every, times } = fullSchedule(schedule);
  if (update < begin) return 0;
  const choice = Math.min(times, Math.floor((update - begin) / every));
  return ratio + (initialRatio - ratio) * (1 - choice / times) ** 3;
}
