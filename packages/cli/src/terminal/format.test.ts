import { expect, it } from 'vitest';
import { formatBytes } from './format.ts';

it.each([
  [0, '0 B'],
  [1.4, '1 B'],
  [999, '999 B'],
  [1000, '1 kB'],
  [94_346, '94.35 kB'],
  [350_069, '350.07 kB'],
  [999_994, '999.99 kB'],
  [999_996, '1 MB'],
  [1_687_805, '1.69 MB'],
  [4_745_517, '4.75 MB'],
  [7.2e9, '7.2 GB'],
  [3e15, '3000 TB'],
])('rounds %d bytes to %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});
