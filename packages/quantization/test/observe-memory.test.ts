import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { statisticsObserver } from '@lithe/quantization';
import { expect, it } from 'vitest';
import { normal } from './support.ts';

interface Seen {
  readonly samples: number;
  readonly peakBytes: number;
  readonly activationBytes: number;
}

const root = fileURLToPath(new URL('../../..', import.meta.url));
const child = fileURLToPath(new URL('./observe-memory-child.ts', import.meta.url));

async function observed(samples: number): Promise<Seen> {
  const args = ['tools/ts.mjs', child, String(samples)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root });
  return JSON.parse(stdout) as Seen;
}

it('takes no more memory for 2,000 images than for 100, on a trained network', {
  timeout: 180_000,
}, async () => {
  const few = await observed(100);
  const many = await observed(2000);
  expect([few.samples, many.samples]).toEqual([100, 2000]);
  expect(many.activationBytes).toBe(20 * few.activationBytes);
  // What passes through is gigabytes more. Peaks of one and the same run differ by tens of megabytes.
  expect(many.activationBytes - few.activationBytes).toBeGreaterThan(1e9);
  expect(many.peakBytes - few.peakBytes).toBeLessThan(1e8);
});

it('keeps statistics of one size, by construction', () => {
  const observer = statisticsObserver({ channels: 1 });
  const { data } = normal([4, 8, 16], 1);
  const size = (): number => JSON.stringify(observer.result()).length;
  for (let batch = 0; batch < 1024; batch++) observer.update(data, [4, 8, 16]);
  const before = size();
  for (let batch = 0; batch < 1024; batch++) observer.update(data, [4, 8, 16]);
  const result = observer.result();
  expect(result.histogram?.counts.length).toBeLessThanOrEqual(4096);
  expect(result.batches?.minima.length).toBe(1024);
  // A digit more in some counts.
  expect(size() - before).toBeLessThan(4096);
});
