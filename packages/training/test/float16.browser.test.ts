import { onnxruntimeWeb } from '@lithe/backend-onnxruntime';
import { onnxruntimeBrowser } from '@lithe/backend-onnxruntime/node';
import type { Backend } from '@lithe/core';
import { fit } from '@lithe/training';
import { expect, it } from 'vitest';
import { tinyData, tinyModel, tinyOptions } from './data.ts';

async function losses(backend: Backend, mixedPrecision: boolean): Promise<readonly number[]> {
  const found: number[] = [];
  await fit(await tinyModel(), tinyData(96), {
    ...tinyOptions(),
    backend,
    mixedPrecision,
    onStep: ({ loss }) => found.push(loss),
  });
  return found;
}

it('trains in mixed precision on WASM', async () => {
  await using backend = await onnxruntimeWeb({ threads: 1 });
  const [full, mixed] = [await losses(backend, false), await losses(backend, true)];
  expect(mixed.length).toBe(12);
  expect(mixed).not.toEqual(full);
  for (const [index, loss] of mixed.entries()) expect(Math.abs(loss - (full[index] ?? 0))).toBeLessThan(0.02);
});

it('on a WebGPU device trains in mixed precision, or says that it lacks shader-f16', async () => {
  await using backend = await onnxruntimeBrowser('webgpu');
  expect(backend.features.has('webgpu')).toBe(true);
  if (backend.features.has('shader-f16')) {
    const [full, mixed] = [await losses(backend, false), await losses(backend, true)];
    for (const [index, loss] of mixed.entries())
      expect(Math.abs(loss - (full[index] ?? 0))).toBeLessThan(0.05);
  } else {
    await expect(losses(backend, true)).rejects.toMatchObject({
      code: 'DTYPE_UNSUPPORTED',
      message: expect.stringContaining('lacks the feature "shader-f16"'),
      details: { backend: backend.name, dtype: 'float16' },
    });
  }
});
