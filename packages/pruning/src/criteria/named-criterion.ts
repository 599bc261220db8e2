import { errors } from '@lithe/core';
import type { Loss } from '@lithe/training';
import { activationMean, nonZeroActivations, wandaScore } from './activation.ts';
import type { Criterion } from './criterion.ts';
import { geometricMedian } from './geometric-median.ts';
import { fisherScore, taylorScore } from './gradient.ts';
import { batchNormScale, l1Norm, l2Norm, lampScore } from './magnitude.ts';
import { randomScore } from './random.ts';
import type { Normalizer, Reduction } from './reduce.ts';

/** Names of the criteria that come with the package. */
export type CriterionName =
  | 'l1'
  | 'l2'
  | 'lamp'
  | 'batch-norm-scale'
  | 'geometric-median'
  | 'taylor'
  | 'fisher'
  | 'activation-mean'
  | 'non-zero-activations'
  | 'wanda'
  | 'random';

/** What a named criterion can be told. */
export interface NamedCriterionOptions {
  /** How the scores that the weights of a group give a unit become one; `mean` by default. */
  readonly reduction?: Reduction | undefined;
  /** How groups are made comparable; what suits the criterion by default. */
  readonly normalizer?: Normalizer | undefined;
  /** Whether biases count; `false` by default. */
  readonly bias?: boolean | undefined;
  /** At most this many samples, for criteria that look at data; 256 by default. */
  readonly samples?: number | undefined;
  /** Samples per batch, for criteria that look at data. */
  readonly batchSize?: number | undefined;
  /** The loss, which `taylor` and `fisher` need. */
  readonly loss?: Loss | undefined;
}

const table: Readonly<Record<CriterionName, (options: NamedCriterionOptions) => Criterion>> = {
  l1: l1Norm,
  l2: l2Norm,
  lamp: lampScore,
  'batch-norm-scale': batchNormScale,
  'geometric-median': geometricMedian,
  taylor: (options) => taylorScore({ ...options, loss: lossOf(options, 'taylor') }),
  fisher: (options) => fisherScore({ ...options, loss: lossOf(options, 'fisher') }),
  'activation-mean': activationMean,
  'non-zero-activations': nonZeroActivations,
  wanda: wandaScore,
  random: randomScore,
};

/** Names of the criteria, the default first. */
export const criterionNames: readonly CriterionName[] = [
  'l2',
  'l1',
  'lamp',
  'batch-norm-scale',
  'geometric-median',
  'taylor',
  'fisher',
  'activation-mean',
  'non-zero-activations',
  'wanda',
  'random',
];

function lossOf({ loss }: NamedCriterionOptions, name: string): Loss {
  if (loss !== undefined) return loss;
  throw errors.optionsInvalid(
    `criterion "${name}"`,
    ['It looks at the gradients of a loss, and none is given.'],
    "Give one: loss: crossEntropy({ logits: 'logits' }).",
  );
}

/**
 * Makes a criterion by its name.
 *
 * @throws {LitheError} OPTIONS_INVALID when it needs a loss and none is given
 * @example
 * ```ts
 * import { namedCriterion } from '@lithe/pruning';
 *
 * namedCriterion('wanda').needs; // => ['data', 'backend']
 * ```
 */
export function namedCriterion(name: CriterionName, options: NamedCriterionOptions = {}): Criterion {
  return table[name](options);
}
