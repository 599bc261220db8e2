import { Tensor } from '@lithe/core';
import { drawTextLines } from '@lithe-internal/browser';

type Browser = Parameters<typeof drawTextLines>[0];

/** How pixels become model input. */
interface Scaling {
  /** Subtracted, per channel, from values in [0, 1]. */
  readonly mean: readonly [number, number, number];
  /** Divided by, per channel. */
  readonly deviation: readonly [number, number, number];
}

const half: Scaling = { mean: [0.5, 0.5, 0.5], deviation: [0.5, 0.5, 0.5] };
const imageNet: Scaling = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };

/** Interleaved bytes `[N, H, W, 3]` as planes of floats `[N, 3, H, W]`. */
function toPlanes(
  pixels: Uint8Array,
  count: number,
  height: number,
  width: number,
  scaling: Scaling,
): Tensor<'float32'> {
  const plane = height * width;
  const values = new Float32Array(count * 3 * plane);
  for (let image = 0; image < count; image++) {
    for (let channel = 0; channel < 3; channel++) {
      const mean = scaling.mean[channel] as number;
      const deviation = scaling.deviation[channel] as number;
      for (let pixel = 0; pixel < plane; pixel++) {
        const byte = pixels[(image * plane + pixel) * 3 + channel] as number;
        values[(image * 3 + channel) * plane + pixel] = (byte / 255 - mean) / deviation;
      }
    }
  }
  return Tensor.from('float32', [count, 3, height, width], values);
}

/** Lines of text as the recognizer takes them: `[N, 3, 48, 320]`. */
export async function recognizerInputs(
  browser: Browser,
  lines: readonly string[],
): Promise<Tensor<'float32'>> {
  const pixels = await drawTextLines(browser, lines, { height: 48, width: 320 });
  return toPlanes(pixels, lines.length, 48, 320, half);
}

/** Lines of text as the direction classifier takes them, every second one upside down: `[N, 3, 48, 192]`. */
export async function classifierInputs(
  browser: Browser,
  lines: readonly string[],
): Promise<Tensor<'float32'>> {
  const size = 48 * 192 * 3;
  const pixels = await drawTextLines(browser, lines, { height: 48, width: 192 });
  for (let line = 1; line < lines.length; line += 2) {
    const image = pixels.subarray(line * size, (line + 1) * size);
    // Reversed bytes are the image turned by half a turn, with red and blue exchanged, which grey text does not show.
    image.reverse();
  }
  return toPlanes(pixels, lines.length, 48, 192, half);
}

/** Pages of six lines as the detector takes them: `[N, 3, 320, 320]`. */
export async function detectorInputs(browser: Browser, lines: readonly string[]): Promise<Tensor<'float32'>> {
  const perPage = 6;
  const pages = Math.floor(lines.length / perPage);
  const size = 320 * 320 * 3;
  const row = 320 * 3;
  const pixels = await drawTextLines(browser, lines.slice(0, pages * perPage), { height: 40, width: 320 });
  const sheet = new Uint8Array(pages * size).fill(250);
  for (let line = 0; line < pages * perPage; line++) {
    const top = 16 + (line % perPage) * 50;
    const image = pixels.subarray(line * 40 * row, (line + 1) * 40 * row);
    sheet.set(image, Math.floor(line / perPage) * size + top * row);
  }
  return toPlanes(sheet, pages, 320, 320, imageNet);
}
