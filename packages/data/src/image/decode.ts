import { errors, isLitheError } from '@lithe/core';
import type { Image, PlatformDecoder } from './image.ts';
import { decodePng } from './png.ts';

/** Image formats that are told apart by their first bytes. */
export type ImageFormat = 'png' | 'jpeg' | 'webp' | 'gif' | 'bmp' | 'tiff' | 'avif';

/** The format of an image, by its first bytes; `undefined` for what is no known image. */
export function imageFormat(bytes: Uint8Array): ImageFormat | undefined {
  const head = String.fromCharCode(...bytes.subarray(0, 12));
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'png';
  if (head.startsWith('\xff\xd8\xff')) return 'jpeg';
  if (head.startsWith('RIFF') && head.slice(8) === 'WEBP') return 'webp';
  if (head.startsWith('GIF8')) return 'gif';
  if (head.startsWith('BM')) return 'bmp';
  if (head.startsWith('II*\0') || head.startsWith('MM\0*')) return 'tiff';
  if (head.slice(4, 8) === 'ftyp') return 'avif';
  return undefined;
}

/** How an image is decoded. */
export interface DecodeOptions {
  /** Most pixels. */
  readonly maxPixels: number;
  /** Decoder of formats beyond PNG and JPEG; a browser's own by default. */
  readonly platform?: PlatformDecoder | undefined;
}

/**
 * Decodes an image to 8-bit RGB. PNG and JPEG are decoded by portable code, so that Node and every browser give the
 * same pixels; other formats go through the platform. Rotation in EXIF data is not applied.
 *
 * @throws {LitheError} DATA_INVALID when it is malformed or of a format that nothing here decodes; LIMIT_EXCEEDED
 */
export async function decodeImage(bytes: Uint8Array, name: string, options: DecodeOptions): Promise<Image> {
  const format = imageFormat(bytes);
  if (format === undefined) throw errors.dataInvalid(name, 'it is not an image of a known format.');
  if (format === 'png') return decodePng(bytes, name, options.maxPixels);
  if (format === 'jpeg') return decodeJpeg(bytes, name, options.maxPixels);
  const platform = options.platform ?? browserDecoder;
  return platform(bytes, name, options.maxPixels);
}

async function decodeJpeg(bytes: Uint8Array, name: string, maxPixels: number): Promise<Image> {
  const size = jpegSize(bytes);
  if (size === undefined) throw errors.dataInvalid(name, 'the JPEG image has no frame header.');
  const { width, height } = size;
  if (width * height > maxPixels)
    throw errors.limitExceeded('maxPixels', maxPixels, width * height, `Image "${name}"`);
  if (width === 0 || height === 0) throw errors.dataInvalid(name, 'the JPEG image has no pixels.');
  try {
    const { decode } = await import('jpeg-js');
    const image = decode(bytes, {
      useTArray: true,
      formatAsRGBA: false,
      tolerantDecoding: false,
      maxResolutionInMP: maxPixels / 1e6 + 1,
      maxMemoryUsageInMB: 64 + (maxPixels * 24) / 2 ** 20,
    });
    if (image.data.length !== 3 * image.width * image.height)
      throw errors.dataInvalid(name, 'the JPEG image is not in colour or grey.');
    return { width: image.width, height: image.height, rgb: image.data };
  } catch (cause) {
    if (isLitheError(cause)) throw cause;
    throw errors.dataInvalid(
      name,
      'the JPEG image is damaged, or of a kind that is rarely used.',
      undefined,
      cause,
    );
  }
}

/** Width and height of a JPEG image, from its frame header. */
function jpegSize(bytes: Uint8Array): { readonly width: number; readonly height: number } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let offset = 2;
  while (offset + 9 < bytes.length) {
    if (bytes[offset] !== 0xff) return undefined;
    const marker = bytes[offset + 1] as number;
    if (marker === 0xff) {
      offset++;
      continue;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame)
      return { height: view.getUint16(offset + 5, false), width: view.getUint16(offset + 7, false) };
    offset += 2 + view.getUint16(offset + 2, false);
  }
  return undefined;
}

/** Decodes through the browser. */
async function browserDecoder(bytes: Uint8Array, name: string, maxPixels: number): Promise<Image> {
  if (typeof createImageBitmap === 'undefined' || typeof OffscreenCanvas === 'undefined') {
    throw errors.dataInvalid(
      name,
      'images other than PNG and JPEG need a decoder of the platform, and there is none.',
      'In Node, use @lithe/data/node and install sharp: npm install sharp',
    );
  }
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes.slice()]), {
      premultiplyAlpha: 'none',
      colorSpaceConversion: 'none',
    });
  } catch (cause) {
    throw errors.dataInvalid(name, 'the browser cannot decode the image.', undefined, cause);
  }
  try {
    const { width, height } = bitmap;
    if (width * height > maxPixels)
      throw errors.limitExceeded('maxPixels', maxPixels, width * height, `Image "${name}"`);
    const context = new OffscreenCanvas(width, height).getContext('2d');
    if (context === null)
      throw errors.dataInvalid(name, 'the browser gives no canvas to decode the image on.');
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    const rgb = new Uint8Array(3 * width * height);
    for (let from = 0, to = 0; from < data.length; from += 4, to += 3) {
      rgb[to] = data[from]!;
      rgb[to + 1] = data[from + 1]!;
      rgb[to + 2] = data[from + 2]!;
    }
    return { width, height, rgb };
  } finally {
    bitmap.close();
  }
}
