import { describe, expect, it } from 'vitest';
import { createRng } from './rng.ts';
import { createRunContext } from './run-context.ts';

describe('createRng', () => {
  it('gives the stream of xoshiro128** 1.1, seeded by splitmix32', () => {
    // From an implementation of the two papers in Python.
    const streams: Readonly<Record<number, readonly number[]>> = {
      0: [1789933344, 44971166, 2521392804, 3836935353, 2740083721],
      1: [393288148, 2174103013, 3814759091, 2092745082, 1865176206],
      123456789: [525828425, 3007259908, 2366519008, 2637595059, 1912404039],
    };
    for (const [seed, expected] of Object.entries(streams)) {
      const rng = createRng(Number(seed));
      expect(expected.map(() => rng.next() * 2 ** 32)).toEqual(expected);
    }
  });

  it('forks independent streams by name, wherever the parent is', () => {
    const parent = createRng(1);
    const early = parent.fork('a').next();
    parent.next();
    expect(parent.fork('a').next()).toBe(early);
    expect(parent.fork('b').next()).not.toBe(early);
    expect(createRng(2).fork('a').next()).not.toBe(early);
    // What a fork draws does not shift the parent.
    const other = createRng(1);
    other.fork('c').next();
    other.next();
    expect(other.next()).toBe(parent.next());
  });

  it('is uniform, normal and unbiased as far as 100,000 draws tell', () => {
    const rng = createRng(42);
    const draws = 100_000;
    const counts = new Float64Array(10);
    let sum = 0;
    let squares = 0;
    let cubes = 0;
    for (let draw = 0; draw < draws; draw++) {
      counts[rng.integer(10)]!++;
      const value = rng.normal();
      sum += value;
      squares += value * value;
      cubes += value ** 3;
    }
    // Chi-squared with 9 degrees of freedom: 33.7 is exceeded once in 10,000.
    const chi = counts.reduce((total, count) => total + (count - draws / 10) ** 2 / (draws / 10), 0);
    expect(chi).toBeLessThan(33.7);
    expect(Math.abs(sum / draws)).toBeLessThan(4 / Math.sqrt(draws));
    expect(Math.abs(squares / draws - 1)).toBeLessThan((4 * Math.SQRT2) / Math.sqrt(draws));
    expect(Math.abs(cubes / draws)).toBeLessThan((4 * Math.sqrt(15)) / Math.sqrt(draws));
  });

  it('shuffles without losing anything, every order as often', () => {
    const rng = createRng(7);
    const orders = new Map<string, number>();
    for (let round = 0; round < 6000; round++) {
      const items = [0, 1, 2];
      rng.shuffle(items);
      orders.set(items.join(''), (orders.get(items.join('')) ?? 0) + 1);
    }
    expect(orders.size).toBe(6);
    // 1,000 each; four standard deviations are 115.
    for (const count of orders.values()) expect(Math.abs(count - 1000)).toBeLessThan(115);
  });
});

describe('createRunContext', () => {
  it('is silent, seeded with 0 and never aborted by default', () => {
    const context = createRunContext();
    expect(context.rng.next()).toBe(createRng(0).next());
    expect(context.signal.aborted).toBe(false);
    context.log.warn('nobody hears this');
    context.progress({ task: 't', done: 1, total: 2 });
    expect(context.now()).toBeLessThanOrEqual(context.now());
  });

  it('hands on what it is given', () => {
    const heard: string[] = [];
    const context = createRunContext({
      seed: 5,
      signal: AbortSignal.abort('stop'),
      log: { warn: (message) => heard.push(message) },
      onProgress: (event) => heard.push(event.task),
      now: () => 12,
    });
    context.log.warn('a');
    context.log.debug('dropped');
    context.progress({ task: 'b', done: 0, total: 0 });
    expect([heard, context.signal.reason, context.now(), context.rng.next()]).toEqual([
      ['a', 'b'],
      'stop',
      12,
      createRng(5).next(),
    ]);
  });
});
