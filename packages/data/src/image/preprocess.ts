import { Tensor, toFloat16Bits } from '@lithe/core';
import type { Image } from './image.ts';
import type { Preprocessing } from './preprocessing.ts';
import { resizeImage } from './resize.ts';

/**
 * Turns an image into a batch of one: `[1, C, H, W]` or `[1, H, W, C]`.
 *
 * @param config what {@link parsePreprocessing} gave
 */
export function preprocessImage(image: Image, config: Preprocessing): Tensor {
  const fitted = resized(image, config);
  return toTensor(
    config.crop === undefined ? fitted : place(fitted, config.crop, 'centre', [0, 0, 0]),
    config,
  );
}

/** Rounds to a multiple, at least one. */
const toMultiple = (length: number, multiple: number): number =>
  Math.max(multiple, Math.round(length / multiple) * multiple);

function resized(image: Image, { resize }: Preprocessing): Image {
  const { interpolation, antialias, multipleOf } = resize;
  const to = (width: number, height: number): Image =>
    resizeImage(image, {
      width: toMultiple(width, multipleOf),
      height: toMultiple(height, multipleOf),
      interpolation,
      antialias,
    });
  switch (resize.mode) {
    case 'none':
      return to(image.width, image.height);
    case 'exact':
      return to(resize.width, resize.height);
    case 'shortest-edge': {
      const ratio = resize.size / Math.min(image.width, image.height);
      return to(Math.max(1, Math.round(image.width * ratio)), Math.max(1, Math.round(image.height * ratio)));
    }
    case 'longest-edge': {
      const wanted = resize.size / Math.max(image.width, image.height);
      const ratio = resize.enlarge ? wanted : Math.min(1, wanted);
      return to(Math.max(1, Math.round(image.width * ratio)), Math.max(1, Math.round(image.height * ratio)));
    }
    case 'fit-pad': {
      const width = toMultiple(resize.width, multipleOf);
      const height = toMultiple(resize.height, multipleOf);
      const ratio = Math.min(width / image.width, height / image.height);
      const inner = resizeImage(image, {
        width: Math.min(width, Math.max(1, Math.round(image.width * ratio))),
        height: Math.min(height, Math.max(1, Math.round(image.height * ratio))),
        interpolation,
        antialias,
      });
      return place(inner, { width, height }, resize.align, resize.fill);
    }
  }
}

/** Puts an image on a canvas of another size: cut where it is larger, filled where it is smaller. */
function place(
  image: Image,
  size: { readonly width: number; readonly height: number },
  align: 'centre' | 'top-left',
  fill: readonly number[],
): Image {
  const { width, height } = size;
  if (image.width === width && image.height === height) return image;
  const left = align === 'centre' ? Math.floor((width - image.width) / 2) : 0;
  const top = align === 'centre' ? Math.floor((height - image.height) / 2) : 0;
  const rgb = new Uint8Array(3 * width * height);
  for (let index = 0; index < rgb.length; index++) rgb[index] = fill[index % 3] as number;
  const fromX = Math.max(0, -left);
  const columns = Math.min(image.width - fromX, width - Math.max(0, left));
  for (let y = Math.max(0, top); y < Math.min(height, top + image.height); y++) {
    const start = 3 * ((y - top) * image.width + fromX);
    rgb.set(image.rgb.subarray(start, start + 3 * columns), 3 * (y * width + Math.max(0, left)));
  }
  return { width, height, rgb };
}

function toTensor(image: Image, config: Preprocessing): Tensor {
  const { channels, layout, dtype } = config;
  const { width, height, rgb } = image;
  const pixels = width * height;
  const count = channels === 'gray' ? 1 : 3;
  const values = new Float32Array(count * pixels);
  const pixelStep = layout === 'nchw' ? 1 : count;
  const channelStep = layout === 'nchw' ? pixels : 1;
  for (let channel = 0; channel < count; channel++) {
    const mean = pick(config.mean, channel);
    const std = pick(config.std, channel);
    const factor = config.scale / std;
    const shift = mean / std;
    const source = channels === 'bgr' ? 2 - channel : channel;
    for (let pixel = 0, to = channel * channelStep; pixel < pixels; pixel++, to += pixelStep) {
      const at = 3 * pixel;
      // ITU-R BT.601 luma, as Pillow and OpenCV convert to grey, rounded to whole levels like theirs.
      const level =
        channels === 'gray'
          ? Math.floor(0.299 * rgb[at]! + 0.587 * rgb[at + 1]! + 0.114 * rgb[at + 2]! + 0.5)
          : rgb[at + source]!;
      values[to] = level * factor - shift;
    }
  }
  const shape = layout === 'nchw' ? [1, count, height, width] : [1, height, width, count];
  if (dtype === 'float32') return Tensor.from('float32', shape, values);
  if (dtype === 'float16') return Tensor.from('float16', shape, Uint16Array.from(values, toFloat16Bits));
  return Tensor.from('uint8', shape, new Uint8Array(Uint8ClampedArray.from(values).buffer));
}

function pick(value: number | readonly number[], channel: number): number {
  return typeof value === 'number' ? value : (value[channel] as number);
}
