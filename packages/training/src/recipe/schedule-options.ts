import { z } from 'zod';
import {
  constantSchedule,
  cosineSchedule,
  type OneCycleOptions,
  oneCycleSchedule,
  polynomialSchedule,
  type Schedule,
  stepSchedule,
  warmUp,
} from '../fit/schedule.ts';
import { allowedNames, namedChoice } from './choice.ts';

/** What every schedule takes. */
export interface WarmUpField {
  /** Steps over which the rate rises from 0 before the schedule begins; none by default. */
  readonly warmUp?: number | undefined;
}

/** A schedule as data: its name, and its options beside it. */
export type ScheduleSettings = WarmUpField &
  (
    | {
        /** Name of the schedule. */
        readonly name: 'constant';
      }
    | {
        /** Name of the schedule. */
        readonly name: 'cosine';
        /** Factor that it ends at; 0 by default. */
        readonly floor?: number | undefined;
      }
    | ({
        /** Name of the schedule. */
        readonly name: 'one-cycle';
      } & OneCycleOptions)
    | {
        /** Name of the schedule. */
        readonly name: 'polynomial';
        /** Power of what is left of the run; 1 by default. */
        readonly power?: number | undefined;
        /** Factor that it ends at; 0 by default. */
        readonly floor?: number | undefined;
      }
    | {
        /** Name of the schedule. */
        readonly name: 'step';
        /** Epochs before which the rate drops. */
        readonly epochs: readonly number[];
        /** Factor at each of them; 0.1 by default. */
        readonly factor?: number | undefined;
      }
  );

/** {@link ScheduleSettings}, or the name alone. */
export type ScheduleChoice = ScheduleSettings | Exclude<ScheduleSettings['name'], 'step'>;

const positive = z.number().positive().optional();
const floor = z.number().min(0).max(1).optional();
const warm = { warmUp: z.int().min(1).optional() };

/** The schema of {@link ScheduleChoice}. */
export const scheduleSchema: z.ZodType<ScheduleSettings, ScheduleChoice> = namedChoice(
  z.discriminatedUnion(
    'name',
    [
      z.strictObject({ name: z.literal('constant'), ...warm }),
      z.strictObject({ name: z.literal('cosine'), floor, ...warm }),
      z.strictObject({
        name: z.literal('one-cycle'),
        rise: z.number().gt(0).lt(1).optional(),
        startDivisor: positive,
        finalDivisor: positive,
        ...warm,
      }),
      z.strictObject({ name: z.literal('polynomial'), power: positive, floor, ...warm }),
      z.strictObject({
        name: z.literal('step'),
        epochs: z.array(z.int().min(1)).min(1),
        factor: positive,
        ...warm,
      }),
    ],
    allowedNames(['one-cycle', 'cosine', 'constant', 'polynomial', 'step']),
  ),
);

/** The schedule that options name. */
export function scheduleOf(settings: ScheduleSettings): Schedule {
  const schedule = bare(settings);
  return settings.warmUp === undefined ? schedule : warmUp(settings.warmUp, schedule);
}

function bare(settings: ScheduleSettings): Schedule {
  switch (settings.name) {
    case 'constant':
      return constantSchedule();
    case 'cosine':
      return cosineSchedule(settings);
    case 'one-cycle':
      return oneCycleSchedule(settings);
    case 'polynomial':
      return polynomialSchedule(settings);
    case 'step':
      return stepSchedule(settings);
  }
}
