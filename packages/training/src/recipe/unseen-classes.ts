import type { Tensor } from '@lithe/core';
import type { SampleTable } from '../data/sample-table.ts';
import type { TaskLoss } from './loss-options.ts';

/** Classes that a model scores and that it is not shown. */
export interface UnseenClasses {
  /** Their numbers, in rising order. */
  readonly classes: readonly number[];
  /** What that means and what to do, as sentences. */
  readonly reason: string;
}

/** Classes that a message lists. */
const LISTED = 8;

/**
 * The classes of a model that none of its samples has, the first ones of more; `undefined` where there are none, or where
 * the target holds no class numbers or the number of classes is not known.
 *
 * @param labels class numbers, int64; a label that is no class counts for none
 */
export function unseenClasses(
  labels: Tensor | undefined,
  { labels: areClasses, classes }: Pick<TaskLoss, 'labels' | 'classes'>,
  { size, description }: Pick<SampleTable, 'size' | 'description'>,
): UnseenClasses | undefined {
  if (labels === undefined || !areClasses || classes === undefined) return undefined;
  const seen = new Uint8Array(classes);
  for (const label of labels.toFloat64Array()) if (label >= 0 && label < classes) seen[label] = 1;
  const missing = Array.from(seen.keys()).filter((label) => seen[label] === 0);
  if (missing.length === 0) return undefined;
  const more = missing.length > LISTED ? ` and ${missing.length - LISTED} more` : '';
  const listed = `${missing.slice(0, LISTED).join(', ')}${more}`;
  const first = size === 1 ? 'the first sample' : `the first ${size} samples`;
  return {
    classes: missing,
    reason: `"samples" takes ${first} of ${description}, and of the ${classes} classes that the model scores they lack ${missing.length}: ${listed}. It unlearns what it is not shown. Shuffle the data, leave "samples" out, or choose by chance where the data is opened; in a recipe, data.train.samples does.`,
  };
}
