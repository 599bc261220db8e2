import { errors } from '@lithe/core';

/** Where in a run a step lies. */
export interface SchedulePoint {
  /** Number of the step, from 0. */
  readonly step: number;
  /** Steps in the whole run. */
  readonly steps: number;
  /** Number of the epoch, from 0. */
  readonly epoch: number;
}

/** A learning-rate schedule: a factor on the base rate for each step. */
export type Schedule = (point: SchedulePoint) => number;

const share = ({ step, steps }: SchedulePoint): number => (steps <= 1 ? 0 : Math.min(1, step / (steps - 1)));

/** The same rate all along. */
export function constantSchedule(): Schedule {
  return () => 1;
}

/** Multiplies the rate by `factor` at each of the given epochs. */
export function stepSchedule(options: {
  readonly epochs: readonly number[];
  readonly factor?: number | undefined;
}): Schedule {
  const { epochs, factor = 0.1 } = options;
  return ({ epoch }) => factor ** epochs.filter((at) => epoch >= at).length;
}

/** Half a cosine from 1 to `floor` (Loshchilov and Hutter, "SGDR", 2017, without restarts). */
export function cosineSchedule(options: { readonly floor?: number | undefined } = {}): Schedule {
  const { floor = 0 } = options;
  return (point) => floor + ((1 - floor) * (1 + Math.cos(Math.PI * share(point)))) / 2;
}

/** From 1 to `floor` along (1 - share) ^ power. */
export function polynomialSchedule(
  options: { readonly power?: number | undefined; readonly floor?: number | undefined } = {},
): Schedule {
  const { power = 1, floor = 0 } = options;
  return (point) => floor + (1 - floor) * (1 - share(point)) ** power;
}

/** Options of {@link oneCycleSchedule}. */
export interface OneCycleOptions {
  /** Share of the run in which the rate rises; 0.3 by default. */
  readonly rise?: number | undefined;
  /** The first rate is 1 / this of the largest; 25 by default. */
  readonly startDivisor?: number | undefined;
  /** The last rate is 1 / this of the first; 1e4 by default. */
  readonly finalDivisor?: number | undefined;
}

/** Up and down again in half cosines, the base rate being the largest (Smith and Topin, "Super-Convergence", 2018). */
export function oneCycleSchedule(options: OneCycleOptions = {}): Schedule {
  const { rise = 0.3, startDivisor = 25, finalDivisor = 1e4 } = options;
  if (!(rise > 0 && rise < 1))
    throw errors.optionsInvalid('oneCycleSchedule', ['"rise" must lie between 0 and 1.']);
  const start = 1 / startDivisor;
  const end = start / finalDivisor;
  const between = (from: number, to: number, at: number): number =>
    to + ((from - to) * (1 + Math.cos(Math.PI * at))) / 2;
  return (point) => {
    const at = share(point);
    return at < rise ? between(start, 1, at / rise) : between(1, end, (at - rise) / (1 - rise));
  };
}

/** A linear rise from 0 over the first steps, then another schedule over the rest. */
export function warmUp(steps: number, then: Schedule): Schedule {
  return (point) => {
    if (point.step < steps) return (point.step + 1) / steps;
    return then({ ...point, step: point.step - steps, steps: Math.max(1, point.steps - steps) });
  };
}
