import { type TrainingOptions, type TrainingSettings, trainingFields, trainingRule } from '@lithe/training';
import { z } from 'zod';
import { type AwareQuantizationOptions, type AwareQuantizationSettings, awareFields } from './settings.ts';

/** A model whose softened scores the quantized one matches. */
export interface TeacherChoice {
  /** Its name; `original` is the model that the passes started from. */
  readonly model: string;
  /** Temperature that the scores are softened by; 4 by default. */
  readonly temperature?: number | undefined;
  /** Factor of that part of the loss, what is left of 1 being that of the labels; 0.9 by default. */
  readonly weight?: number | undefined;
}

/** Options of {@link quantizationAwareTraining}; all are JSON. Shares are of the updates of the whole run. */
export interface AwareTrainingOptions
  extends AwareQuantizationOptions,
    Omit<TrainingOptions, 'initialize' | 'mixedPrecision'> {
  /** Share after which activations are quantized; 0 by default: ranges are known from the start. 1 for only in what ships. */
  readonly quantizeActivationsAt?: number | undefined;
  /** Share after which ranges stay; 0.75 by default, 1 for never. */
  readonly freezeRangesAt?: number | undefined;
  /**
   * Share after which batch normalization goes by its running statistics, which then stay; 0.5 by default, 0 for from the
   * start (which is also faster), 1 for never.
   */
  readonly freezeBatchNormAt?: number | undefined;
  /** A model that teaches this one, or its name; none by default. Labels may be missing then. */
  readonly teacher?: string | TeacherChoice | undefined;
}

/** {@link AwareTrainingOptions} with defaults filled in. */
export interface AwareTrainingSettings
  extends AwareQuantizationSettings,
    Omit<TrainingSettings, 'initialize' | 'mixedPrecision'> {
  /** See {@link AwareTrainingOptions.quantizeActivationsAt}. */
  readonly quantizeActivationsAt: number;
  /** See {@link AwareTrainingOptions.freezeRangesAt}. */
  readonly freezeRangesAt: number;
  /** See {@link AwareTrainingOptions.freezeBatchNormAt}. */
  readonly freezeBatchNormAt: number;
  /** See {@link AwareTrainingOptions.teacher}. */
  readonly teacher?:
    | {
        /** See {@link TeacherChoice.model}. */
        readonly model: string;
        /** See {@link TeacherChoice.temperature}. */
        readonly temperature: number;
        /** See {@link TeacherChoice.weight}. */
        readonly weight: number;
      }
    | undefined;
}

const share = z.number().min(0).max(1);

const teacher = z.preprocess(
  (value: string | TeacherChoice) => (typeof value === 'string' ? { model: value } : value),
  z.strictObject({
    model: z.string().min(1),
    temperature: z.number().positive().default(4),
    weight: z.number().min(0).max(1).default(0.9),
  }),
);

/** Schema of {@link AwareTrainingOptions}. */
export const awareTrainingSchema: z.ZodType<AwareTrainingSettings, AwareTrainingOptions> = z
  .strictObject({ ...trainingFields, ...awareFields })
  .omit({ initialize: true, mixedPrecision: true })
  .extend({
    quantizeActivationsAt: share.default(0),
    freezeRangesAt: share.default(0.75),
    freezeBatchNormAt: share.default(0.5),
    teacher: teacher.optional(),
  })
  .refine(...trainingRule);
