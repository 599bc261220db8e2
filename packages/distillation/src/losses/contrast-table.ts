import { createRng, errors, Tensor } from '@lithe/core';
import type { SampleTable } from '@lithe/training';

/** Negatives by default: a quarter of the paper's 16384, which would take four times the memory and time. */
export const NEGATIVES = 4096;

/** Names of the inputs that {@link contrastTable} feeds. */
export const CONTRAST_INPUTS = { index: 'sample_index', negatives: 'sample_negatives' } as const;

/** Options of {@link contrastTable}. */
export interface ContrastTableOptions {
  /** Class of each sample: negatives are then of other classes. Of any other sample by default. */
  readonly labels?: ArrayLike<number> | undefined;
  /** Negatives K for each sample; 4096 by default (16384 in the paper: four times the memory and time). */
  readonly negatives?: number | undefined;
  /** Seed of the draws; 0 by default. */
  readonly seed?: number | undefined;
}

/**
 * A table whose batches also tell the number of each sample and of the negatives drawn for it, as
 * {@link contrastiveDistillation} needs them. The draw depends on seed and batch alone.
 *
 * @throws {LitheError} OPTIONS_INVALID when there is nothing to draw from
 */
export function contrastTable(table: SampleTable, options: ContrastTableOptions = {}): SampleTable {
  const { labels, negatives = NEGATIVES, seed = 0 } = options;
  const { size } = table;
  if (labels !== undefined && (labels.length !== size || new Set(Array.from(labels)).size < 2))
    throw errors.optionsInvalid('contrastTable', [
      '"labels" must have an entry per sample and more than one class.',
    ]);
  if (size < 2 || !(Number.isInteger(negatives) && negatives > 0))
    throw errors.optionsInvalid('contrastTable', [
      'There must be two samples or more, and "negatives" above 0.',
    ]);
  const { order, alike } = labels === undefined ? apart : byClass(labels);
  return {
    size,
    description: table.description,
    gather: async (indices, signal) => {
      const batch = await table.gather(indices, signal);
      const rng = createRng(seed).fork(indices.join());
      const drawn = new BigInt64Array(indices.length * negatives);
      for (let row = 0; row < indices.length; row++) {
        const { start, end } = alike(indices[row]!);
        for (let at = 0; at < negatives; at++) {
          const place = rng.integer(size - (end - start));
          drawn[row * negatives + at] = BigInt(order(place < start ? place : place + end - start));
        }
      }
      return {
        ...batch,
        targets: {
          ...batch.targets,
          [CONTRAST_INPUTS.index]: Tensor.from(
            'int64',
            [indices.length],
            BigInt64Array.from(indices, BigInt),
          ),
          [CONTRAST_INPUTS.negatives]: Tensor.from('int64', [indices.length, negatives], drawn),
        },
      };
    },
  };
}

/** Samples in an order in which those that are no negatives of one of them lie together. */
interface DrawOrder {
  /** The sample at a place. */
  order(place: number): number;
  /** Places of what is no negative of a sample. */
  alike(sample: number): { readonly start: number; readonly end: number };
}

/** Every sample is a class of its own. */
const apart: DrawOrder = {
  order: (place) => place,
  alike: (sample) => ({ start: sample, end: sample + 1 }),
};

/** Samples of a class lie one behind the other, so that a draw takes one number however rare the other classes are. */
function byClass(labels: ArrayLike<number>): DrawOrder {
  const sorted = Uint32Array.from({ length: labels.length }, (_, sample) => sample).sort(
    (left, right) => (labels[left] ?? 0) - (labels[right] ?? 0) || left - right,
  );
  const classes = new Map<number, { start: number; end: number }>();
  sorted.forEach((sample, place) => {
    const label = labels[sample] ?? 0;
    const known = classes.get(label);
    if (known === undefined) classes.set(label, { start: place, end: place + 1 });
    else known.end = place + 1;
  });
  return {
    order: (place) => sorted[place] ?? 0,
    alike: (sample) => classes.get(labels[sample] ?? 0) ?? { start: sample, end: sample + 1 },
  };
}
