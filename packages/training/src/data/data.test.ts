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

  it('mixup blends two images and their labels by one share', () => {
    const mixed = mixup({ classes: 3 })(batch, createRng(4));
    const x = (mixed.inputs['x'] as Tensor<'float32'>).data;
    const label = mixed.targets?.['label'] as Tensor<'float32'>;
    expect(label.shape).toEqual([COUNT, 3]);
    for (let image = 0; image < COUNT; image++) {
      const row = label.data.subarray(image * 3, image * 3 + 3);
      expect(row[0]! + row[1]! + row[2]!).toBeCloseTo(1, 6);
      // Pixels of image i lie between those of i and of its partner: the first one tells the partner's share.
      const blend = (x[image * 40]! - 1) / 1000;
      expect(blend).toBeGreaterThanOrEqual(0);
      expect(blend).toBeLessThanOrEqual(COUNT - 1);
    }
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
