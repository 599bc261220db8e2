import { type CandidateResult, type CompressReport, htmlCompression } from '@lithe/cli';
import { parseHTML } from 'linkedom';
import { describe, expect, it } from 'vitest';

function candidate(
  name: string,
  after: number,
  [speedup, sqnrDb]: readonly [number, number],
  more: Partial<CandidateResult> = {},
): CandidateResult {
  return {
    name,
    summary: `weights as ${name}`,
    size: { before: 10_880_000, after, ratio: 10_880_000 / after },
    latency: {
      beforeMs: 24.1,
      afterMs: 24.1 / speedup,
      speedup,
      interval: [speedup * 0.97, speedup * 1.03],
    },
    drift: { sqnrDb, cosine: 0.9991, maxAbs: 0.21, top1Agreement: 0.998, rows: 1280 },
    passes: [
      {
        pass: 'simplify/fold',
        applied: 31,
        skipped: [{ target: 'conv1', code: 'shared', reason: 'the weight of "conv1" is read twice' }],
      },
    ],
    chosen: false,
    reason: 'another candidate was better',
    ...more,
  };
}

const failed: CandidateResult = {
  name: 'float16',
  summary: 'half floats',
  passes: [],
  failure: 'the runtime has no kernel for it',
  chosen: false,
  reason: 'the runtime has no kernel for it',
};

const chosen = candidate('static-int8', 2_790_000, [1.62, 27.4], { chosen: true, reason: undefined });

const report: CompressReport = {
  model: './models/recognizer.onnx',
  output: './models/recognizer.small.onnx',
  chosen: 'static-int8',
  target: { name: 'node-cpu', runtime: 'onnxruntime-node 1.30.0', threads: 1 },
  objective: 'balanced',
  limits: { maxDrop: 0.01, minSqnrDb: 19 },
  data: { source: './images', samples: 32, random: false },
  size: chosen.size ?? { before: 1, after: 1, ratio: 1 },
  latency: chosen.latency ?? { beforeMs: 1, afterMs: 1, speedup: 1, interval: [1, 1] },
  drift: chosen.drift ?? { sqnrDb: 1, cosine: 1, maxAbs: 1 },
  candidates: [
    candidate('simplified', 10_800_000, [1.02, 141]),
    candidate('foldable-int8', 2_750_000, [1.01, 38.2]),
    chosen,
    candidate('foldable-int4', 1_420_000, [1, 14.8], { reason: 'outputs drift to 14.8 dB, below 19 dB' }),
    candidate('dynamic-int8', 2_800_000, [0.61, 25.9], { reason: 'it is slower: 0.61x' }),
    failed,
  ],
  notTried: [{ name: 'weight-int4', reason: 'no product has a constant matrix' }],
  warnings: ['Only 32 samples were compared.'],
};

function withAccuracy(): CompressReport {
  const accuracy = { metric: 'top-1 accuracy', before: 0.914, after: 0.911 };
  return {
    ...report,
    accuracy,
    candidates: report.candidates.map((result) =>
      result.failure === undefined ? { ...result, accuracy } : result,
    ),
  };
}

describe('htmlCompression', () => {
  it.each([
    ['by drift', report],
    ['by accuracy', withAccuracy()],
  ])('has every candidate in its table and its plots, judged %s', async (_, evidence) => {
    const text = await htmlCompression(evidence);
    const { document: page } = parseHTML(text);
    const names = [...page.querySelectorAll('#candidates tbody th')].map((cell) => cell.textContent);
    expect(names).toHaveLength(6);
    for (const [index, { name }] of evidence.candidates.entries())
      expect(names[index]?.startsWith(name)).toBe(true);
    const [fast, good] = [...page.querySelectorAll('#trade-offs figure svg')];
    // The original and five candidates that ran; drift has no point for the original.
    expect(fast?.querySelectorAll('g.dot > *')).toHaveLength(6);
    expect(good?.querySelectorAll('g.dot > *')).toHaveLength(evidence.accuracy === undefined ? 5 : 6);
    expect(text).not.toMatch(/NaN|Infinity|undefined|\[object/);
    expect(text).not.toMatch(/\bhttps?:|url\(|@import|\ssrc=|<link/i);
    expect(text.length).toBeLessThan(100_000);
  });

  it('says why each of the others was not chosen, and what was not tried', async () => {
    const { document: page } = parseHTML(await htmlCompression(report));
    const losers = [...page.querySelectorAll('#costs li')].map((item) => item.textContent);
    expect(losers).toHaveLength(6);
    expect(losers.join('\n')).toContain('dynamic-int8: it is slower: 0.61x');
    expect(losers.join('\n')).toContain('float16: the runtime has no kernel for it');
    expect(losers.join('\n')).toContain('weight-int4: no product has a constant matrix');
  });

  it('shows names of any kind as they are', async () => {
    const payload = `"><img src=x onerror=alert(1)></script><script>alert(1)</script>`;
    const evidence: CompressReport = {
      ...report,
      model: `a${payload}`,
      warnings: [payload],
      candidates: report.candidates.map((result) => ({
        ...result,
        name: `${result.name}${payload}`,
        summary: payload,
        reason: payload,
        passes: result.passes.map((pass) => ({
          ...pass,
          pass: payload,
          skipped: [{ target: payload, code: payload, reason: payload }],
        })),
      })),
    };
    const { document: page } = parseHTML(await htmlCompression(evidence));
    expect(page.querySelectorAll('img')).toHaveLength(0);
    expect(page.querySelectorAll('script')).toHaveLength(1);
    expect(page.querySelector('.callout li')?.textContent).toBe(payload);
  });
});
