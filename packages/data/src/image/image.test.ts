import { fromFloat16Bits } from '@lithe/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectedImages, fixture, pixelsOf } from '../../test/fixtures.ts';
import { decodeImage } from './decode.ts';
import type { Image } from './image.ts';
import { preprocessImage } from './preprocess.ts';
import { parsePreprocessing, preprocessingFor, preprocessingJsonSchema } from './preprocessing.ts';
import { resizeImage } from './resize.ts';

const maxPixels = 2 ** 20;
const decode = (name: string): Promise<Image> => decodeImage(fixture(name), name, { maxPixels });
const differences = (left: ArrayLike<number>, right: ArrayLike<number>): { max: number; mean: number } => {
  let max = left.length === right.length ? 0 : 999;
  let sum = 0;
  for (let index = 0; index < left.length; index++) {
    const difference = Math.abs((left[index] as number) - (right[index] as number));
    max = Math.max(max, difference);
    sum += difference;
  }
  return { max, mean: sum / left.length };
};

describe('decodeImage', () => {
  for (const name of Object.keys(expectedImages).filter((file) => file.endsWith('.png'))) {
    it(`decodes ${name} to the pixels that Pillow gives`, async () => {
      const { shape, rgb } = expectedImages[name] as (typeof expectedImages)[string];
      const image = await decode(name);
      expect([image.height, image.width, 3]).toEqual(shape);
      expect(image.rgb).toEqual(pixelsOf(rgb));
    });
  }

  for (const name of ['smooth.jpg', 'grey.jpg', 'progressive.jpg']) {
    it(`decodes ${name} to nearly the pixels that Pillow gives`, async () => {
      const { shape, rgb } = expectedImages[name] as (typeof expectedImages)[string];
      const image = await decode(name);
      expect([image.height, image.width, 3]).toEqual(shape);
      // JPEG leaves rounding and chroma upsampling to the decoder; progressive.jpg has halved chroma.
      const { max, mean } = differences(image.rgb, pixelsOf(rgb));
      expect(mean).toBeLessThan(name === 'progressive.jpg' ? 1.5 : 0.75);
      expect(max).toBeLessThan(name === 'progressive.jpg' ? 24 : 4);
    });
  }

  it('hands other formats to the platform, and says what is missing', async () => {
    const image: Image = { width: 1, height: 1, rgb: new Uint8Array(3) };
    expect(
      await decodeImage(fixture('smooth.webp'), 'a.webp', {
        maxPixels,
        platform: () => Promise.resolve(image),
      }),
    ).toBe(image);
    await expect(decode('smooth.webp')).rejects.toThrow(
      expect.objectContaining({ code: 'DATA_INVALID', hint: expect.stringContaining('npm install sharp') }),
    );
    await expect(decode('f4.npy')).rejects.toThrow(expect.objectContaining({ code: 'DATA_INVALID' }));
  });

  it('refuses images with too many pixels before it expands them', async () => {
    for (const name of ['rgb.png', 'smooth.jpg']) {
      await expect(decodeImage(fixture(name), name, { maxPixels: 50 })).rejects.toThrow(
        expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
      );
    }
  });

  it('ends in a typed error on damaged images', async () => {
    const names = ['rgb.png', 'palette16.png', 'interlaced.png', 'smooth.jpg', 'progressive.jpg'];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...names),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }),
        fc.double({ min: 0.05, max: 1, noNaN: true }),
        async (name, flips, kept) => {
          const bytes = fixture(name);
          for (const [place, value] of flips) bytes[8 + (place % (bytes.length - 8))] = value;
          try {
            const image = await decodeImage(bytes.slice(0, Math.ceil(bytes.length * kept)), name, {
              maxPixels: 2 ** 18,
            });
            expect(image.rgb.length).toBe(3 * image.width * image.height);
          } catch (error) {
            expect(['DATA_INVALID', 'LIMIT_EXCEEDED']).toContain((error as { code?: string }).code);
          }
        },
      ),
      { seed: 3, numRuns: 400 },
    );
  });
});

describe('resizeImage', () => {
  it('gives the pixels that Pillow gives, within one level', async () => {
    const noise = await decode('noise.png');
    for (const { width, height, interpolation, rgb } of expectedImages.resized) {
      const image = resizeImage(noise, { width, height, interpolation, antialias: true });
      const { max, mean } = differences(image.rgb, pixelsOf(rgb));
      // Pillow's weights have 22 bits, so a level may round the other way; nearest picks pixels.
      expect(max, `${interpolation} to ${width}x${height}`).toBeLessThanOrEqual(
        interpolation === 'nearest' ? 0 : 1,
      );
      expect(mean).toBeLessThan(0.3);
    }
  });

  it('interpolates between two pixels only without antialiasing', () => {
    // Shrinking 4 to 2: centres fall on the borders 0|1 and 2|3, so each output is the mean of two neighbours.
    const row = Uint8Array.from([0, 100, 200, 40].flatMap((value) => [value, value, value]));
    const image = { width: 4, height: 1, rgb: row };
    const plain = resizeImage(image, { width: 2, height: 1, interpolation: 'bilinear', antialias: false });
    expect([plain.rgb[0], plain.rgb[3]]).toEqual([50, 120]);
    // With it the triangle is four wide: weights 1/8 3/8 3/8 1/8, cut at the edge.
    const smooth = resizeImage(image, { width: 2, height: 1, interpolation: 'bilinear', antialias: true });
    expect(smooth.rgb[0]).toBe(Math.round((3 * 0 + 3 * 100 + 1 * 200) / 7));
  });
});

