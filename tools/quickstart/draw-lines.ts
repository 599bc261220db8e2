import { writeFileSync } from 'node:fs';
import { drawTextLines, launchChromium } from '@lithe-internal/browser';

const height = 48;
const width = 320;

const words =
  'Invoice Total Street Number delivery 2026 blue river 4711 Madrid quality Berlin window 39.90 EUR night train Oslo paper contract signed page 12 weight 0.75 kg morning Tokyo garden 100% market Friday'.split(
    ' ',
  );

/** Lines of two to four words, always the same. */
function lines(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) =>
    Array.from(
      { length: 2 + (index % 3) },
      (_, place) => words[(index * 7 + place * 11) % words.length],
    ).join(' '),
  );
}

/** Writes drawn lines as the recognizer takes them: float32 `[line, 3, 48, 320]`, from -1 to 1, in one `.npy` file. */
export async function main([file = 'lines.npy']: readonly string[]): Promise<number> {
  const texts = lines(32);
  const browser = await launchChromium();
  try {
    const pixels = await drawTextLines(browser, texts, { height, width });
    const plane = height * width;
    const values = new Float32Array(texts.length * 3 * plane);
    for (let line = 0; line < texts.length; line++) {
      for (let channel = 0; channel < 3; channel++) {
        for (let pixel = 0; pixel < plane; pixel++) {
          const byte = pixels[(line * plane + pixel) * 3 + channel] ?? 0;
          values[(line * 3 + channel) * plane + pixel] = byte / 127.5 - 1;
        }
      }
    }
    writeFileSync(file, npy(values, [texts.length, 3, height, width]));
    return 0;
  } finally {
    await browser.close();
  }
}

/** A float32 array in NumPy's format, version 1.0. */
function npy(values: Float32Array, shape: readonly number[]): Uint8Array {
  const dictionary = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`;
  const preamble = 10;
  const length = Math.ceil((preamble + dictionary.length + 1) / 64) * 64 - preamble;
  const header = Buffer.alloc(preamble + length, ' ');
  header.write('\x93NUMPY\x01\x00', 0, 'latin1');
  header.writeUInt16LE(length, 8);
  header.write(dictionary, preamble, 'latin1');
  header.write('\n', preamble + length - 1, 'latin1');
  return Buffer.concat([header, Buffer.from(values.buffer)]);
}
