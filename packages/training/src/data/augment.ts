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

/** Moves each image by up to `pad` pixels in each direction; what comes in from outside is `fill`, 0 by default. */
export function randomCrop(
  pad: number,
  options: ImageInput & { readonly fill?: number | undefined } = {},
): Augmentation {
  const { fill = 0 } = options;
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
          moved.set(data.subarray(from + first + right, from + last + right), row * width + first);
        }
        data.set(moved, start);
      }
    }
    return withImages(batch, images);
  };
}

/** Blanks a square of `size` pixels in each image (DeVries and Taylor, "Cutout", 2017). */
export function cutout(
  size: number,
  options: ImageInput & { readonly fill?: number | undefined } = {},
): Augmentation {
  const { fill = 0 } = options;
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
 * becomes probabilities `[N, classes]`: the loss must take them.
 */
export function mixup(options: MixupOptions): Augmentation {
  const { alpha = 0.2, classes, target = 'label' } = options;
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

/** A draw from Beta(a, a), by Joehnk's method, which suits a below 1. */
function beta(a: number, rng: Rng): number {
  for (;;) {
    const left = rng.next() ** (1 / a);
    const right = rng.next() ** (1 / a);
    if (left + right > 0 && left + right <= 1) return left / (left + right);
  }
}
