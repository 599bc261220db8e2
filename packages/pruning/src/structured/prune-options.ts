import { z } from 'zod';
import type { Criterion } from '../criteria/criterion.ts';
import {
  type CriterionName,
  criterionNames,
  type NamedCriterionOptions,
  namedCriterion,
} from '../criteria/named-criterion.ts';
import { normalizers, reductions } from '../criteria/reduce.ts';
import type { SearchJournal } from './journal.ts';
import type { CostBudget } from './pruning-plan.ts';
import type { Scope } from './select-units.ts';

/** A budget of {@link prune}: a number up to 1 is a share of the original, a larger one is absolute. */
export interface PruneBudget extends CostBudget {
  /** Latency measured on the target, as a share of the original's, in (0, 1). */
  readonly latency?: number | undefined;
}

/** How latency is measured for a budget. */
export interface PruneLatencyOptions {
  /** Samples per run; 1 by default. */
  readonly batchSize?: number | undefined;
  /** Rounds in which the original and a candidate take turns; 11 by default. */
  readonly rounds?: number | undefined;
  /** Candidates that are measured at most; 8 by default. */
  readonly trials?: number | undefined;
  /** Threads of the target; its own choice by default. */
  readonly threads?: number | undefined;
}

/** Options of {@link prune}. */
export interface PruneOptions {
  /**
   * What tells how much a unit matters: a name, or a {@link Criterion} value; `l2` by default. `taylor` and `fisher` need a
   * loss, so they are given as values: `taylorScore({ loss })`.
   */
  readonly criterion?: CriterionName | Criterion | undefined;
  /** Settings for a criterion that is given by name; one that is given as a value has its own. */
  readonly criterionOptions?: NamedCriterionOptions | undefined;
  /** Which units compete; `local` by default: each group loses the same share. */
  readonly scope?: Scope | undefined;
  /** Share of units to remove, in [0, 1); 0.5 by default, 0 where there are {@link ratios}; not with a budget. */
  readonly ratio?: number | undefined;
  /** What the result may cost, in one or more ways; the smallest ratio that meets it is searched for. */
  readonly budget?: PruneBudget | undefined;
  /** Shares for some groups, by name of the group or of one of its layers. */
  readonly ratios?: Readonly<Record<string, number>> | undefined;
  /** Multiple of channels that layers are kept at; that of the target's profile by default, else 1. */
  readonly roundTo?: number | undefined;
  /** Most that any group loses, as a share; 0.9 by default. */
  readonly largestRatio?: number | undefined;
  /** Least number of channels that any layer keeps; 1 by default. */
  readonly minimumWidth?: number | undefined;
  /** Names of nodes and values that stay as they are, with all that hangs on them. */
  readonly protect?: readonly string[] | undefined;
  /** What to cut attention by: whole `heads` (the default) or the `width` of each head. */
  readonly attention?: 'heads' | 'width' | undefined;
  /** Sizes that symbols stand for when multiplications are counted and latency is measured on random inputs. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /** How latency is measured. */
  readonly latency?: PruneLatencyOptions | undefined;
  /** Where measurements are kept, so that a search that was stopped goes on. */
  readonly journal?: SearchJournal | undefined;
}

/** {@link PruneOptions} after validation. */
export interface PruneSettings extends Omit<PruneOptions, 'criterion'> {
  /** What tells how much a unit matters. */
  readonly criterion: CriterionName | Criterion;
}

const share = z.number().min(0).lt(1);
const amount = z.number().positive();
const isCriterion = (value: unknown): value is Criterion =>
  typeof value === 'object' && value !== null && 'score' in value && typeof value.score === 'function';
const isLoss = (value: unknown): value is NonNullable<NamedCriterionOptions['loss']> =>
  typeof value === 'object' && value !== null && 'build' in value && typeof value.build === 'function';
const isJournal = (value: unknown): value is SearchJournal =>
  typeof value === 'object' && value !== null && 'get' in value && 'set' in value;

const criterionOptionsSchema: z.ZodType<NamedCriterionOptions, NamedCriterionOptions> = z.strictObject({
  reduction: z.enum(reductions).optional(),
  normalizer: z.enum(normalizers).optional(),
  bias: z.boolean().optional(),
  samples: z.int().min(1).optional(),
  batchSize: z.int().min(1).optional(),
  loss: z.custom<NonNullable<NamedCriterionOptions['loss']>>(isLoss, 'expected a loss').optional(),
});

/** The schema of {@link PruneOptions}. */
export const pruneSchema: z.ZodType<PruneSettings, PruneOptions> = z
  .strictObject({
    criterion: z
      .union([
        z.enum(criterionNames as readonly [CriterionName, ...CriterionName[]]),
        z.custom<Criterion>(isCriterion, 'expected the name of a criterion, or a criterion'),
      ])
      .default('l2'),
    criterionOptions: criterionOptionsSchema.optional(),
    scope: z.enum(['local', 'global', 'isomorphic']).optional(),
    ratio: share.optional(),
    budget: z
      .strictObject({
        parameters: amount.optional(),
        bytes: amount.optional(),
        macs: amount.optional(),
        latency: z.number().gt(0).lt(1).optional(),
      })
      .refine((budget) => Object.values(budget).some((limit) => limit !== undefined), {
        message: 'give at least one of parameters, bytes, macs and latency',
      })
      .optional(),
    ratios: z.record(z.string(), share).optional(),
    roundTo: z.int().min(1).optional(),
    largestRatio: share.optional(),
    minimumWidth: z.int().min(1).optional(),
    protect: z.array(z.string()).optional(),
    attention: z.enum(['heads', 'width']).optional(),
    dims: z.record(z.string(), z.int().min(1)).optional(),
    latency: z
      .strictObject({
        batchSize: z.int().min(1).optional(),
        rounds: z.int().min(1).optional(),
        trials: z.int().min(1).optional(),
        threads: z.int().min(1).optional(),
      })
      .optional(),
    journal: z.custom<SearchJournal>(isJournal, 'expected a journal').optional(),
  })
  .refine((options) => options.ratio === undefined || options.budget === undefined, {
    message: 'give a ratio or a budget, not both',
    path: ['budget'],
  })
  .refine(
    ({ criterion, criterionOptions }) =>
      typeof criterion === 'string' ||
      Object.values(criterionOptions ?? {}).every((one) => one === undefined),
    {
      message:
        'a criterion that is given as a value has its own options: give them to the function that makes it',
      path: ['criterionOptions'],
    },
  );

/** The criterion that options ask for. */
export function criterionOf({
  criterion = 'l2',
  criterionOptions,
}: Pick<PruneOptions, 'criterion' | 'criterionOptions'>): Criterion {
  return typeof criterion === 'string' ? namedCriterion(criterion, criterionOptions ?? {}) : criterion;
}
