import { type DType, errors } from '@lithe/core';
import { z } from 'zod';
import type { Interpolation } from './resize.ts';

const size = z.int().min(1).max(16_384);
const perChannel = z.union([z.number(), z.array(z.number()).min(1).max(4)]);
const sampling = {
  interpolation: z.enum(['nearest', 'bilinear', 'bicubic']).default('bilinear'),
  antialias: z.boolean().default(true),
  multipleOf: z.int().min(1).max(1024).default(1),
};

const resize = z.discriminatedUnion('mode', [
  z.strictObject({ mode: z.literal('none'), ...sampling }),
  z.strictObject({ mode: z.literal('exact'), width: size, height: size, ...sampling }),
  z.strictObject({ mode: z.literal('shortest-edge'), size, ...sampling }),
  z.strictObject({ mode: z.literal('longest-edge'), size, enlarge: z.boolean().default(true), ...sampling }),
  z.strictObject({
    mode: z.literal('fit-pad'),
    width: size,
    height: size,
    align: z.enum(['centre', 'top-left']).default('centre'),
    fill: z.array(z.int().min(0).max(255)).length(3).default([0, 0, 0]),
    ...sampling,
  }),
]);

const schema = z.strictObject({
  resize: resize.default({ mode: 'none', interpolation: 'bilinear', antialias: true, multipleOf: 1 }),
  crop: z.strictObject({ width: size, height: size }).optional(),
  channels: z.enum(['rgb', 'bgr', 'gray']).default('rgb'),
  scale: z.number().default(1 / 255),
  mean: perChannel.default(0),
  std: perChannel.default(1),
  layout: z.enum(['nchw', 'nhwc']).default('nchw'),
  dtype: z.enum(['float32', 'float16', 'uint8']).default('float32'),
});

/** How pixels are sampled, and what sizes are rounded to. */
export interface SamplingOptions {
  /** How pixels are interpolated; `bilinear` by default. */
  readonly interpolation: Interpolation;
  /** Whether shrinking averages over all pixels it covers, as Pillow does (default), or not, as OpenCV. */
  readonly antialias: boolean;
  /** Width and height are rounded to multiples of this; 1 by default. */
  readonly multipleOf: number;
}

/** Keeps the size. */
export interface ResizeNone {
  /** Tag. */
  readonly mode: 'none';
}

/** Stretches to a size. */
export interface ResizeExact {
  /** Tag. */
  readonly mode: 'exact';
  /** Width in pixels. */
  readonly width: number;
  /** Height in pixels. */
  readonly height: number;
}

/** Keeps the ratio; the shorter edge gets a length. */
export interface ResizeShortestEdge {
  /** Tag. */
  readonly mode: 'shortest-edge';
  /** Length in pixels. */
  readonly size: number;
}

/** Keeps the ratio; the longer edge gets a length. */
export interface ResizeLongestEdge {
  /** Tag. */
  readonly mode: 'longest-edge';
  /** Length in pixels. */
  readonly size: number;
  /** Whether smaller images are enlarged; `true` by default. */
  readonly enlarge: boolean;
}

/** Keeps the ratio; fits the image into a size and fills the rest. */
export interface ResizeFitPad {
  /** Tag. */
  readonly mode: 'fit-pad';
  /** Width in pixels. */
  readonly width: number;
  /** Height in pixels. */
  readonly height: number;
  /** Where the image lies; `centre` by default. */
  readonly align: 'centre' | 'top-left';
  /** Red, green and blue of the rest, 0 to 255; black by default. */
  readonly fill: readonly number[];
}

/** How an image is brought to its size. */
export type ResizeMode = ResizeNone | ResizeExact | ResizeShortestEdge | ResizeLongestEdge | ResizeFitPad;

/**
 * Image preprocessing. In this order: resize, crop the centre, pick the channels, `(pixel * scale - mean) / std`,
 * convert to `dtype`, lay out.
 */
export interface Preprocessing {
  /** How the image is brought to its size; as it is by default. */
  readonly resize: ResizeMode & SamplingOptions;
  /** Cuts this out of the middle; where the image is smaller it is filled with black. */
  readonly crop?: CropSize | undefined;
  /** Channels and their order; `rgb` by default. */
  readonly channels: 'rgb' | 'bgr' | 'gray';
  /** Factor for pixels from 0 to 255; 1/255 by default. */
  readonly scale: number;
  /** Subtracted after scaling; one number, or one per channel in the order of `channels`; 0 by default. */
  readonly mean: number | readonly number[];
  /** Divides at last; one number, or one per channel; 1 by default. */
  readonly std: number | readonly number[];
  /** Order of the axes; `nchw` by default. */
  readonly layout: 'nchw' | 'nhwc';
  /** Element type; `float32` by default. */
  readonly dtype: 'float32' | 'float16' | 'uint8';
}

