import type { PassStep } from '@lithe/core';
import { expect, it } from 'vitest';
import type { PlannedStep } from './plan-steps.ts';
import { stepIdentity } from './stored-result.ts';

const pass: PassStep = {
  name: 'a/b',
  version: 1,
  summary: 'Does.',
  options: { factor: 2, kind: 'x' },
  needs: [],
  preserves: 'accuracy',
  requires: [],
  ensures: [],
  run: () => Promise.reject(new Error('nothing runs here')),
};
const step: PlannedStep = {
  name: 'step',
  use: 'a/b',
  from: null,
  control: false,
  given: { factor: 2 },
  step: pass,
  needs: [],
};

it('a result is of a pass, its version and options, a seed, a model and its surroundings; names do not count', () => {
  const known = stepIdentity(step, 0, 'parent', { train: 'samples' });
  const others = [
    stepIdentity({ ...step, step: { ...pass, name: 'a/c' } }, 0, 'parent', { train: 'samples' }),
    stepIdentity({ ...step, step: { ...pass, version: 2 } }, 0, 'parent', { train: 'samples' }),
    stepIdentity({ ...step, step: { ...pass, options: { factor: 2, kind: 'y' } } }, 0, 'parent', {
      train: 'samples',
    }),
    stepIdentity({ ...step, given: { factor: 3 } }, 0, 'parent', { train: 'samples' }),
    stepIdentity(step, 1, 'parent', { train: 'samples' }),
    stepIdentity(step, 0, 'another', { train: 'samples' }),
    stepIdentity(step, 0, 'parent', { train: 'others' }),
  ];
  expect(new Set([known, ...others]).size).toBe(1 + others.length);
  const renamed = {
    ...step,
    name: 'other',
    from: 'elsewhere',
    control: true,
    step: { ...pass, summary: 'New.' },
  };
  expect(stepIdentity(renamed, 0, 'parent', { train: 'samples' })).toBe(known);
});
