import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compressAll, type StoryResult } from './story.ts';

const folder = mkdtempSync(join(tmpdir(), 'lithe-ocr-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('three text-recognition models, compressed on drawn lines', () => {
  let results: readonly StoryResult[] = [];
  beforeAll(async () => {
    results = await compressAll({ folder, calibrationLines: 36, testLines: 48, rounds: 6 });
  }, 600_000);

  it('makes each at least 3 times smaller, and none slower by the measurement that chose it', () => {
    for (const { model, report } of results) {
      expect(report.size.ratio, model).toBeGreaterThan(3);
      // Chosen under "balanced": a slower candidate is refused, so the interval reaches 1 at least.
      expect(report.latency.interval[1], model).toBeGreaterThan(1);
    }
  });

  it('leaves at least 98 % of the characters, areas and directions as they were', () => {
    const shares = Object.fromEntries(results.map(({ check, unchanged }) => [check, unchanged]));
    expect(shares['characters read the same']).toBeGreaterThanOrEqual(0.98);
    expect(shares['directions told the same']).toBeGreaterThanOrEqual(0.98);
    // Overlap of areas falls with every pixel at their edges; the areas themselves stay.
    expect(shares['text areas found the same']).toBeGreaterThanOrEqual(0.95);
  });
});
