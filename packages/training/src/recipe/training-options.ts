import { z } from 'zod';
import { type AugmentationChoice, type AugmentationSettings, augmentationSchema } from './augment-options.ts';
import { type LossChoice, type LossSettings, lossSchema } from './loss-options.ts';
import { type OptimizerChoice, type OptimizerSettings, optimizerSchema } from './optimizer-options.ts';
import { type ScheduleChoice, type ScheduleSettings, scheduleSchema } from './schedule-options.ts';

/** Options that every pass which trains has; all are JSON. */
export interface TrainingOptions {
  /** Passes over the samples. */
  readonly epochs: number;
  /** Samples per step; 128 by default. */
  readonly batchSize?: number | undefined;
  /** Base learning rate: the largest of a one-cycle schedule. */
  readonly learningRate: number;
  /** How the loss is minimized; `adamw` by default. */
  readonly optimizer?: OptimizerChoice | undefined;
  /** Factor on the learning rate over time; `one-cycle` by default. */
  readonly schedule?: ScheduleChoice | undefined;
  /** Changes made to each batch, in order; none by default. */
  readonly augment?: readonly AugmentationChoice[] | undefined;
  /** Loss on labels; `cross-entropy` by default. */
  readonly loss?: LossChoice | undefined;
  /** Whether training starts from fresh weights, drawn by the seed: the control that is trained from scratch. */
  readonly initialize?: boolean | undefined;
  /** Weights that learn: patterns of names, `*` standing for any text; all by default. */
  readonly trainable?: readonly string[] | undefined;
  /** Share of the samples that is kept aside to choose the best epoch by; none by default: the last epoch counts. */
  readonly validation?: number | undefined;
  /** Epochs without a better result on the validation share after which training stops; never by default. */
  readonly patience?: number | undefined;
  /**
   * Samples that are used, from the first; all by default. Data that is sorted by class has few of them there: a warning
   * says which the model is not shown.
   */
  readonly samples?: number | undefined;
  /** Steps between checkpoints within an epoch; one at the end of each epoch by default. */
  readonly checkpointEvery?: number | undefined;
  /** Whether to compute in float16 where that is sound, on backends that can; `false` by default. */
  readonly mixedPrecision?: boolean | undefined;
  /** Whether to compute activations again rather than hold them: less memory, a third more arithmetic. */
  readonly checkpointing?: boolean | undefined;
  /** Whether batch normalization goes by its running statistics and leaves them as they are; `false` by default. */
  readonly frozenStatistics?: boolean | undefined;
  /** Largest norm of all gradients together. */
  readonly clipNorm?: number | undefined;
  /** Largest absolute value of a gradient element. */
  readonly clipValue?: number | undefined;
  /** Decay of a running average of the weights, which then is the result; none by default. */
  readonly emaDecay?: number | undefined;
  /** Steps whose gradients are averaged before the weights move; 1 by default. */
  readonly accumulate?: number | undefined;
}

/** {@link TrainingOptions} after validation. */
export interface TrainingSettings
  extends Omit<TrainingOptions, 'optimizer' | 'schedule' | 'augment' | 'loss' | 'batchSize' | 'initialize'> {
  /** Samples per step. */
  readonly batchSize: number;
  /** How the loss is minimized. */
  readonly optimizer: OptimizerSettings;
  /** Factor on the learning rate over time. */
  readonly schedule: ScheduleSettings;
  /** Changes made to each batch, in order. */
  readonly augment: readonly AugmentationSettings[];
  /** Loss on labels. */
  readonly loss: LossSettings;
  /** Whether training starts from fresh weights. */
  readonly initialize: boolean;
}

