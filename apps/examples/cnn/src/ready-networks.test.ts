import { type OnnxRuntimeBackend, onnxruntimeNode } from '@lithe/backend-onnxruntime';
import type { StepRecord } from '@lithe/training';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ImageSplit, loadImages } from './images.ts';
import { trainReady } from './ready-networks.ts';

const mean = (part: readonly number[]): number => part.reduce((sum, loss) => sum + loss, 0) / part.length;

describe('the ready networks', () => {
  let images: ImageSplit;
  let backend: OnnxRuntimeBackend;
  beforeAll(async () => {
    images = await loadImages('mnist');
    backend = await onnxruntimeNode({ threads: 1 });
  });
  afterAll(() => backend.dispose());

  // Longer runs, of MobileNetV2 and ResNet-56 too, are commands of the README.
  it('a transformer reads digits as 49 tokens: 42 % after 60 steps, where chance is 10 %', async () => {
    const { losses, accuracy } = await trainReady(images, {
      name: 'transformer',
      backend,
      count: 3840,
      testCount: 500,
    });
    expect(mean(losses.slice(-5)) / mean(losses.slice(0, 5))).toBeLessThan(0.85);
    expect(accuracy).toBeGreaterThan(0.25);
  });

  it('learns in mixed precision as in float32, though the loss scale overflows at first', async () => {
    const options = { name: 'cnn', backend, count: 2560, testCount: 500 } as const;
    const full = await trainReady(images, options);
    const steps: StepRecord[] = [];
    const mixed = await trainReady(images, {
      ...options,
      mixedPrecision: { lossScale: { initial: 2 ** 19 } },
      onStep: (record) => steps.push(record),
    });
    for (const { accuracy } of [full, mixed]) expect(accuracy).toBeGreaterThan(0.7);
    // Two standard errors of the difference of two shares of 0.8 in 500.
    expect(Math.abs(mixed.accuracy - full.accuracy)).toBeLessThan(0.05);
    expect(steps[0]).toMatchObject({ skipped: true, lossScale: 2 ** 19 });
    expect(mixed.skipped).toBeLessThan(20);
    // Each skipped step halves the scale, and no other changes it.
    steps.slice(1).forEach(({ lossScale = 0 }, index) => {
      const before = steps[index];
      expect(lossScale).toBe((before?.lossScale ?? 0) / (before?.skipped === true ? 2 : 1));
    });
  });
});
