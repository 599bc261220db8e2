import type { Browser } from 'playwright-core';

/** How {@link drawTextLines} draws. */
export interface TextLineOptions {
  /** Pixels; 48 by default. */
  readonly height?: number | undefined;
  /** Pixels; 320 by default. Longer lines are drawn in a smaller font, so that they fit. */
  readonly width?: number | undefined;
}

/**
 * Draws lines of text, dark on light, each with its own font, shade and slant: real inputs for models that read text.
 * The same lines give the same pixels in the same browser.
 *
 * @returns red, green and blue bytes, `[line, y, x, 3]`.
 */
export async function drawTextLines(
  browser: Browser,
  lines: readonly string[],
  options: TextLineOptions = {},
): Promise<Uint8Array> {
  const page = await browser.newPage();
  try {
    const base64 = await page.evaluate(drawInPage, {
      lines,
      height: options.height ?? 48,
      width: options.width ?? 320,
    });
    return new Uint8Array(Buffer.from(base64, 'base64'));
  } finally {
    await page.close();
  }
}

/** Runs in the page, so it uses nothing from around it. */
function drawInPage(job: { lines: readonly string[]; height: number; width: number }): string {
  const { lines, height, width } = job;
  const fonts = ['"Open Sans"', 'sans-serif', 'serif', 'monospace'];
  const pixels = new Uint8Array(lines.length * height * width * 3);
  lines.forEach((line, index) => {
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
    if (context === null) throw new Error('The page has no canvas to draw on.');
    const paper = 255 - ((index * 7) % 24);
    const ink = (index * 13) % 70;
    context.fillStyle = `rgb(${paper} ${paper} ${paper - (index % 5) * 3})`;
    context.fillRect(0, 0, width, height);
    const weight = index % 3 === 0 ? 'bold' : 'normal';
    const font = fonts[index % fonts.length];
    let size = height * (0.5 + 0.05 * (index % 4));
    context.font = `${weight} ${size}px ${font}`;
    const room = width - 16;
    const wide = context.measureText(line).width;
    if (wide > room) size *= room / wide;
    context.font = `${weight} ${size}px ${font}`;
    context.fillStyle = `rgb(${ink} ${ink} ${ink + 10})`;
    context.textBaseline = 'middle';
    context.setTransform(1, ((index % 5) - 2) * 0.004, ((index % 3) - 1) * 0.04, 1, 8, height / 2);
    context.fillText(line, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    const start = index * height * width * 3;
    for (let pixel = 0; pixel < height * width; pixel++) {
      for (let channel = 0; channel < 3; channel++) {
        pixels[start + pixel * 3 + channel] = data[pixel * 4 + channel] ?? 0;
      }
    }
  });
  let text = '';
  for (let at = 0; at < pixels.length; at += 0x8000)
    text += String.fromCharCode(...pixels.subarray(at, at + 0x8000));
  return btoa(text);
}
