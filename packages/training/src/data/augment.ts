import { type Batch, errors, type Rng, Tensor } from '@lithe/core';

/** Changes a batch before it is trained on: a value made by {@link flip} and its like. */
export type Augmentation = (batch: Batch, rng: Rng) => Batch;

/** Which input holds the images, `[N, C, H, W]` in float32. */
export interface ImageInput {
  /** Input name; the batch's only one by default. */
  readonly input?: string | undefined;
}

interface Images {
  readonly name: string;
  readonly data: Float32Array;
  readonly count: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** A copy of the images that may be written. */
function imagesOf(batch: Batch, options: ImageInput): Images {
  const names = Object.keys(batch.inputs);
  const name = options.input ?? (names.length === 1 ? names[0] : undefined);
  const tensor = name === undefined ? undefined : batch.inputs[name];
  if (name === undefined || tensor === undefined) {
    throw errors.optionsInvalid('augmentation', [
      `Name the input that holds the images: ${names.join(', ')}.`,
    ]);
  }
  const [count, channels, height, width] = tensor.shape;
  if (tensor.dtype !== 'float32' || tensor.shape.length !== 4) {
    throw errors.optionsInvalid('augmentation', [
      `Input "${name}" is ${tensor.toString()}, not float32 [N, C, H, W].`,
    ]);
  }
  const data = Float32Array.from((tensor as Tensor<'float32'>).data);
  return { name, data, count: count!, channels: channels!, height: height!, width: width! };
}

function withImages(batch: Batch, images: Images): Batch {
  const { name, data, count, channels, height, width } = images;
  const tensor = Tensor.from('float32', [count, channels, height, width], data);
  return { ...batch, inputs: { ...batch.inputs, [name]: tensor } };
}

/** Turns half of the images left to right. */
export function flip(options: ImageInput = {}): Augmentation {
  return (batch, rng) => {
    const images = imagesOf(batch, options);
    const { data, count, channels, height, width } = images;
    for (let image = 0; image < count; image++) {
      if (rng.next() >= 0.5) continue;
      for (let row = 0; row < channels * height; row++) {
        const start = (image * channels * height + row) * width;
        data.subarray(start, start + width).reverse();
      }
    }
    return withImages(batch, images);
  };
}

/** Options of augmentations are looked at when these are made, not in the middle of a run. */
function check(augmentation: string, option: string, holds: boolean, wanted: string): void {
  if (!holds) throw errors.optionsInvalid(augmentation, [`"${option}" must be ${wanted}.`]);
}

/**
 * Moves each image by up to `pad` pixels in each direction; what comes in from outside is `fill`, 0 by default.
 *
 * @throws {LitheError} OPTIONS_INVALID when `pad` is no whole number, or below 0
 */
export function randomCrop(
  pad: number,
  options: ImageInput & { readonly fill?: number | undefined } = {},
): Augmentation {
  const { fill = 0 } = options;
  check('randomCrop', 'pad', Number.isInteger(pad) && pad >= 0, 'a whole number of pixels');
  return (batch, rng) => {
    const images = imagesOf(batch, options);
    const { data, count, channels, height, width } = images;
    const plane = height * width;
    const moved = new Float32Array(plane);
    for (let image = 0; image < count; image++) {
      const down = rng.integer(2 * pad + 1) - pad;
      const right = rng.integer(2 * pad + 1) - pad;
      for (let channel = 0; channel < channels; channel++) {
        const start = (image * channels + channel) * plane;
        moved.fill(fill);
        for (let row = Math.max(0, -down); row < Math.min(height, height - down); row++) {
          const from = start + (row + down) * width;
          const first = Math.max(0, -right);
          const last = Math.min(width, width - right);
          if (first < last)
            moved.set(data.subarray(from + first + right, from + last + right), row * width + first);
        }
        data.set(moved, start);
      }
    }
    return withImages(batch, images);
  };
}

/**
 * Blanks a square of `size` pixels in each image, its middle anywhere in it (DeVries and Taylor, "Improved Regularization
 * of Convolutional Neural Networks with Cutout", 2017).
 *
 * @throws {LitheError} OPTIONS_INVALID when `size` is no whole number above 0
 */
export function cutout(
  size: number,
  options: ImageInput & { readonly fill?: number | undefined } = {},
): Augmentation {
  const { fill = 0 } = options;
  check('cutout', 'size', Number.isInteger(size) && size > 0, 'a whole number of pixels above 0');
  return (batch, rng) => {
    const images = imagesOf(batch, options);
    const { data, count, channels, height, width } = images;
    for (let image = 0; image < count; image++) {
      const top = rng.integer(height) - (size >> 1);
      const left = rng.integer(width) - (size >> 1);
      for (let channel = 0; channel < channels; channel++) {
        for (let row = Math.max(0, top); row < Math.min(height, top + size); row++) {
          const start = ((image * channels + channel) * height + row) * width;
          data.fill(fill, start + Math.max(0, left), start + Math.min(width, left + size));
        }
      }
    }
    return withImages(batch, images);
  };
}

/** Options of {@link mixup}. */
export interface MixupOptions extends ImageInput {
  /** Spread of the shares, the parameter of a symmetric Beta distribution; 0.2 by default. */
  readonly alpha?: number | undefined;
  /** Number of classes: the labels become probabilities. */
  readonly classes: number;
  /** Name of the label target; `label` by default. */
  readonly target?: string | undefined;
}

/**
 * Blends each image with another of the batch, and their labels alike (Zhang et al., "mixup", 2018). The label target
 * becomes probabilities `[N, classes]`: the loss must take them. One share holds for a batch, as in the authors' code.
 *
 * @throws {LitheError} OPTIONS_INVALID when `alpha` is not above 0 or `classes` no whole number above 0; when it is used,
 *   OPTIONS_INVALID where the batch has no such labels, DATA_INVALID where a label is no class
 */
export function mixup(options: MixupOptions): Augmentation {
  const { alpha = 0.2, classes, target = 'label' } = options;
  check('mixup', 'alpha', alpha > 0 && Number.isFinite(alpha), 'above 0');
  check('mixup', 'classes', Number.isInteger(classes) && classes > 0, 'a whole number above 0');
  return (batch, rng) => {
    const images = imagesOf(batch, options);
    const labels = batch.targets?.[target];
    if (labels?.dtype !== 'int64')
      throw errors.optionsInvalid('mixup', [`The batch has no int64 target "${target}".`]);
    const share = beta(alpha, rng);
    const order = Uint32Array.from({ length: images.count }, (_, index) => index);
    rng.shuffle(order);
    const size = images.data.length / images.count;
    const before = Float32Array.from(images.data);
    const probabilities = new Float32Array(images.count * classes);
    const numbers = (labels as Tensor<'int64'>).data;
    const wrong = numbers.findIndex((number) => number < 0n || number >= BigInt(classes));
    if (wrong >= 0)
      throw errors.dataInvalid(
        'batch',
        `label ${numbers[wrong]} in "${target}" is no class: mixup blends the classes 0 to ${classes - 1}.`,
      );
    for (let image = 0; image < images.count; image++) {
      const other = order[image]!;
      for (let pixel = 0; pixel < size; pixel++) {
        images.data[image * size + pixel] =
          share * before[image * size + pixel]! + (1 - share) * before[other * size + pixel]!;
      }
      const own = image * classes + Number(numbers[image]!);
      const second = image * classes + Number(numbers[other]!);
      probabilities[own] = probabilities[own]! + share;
      probabilities[second] = probabilities[second]! + 1 - share;
    }
    const mixed = withImages(batch, images);
    return {
      ...mixed,
      targets: { ...batch.targets, [target]: Tensor.from('float32', [images.count, classes], probabilities) },
    };
  };
}

/** A draw from Beta(a, a): two draws from Gamma(a), and what share of both the first is. */
function beta(a: number, rng: Rng): number {
  if (a > 1) {
    const left = gamma(a, rng);
    return left / (left + gamma(a, rng));
  }
  // Joehnk's method: u^(1/a) and v^(1/a) whose sum is at most 1, at least one pair in two. As logarithms, for a large
  // power is too small for a number.
  for (;;) {
    const left = Math.log(1 - rng.next());
    const right = Math.log(1 - rng.next());
    const apart = (right - left) / a;
    if (Math.max(left, right) / a + Math.log1p(Math.exp(-Math.abs(apart))) <= 0)
      return 1 / (1 + Math.exp(apart));
  }
}

/** A draw from Gamma(a) for a of 1 and above (Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables", 2000). */
function gamma(a: number, rng: Rng): number {
  const d = a - 1 / 3;
  for (;;) {
    const x = rng.normal();
    const v = (1 + x / Math.sqrt(9 * d)) ** 3;
    if (v > 0 && Math.log(1 - rng.next()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}
