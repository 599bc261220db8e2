import { type Executable, type Feeds, type Interval, median, medianInterval } from '@lithe/core';

/** What was measured of one file, against the first. */
export interface CpuTime {
  /** Median of the rounds. */
  readonly medianMs: number;
  /** How many times faster than the first file: the median over the rounds. */
  readonly speedup: number;
  /** Confidence interval of that median, at 95 %. */
  readonly interval: Interval;
}

/**
 * Measures files in turns by the processor time of this process, not by the clock: on a machine that others use at
 * the same time the clock tells more about them. Only for runtimes that compute on one thread of this process.
 *
 * @param rounds how often each file gets its turn
 */
export async function measureCpuTime(
  executables: readonly Executable[],
  feeds: Feeds,
  rounds: number,
): Promise<readonly CpuTime[]> {
  const times = executables.map(() => new Float64Array(rounds));
  for (const executable of executables) for (let run = 0; run < 3; run++) await executable.run(feeds);
  for (let round = 0; round < rounds; round++) {
    for (const [index, executable] of executables.entries()) {
      const before = process.cpuUsage();
      let runs = 0;
      let spent = 0;
      while (spent < 40_000) {
        await executable.run(feeds);
        runs++;
        const { user, system } = process.cpuUsage(before);
        spent = user + system;
      }
      (times[index] as Float64Array)[round] = spent / runs / 1000;
    }
  }
  const first = times[0] as Float64Array;
  return times.map((own) => {
    const ratios = first.map((time, round) => time / (own[round] as number));
    return { medianMs: median(own), speedup: median(ratios), interval: medianInterval(ratios) };
  });
}
