import { createRng } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import {
  filledWith,
  type Initializer,
  kaimingNormal,
  kaimingUniform,
  orthogonal,
  truncatedNormal,
  xavierNormal,
  xavierUniform,
} from './initializer.ts';

const request = { shape: [200, 300], fanIn: 300, fanOut: 200 };
const values = (initializer: Initializer, seed = 3): Float32Array =>
  initializer({ ...request, rng: createRng(seed) }).data;

function moments(data: Float32Array): { mean: number; deviation: number; largest: number } {
  let [sum, square, largest] = [0, 0, 0];
  for (const value of data) {
    sum += value;
    square += value * value;
    largest = Math.max(largest, Math.abs(value));
  }
  return { mean: sum / data.length, deviation: Math.sqrt(square / data.length), largest };
}

describe('initializers', () => {
  it.each([
    ['kaimingNormal', kaimingNormal(), Math.sqrt(2 / 300), Number.POSITIVE_INFINITY],
    [
      'kaimingNormal of the outgoing fan',
      kaimingNormal({ fan: 'out', slope: 1 }),
      Math.sqrt(1 / 200),
      Number.POSITIVE_INFINITY,
    ],
    ['kaimingUniform', kaimingUniform(), Math.sqrt(2 / 300), Math.sqrt(6 / 300)],
    ['xavierNormal', xavierNormal(), Math.sqrt(2 / 500), Number.POSITIVE_INFINITY],
    ['xavierUniform', xavierUniform({ gain: 2 }), 2 * Math.sqrt(2 / 500), 2 * Math.sqrt(6 / 500)],
    // A normal cut at two deviations has a deviation of 0.8796 of the whole one.
    ['truncatedNormal', truncatedNormal(), 0.02 * 0.8796, 0.04],
  ] as const)('%s has its deviation and bounds', (_, initializer, deviation, bound) => {
    const found = moments(values(initializer));
    // 60,000 draws: the deviation is known to about 0.3 %, the mean to deviation / 245.
    expect(Math.abs(found.deviation / deviation - 1)).toBeLessThan(0.015);
    expect(Math.abs(found.mean)).toBeLessThan(deviation / 50);
    expect(found.largest).toBeLessThanOrEqual(bound * 1.000001);
  });

  it.each([[[20, 30]], [[30, 4, 3]], [[16, 4, 2, 2]]])('makes %j orthogonal', (shape) => {
    const rows = shape[0]!;
    const columns = shape.slice(1).reduce((left, right) => left * right, 1);
    const { data } = orthogonal({ gain: 1.5 })({ shape, fanIn: 1, fanOut: 1, rng: createRng(1) });
    const at = (row: number, column: number): number => data[row * columns + column]!;
    const [count, width] = rows <= columns ? [rows, columns] : [columns, rows];
    for (let left = 0; left < count; left++) {
      for (let right = 0; right <= left; right++) {
        let product = 0;
        for (let index = 0; index < width; index++) {
          product +=
            rows <= columns ? at(left, index) * at(right, index) : at(index, left) * at(index, right);
        }
        expect(product).toBeCloseTo(left === right ? 2.25 : 0, 5);
      }
    }
  });

  it('gives the same weights for the same seed, and others for another', () => {
    expect(values(kaimingNormal(), 5)).toEqual(values(kaimingNormal(), 5));
    expect(values(kaimingNormal(), 5)).not.toEqual(values(kaimingNormal(), 6));
    expect(new Set(values(filledWith(0.5)))).toEqual(new Set([0.5]));
    expect(() => truncatedNormal({ cut: 0 })).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID' }));
  });
});
