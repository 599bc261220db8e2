import { onnxruntimeBrowser } from '@lithe/backend-onnxruntime/node';
import type { Backend } from '@lithe/core';
import { fit, type TrainingStepOptions } from '@lithe/training';
import { expect, it } from 'vitest';
import { tinyData, tinyModel, tinyOptions } from './data.ts';

async function losses(
  backend: Backend,
  checkpointing: TrainingStepOptions['checkpointing'],
): Promise<readonly number[]> {
  const found: number[] = [];
  await fit(await tinyModel(), tinyData(32), {
    ...tinyOptions(),
    epochs: 1,
    backend,
    checkpointing,
    onStep: ({ loss }) => found.push(loss),
  });
  return found;
}

it('computes activations again on WebGPU, to the same losses', async () => {
  await using backend = await onnxruntimeBrowser('webgpu');
  const [held, again] = [await losses(backend, false), await losses(backend, { segments: 3 })];
  expect(again.length).toBe(2);
  expect(again).toEqual(held);
});
