import { nodeCpuTarget, onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { arrayDataset, type Backend, type Model, optimize, type PassStep } from '@lithe/core';
import { batchNormalizationReestimation, crossLayerEqualization, staticInt8 } from '@lithe/quantization';
import { simplify } from '@lithe/simplify';
import { accuracyOn, type FashionPart, fashionMnist, loadTrainedModel } from '@lithe-internal/models';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const IMAGES = 1000;

let backend: Backend;
let images: FashionPart;
let float: Model;
let accuracy: number;
beforeAll(async () => {
  backend = await onnxruntimeNode();
  images = await fashionMnist('test', IMAGES);
  const trained = await loadTrainedModel('fashion-mobilenet-v2');
  ({ model: float } = await optimize(trained, [simplify()], { check: 'off' }));
  accuracy = await accuracyOn(float, backend, images);
}, 120_000);
afterAll(async () => {
  await backend.dispose();
});

async function accuracyAfter(model: Model, steps: readonly PassStep[]): Promise<number> {
  const train = await fashionMnist('train', 256);
  const data = arrayDataset({ inputs: { x: train.x } }, { batchSize: 32 });
  const result = await optimize(model, steps, { backend, data, target: nodeCpuTarget(), check: 'off' });
  return accuracyOn(result.model, backend, images);
}

/** Every layer in integers, one scale for each weight. */
const perTensor = {
  weightScales: 'per-tensor',
  depthwise: true,
  conversionCost: 0,
  minimumElements: 1,
} as const;

describe('recovery of a MobileNetV2-style network trained on Fashion-MNIST', () => {
  it('repairs the collapse of one scale per weight by equalization and bias correction', async () => {
    const collapsed = await accuracyAfter(float, [staticInt8(perTensor)]);
    expect(collapsed).toBeLessThan(accuracy - 0.15);
    const corrected = await accuracyAfter(float, [
      staticInt8({ ...perTensor, recovery: { biasCorrection: 'empirical' } }),
    ]);
    expect(corrected).toBeGreaterThan(collapsed + 0.05);
    const both = await accuracyAfter(float, [
      crossLayerEqualization(),
      staticInt8({ ...perTensor, recovery: { biasCorrection: 'empirical' } }),
    ]);
    // 1,000 images: two standard errors of a difference are about a point.
    expect(both).toBeGreaterThan(accuracy - 0.02);
  });

  it('leaves the layers that collapse in float until the outputs keep their budget', async () => {
    const recovery = { fallback: 'auto' } as const;
    const rescued = await accuracyAfter(float, [staticInt8({ ...perTensor, recovery })]);
    expect(rescued).toBeGreaterThan(accuracy - 0.03);
  });

  it('measures batch normalization on calibration images as training left it', async () => {
    const trained = await loadTrainedModel('fashion-mobilenet-v2');
    const again = await accuracyAfter(trained, [batchNormalizationReestimation({ samples: 256 })]);
    expect(again).toBeGreaterThan(accuracy - 0.03);
  });
});
