import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { arrayDataset, type Backend, type Dataset, optimize } from '@lithe/core';
import { accuracyOn, type FashionPart, fashionMnist, loadTrainedModel } from '@lithe-internal/models';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { batchNormReestimation, leastSquaresRefit, lowRank, prune } from '../src/index.ts';

let backend: Backend;
let data: Dataset;
let test: FashionPart;
beforeAll(async () => {
  backend = await onnxruntimeNode({ threads: 1 });
  data = arrayDataset({ inputs: { x: (await fashionMnist('train', 128)).x } });
  test = await fashionMnist('test', 1000);
});
afterAll(() => backend.dispose());

describe('recovery of trained networks without training', () => {
  it('brings a convolutional network with half its channels back near to the original', async () => {
    const original = await loadTrainedModel('fashion-cnn');
    const options = { data, backend, check: 'off' } as const;
    const { model: pruned } = await optimize(original, [prune({ ratio: 0.5 })], options);
    const steps = [leastSquaresRefit({ original }), batchNormReestimation()];
    const { model } = await optimize(pruned, steps, options);
    const accuracies = [original, pruned, model].map((each) => accuracyOn(each, backend, test));
    const [before = 0, cut = 0, after = 0] = await Promise.all(accuracies);
    expect(before - cut).toBeGreaterThan(0.1);
    expect(before - after).toBeLessThan(0.04);
  });

  it('refits layers that were taken apart', async () => {
    const original = await loadTrainedModel('fashion-cnn');
    const options = { data, backend, check: 'off' } as const;
    const { model: thin, report } = await optimize(
      original,
      [lowRank({ energy: 0.8, smallestSaving: 0 })],
      options,
    );
    const { metrics } = report.steps[0] ?? {};
    const share = (after = 0, before = 1): number => after / before;
    expect(
      share(metrics?.['multiplications after']?.value, metrics?.['multiplications before']?.value),
    ).toBeLessThan(0.75);
    const { model } = await optimize(thin, [leastSquaresRefit({ original })], options);
    const gained = (await accuracyOn(model, backend, test)) - (await accuracyOn(thin, backend, test));
    expect(gained).toBeGreaterThan(0.05);
  });
});