/** Size of a crop. */
export interface CropSize {
  /** Width in pixels. */
  readonly width: number;
  /** Height in pixels. */
  readonly height: number;
}

type WithDefaults<T, K extends string> = T extends unknown
  ? Omit<T, K> & { readonly [P in K & keyof T]?: T[P] | undefined }
  : never;

/** {@link Preprocessing} as it is written, in code or in a `preprocessing.json`: what has a default may be left out. */
export type PreprocessingInput = {
  readonly [K in Exclude<keyof Preprocessing, 'resize'>]?: Preprocessing[K] | undefined;
} & {
  /** How the image is brought to its size. */
  readonly resize?:
    | (WithDefaults<ResizeMode, 'enlarge' | 'align' | 'fill'> & Partial<SamplingOptions>)
    | undefined;
};

/** The JSON schema of a `preprocessing.json`, for editors. */
export function preprocessingJsonSchema(): Readonly<Record<string, unknown>> {
  return z.toJSONSchema(schema, { io: 'input' });
}

/** The part of a model input that reading data needs. A `Value` of a graph is one. */
export interface InputSpec {
  /** Name. */
  readonly name: string;
  /** Element type, if known. */
  readonly dtype: DType | undefined;
  /** Dims, if the rank is known. */
  readonly shape: readonly (number | string | null)[] | undefined;
}

/**
 * Checks image preprocessing and fills in its defaults.
 *
 * @param what where it came from, for the message
 * @throws {LitheError} OPTIONS_INVALID naming every mistake
 *
 * @example
 * ```ts
 * import { parsePreprocessing } from '@lithe/data';
 *
 * const imagenet = parsePreprocessing({
 *   resize: { mode: 'shortest-edge', size: 256 },
 *   crop: { width: 224, height: 224 },
 *   mean: [0.485, 0.456, 0.406],
 *   std: [0.229, 0.224, 0.225],
 * });
 * imagenet.layout; // => 'nchw'
 * ```
 */
export function parsePreprocessing(config: unknown, what = 'image preprocessing'): Preprocessing {
  const result = schema.safeParse(config);
  if (!result.success) {
    throw errors.optionsInvalid(
      what,
      result.error.issues.map(
        (issue) => `${issue.path.length > 0 ? `"${issue.path.join('.')}": ` : ''}${issue.message}.`,
      ),
    );
  }
  const { mean, std, channels } = result.data;
  const count = channels === 'gray' ? 1 : 3;
  const problems: string[] = [];
  for (const [name, value] of Object.entries({ mean, std })) {
    if (Array.isArray(value) && value.length !== count)
      problems.push(`"${name}" has ${value.length} entries for ${count} channels.`);
  }
  if ([std].flat().includes(0)) problems.push('"std" must not be 0.');
  if (problems.length > 0) throw errors.optionsInvalid(what, problems);
  return result.data;
}

/**
 * Fills in what a model input says about its images: layout and channels by where its 1 or 3 channels are, size where
 * it is fixed, dtype. What is given stays.
 *
 * @throws {LitheError} DATA_INVALID when the input cannot take images; OPTIONS_INVALID
 */
export function preprocessingFor(
  input: InputSpec,
  given: PreprocessingInput = {},
  what?: string,
): Preprocessing {
  const { shape } = input;
  const channelAxis = given.layout === 'nhwc' ? [3] : given.layout === 'nchw' ? [1] : [1, 3];
  const isCount = (dim: unknown): boolean => dim === 1 || dim === 3;
  const axis = shape?.length === 4 ? channelAxis.find((index) => isCount(shape[index])) : undefined;
  if (shape === undefined || axis === undefined) {
    throw errors.dataInvalid(
      'images',
      `input "${input.name}" does not take images: its shape is not [N, C, H, W] or [N, H, W, C] with 1 or 3 channels.`,
    );
  }
  const [height, width] = axis === 1 ? [shape[2], shape[3]] : [shape[1], shape[2]];
  const fixed = typeof height === 'number' && typeof width === 'number';
  const dtype = input.dtype === 'float16' || input.dtype === 'uint8' ? input.dtype : 'float32';
  const config = parsePreprocessing(
    {
      layout: axis === 1 ? 'nchw' : 'nhwc',
      channels: shape[axis] === 1 ? 'gray' : 'rgb',
      dtype,
      ...(dtype === 'uint8' ? { scale: 1 } : {}),
      ...(fixed ? { resize: { mode: 'exact', width, height } } : {}),
      ...given,
    },
    what,
  );
  if (!fixed && given.resize === undefined) {
    throw errors.dataInvalid(
      'images',
      `input "${input.name}" does not say how large its images are.`,
      'Give `resize` in the preprocessing, such as { "resize": { "mode": "longest-edge", "size": 640, "multipleOf": 32 } }.',
    );
  }
  return config;
}