describe('preprocessImage', () => {
  const image: Image = { width: 2, height: 1, rgb: new Uint8Array([255, 51, 0, 102, 153, 204]) };

  it('scales, shifts and divides per channel, and lays out planes', () => {
    const tensor = preprocessImage(image, parsePreprocessing({ mean: [0.5, 0, 0], std: [0.5, 1, 2] }));
    expect(tensor.shape).toEqual([1, 3, 1, 2]);
    // Red (1 - 0.5) / 0.5, (0.4 - 0.5) / 0.5; green 0.2, 0.6; blue 0, 0.8 / 2.
    const expected = [1, -0.2, 0.2, 0.6, 0, 0.4];
    tensor.toFloat64Array().forEach((value, index) => {
      expect(value).toBeCloseTo(expected[index] as number, 6);
    });
  });

  it('orders channels and axes', () => {
    const bgr = preprocessImage(
      image,
      parsePreprocessing({ channels: 'bgr', layout: 'nhwc', scale: 1, dtype: 'uint8' }),
    );
    expect(bgr.shape).toEqual([1, 1, 2, 3]);
    expect([...bgr.toFloat64Array()]).toEqual([0, 51, 255, 204, 153, 102]);
    const half = preprocessImage(image, parsePreprocessing({ dtype: 'float16' }));
    expect(fromFloat16Bits((half.data as Uint16Array)[0] as number)).toBe(1);
  });

  it('converts to grey as Pillow does', async () => {
    const noise = await decode('noise.png');
    const grey = preprocessImage(noise, parsePreprocessing({ channels: 'gray', scale: 1 }));
    expect(grey.shape).toEqual([1, 1, 37, 53]);
    expect(differences(grey.toFloat64Array(), pixelsOf(expectedImages.grey)).max).toBeLessThanOrEqual(1);
  });

  it('brings images to the size that each mode promises', async () => {
    const noise = await decode('noise.png'); // 53 by 37
    const sizeOf = (config: object): readonly number[] =>
      preprocessImage(noise, parsePreprocessing(config)).shape.slice(2);
    expect(sizeOf({})).toEqual([37, 53]);
    expect(sizeOf({ resize: { mode: 'none', multipleOf: 32 } })).toEqual([32, 64]);
    expect(sizeOf({ resize: { mode: 'exact', width: 8, height: 6 } })).toEqual([6, 8]);
    expect(sizeOf({ resize: { mode: 'shortest-edge', size: 74 } })).toEqual([74, 106]);
    expect(sizeOf({ resize: { mode: 'longest-edge', size: 106 } })).toEqual([74, 106]);
    expect(sizeOf({ resize: { mode: 'longest-edge', size: 106, enlarge: false } })).toEqual([37, 53]);
    expect(sizeOf({ resize: { mode: 'shortest-edge', size: 74 }, crop: { width: 60, height: 50 } })).toEqual([
      50, 60,
    ]);
    expect(sizeOf({ resize: { mode: 'fit-pad', width: 100, height: 100 } })).toEqual([100, 100]);
  });

  it('pads and crops where it says', () => {
    const white: Image = { width: 2, height: 1, rgb: new Uint8Array(6).fill(255) };
    const red = (config: object): number[] => [
      ...preprocessImage(white, parsePreprocessing({ scale: 1, channels: 'rgb', ...config }))
        .toFloat64Array()
        .subarray(0, 4),
    ];
    const pad = { mode: 'fit-pad', width: 2, height: 2, fill: [9, 9, 9] };
    expect(red({ resize: { ...pad, align: 'top-left' } })).toEqual([255, 255, 9, 9]);
    expect(red({ resize: { ...pad, height: 2, width: 2 }, crop: { width: 2, height: 2 } })).toEqual([
      255, 255, 9, 9,
    ]);
    const wide: Image = {
      width: 4,
      height: 1,
      rgb: Uint8Array.from([1, 2, 3, 4].flatMap((value) => [value, value, value])),
    };
    const middle = preprocessImage(wide, parsePreprocessing({ scale: 1, crop: { width: 2, height: 1 } }));
    expect([...middle.toFloat64Array().subarray(0, 2)]).toEqual([2, 3]);
  });

  it('reports every mistake in a configuration', () => {
    const options = expect.objectContaining({ code: 'OPTIONS_INVALID' });
    for (const config of [
      { sizes: 3 },
      { resize: { mode: 'exact', width: 0, height: 1 } },
      { mean: [1, 2] },
      { std: 0 },
      { resize: { mode: 'exact', width: 2 ** 30, height: 1 } },
      null,
    ]) {
      expect(() => parsePreprocessing(config)).toThrow(options);
    }
    expect(preprocessingJsonSchema()).toMatchObject({ type: 'object', additionalProperties: false });
  });

  it('takes what is missing from the model input', () => {
    const input = (shape: (number | string)[], dtype: 'float32' | 'uint8' = 'float32') => ({
      name: 'x',
      dtype,
      shape,
    });
    expect(preprocessingFor(input(['N', 3, 8, 6]))).toMatchObject({
      layout: 'nchw',
      channels: 'rgb',
      resize: { mode: 'exact', width: 6, height: 8 },
    });
    expect(preprocessingFor(input([1, 8, 6, 1], 'uint8'))).toMatchObject({
      layout: 'nhwc',
      channels: 'gray',
      dtype: 'uint8',
      scale: 1,
    });
    const invalid = expect.objectContaining({ code: 'DATA_INVALID' });
    expect(() => preprocessingFor(input(['N', 3, 'H', 'W']))).toThrow(invalid);
    expect(() => preprocessingFor(input(['N', 10]))).toThrow(invalid);
    expect(
      preprocessingFor(input(['N', 3, 'H', 'W']), {
        resize: { mode: 'longest-edge', size: 64, multipleOf: 32 },
      }),
    ).toMatchObject({
      resize: { size: 64, enlarge: true },
    });
  });
});
