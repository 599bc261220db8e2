import { createRng } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import type { DropoutMask } from '../step/training-form.ts';
import { maskFeeds } from './dropout-masks.ts';

const mask = (name: string, ratio: number): DropoutMask => ({ name, shape: ['N', 500], ratio });
const sizes = new Map([['N', 20]]);

describe('masks of Dropout', () => {
  it('drop the share that they are to drop, and make up for it in what is left', () => {
    for (const ratio of [0.1, 0.5, 0.8]) {
      const { m } = maskFeeds([mask('m', ratio)], sizes, createRng(1));
      expect(m?.shape).toEqual([20, 500]);
      const values = [...(m?.toFloat64Array() ?? [])];
      expect(new Set(values)).toEqual(new Set([0, Math.fround(1 / (1 - ratio))]));
      const dropped = values.filter((value) => value === 0).length / values.length;
      // Five standard errors of a share of 10,000.
      expect(Math.abs(dropped - ratio)).toBeLessThan(0.05 * Math.sqrt(ratio * (1 - ratio)));
    }
  });

  it('differ by name and stream, and are the same for the same', () => {
    const draw = (name: string, seed: number): readonly number[] => [
      ...(maskFeeds([mask(name, 0.5)], sizes, createRng(seed))[name]?.toFloat64Array() ?? []),
    ];
    expect(draw('a', 1)).toEqual(draw('a', 1));
    expect(draw('a', 1)).not.toEqual(draw('b', 1));
    expect(draw('a', 1)).not.toEqual(draw('a', 2));
  });

  it('need a size for each of their axes', () => {
    expect(() => maskFeeds([mask('m', 0.5)], new Map(), createRng(1))).toThrow(
      expect.objectContaining({ code: 'DATA_INVALID' }),
    );
  });
});
