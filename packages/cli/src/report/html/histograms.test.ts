import { parseHTML } from 'linkedom';
import { describe, expect, it } from 'vitest';
import type { WeightHistogram } from '../run-report.ts';
import { openDrawing } from './drawing.ts';
import { histogramFigures } from './histograms.ts';

const layer = (weight: string, counts: readonly number[], reach = 1, zeros = 0): WeightHistogram => ({
  weight,
  range: [-reach, reach],
  counts,
  zeros,
});

async function figures(
  before: readonly WeightHistogram[],
  after: readonly WeightHistogram[],
  most = 10,
): Promise<string> {
  const drawn = histogramFigures(
    await openDrawing(),
    { before: { name: 'teacher', weights: before }, after: { name: 'int8', weights: after } },
    most,
  );
  return drawn?.html ?? '';
}

describe('histogramFigures', () => {
  it('finds a layer whose name was carried on, and leaves its scales alone', async () => {
    const before = [layer('conv.weight', [10, 40, 40, 10])];
    const after = [
      layer('conv.weight_scale', [1, 1, 1, 1]),
      layer('conv.weight_quantized', [10, 40, 40, 10], 127),
    ];
    const text = await figures(before, after);
    expect(text).toContain('<code>conv.weight_scale</code> no zeros, new.');
    expect(text).toContain(
      '<code>conv.weight_quantized</code> no zeros. Each on its own scale: up to 1 before, 127 after.',
    );
    expect(text).not.toContain('gone');
  });

  it('leaves exact zeros out of the curve and counts them in words', async () => {
    // 4 bins of width 0.5 from -1 to 1; 60 zeros are in the third. Of 40 others 10 are in each: density 0.5.
    const text = await figures([], [layer('fc', [10, 10, 70, 10], 1, 60)]);
    expect(text).toContain('60.0 % zeros');
    const path = parseHTML(text).document.querySelector('g.line path')?.getAttribute('d') ?? '';
    const heights = new Set([...path.matchAll(/,([\d.]+)/g)].map(([, height]) => height));
    // The line of no height, and one height for all bins.
    expect(heights.size).toBe(2);
  });

  it('draws the largest layers, counts the others, and tells of those that are gone', async () => {
    const before = [layer('a', [1]), layer('b', [1]), layer('c', [1])];
    const after = [layer('a', [5]), layer('b', [9])];
    const text = await figures(before, after, 1);
    expect(text.match(/<figure>/g)).toHaveLength(1);
    expect(text).toContain('<code>b</code>');
    expect(text).toContain('1 more are not drawn');
    expect(text).toContain('1 of the layers before is gone');
  });

  it('has nothing for weights that are all 0, or none', async () => {
    expect(await figures([], [{ weight: 'w', range: [0, 0], counts: [4], zeros: 4 }])).toBe('');
  });
});
