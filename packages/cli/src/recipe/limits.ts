import { geometricMean } from '../report/geometric-mean.ts';
import type { LimitCheck, SeedResult, StepResult } from '../report/run-report.ts';
import { formatRatio } from '../terminal/format.ts';
import { ORIGINAL } from './plan-steps.ts';
import type { RecipeLimits } from './recipe.ts';

type Measured = Pick<StepResult, 'bytes' | 'metric' | 'latency'>;

/** How the result stands to the limits of a recipe; means over seeds count, of ratios geometric ones. */
export function checkLimits(
  limits: RecipeLimits,
  seeds: readonly SeedResult[],
  names: { readonly baseline: string; readonly result: string },
): readonly LimitCheck[] {
  const pairs = seeds.map((seed) => ({
    base: stepOf(seed, names.baseline),
    result: stepOf(seed, names.result),
  }));
  const checks: LimitCheck[] = [];
  const add = (
    limit: string,
    value: number | undefined,
    text: (value: number) => string,
    met: (value: number) => boolean,
  ): void => {
    checks.push(
      value === undefined
        ? { limit, measured: 'not measured', met: false }
        : { limit, measured: text(value), met: met(value) },
    );
  };
  const { maxDrop, minSmaller, minSpeedup = {} } = limits;
  if (maxDrop !== undefined) {
    const drop = mean(pairs.map(({ base, result }) => difference(base?.metric, result?.metric)));
    add(
      `loses at most ${points(maxDrop)}`,
      drop,
      (value) =>
        value > 0 ? `loses ${points(value)}` : value < 0 ? `gains ${points(-value)}` : 'loses nothing',
      (value) => value <= maxDrop + 1e-12,
    );
  }
  if (minSmaller !== undefined) {
    const ratio = meanRatio(pairs.map(({ base, result }) => quotient(base?.bytes, result?.bytes)));
    add(
      `at least ${formatRatio(minSmaller)} smaller`,
      ratio,
      formatRatio,
      (value) => value >= minSmaller * (1 - 1e-12),
    );
  }
  for (const [batch, least] of Object.entries(minSpeedup)) {
    const speedup = meanRatio(
      pairs.map(({ base, result }) =>
        quotient(speedupAt(result, Number(batch)), speedupAt(base, Number(batch))),
      ),
    );
    add(
      `at least ${formatRatio(least)} faster at batch ${batch}`,
      speedup,
      formatRatio,
      (value) => value >= least * (1 - 1e-12),
    );
  }
  return checks;
}

/** The figures of a step, or of the model that the recipe starts from. */
export function stepOf(seed: SeedResult, name: string): Measured | undefined {
  return name === ORIGINAL ? seed.original : seed.steps.find((step) => step.name === name);
}

function points(share: number): string {
  const value = Number((share * 100).toFixed(2));
  return `${value} point${value === 1 ? '' : 's'}`;
}

/** How many times faster than the original. */
function speedupAt(step: Measured | undefined, batch: number): number | undefined {
  return step?.latency.find((latency) => latency.batch === batch)?.speedup;
}

function difference(left: number | undefined, right: number | undefined): number | undefined {
  return left === undefined || right === undefined ? undefined : left - right;
}

function quotient(left: number | undefined, right: number | undefined): number | undefined {
  return left === undefined || right === undefined || right === 0 ? undefined : left / right;
}

/** Mean of all, or nothing when one is missing: a limit that one seed was not measured for is not met. */
function mean(values: readonly (number | undefined)[]): number | undefined {
  const known = allOf(values);
  return known === undefined ? undefined : known.reduce((sum, value) => sum + value, 0) / known.length;
}

/** The same of ratios. */
function meanRatio(ratios: readonly (number | undefined)[]): number | undefined {
  const known = allOf(ratios);
  return known === undefined ? undefined : geometricMean(known);
}

function allOf(values: readonly (number | undefined)[]): readonly number[] | undefined {
  const known = values.flatMap((value) => (value === undefined || Number.isNaN(value) ? [] : [value]));
  return known.length === 0 || known.length < values.length ? undefined : known;
}
