import { z } from 'zod';
import { parsePattern, type SparsityPattern } from './pattern.ts';
import { sparseGpt } from './sparse-gpt.ts';
import type { SparsityCriterion, SparsityScope } from './sparsity-criterion.ts';
import { lampWeights, wandaWeights, weightMagnitude } from './weight-criteria.ts';

/** Names of the built-in criteria. */
export type SparsityCriterionName = 'l1' | 'l2' | 'lamp' | 'wanda' | 'sparse-gpt';

/** Options of {@link sparsify}. */
export interface SparsifyOptions {
  /** What tells which weights matter: a name, or a value such as `sparseGpt({ damping: 0.1 })`; `l1` by default. */
  readonly criterion?: SparsityCriterionName | SparsityCriterion | undefined;
  /** Where zeros may lie; `unstructured` by default. */
  readonly pattern?: SparsityPattern | undefined;
  /** Share of weights that become zero, in [0, 1); 0.5 by default. N:M patterns say it themselves. */
  readonly ratio?: number | undefined;
  /** Shares for some layers, by name of the weight or of a node that reads it; not with `global`. */
  readonly ratios?: Readonly<Record<string, number>> | undefined;
  /**
   * Which weights compete; the criterion's own choice by default: `row` for Wanda, `global` for LAMP, else `local`. With
   * `global` SparseGPT takes the shares of layers from a global ranking by LAMP.
   */
  readonly scope?: SparsityScope | undefined;
  /** Names of weights, and of nodes whose weights stay as they are. */
  readonly protect?: readonly string[] | undefined;
  /** Calibration samples at most; 128 by default. */
  readonly samples?: number | undefined;
  /** Samples per batch; the dataset's choice by default. */
  readonly batchSize?: number | undefined;
  /** Bytes of sums that are collected in one pass over the data; 512 MiB by default. */
  readonly memoryBytes?: number | undefined;
  /** Whether the report says what the weights take compressed, before and after; `true` by default. */
  readonly compressedSize?: boolean | undefined;
}

/** {@link SparsifyOptions} after validation. */
export interface SparsifySettings extends SparsifyOptions {
  /** What tells which weights matter. */
  readonly criterion: SparsityCriterionName | SparsityCriterion;
  /** Where zeros may lie. */
  readonly pattern: SparsityPattern;
  /** Calibration samples at most. */
  readonly samples: number;
  /** Bytes of sums that are collected in one pass over the data. */
  readonly memoryBytes: number;
  /** Whether compressed sizes are found. */
  readonly compressedSize: boolean;
}

const share = z.number().min(0).lt(1);

const isCriterion = (value: unknown): value is SparsityCriterion =>
  typeof value === 'object' &&
  value !== null &&
  'needs' in value &&
  (('score' in value && typeof value.score === 'function') ||
    ('solve' in value && typeof value.solve === 'function'));

const isPattern = (value: unknown): value is SparsityPattern => {
  try {
    return typeof value === 'string' && parsePattern(value as SparsityPattern) !== undefined;
  } catch {
    return false;
  }
};

/** The schema of {@link SparsifyOptions}. */
export const sparsifySchema: z.ZodType<SparsifySettings, SparsifyOptions> = z
  .strictObject({
    criterion: z
      .union([
        z.enum(['l1', 'l2', 'lamp', 'wanda', 'sparse-gpt']),
        z.custom<SparsityCriterion>(isCriterion, 'expected the name of a criterion, or a criterion'),
      ])
      .default('l1'),
    pattern: z
      .custom<SparsityPattern>(
        isPattern,
        'expected "unstructured", N:M with N below M, or a block such as "4x1"',
      )
      .default('unstructured'),
    ratio: share.optional(),
    ratios: z.record(z.string(), share).optional(),
    scope: z.enum(['row', 'local', 'global']).optional(),
    protect: z.array(z.string()).optional(),
    samples: z.int().min(1).default(128),
    batchSize: z.int().min(1).optional(),
    memoryBytes: z
      .int()
      .min(1)
      .default(2 ** 29),
    compressedSize: z.boolean().default(true),
  })
  .refine(({ pattern, ratio, ratios }) => !pattern.includes(':') || (ratio ?? ratios) === undefined, {
    message: 'an N:M pattern says itself how many weights go',
    path: ['ratio'],
  })
  .refine(({ pattern, scope }) => !pattern.includes(':') || scope === undefined, {
    message: 'weights compete within the groups of an N:M pattern',
    path: ['scope'],
  })
  .refine(({ scope, ratios }) => scope !== 'global' || ratios === undefined, {
    message: 'a global ranking finds the shares of layers itself',
    path: ['ratios'],
  })
  .refine(
    ({ criterion, scope }) =>
      scope !== 'row' ||
      (criterion !== 'sparse-gpt' && (typeof criterion === 'string' || criterion.solve === undefined)),
    { message: 'the criterion does not choose row by row', path: ['scope'] },
  )
  .refine(
    ({ criterion, pattern }) =>
      !/[x]/.test(pattern) ||
      (criterion !== 'sparse-gpt' && (typeof criterion === 'string' || criterion.solve === undefined)),
    { message: 'the criterion takes single weights and N:M, not blocks', path: ['pattern'] },
  );

const byName: Readonly<Record<SparsityCriterionName, () => SparsityCriterion>> = {
  l1: () => weightMagnitude(),
  l2: () => weightMagnitude({ norm: 'l2' }),
  lamp: lampWeights,
  wanda: wandaWeights,
  'sparse-gpt': sparseGpt,
};

/** The criterion that options ask for. */
export function sparsityCriterionOf({ criterion }: Pick<SparsifySettings, 'criterion'>): SparsityCriterion {
  return typeof criterion === 'string' ? byName[criterion]() : criterion;
}
