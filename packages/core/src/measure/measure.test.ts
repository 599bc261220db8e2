import { describe, expect, it } from 'vitest';
import type { Executable, TimingOptions } from '../backend/backend.ts';
import { createRng } from '../context/rng.ts';
import { isFaster, isSlower, measureLatency } from './latency.ts';
import { median, medianInterval, quantile } from './statistics.ts';

/** An executable whose runs take what `cost` says; writes each turn into `log`. */
function fake(name: string, cost: () => number, log: string[] = []): Executable {
  const refuse = (): never => {
    throw new Error('not part of this test');
  };
  return {
    inputNames: [],
    outputNames: [],
    run: refuse,
    readState: refuse,
    writeState: refuse,
    time: async (_feeds, options: TimingOptions) => {
      log.push(name);
      return Float64Array.from({ length: options.runs }, cost);
    },
    dispose: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

describe('statistics', () => {
  it('agree with values worked out by hand', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    // numpy.quantile([1, 2, 3, 4], 0.1) == 1.3
    expect(quantile([4, 3, 2, 1], 0.1)).toBeCloseTo(1.3, 12);
    expect(quantile([], 0.5)).toBeNaN();
  });

  it('bound the median by the ranks of the sign test', () => {
    // Binomial(11, 1/2): P(X <= 1) = 12 / 2048 = 0.6 %, P(X <= 2) = 67 / 2048 = 3.3 % > 2.5 %, so ranks 2 and 10.
    expect(medianInterval([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1])).toEqual({ low: 2, high: 10 });
    expect(medianInterval([1, 2, 3, 4, 5, 6])).toEqual({ low: 1, high: 6 });
    expect(medianInterval([1, 2, 3, 4, 5])).toEqual({ low: -Infinity, high: Infinity });
  });

  it('cover the true median at least as often as promised', () => {
    const rng = createRng(3);
    let covered = 0;
    for (let trial = 0; trial < 2000; trial++) {
      const { low, high } = medianInterval(Array.from({ length: 11 }, () => rng.normal()));
      if (low <= 0 && high >= 0) covered++;
    }
    // Exactly 98.8 % for 11 numbers; four standard deviations of 2000 trials are 1 %.
    expect(covered / 2000).toBeGreaterThan(0.975);
  });
});

describe('measureLatency', () => {
  it('gives each entry one turn a round, in an order that turns round', async () => {
    const log: string[] = [];
    const rounds: number[] = [];
    await measureLatency(
      ['a', 'b', 'c'].map((name) => ({ name, executable: fake(name, () => 1, log) })),
      {},
      { rounds: 3, runsPerRound: 2, warmup: 1, onRound: (done, total) => rounds.push(done / total) },
    );
    expect(log.join('')).toBe('abc' + 'abccbaabc');
    expect(rounds).toEqual([1 / 3, 2 / 3, 1]);
  });

  it('sees a speedup through a machine that slows down fourfold, and noise of a tenth', async () => {
    const rng = createRng(1);
    let clock = 1;
    const cost = (factor: number) => (): number => {
      clock *= 1.01;
      return factor * clock * (1 + 0.1 * rng.next());
    };
    const report = await measureLatency(
      [
        { name: 'original', executable: fake('original', cost(1)) },
        { name: 'fast', executable: fake('fast', cost(0.5)) },
        { name: 'slow', executable: fake('slow', cost(1.5)) },
      ],
      {},
      { runsPerRound: 4 },
    );
    const [fast, slow] = report.comparisons as [
      (typeof report.comparisons)[0],
      (typeof report.comparisons)[0],
    ];
    expect(fast.speedup).toBeGreaterThan(1.8);
    expect(fast.speedup).toBeLessThan(2.2);
    expect([fast.verdict, slow.verdict]).toEqual(['faster', 'slower']);
    expect([isFaster(fast), isFaster(fast, 1.5), isSlower(fast)]).toEqual([true, false, false]);
    expect([isSlower(slow), isSlower(slow, 0.5), isFaster(slow)]).toEqual([true, false, false]);
    expect(report.entries[0]).toMatchObject({ name: 'original', runs: 44 });
  });

  it('warms a new entry up until it is as fast as one that was in use', async () => {
    const aging = (before: number): Executable => {
      let runs = before;
      const executable = fake('x', () => (runs++ < 1200 ? 0.12 : 0.1));
      return {
        ...executable,
        time: (feeds, options) => {
          runs += options.warmup ?? 0;
          return executable.time(feeds, options);
        },
      };
    };
    const entries = [
      { name: 'in use', executable: aging(5000) },
      { name: 'new', executable: aging(0) },
    ];
    const { comparisons } = await measureLatency(entries, {});
    expect(comparisons[0]).toMatchObject({ speedup: 1, verdict: 'undecided' });
    const cold = [
      { name: 'in use', executable: aging(5000) },
      { name: 'new', executable: aging(0) },
    ];
    const { comparisons: judged } = await measureLatency(cold, {}, { warmup: 3 });
    expect(judged[0]?.verdict).toBe('slower');
  });

  it('does not make turns short for one run that was held up', async () => {
    const executable = fake('x', () => 0.1);
    const heldUp: Executable = {
      ...executable,
      time: async (feeds, options) => {
        const times = (await executable.time(feeds, options)).slice();
        // The last run of each part of the warm-up; turns begin with a run that does not count.
        if (options.warmup === 0) times[times.length - 1] = 40;
        return times;
      },
    };
    const { entries } = await measureLatency([{ name: 'x', executable: heldUp }], {});
    expect(entries[0]?.runs).toBe(11 * 100);
  });

  it('seldom calls equal entries different', async () => {
    let verdicts = 0;
    for (let seed = 0; seed < 200; seed++) {
      const rng = createRng(seed);
      const executable = fake('x', () => 1 + 0.3 * rng.next());
      const { comparisons } = await measureLatency(
        [
          { name: 'a', executable },
          { name: 'b', executable },
        ],
        {},
        { runsPerRound: 1 },
      );
      if (comparisons[0]?.verdict !== 'undecided') verdicts++;
    }
    expect(verdicts).toBeLessThan(10);
  });

  it('repeats short runs until a turn lasts long enough', async () => {
    const report = await measureLatency(
      [
        { name: 'short', executable: fake('short', () => 0.5) },
        { name: 'long', executable: fake('long', () => 300) },
      ],
      {},
      { rounds: 2, minMilliseconds: 10 },
    );
    expect(report.entries.map((entry) => entry.runs)).toEqual([40, 2]);
    expect(report.comparisons[0]?.verdict).toBe('undecided');
  });

  it('stops when it is aborted', async () => {
    const controller = new AbortController();
    const executable = fake('a', () => {
      controller.abort();
      return 1;
    });
    await expect(
      measureLatency([{ name: 'a', executable }], {}, { signal: controller.signal }),
    ).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
  });

  it('refuses nothing, equal names and senseless numbers', async () => {
    const a = { name: 'a', executable: fake('a', () => 1) };
    for (const [entries, options] of [
      [[], {}],
      [[a, a], {}],
      [[a], { rounds: 0 }],
      [[a], { rounds: Number.NaN }],
    ] as const) {
      await expect(measureLatency(entries, {}, options)).rejects.toThrow(
        expect.objectContaining({ code: 'OPTIONS_INVALID' }),
      );
    }
  });
});
