import { errors, isLitheError } from '@lithe/core';
import type { Image } from '../image/image.ts';

/** What is used of `sharp`, an optional peer. */
type Sharp = (input: Uint8Array, options: { readonly limitInputPixels: number }) => SharpImage;

interface SharpImage {
  removeAlpha(): SharpImage;
  toColourspace(space: string): SharpImage;
  raw(): SharpImage;
  toBuffer(options: { readonly resolveWithObject: true }): Promise<{
    readonly data: Uint8Array;
    readonly info: { readonly width: number; readonly height: number; readonly channels: number };
  }>;
}

/**
 * Decodes an image through `sharp`, an optional peer that is loaded when it is first needed: for formats beyond PNG
 * and JPEG.
 *
 * @throws {LitheError} DATA_INVALID when `sharp` is not installed (the hint has the install line), or cannot decode
 *   the image; LIMIT_EXCEEDED
 */
export async function sharpDecoder(bytes: Uint8Array, name: string, maxPixels: number): Promise<Image> {
  const sharp = await loadSharp(name);
  try {
    const { data, info } = await sharp(bytes, { limitInputPixels: maxPixels })
      .removeAlpha()
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    if (channels === 3) return { width, height, rgb: new Uint8Array(data) };
    if (channels !== 1) throw errors.dataInvalid(name, `the image has ${channels} channels.`);
    const rgb = new Uint8Array(3 * width * height);
    for (let index = 0; index < data.length; index++)
      rgb.fill(data[index] as number, 3 * index, 3 * index + 3);
    return { width, height, rgb };
  } catch (cause) {
    if (isLitheError(cause)) throw cause;
    throw errors.dataInvalid(name, 'the image cannot be decoded.', undefined, cause);
  }
}

async function loadSharp(name: string): Promise<Sharp> {
  try {
    // A name in a variable keeps the compiler from asking for the types of an optional peer.
    const peer = 'sharp';
    return ((await import(peer)) as { readonly default: Sharp }).default;
  } catch (cause) {
    throw errors.dataInvalid(
      name,
      'images other than PNG and JPEG are decoded by the package sharp, which is not installed.',
      'Install it: npm install sharp',
      cause,
    );
  }
}
