import { parseHTML } from 'linkedom';
import { describe, expect, it } from 'vitest';
import type { Html } from './markup.ts';
import { sizeTile, speedTile } from './overview.ts';

const textOf = ({ html }: Html): string =>
  [...parseHTML(`<body>${html}</body>`).document.querySelectorAll('dt, .figure, .from')]
    .map(({ textContent }) => textContent)
    .join(' | ');

describe('tiles', () => {
  it('give the interval of the number that they show, whichever way round', () => {
    const times = '2.00 ms → 2.50 ms';
    expect(textOf(speedTile('speed', { ratio: 2.1, interval: [2, 2.2] }, ''))).toBe(
      'speed | 2.10x as fast | 95 %: 2.00 to 2.20',
    );
    // 0.8 times as fast, from 0.625 to 1: 1.25 times slower, from 1 to 1.6.
    expect(textOf(speedTile('speed', { ratio: 0.8, interval: [0.625, 1] }, times))).toBe(
      `speed | 1.25x slower | ${times}95 %: 1.00 to 1.60`,
    );
  });

  it('say where the interval is the span of several seeds', () => {
    const [speedup, values] = [{ ratio: 2, interval: [0.9, 4.5] } as const, [1, 4]];
    expect(textOf(speedTile('speed', { ...speedup, values }, ''))).toBe(
      'speed | 2.00x as fast | 95 % of all 2 seeds: 0.90 to 4.50',
    );
    expect(textOf(speedTile('speed', { ...speedup, values: [2] }, ''))).toContain('95 %: 0.90');
  });

  it('call a file that grew larger', () => {
    expect(textOf(sizeTile(4, '8 kB → 2 kB'))).toBe('size | 4.00x smaller | 8 kB → 2 kB');
    expect(textOf(sizeTile(0.5, '8 kB → 16 kB'))).toBe('size | 2.00x larger | 8 kB → 16 kB');
  });
});
