import { describe, expect, it } from 'vitest';
import {
  constantSchedule,
  cosineSchedule,
  oneCycleSchedule,
  polynomialSchedule,
  type Schedule,
  stepSchedule,
  warmUp,
} from './schedule.ts';

const at = (schedule: Schedule, step: number, steps = 101): number =>
  schedule({ step, steps, epoch: Math.floor(step / 10) });

describe('schedules', () => {
  it.each<readonly [string, Schedule, readonly (readonly [number, number])[]]>([
    [
      'constant',
      constantSchedule(),
      [
        [0, 1],
        [100, 1],
      ],
    ],
    [
      'step',
      stepSchedule({ epochs: [3, 6] }),
      [
        [29, 1],
        [30, 0.1],
        [59, 0.1],
        [60, 0.01],
      ],
    ],
    [
      'cosine',
      cosineSchedule({ floor: 0.2 }),
      [
        [0, 1],
        [50, 0.6],
        [100, 0.2],
      ],
    ],
    [
      'polynomial',
      polynomialSchedule({ power: 2 }),
      [
        [0, 1],
        [50, 0.25],
        [100, 0],
      ],
    ],
    [
      'one cycle',
      oneCycleSchedule(),
      [
        [0, 0.04],
        [15, 0.52],
        [30, 1],
        [65, 0.500002],
        [100, 0.04 / 1e4],
      ],
    ],
    [
      'warm-up',
      warmUp(10, cosineSchedule()),
      [
        [0, 0.1],
        [9, 1],
        [10, 1],
        [55, 0.5],
        [100, 0],
      ],
    ],
  ])('%s has its values', (_, schedule, points) => {
    for (const [step, value] of points) expect(at(schedule, step)).toBeCloseTo(value, 9);
  });

  it('have a value for a run of one step', () => {
    for (const schedule of [cosineSchedule(), polynomialSchedule(), oneCycleSchedule()]) {
      expect(at(schedule, 0, 1)).toBeGreaterThan(0);
    }
    expect(() => oneCycleSchedule({ rise: 1 })).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID' }));
  });
});
