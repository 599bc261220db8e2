import { createRng } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { placeLabels } from './label-layout.ts';

const area = { left: 50, top: 10, right: 460, bottom: 280 };

describe('placeLabels', () => {
  it('puts a lone label to the right of its point, and to the left at the right edge', () => {
    const [middle] = placeLabels([{ x: 200, y: 100, text: 'teacher' }], area);
    expect(middle?.y).toBe(100);
    expect(middle?.x).toBeGreaterThan(200);
    const [edge] = placeLabels([{ x: 455, y: 100, text: 'teacher' }], area);
    expect(edge?.x).toBeLessThan(455);
  });

  it('covers no label with another while there is room, and stays inside', () => {
    const rng = createRng(3);
    for (let round = 0; round < 20; round++) {
      const points = Array.from({ length: 10 }, (_, index) => ({
        x: 60 + 390 * rng.next(),
        // Half of them in one place, as steps that only train are.
        y: index < 5 ? 150 : 20 + 250 * rng.next(),
        text: `step-${index}`,
      }));
      const placed = placeLabels(points, area);
      for (const [index, one] of placed.entries()) {
        expect(one.y).toBeGreaterThanOrEqual(area.top);
        expect(one.y).toBeLessThanOrEqual(area.bottom);
        expect(one.crowded).toBe(false);
        for (const other of placed.slice(index + 1)) {
          const apart = Math.abs(one.x - other.x) >= 40 || Math.abs(one.y - other.y) >= 13;
          expect(apart).toBe(true);
        }
      }
    }
  });

  it('tells which labels find no room, and those that are told to have some cover nothing', () => {
    const points = Array.from({ length: 60 }, (_, index) => ({
      x: 200 + (index % 5),
      y: 150 + (index % 7),
      text: `a-step-with-a-name-${index}`,
    }));
    const placed = placeLabels(points, area);
    const shown = placed.filter(({ crowded }) => !crowded);
    expect(placed[0]?.crowded).toBe(false);
    expect(shown.length).toBeGreaterThan(8);
    expect(shown.length).toBeLessThan(60);
    // Labels of 19 and 20 characters, of at most 7 by 14 pixels each.
    const [width, height] = [140, 14];
    for (const [index, one] of shown.entries())
      for (const other of shown.slice(index + 1)) {
        const across = Math.max(0, width - Math.abs(one.x - other.x));
        const down = Math.max(0, height - Math.abs(one.y - other.y));
        expect(across * down).toBeLessThan(0.15 * width * height);
      }
  });
});
