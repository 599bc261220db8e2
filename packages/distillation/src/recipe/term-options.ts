import { z } from 'zod';
import type { ContrastiveOptions } from '../losses/contrastive.ts';
import type { CorrelationDistillationOptions } from '../losses/correlation.ts';
import type { AttentionTransferOptions, HintOptions } from '../losses/features.ts';
import type { DecoupledDistillationOptions, LogitDistillationOptions } from '../losses/logits.ts';
import type { RelationalOptions } from '../losses/relational.ts';
import type { HiddenStateOptions, RelationOptions } from '../losses/transformer.ts';

/** What every term has. */
export interface TermFields {
  /** Factor of the term; 1 by default. Where a pattern names several pairs of values, they share it. */
  readonly weight?: number | undefined;
  /** Updates over which the factor grows from 0; at once by default. */
  readonly warmUp?: number | undefined;
  /**
   * Value of the student that is compared. For terms on scores: the student's scores by default. For terms on features:
   * a name, a pattern with `*`, or left out for the pairs that `suggestTaps` finds.
   */
  readonly student?: string | undefined;
  /** Value of the teacher, a name or a pattern; that of the student's name by default, or the teacher's scores. */
  readonly teacher?: string | undefined;
}

/** Options of a loss, with what every term has. */
export type TermOptions<Options> = TermFields & Omit<Options, keyof TermFields>;

/** A term of distillation as data: the name of a loss, and its options beside it. */
export type TermSettings =
  | ({
      /** Name of the loss. */
      readonly loss: 'logits';
    } & TermOptions<LogitDistillationOptions>)
  | ({
      /** Name of the loss. */
      readonly loss: 'decoupled';
    } & TermOptions<DecoupledDistillationOptions>)
  | ({
      /** Name of the loss. */
      readonly loss: 'correlation';
    } & TermOptions<CorrelationDistillationOptions>)
  | ({
      /** Name of the loss. */
      readonly loss: 'hint';
    } & TermOptions<HintOptions>)
  | ({
      /** Name of the loss. */
      readonly loss: 'attention-transfer';
    } & TermOptions<AttentionTransferOptions>)
  | ({
      /** Name of the loss. */
      readonly loss: 'similarity';
    } & TermFields)
  | ({
      /** Name of the loss. */
      readonly loss: 'relational';
    } & TermOptions<RelationalOptions>)
  | ({
      /** Name of the loss. */
      readonly loss: 'contrastive';
    } & TermOptions<Omit<ContrastiveOptions, 'samples'>>)
  | ({
      /** Name of the loss. */
      readonly loss: 'hidden-state';
    } & TermOptions<HiddenStateOptions>)
  | ({
      /** Name of the loss. */
      readonly loss: 'attention';
    } & TermFields)
  | ({
      /** Name of the loss. */
      readonly loss: 'relation';
    } & TermOptions<RelationOptions>);

/** {@link TermSettings}, or the name of the loss alone. */
export type TermChoice = TermSettings | TermSettings['loss'];

const factor = z.number().min(0).optional();
const positive = z.number().positive().optional();
const axis = z.int().optional();
const seed = z.int().min(0).optional();
const name = z.string().min(1).optional();
const fields = { weight: factor, warmUp: positive, student: name, teacher: name };
const projector = { projector: z.enum(['auto', 'always']).optional(), seed };

const terms = [
  z.strictObject({
    loss: z.literal('logits'),
    temperature: positive,
    axis,
    standardize: z.boolean().optional(),
    ...fields,
  }),
  z.strictObject({
    loss: z.literal('decoupled'),
    temperature: positive,
    alpha: factor,
    beta: factor,
    target: name,
    ...fields,
  }),
  z.strictObject({
    loss: z.literal('correlation'),
    temperature: positive,
    beta: factor,
    gamma: factor,
    ...fields,
  }),
  z.strictObject({ loss: z.literal('hint'), ...projector, ...fields }),
  z.strictObject({ loss: z.literal('attention-transfer'), power: positive, ...fields }),
  z.strictObject({ loss: z.literal('similarity'), ...fields }),
  z.strictObject({ loss: z.literal('relational'), distance: factor, angle: factor, ...fields }),
  z.strictObject({
    loss: z.literal('contrastive'),
    negatives: z.int().min(1).optional(),
    width: z.int().min(1).optional(),
    temperature: positive,
    momentum: z.number().min(0).lt(1).optional(),
    seed,
    ...fields,
  }),
  z.strictObject({ loss: z.literal('hidden-state'), ...projector, ...fields }),
  z.strictObject({ loss: z.literal('attention'), ...fields }),
  z.strictObject({ loss: z.literal('relation'), heads: z.int().min(1).optional(), ...fields }),
] as const;

const names = terms.map(({ shape }) => shape.loss.value);

/** The schema of {@link TermChoice}. */
export const termSchema: z.ZodType<TermSettings, TermChoice> = z.preprocess(
  (value: TermChoice) => (typeof value === 'string' ? { loss: value } : value),
  z.discriminatedUnion('loss', terms, { error: () => `expected one of ${names.join(', ')}` }),
);
