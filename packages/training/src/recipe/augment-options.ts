import { errors } from '@lithe/core';
import { z } from 'zod';
import { type Augmentation, cutout, flip, type ImageInput, mixup, randomCrop } from '../data/augment.ts';

/** What pixels that come in from outside are. */
export interface FillField extends ImageInput {
  /** Value of the pixels; 0 by default. */
  readonly fill?: number | undefined;
}

/** An augmentation as data: one of the fields. A number stands for the option that must be there. */
export interface AugmentationSettings {
  /** Turns half of the images left to right. */
  readonly flip?: ImageInput | undefined;
  /** Moves each image by up to `pad` pixels. */
  readonly crop?:
    | (FillField & {
        /** Most pixels in each direction. */
        readonly pad: number;
      })
    | undefined;
  /** Blanks a square of `size` pixels. */
  readonly cutout?:
    | (FillField & {
        /** Side of the square, in pixels. */
        readonly size: number;
      })
    | undefined;
  /** Blends images and their labels; the loss then takes probabilities. */
  readonly mixup?:
    | (ImageInput & {
        /** Both parameters of the beta distribution that shares are drawn from. */
        readonly alpha?: number | undefined;
        /** Number of classes, where labels are indices. */
        readonly classes?: number | undefined;
      })
    | undefined;
}

/** {@link AugmentationSettings} as they may be written: `'flip'`, `{ crop: 2 }`, `{ crop: { pad: 2, fill: -0.6 } }`. */
export type AugmentationChoice =
  | 'flip'
  | 'mixup'
  | {
      /** See {@link AugmentationSettings.flip}. */
      readonly flip: ImageInput;
    }
  | {
      /** See {@link AugmentationSettings.crop}; a number is the pad. */
      readonly crop:
        | number
        | (FillField & {
            /** Most pixels in each direction. */
            readonly pad: number;
          });
    }
  | {
      /** See {@link AugmentationSettings.cutout}; a number is the size. */
      readonly cutout:
        | number
        | (FillField & {
            /** Side of the square, in pixels. */
            readonly size: number;
          });
    }
  | {
      /** See {@link AugmentationSettings.mixup}; a number is alpha. */
      readonly mixup: number | NonNullable<AugmentationSettings['mixup']>;
    };

const input = { input: z.string().optional() };
const filled = { ...input, fill: z.number().optional() };
const orNumber = <Output>(
  field: string,
  schema: z.ZodType<Output>,
): z.ZodOptional<z.ZodType<Output, unknown>> =>
  z.preprocess((value) => (typeof value === 'number' ? { [field]: value } : value), schema).optional();

const fields = z
  .strictObject({
    flip: z.strictObject(input).optional(),
    crop: orNumber('pad', z.strictObject({ pad: z.int().min(1), ...filled })),
    cutout: orNumber('size', z.strictObject({ size: z.int().min(1), ...filled })),
    mixup: orNumber(
      'alpha',
      z.strictObject({
        alpha: z.number().positive().optional(),
        classes: z.int().min(2).optional(),
        ...input,
      }),
    ),
  })
  .refine((value) => Object.values(value).filter((item) => item !== undefined).length === 1, {
    message: 'expected one of flip, crop, cutout, mixup',
  });

/** The schema of one {@link AugmentationChoice}. */
export const augmentationSchema: z.ZodType<AugmentationSettings, AugmentationChoice> = z.preprocess(
  (value: AugmentationChoice) => (typeof value === 'string' ? { [value]: {} } : value),
  fields,
);

/** The augmentation that options name. */
export function augmentationOf(
  settings: AugmentationSettings,
  data: { readonly classes: number | undefined; readonly target: string },
): Augmentation {
  if (settings.flip !== undefined) return flip(settings.flip);
  if (settings.crop !== undefined) return randomCrop(settings.crop.pad, settings.crop);
  if (settings.cutout !== undefined) return cutout(settings.cutout.size, settings.cutout);
  const classes = settings.mixup?.classes ?? data.classes;
  if (classes === undefined)
    throw errors.optionsInvalid('augment', [
      '"mixup" needs "classes": the model does not tell their number.',
    ]);
  return mixup({ ...settings.mixup, classes, target: data.target });
}
