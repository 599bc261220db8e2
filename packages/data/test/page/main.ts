import { Tensor } from '@lithe/core';
import { decodeImage, defaultMaxPixels, filesFromBrowser, openDataset, writeNpy } from '@lithe/data';

/** What the page shows to the test. */
export interface Shown {
  /** Samples of an `.npy` file that a user picked. */
  readonly picked: readonly (readonly number[])[];
  /** Pixels of a PNG, decoded by our own decoder. */
  readonly png: readonly number[];
  /** Size and first pixel of a WebP, which only the browser decodes. */
  readonly webp: { readonly width: number; readonly height: number; readonly first: readonly number[] };
  /** Code of the error for a file that is no image. */
  readonly refused: string;
}

async function picked(): Promise<number[][]> {
  const bytes = writeNpy(Tensor.from('float32', [3, 2], Float32Array.of(1, 2, 3, 4, 5, 6)));
  const files = filesFromBrowser([new File([bytes as Uint8Array<ArrayBuffer>], 'x.npy')]);
  const data = await openDataset(files, [{ name: 'x', dtype: 'float32', shape: ['N', 2] }]);
  const samples: number[][] = [];
  for await (const batch of data.batches()) samples.push([...(batch.inputs['x'] as Tensor).toFloat64Array()]);
  return samples;
}

async function draw(type: string): Promise<Uint8Array> {
  const canvas = new OffscreenCanvas(4, 2);
  const context = canvas.getContext('2d');
  if (context === null) throw new Error('The page has no canvas.');
  context.fillStyle = 'rgb(200 40 10)';
  context.fillRect(0, 0, 4, 2);
  const blob = await canvas.convertToBlob({ type, quality: 1 });
  if (blob.type !== type) throw new Error(`The browser drew ${blob.type}, not ${type}.`);
  return new Uint8Array(await blob.arrayBuffer());
}

async function show(): Promise<Shown> {
  const png = await decodeImage(await draw('image/png'), 'drawn.png', { maxPixels: defaultMaxPixels });
  const webp = await decodeImage(await draw('image/webp'), 'drawn.webp', { maxPixels: defaultMaxPixels });
  const refused = await decodeImage(Uint8Array.of(1, 2, 3, 4), 'noise.bin', {
    maxPixels: defaultMaxPixels,
  }).then(
    () => 'nothing',
    (error: unknown) => (error as { readonly code?: string }).code ?? String(error),
  );
  return {
    picked: await picked(),
    png: [...png.rgb.slice(0, 3)],
    webp: { width: webp.width, height: webp.height, first: [...webp.rgb.slice(0, 3)] },
    refused,
  };
}

(globalThis as unknown as { shown: Promise<Shown> }).shown = show();
