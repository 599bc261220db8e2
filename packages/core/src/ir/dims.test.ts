import { describe, expect, test } from 'vitest';
import { createRng } from '../context/rng.ts';
import {
  addDims,
  broadcastDims,
  ceilDivideDim,
  divideDims,
  evaluateDim,
  floorDivideDim,
  isAtLeast,
  maxDims,
  mergeDims,
  minDims,
  multiplyDims,
  productOfDims,
  sameDim,
  subtractDims,
  symbolsOf,
} from './dims.ts';
import type { Dim } from './types.ts';

describe('arithmetic of sizes', () => {
  test('gives one text to equal expressions', () => {
    expect(addDims(subtractDims('N', 1), 1)).toBe('N');
    expect(addDims('H', 'W')).toBe(addDims('W', 'H'));
    expect(multiplyDims(addDims('N', 1), 2)).toBe('2*N + 2');
    expect(floorDivideDim(multiplyDims('N', 2), 2)).toBe('N');
    expect(subtractDims(multiplyDims('N', 'M'), multiplyDims('M', 'N'))).toBe(0);
    expect(addDims(floorDivideDim(subtractDims('H', 1), 2), 1)).toBe('floor((H + 1)/2)');
    expect(ceilDivideDim('H', 2)).toBe('floor((H + 1)/2)');
  });

  test('joins the steps of a chain of strided windows', () => {
    let size: Dim = 'H';
    for (let step = 0; step < 5; step++) size = ceilDivideDim(size, 2);
    expect(size).toBe('floor((H + 31)/32)');
  });

  test('divides what is divisible', () => {
    expect(divideDims(productOfDims(['N', 12, 'H']), multiplyDims('N', 3))).toBe('4*H');
    expect(divideDims(multiplyDims(addDims('H', 2), 6), addDims('H', 2))).toBe(6);
    expect(divideDims('H', 'W')).toBeNull();
    expect(divideDims(7, 2)).toBeUndefined();
  });

  test('takes names of a file that look like formulas for names', () => {
    expect(addDims('batch-size', 1)).toBe('batch-size + 1');
    expect(subtractDims(addDims('H/2', 'batch size'), 'H/2')).toBe('batch size');
    expect(symbolsOf(addDims('H/2', 1))).toEqual(['H/2']);
    expect(sameDim('a b', 'b a')).toBeUndefined();
  });

  test('knows the smaller and larger size only when that holds for all sizes', () => {
    expect(minDims('N', addDims('N', 3))).toBe('N');
    expect(maxDims(subtractDims('N', 1), 0)).toBe('max(0, N - 1)');
    expect(maxDims('N', 0)).toBe('N');
    expect(isAtLeast(addDims('N', 2), 2)).toBe(true);
    expect(isAtLeast('N', 1)).toBe(false);
  });

  test('broadcasts and merges by the rules of ONNX', () => {
    expect([broadcastDims('N', 1), broadcastDims('N', 4), broadcastDims('N', 'M')]).toEqual(['N', 4, null]);
    expect(broadcastDims(floorDivideDim('H', 3), multiplyDims('N', 2))).toBe('2*N');
    expect([broadcastDims(2, 3), broadcastDims(0, 1)]).toEqual([undefined, 0]);
    expect([mergeDims('N', 4), mergeDims(null, 'N'), mergeDims('N', 'M')]).toEqual([4, 'N', 'N']);
    expect([mergeDims(3, 4), mergeDims('N', addDims('N', 1))]).toEqual([undefined, undefined]);
  });

  test('is unknown beyond safe integers and long expressions', () => {
    expect(multiplyDims(2 ** 30, 2 ** 30)).toBeNull();
    expect(multiplyDims('N', null)).toBeNull();
    let sum: Dim = 'symbol0';
    for (let index = 1; index < 60; index++) sum = addDims(sum, `symbol${index}`);
    expect(sum).toBeNull();
    expect(productOfDims([0, null, 'N'])).toBe(0);
  });

  test('reads deeply nested text in one pass', () => {
    const nested = `${'max(0, '.repeat(20)}N - 1${')'.repeat(20)}`;
    expect(nested.length).toBeLessThan(200);
    expect(addDims(nested, 0)).toBe(nested);
    let size: Dim = 'N';
    for (let level = 0; level < 12; level++) size = maxDims(subtractDims(size, 'M'), minDims(size, 'K'));
    expect(size).toBeNull();
  });

  test('agrees with numbers for random expressions', () => {
    const rng = createRng(7);
    const pick = (count: number): number => rng.integer(count);
    for (let round = 0; round < 400; round++) {
      const sizes = { N: pick(9), H: pick(70), 'seq-len': pick(9), 'a/b': pick(5) };
      const names = Object.keys(sizes) as (keyof typeof sizes)[];
      let dim: Dim = names[pick(4)] as Dim;
      let value = sizes[dim as keyof typeof sizes];
      for (let step = 0; step < 8; step++) {
        const name = names[pick(4)] as keyof typeof sizes;
        const useName = pick(2) === 0;
        const other: Dim = useName ? name : pick(6);
        const number = useName ? sizes[name] : (other as number);
        const by = 1 + pick(5);
        const choices: readonly (() => readonly [Dim, number])[] = [
          () => [addDims(dim, other), value + number],
          () => [subtractDims(dim, other), value - number],
          () => [multiplyDims(dim, other), value * number],
          () => [floorDivideDim(dim, by), Math.floor(value / by)],
          () => [ceilDivideDim(dim, by), Math.ceil(value / by)],
          () => [minDims(dim, other), Math.min(value, number)],
          () => [maxDims(dim, other), Math.max(value, number)],
          () => [maxDims(dim, 0), Math.max(value, 0)],
        ];
        [dim, value] = (choices[pick(choices.length)] as () => readonly [Dim, number])();
        if (dim === null) break;
        expect(evaluateDim(dim, sizes)).toBe(value + 0);
        // The text means the same when it is read again.
        expect(addDims(addDims(dim, 'Z'), -5)).toBe(addDims(addDims(dim, -5), 'Z'));
        const longer = addDims(dim, 'Z');
        if (longer !== null) expect(subtractDims(longer, 'Z')).toBe(dim);
      }
    }
  });
});