/** Types of {@link trainingFields}. */
export interface TrainingFields {
  /** See {@link TrainingOptions.epochs}. */
  readonly epochs: z.ZodInt;
  /** See {@link TrainingOptions.batchSize}. */
  readonly batchSize: z.ZodDefault<z.ZodInt>;
  /** See {@link TrainingOptions.learningRate}. */
  readonly learningRate: z.ZodNumber;
  /** See {@link TrainingOptions.optimizer}. */
  readonly optimizer: z.ZodDefault<z.ZodType<OptimizerSettings, OptimizerChoice>>;
  /** See {@link TrainingOptions.schedule}. */
  readonly schedule: z.ZodDefault<z.ZodType<ScheduleSettings, ScheduleChoice>>;
  /** See {@link TrainingOptions.augment}. */
  readonly augment: z.ZodDefault<
    z.ZodReadonly<z.ZodArray<z.ZodType<AugmentationSettings, AugmentationChoice>>>
  >;
  /** See {@link TrainingOptions.loss}. */
  readonly loss: z.ZodDefault<z.ZodType<LossSettings, LossChoice>>;
  /** See {@link TrainingOptions.initialize}. */
  readonly initialize: z.ZodDefault<z.ZodBoolean>;
  /** See {@link TrainingOptions.trainable}. */
  readonly trainable: z.ZodOptional<z.ZodReadonly<z.ZodArray<z.ZodString>>>;
  /** See {@link TrainingOptions.validation}. */
  readonly validation: z.ZodOptional<z.ZodNumber>;
  /** See {@link TrainingOptions.patience}. */
  readonly patience: z.ZodOptional<z.ZodInt>;
  /** See {@link TrainingOptions.samples}. */
  readonly samples: z.ZodOptional<z.ZodInt>;
  /** See {@link TrainingOptions.checkpointEvery}. */
  readonly checkpointEvery: z.ZodOptional<z.ZodInt>;
  /** See {@link TrainingOptions.mixedPrecision}. */
  readonly mixedPrecision: z.ZodOptional<z.ZodBoolean>;
  /** See {@link TrainingOptions.checkpointing}. */
  readonly checkpointing: z.ZodOptional<z.ZodBoolean>;
  /** See {@link TrainingOptions.frozenStatistics}. */
  readonly frozenStatistics: z.ZodOptional<z.ZodBoolean>;
  /** See {@link TrainingOptions.clipNorm}. */
  readonly clipNorm: z.ZodOptional<z.ZodNumber>;
  /** See {@link TrainingOptions.clipValue}. */
  readonly clipValue: z.ZodOptional<z.ZodNumber>;
  /** See {@link TrainingOptions.emaDecay}. */
  readonly emaDecay: z.ZodOptional<z.ZodNumber>;
  /** See {@link TrainingOptions.accumulate}. */
  readonly accumulate: z.ZodOptional<z.ZodInt>;
}

const count = z.int().min(1);

/**
 * Fields of a zod schema for the options of a pass that trains: spread them into a strict object, beside the pass's own:
 * `z.strictObject({ ...trainingFields, teacher: z.string() }).refine(...trainingRule)`.
 */
export const trainingFields: TrainingFields = {
  epochs: count,
  batchSize: z.int().min(1).default(128),
  learningRate: z.number().positive(),
  optimizer: optimizerSchema.default({ name: 'adamw' }),
  schedule: scheduleSchema.default({ name: 'one-cycle' }),
  augment: z.array(augmentationSchema).readonly().default([]),
  loss: lossSchema.default({ name: 'cross-entropy' }),
  initialize: z.boolean().default(false),
  trainable: z.array(z.string().min(1)).readonly().optional(),
  validation: z.number().gt(0).lt(1).optional(),
  patience: count.optional(),
  samples: count.optional(),
  checkpointEvery: count.optional(),
  mixedPrecision: z.boolean().optional(),
  checkpointing: z.boolean().optional(),
  frozenStatistics: z.boolean().optional(),
  clipNorm: z.number().positive().optional(),
  clipValue: z.number().positive().optional(),
  emaDecay: z.number().gt(0).lt(1).optional(),
  accumulate: count.optional(),
};

/**
 * What the fields together must obey: spread into `refine` of a schema that is made of {@link trainingFields}.
 */
export const trainingRule: readonly [
  (settings: Pick<TrainingSettings, 'patience' | 'validation'>) => boolean,
  {
    /** What it says when it is broken. */
    readonly message: string;
    /** Field it is about. */
    readonly path: PropertyKey[];
  },
] = [
  ({ patience, validation }) => patience === undefined || validation !== undefined,
  { message: 'needs "validation": a share of the samples to tell by what is better', path: ['patience'] },
];
