import { describe, expect, it } from 'vitest';
import { type FallbackState, nextFallback } from './fallback.ts';
import type { ModelQuality } from './layer-quality.ts';

const quality = (outputDb: number, ...errors: readonly number[]): ModelQuality => ({
  outputDb,
  layers: errors.map((localDb, index) => ({
    name: `l${index}`,
    opType: 'Conv',
    localDb,
    cumulativeDb: localDb,
  })),
});
const settings = { minimumSqnrDb: 10, outputSqnrDb: 20, share: 0.5 };
const start: FallbackState = { names: new Set(), total: 8, outputDb: undefined };
const names = (step: ReturnType<typeof nextFallback>): readonly string[] =>
  step.kind === 'add' ? step.layers.map(({ name }) => name) : [step.kind];

describe('which layers go back to float', () => {
  it('takes all whose own error is too large, the worst first, up to the share', () => {
    expect(names(nextFallback(quality(30, 40, 5, 9, 30), settings, start))).toEqual(['l1', 'l2']);
    const many = quality(30, 1, 9, 3, 8, 2, 7, 4, 6);
    expect(names(nextFallback(many, settings, start))).toEqual(['l0', 'l4', 'l2', 'l6']);
  });

  it('goes on with the worst while the outputs are over their budget', () => {
    expect(names(nextFallback(quality(12, 40, 31, 35), settings, start))).toEqual(['l1']);
    expect(names(nextFallback(quality(21, 40, 31, 35), settings, start))).toEqual(['keep']);
    const { outputSqnrDb: _, ...rest } = settings;
    expect(names(nextFallback(quality(12, 40, 31), { ...rest, outputSqnrDb: undefined }, start))).toEqual([
      'keep',
    ]);
  });

  it('undoes what did not help, and stops at the share', () => {
    const state = { names: new Set(['l1']), total: 8, outputDb: 12 };
    expect(names(nextFallback(quality(12.3, 40, 35), settings, state))).toEqual(['undo']);
    expect(names(nextFallback(quality(14, 40, 35), settings, state))).toEqual(['l0']);
    const full = { ...state, names: new Set(['a', 'b', 'c', 'd']) };
    expect(names(nextFallback(quality(14, 40, 35), settings, full))).toEqual(['keep']);
  });
});
