import { type Batch, createRng, Tensor } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { type Augmentation, cutout, flip, mixup, randomCrop } from './augment.ts';
import { sampleTable } from './sample-table.ts';

const COUNT = 200;
/** Images of 2 channels, 4x5 pixels; pixel p of image i is 1000 i + p + 1. */
const pixels = Float32Array.from(
  { length: COUNT * 40 },
  (_, index) => Math.floor(index / 40) * 1000 + (index % 40) + 1,
);
const batch: Batch = {
  inputs: { x: Tensor.from('float32', [COUNT, 2, 4, 5], pixels) },
  targets: {
    label: Tensor.from(
      'int64',
      [COUNT],
      BigInt64Array.from({ length: COUNT }, (_, index) => BigInt(index % 3)),
    ),
  },
  size: COUNT,
};

const images = (augmentation: Augmentation, seed = 1): readonly Float32Array[] => {
  const data = (augmentation(batch, createRng(seed)).inputs['x'] as Tensor<'float32'>).data;
  return Array.from({ length: COUNT }, (_, index) => data.subarray(index * 40, (index + 1) * 40));
};
const original = (index: number): Float32Array => pixels.subarray(index * 40, (index + 1) * 40);

describe('augmentations', () => {
  it('flip turns about half of the images, rows reversed, and leaves the batch alone', () => {
    let turned = 0;
    for (const [index, image] of images(flip()).entries()) {
      const mirrored = Float32Array.from(
        { length: 40 },
        (_, at) => original(index)[Math.floor(at / 5) * 5 + 4 - (at % 5)]!,
      );
      if (image[0] === original(index)[0]) expect(image).toEqual(original(index));
      else {
        turned++;
        expect(image).toEqual(mirrored);
      }
    }
    expect(Math.abs(turned - COUNT / 2)).toBeLessThan(25);
    expect(pixels[0]).toBe(1);
    expect(images(flip(), 2)).toEqual(images(flip(), 2));
  });

  it('randomCrop moves whole images and fills what comes in', () => {
    const moves = new Set<string>();
    for (const [index, image] of images(randomCrop(1, { fill: -1 })).entries()) {
      let match = '';
      for (const down of [-1, 0, 1]) {
        for (const right of [-1, 0, 1]) {
          const moved = Float32Array.from({ length: 40 }, (_, at) => {
            const [channel, row, column] = [
              Math.floor(at / 20),
              (Math.floor(at / 5) % 4) + down,
              (at % 5) + right,
            ];
            return row < 0 || row > 3 || column < 0 || column > 4
              ? -1
              : original(index)[channel * 20 + row * 5 + column]!;
          });
          if (moved.every((value, at) => value === image[at])) match = `${down},${right}`;
        }
      }
      expect(match).not.toBe('');
      moves.add(match);
    }
    expect(moves.size).toBe(9);
  });

  it('cutout blanks at most a square, the same in every channel', () => {
    for (const [index, image] of images(cutout(2)).entries()) {
      const blank = [...image].flatMap((value, at) => (value === 0 ? [at] : []));
      expect(blank.length).toBeGreaterThan(0);
      expect(blank.length).toBeLessThanOrEqual(8);
      expect(blank.filter((at) => at >= 20).map((at) => at - 20)).toEqual(blank.filter((at) => at < 20));
      for (const [at, value] of image.entries()) if (value !== 0) expect(value).toBe(original(index)[at]);
    }
  });

  it('randomCrop leaves only the filling of images that move out of themselves', () => {
    const small: Batch = {
      inputs: { x: Tensor.from('float32', [512, 1, 1, 2], new Float32Array(1024).fill(1)) },
      size: 512,
    };
    const { data } = randomCrop(5, { fill: -1 })(small, createRng(3)).inputs['x'] as Tensor<'float32'>;
    expect(new Set(data)).toEqual(new Set([1, -1]));
  });

  it('cutout blanks the whole square where it lies inside', () => {
    const blanks = images(cutout(2)).map((image) => image.filter((value) => value === 0).length);
    // Of the 4 x 5 places of its middle, those of the first row and column cut it.
    const whole = blanks.filter((count) => count === 8).length;
    expect(whole / COUNT).toBeGreaterThan(0.5);
    expect(whole / COUNT).toBeLessThan(0.7);
  });

  it('mixup blends each image with its partner, and their labels, by one share', () => {
    const mixed = mixup({ classes: 3, alpha: 2 })(batch, createRng(4));
    const x = (mixed.inputs['x'] as Tensor<'float32'>).data;
    const label = mixed.targets?.['label'] as Tensor<'float32'>;
    expect(label.shape).toEqual([COUNT, 3]);
    const own = (image: number): number => label.data[image * 3 + (image % 3)] ?? 0;
    const share = Math.min(...Array.from({ length: COUNT }, (_, image) => own(image)));
    expect(share).toBeGreaterThan(0);
    expect(share).toBeLessThan(1);
    const partners = new Set<number>();
    for (let image = 0; image < COUNT; image++) {
      // Pixel p of image i is 1000 i + p + 1: the first one tells the partner.
      const blend = ((x[image * 40] ?? 0) - 1) / 1000;
      const partner = Math.round((blend - share * image) / (1 - share));
      partners.add(partner);
      for (let at = 0; at < 40; at++) {
        const wanted = share * (1000 * image + at + 1) + (1 - share) * (1000 * partner + at + 1);
        expect(Math.abs((x[image * 40 + at] ?? 0) - wanted)).toBeLessThan(0.1);
      }
      const row = [0, 0, 0];
      row[image % 3]! += share;
      row[partner % 3]! += 1 - share;
      for (const [at, value] of row.entries()) expect(label.data[image * 3 + at]).toBeCloseTo(value, 5);
    }
    expect(partners.size).toBe(COUNT);
  });

  it.each([0.2, 1, 2, 8, 100])('mixup draws shares from Beta(%d, itself)', (alpha) => {
    const pair: Batch = {
      inputs: { x: Tensor.from('float32', [2, 1, 1, 1], Float32Array.of(0, 1)) },
      targets: { label: Tensor.from('int64', [2], BigInt64Array.of(0n, 1n)) },
      size: 2,
    };
    const rng = createRng(9);
    const shares: number[] = [];
    while (shares.length < 4000) {
      const { data } = mixup({ classes: 2, alpha })(pair, rng).inputs['x'] as Tensor<'float32'>;
      // Where each image is its own partner, the share does not show.
      if (data[0] !== 0) shares.push(data[0] ?? Number.NaN);
    }
    const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
    const variance = shares.reduce((sum, share) => sum + (share - mean) ** 2, 0) / shares.length;
    const wanted = 1 / (4 * (2 * alpha + 1));
    // Four standard errors of the mean; those of a variance are at most sqrt(2 / 4000) of it.
    expect(Math.abs(mean - 0.5)).toBeLessThan(4 * Math.sqrt(wanted / 4000));
    expect(Math.abs(variance / wanted - 1)).toBeLessThan(0.1);
  });

  it('mixup ends with the smallest of shares, and refuses what it cannot blend by', () => {
    for (const alpha of [1e-3, 1e-12, Number.MIN_VALUE]) {
      const { targets } = mixup({ classes: 3, alpha })(batch, createRng(1));
      const values = targets?.['label']?.toFloat64Array();
      expect(values?.every((value) => value >= 0 && value <= 1)).toBe(true);
    }
    const invalid = expect.objectContaining({ code: 'OPTIONS_INVALID' });
    for (const alpha of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => mixup({ classes: 3, alpha })).toThrow(invalid);
    expect(() => mixup({ classes: 0 })).toThrow(invalid);
    for (const pixels of [-1, 0.5, Number.NaN]) {
      expect(() => randomCrop(pixels)).toThrow(invalid);
      expect(() => cutout(pixels)).toThrow(invalid);
    }
    // The classes are 0, 1 and 2.
    expect(() => mixup({ classes: 2 })(batch, createRng(1))).toThrow(
      expect.objectContaining({ code: 'DATA_INVALID', message: expect.stringContaining('label 2') }),
    );
    expect(() => mixup({ classes: 3, target: 'other' })(batch, createRng(1))).toThrow(
      expect.objectContaining({ code: 'OPTIONS_INVALID' }),
    );
    expect(() => flip({ input: 'y' })(batch, createRng(1))).toThrow(
      expect.objectContaining({ code: 'OPTIONS_INVALID' }),
    );
  });
});

describe('sampleTable', () => {
  it('gathers rows in the order asked for', async () => {
    const table = sampleTable({ inputs: batch.inputs, targets: batch.targets });
    const { inputs, targets, size } = await table.gather(Uint32Array.of(7, 3));
    expect([table.size, size]).toEqual([COUNT, 2]);
    expect(inputs['x']?.shape).toEqual([2, 2, 4, 5]);
    expect((inputs['x'] as Tensor<'float32'>).data[40]).toBe(3001);
    expect(targets?.['label']?.data).toEqual(BigInt64Array.of(1n, 0n));
  });

  it('refuses tensors that have no rows in common', () => {
    const three = Tensor.from('float32', [3], new Float32Array(3));
    const invalid = expect.objectContaining({ code: 'DATA_INVALID' });
    expect(() => sampleTable({ inputs: { x: three }, targets: { y: batch.inputs['x'] as Tensor } })).toThrow(
      invalid,
    );
    expect(() => sampleTable({ inputs: {} })).toThrow(invalid);
    expect(() => sampleTable({ inputs: { x: Tensor.from('string', [1], ['a']) } })).toThrow(invalid);
  });
});
