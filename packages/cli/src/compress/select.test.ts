import { describe, expect, it } from 'vitest';
import type { CandidateResult, Limits } from './report.ts';
import { isSlower, mayBeSlower, rankCandidates, refusalOf } from './select.ts';

const limits: Limits = { maxDrop: 0.01, minSqnrDb: 20 };

interface Facts {
  readonly ratio?: number;
  readonly speedup?: number;
  readonly interval?: readonly [number, number];
  readonly sqnrDb?: number;
  readonly agreement?: readonly [number, number];
  readonly accuracy?: readonly [number, number];
}

function candidate(name: string, facts: Facts = {}): CandidateResult {
  const {
    ratio = 1,
    speedup = 1,
    interval = [speedup * 0.99, speedup * 1.01],
    sqnrDb = 60,
    agreement,
    accuracy,
  } = facts;
  return {
    name,
    summary: '',
    passes: [],
    chosen: false,
    size: { before: 1000, after: 1000 / ratio, ratio },
    latency: { beforeMs: 1, afterMs: 1 / speedup, speedup, interval },
    drift: {
      sqnrDb,
      cosine: 1,
      maxAbs: 0,
      ...(agreement === undefined ? {} : { top1Agreement: agreement[0], rows: agreement[1] }),
    },
    ...(accuracy === undefined
      ? {}
      : { accuracy: { metric: 'top-1 accuracy', before: accuracy[0], after: accuracy[1] } }),
  };
}

const names = (results: readonly CandidateResult[]): string[] => results.map(({ name }) => name);

describe('refusal of candidates', () => {
  it('names drift over the limit, NaN among it', () => {
    expect(refusalOf(candidate('a', { sqnrDb: 19 }), 'size', limits)).toContain('below 20 dB');
    expect(refusalOf(candidate('a', { sqnrDb: Number.NaN }), 'size', limits)).toContain('below 20 dB');
    expect(refusalOf(candidate('a', { sqnrDb: 20 }), 'size', limits)).toBeUndefined();
  });

  it('judges by accuracy where there are labels, whatever the drift', () => {
    expect(refusalOf(candidate('a', { sqnrDb: 3, accuracy: [0.9, 0.895] }), 'size', limits)).toBeUndefined();
    expect(refusalOf(candidate('a', { sqnrDb: 90, accuracy: [0.9, 0.88] }), 'size', limits)).toContain(
      'top-1 accuracy falls by 0.0200',
    );
  });

  it('takes nothing whose accuracy is not known', () => {
    const result = candidate('a', { accuracy: [Number.NaN, Number.NaN] });
    expect(refusalOf(result, 'size', limits)).toContain('is not known');
  });

  it('lets three times the share of predictions change, and one of few', () => {
    expect(refusalOf(candidate('a', { agreement: [0.971, 1000] }), 'size', limits)).toBeUndefined();
    expect(refusalOf(candidate('a', { agreement: [0.969, 1000] }), 'size', limits)).toContain('96.90 %');
    expect(refusalOf(candidate('a', { agreement: [7 / 8, 8] }), 'size', limits)).toBeUndefined();
    expect(refusalOf(candidate('a', { agreement: [6 / 8, 8] }), 'size', limits)).toContain('75.00 %');
  });

  it('refuses what is slower under latency and balanced, but not under size', () => {
    const slow = candidate('slow', { ratio: 4, speedup: 0.7 });
    expect(refusalOf(slow, 'latency', limits)).toContain('slower: 0.70x');
    expect(refusalOf(slow, 'balanced', limits)).toContain('slower');
    expect(refusalOf(slow, 'size', limits)).toBeUndefined();
  });

  it('calls slower what is certainly so, and does not choose what may be', () => {
    const noise = { speedup: 0.99, interval: [0.97, 1.01] } as const;
    const certain = { speedup: 0.99, interval: [0.985, 0.995] } as const;
    const wide = { speedup: 0.9, interval: [0.5, 1.5] } as const;
    expect([noise, certain, wide].map(isSlower)).toEqual([false, true, false]);
    expect([noise, certain, wide].map(mayBeSlower)).toEqual([false, true, true]);
    expect(refusalOf(candidate('wide', wide), 'balanced', limits)).toBe(
      'it may be slower: 0.90x (0.50 to 1.50)',
    );
  });
});

describe('ranking of candidates', () => {
  it('weighs size and speed alike under balanced', () => {
    const ranked = rankCandidates(
      [
        candidate('small', { ratio: 6 }),
        candidate('both', { ratio: 4, speedup: 3 }),
        candidate('fast', { speedup: 4 }),
      ],
      'balanced',
      limits,
    );
    expect(names(ranked)).toEqual(['both', 'small', 'fast']);
  });

  it('takes the smaller of equally fast ones under latency', () => {
    const ranked = rankCandidates(
      [candidate('fast', { ratio: 1, speedup: 2.02 }), candidate('small', { ratio: 4, speedup: 2 })],
      'latency',
      limits,
    );
    expect(names(ranked)).toEqual(['small', 'fast']);
  });

  it('takes the one that drifts less of equally fast ones that are equally small', () => {
    const ranked = rankCandidates(
      [
        candidate('rough', { ratio: 3.551, speedup: 1.52, sqnrDb: 25 }),
        candidate('close', { ratio: 3.55, speedup: 1.51, sqnrDb: 36 }),
      ],
      'latency',
      limits,
    );
    expect(names(ranked)).toEqual(['close', 'rough']);
  });

  it('takes the one that drifts less of equally good ones', () => {
    const ranked = rankCandidates(
      [candidate('rough', { ratio: 4.05, sqnrDb: 21 }), candidate('close', { ratio: 4, sqnrDb: 40 })],
      'size',
      limits,
    );
    expect(names(ranked)).toEqual(['close', 'rough']);
  });

  it('counts only the part of a speedup that is certain', () => {
    const ranked = rankCandidates(
      [
        candidate('noisy', { ratio: 2, speedup: 2.5, interval: [1.2, 4.2] }),
        candidate('steady', { ratio: 3, speedup: 1.15, interval: [1.1, 1.2] }),
      ],
      'balanced',
      limits,
    );
    expect(names(ranked)).toEqual(['steady', 'noisy']);
  });

  it('leaves out what is refused', () => {
    expect(rankCandidates([candidate('a', { sqnrDb: 1 })], 'size', limits)).toEqual([]);
  });
});
