import { onnxruntimeWeb } from '@lithe/backend-onnxruntime';
import { onnxruntimeBrowser } from '@lithe/backend-onnxruntime/node';
import { expect, it } from 'vitest';
import { tinyLosses } from './data.ts';

it('trains in mixed precision on WASM', async () => {
  await using backend = await onnxruntimeWeb({ threads: 1 });
  const [full, mixed] = [
    await tinyLosses(backend, 96, { mixedPrecision: false }),
    await tinyLosses(backend, 96, { mixedPrecision: true }),
  ];
  expect(mixed.length).toBe(12);
  expect(mixed).not.toEqual(full);
  for (const [index, loss] of mixed.entries()) expect(Math.abs(loss - (full[index] ?? 0))).toBeLessThan(0.02);
});

it('on a WebGPU device trains in mixed precision, or says that it lacks shader-f16', async () => {
  await using backend = await onnxruntimeBrowser('webgpu');
  expect(backend.features.has('webgpu')).toBe(true);
  if (backend.features.has('shader-f16')) {
    const [full, mixed] = [
      await tinyLosses(backend, 96, { mixedPrecision: false }),
      await tinyLosses(backend, 96, { mixedPrecision: true }),
    ];
    for (const [index, loss] of mixed.entries())
      expect(Math.abs(loss - (full[index] ?? 0))).toBeLessThan(0.05);
  } else {
    await expect(tinyLosses(backend, 96, { mixedPrecision: true })).rejects.toMatchObject({
      code: 'DTYPE_UNSUPPORTED',
      message: expect.stringContaining('lacks the feature "shader-f16"'),
      details: { backend: backend.name, dtype: 'float16' },
    });
  }
});
