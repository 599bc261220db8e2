import { type TrainingOptions, type TrainingSettings, trainingFields, trainingRule } from '@lithe/training';
import { z } from 'zod';
import { type TermChoice, type TermSettings, termSchema } from './term-options.ts';

/** Options of {@link distil}; all are JSON. */
export interface DistilOptions extends TrainingOptions {
  /**
   * Who the student learns from: the name of a model of the context, such as an earlier step of a recipe; several names
   * for their mean. `original`, the model that the passes started from, by default.
   */
  readonly teacher?: string | readonly string[] | undefined;
  /** What is compared; soft targets (`logits`) at temperature 4 by default. */
  readonly terms?: readonly TermChoice[] | undefined;
  /** Factor of the loss on labels; 1 by default, and 0 needs none. Data without targets are trained on without it. */
  readonly taskWeight?: number | undefined;
  /** Whether the teacher is run once over all samples, not in every step; only without augmentation. `false` by default. */
  readonly record?: boolean | undefined;
  /**
   * The same student trained on labels alone, by the name of its model: the report then says how much of the gap to the
   * teacher was closed. Its step must come first.
   */
  readonly control?: string | undefined;
}

/** {@link DistilOptions} after validation. */
export interface DistilSettings extends TrainingSettings {
  /** Who the student learns from. */
  readonly teacher: readonly string[];
  /** What is compared. */
  readonly terms: readonly TermSettings[];
  /** Factor of the loss on labels. */
  readonly taskWeight: number;
  /** Whether the teacher is run once. */
  readonly record: boolean;
  /** The same student trained on labels alone. */
  readonly control?: string | undefined;
}

const model = z.string().min(1);
const teachers = z.preprocess(
  (value: string | readonly string[]) => (typeof value === 'string' ? [value] : value),
  z.array(model).min(1),
);

/** The schema of {@link DistilOptions}. */
export const distilSchema: z.ZodType<DistilSettings, DistilOptions> = z
  .strictObject({
    ...trainingFields,
    teacher: teachers.default(['original']),
    terms: z
      .array(termSchema)
      .min(1)
      .default([{ loss: 'logits', temperature: 4 }]),
    taskWeight: z.number().min(0).default(1),
    record: z.boolean().default(false),
    control: model.optional(),
  })
  .refine(...trainingRule)
  .refine(({ record, augment }) => !record || augment.length === 0, {
    message:
      'what a teacher said of a sample is wrong of an augmented one: leave out "augment", or let the teacher run in each step',
    path: ['record'],
  });
