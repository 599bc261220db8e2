import { createRng, type Feeds, type Model } from '@lithe/core';
import { cnn, mobileNetV2, resnet20, transformerEncoder } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import { checkShrinks, checkZeros, prunable } from './checks.ts';
import { randomNet } from './nets.ts';
import { normal, tokens } from './support.ts';

const image = (channels: number, size: number): Feeds => ({ x: normal([2, channels, size, size], 1) });

interface Subject {
  readonly name: string;
  readonly make: () => Promise<Model>;
  readonly feeds: Feeds;
}
const subjects: readonly Subject[] = [
  { name: 'a CNN', make: () => cnn({ image: [1, 12, 12] }), feeds: image(1, 12) },
  { name: 'ResNet-20', make: () => resnet20({ image: [3, 16, 16] }), feeds: image(3, 16) },
  {
    name: 'MobileNetV2',
    make: () => mobileNetV2({ image: [3, 32, 32], width: 0.25, dropout: 0 }),
    feeds: image(3, 32),
  },
  {
    name: 'a transformer',
    make: () => transformerEncoder({ vocabulary: 50, length: 8, depth: 2, width: 32, heads: 4 }),
    feeds: { tokens: tokens([2, 8], 3, 50) },
  },
];

describe.each(subjects)('$name', ({ make, feeds }) => {
  it('says the same without channels that were zero', async () => {
    const model = await make();
    const exact = (await prunable(model)).filter((group) => group.inexact.length === 0);
    expect(exact.length).toBeGreaterThan(1);
    for (const [seed, group] of exact.slice(0, 6).entries()) await checkZeros(model, group, { feeds, seed });
  });

  it('is sound and smaller after any groups were cut', async () => {
    const model = await make();
    for (const seed of [1, 2, 3]) await checkShrinks(model, { feeds, seed });
  });
});

describe('random networks of concatenations, splits, slices, shuffles, pads and groups', () => {
  const seeds = Array.from({ length: 16 }, (_, seed) => seed);

  it('say the same without channels that were zero, whichever group is cut', async () => {
    let cut = 0;
    for (const seed of seeds) {
      const model = await randomNet(createRng(seed));
      for (const group of await prunable(model)) {
        if (group.inexact.length > 0) continue;
        await checkZeros(model, group, { feeds: image(3, 8), seed });
        cut++;
      }
    }
    expect(cut).toBeGreaterThan(80);
  });

  it('are sound and smaller after any groups were cut together', async () => {
    for (const seed of seeds) {
      const model = await randomNet(createRng(100 + seed), 6);
      await checkShrinks(model, { feeds: image(3, 8), seed });
    }
  });
});
