import { runBundle } from '@lithe-internal/browser';
import { expect, it } from 'vitest';
import type { Shown } from './page/main.ts';

it('reads picked files and images in a page', async () => {
  const shown = await runBundle<Shown>(new URL('./page', import.meta.url));
  expect(shown.picked).toEqual([
    [1, 2],
    [3, 4],
    [5, 6],
  ]);
  expect(shown.png).toEqual([200, 40, 10]);
  expect(shown.webp).toMatchObject({ width: 4, height: 2 });
  // WebP keeps colour at half the resolution and in a limited range: a few levels are lost.
  shown.webp.first.forEach((level, channel) => {
    expect(Math.abs(level - ([200, 40, 10][channel] as number))).toBeLessThan(12);
  });
  expect(shown.refused).toBe('DATA_INVALID');
});
