import { onnxruntimeBrowser } from '@lithe/backend-onnxruntime/node';
import { expect, it } from 'vitest';
import { tinyLosses } from './data.ts';

it('computes activations again on WebGPU, to the same losses', async () => {
  await using backend = await onnxruntimeBrowser('webgpu');
  const [held, again] = [
    await tinyLosses(backend, 32, { epochs: 1, checkpointing: false }),
    await tinyLosses(backend, 32, { epochs: 1, checkpointing: { segments: 3 } }),
  ];
  expect(again.length).toBe(2);
  expect(again).toEqual(held);
});
