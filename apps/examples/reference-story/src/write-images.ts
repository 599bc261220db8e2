import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ImageSplit, LabelledImages } from '@lithe-internal/example-cnn/images';

/** Height and width of an image. */
const SIZE = 28;

/** IDX: two zeros, 8 for bytes, the number of axes, their sizes as big-endian numbers, the bytes. */
function idx(shape: readonly number[], bytes: Uint8Array): Uint8Array {
  const file = new Uint8Array(4 + 4 * shape.length + bytes.length);
  const view = new DataView(file.buffer);
  file.set([0, 0, 8, shape.length]);
  for (const [axis, size] of shape.entries()) view.setUint32(4 + 4 * axis, size);
  file.set(bytes, 4 + 4 * shape.length);
  return file;
}

async function writeWhole(file: string, bytes: Uint8Array): Promise<void> {
  await writeFile(`${file}.tmp`, bytes);
  await rename(`${file}.tmp`, file);
}

/** Files of a part: images, labels. */
const filesOf = (folder: string, part: string): readonly [string, string] => [
  path.join(folder, `${part}-images-idx3-ubyte`),
  path.join(folder, `${part}-labels-idx1-ubyte`),
];

async function writePart(folder: string, part: string, { pixels, labels }: LabelledImages): Promise<void> {
  const [images, classes] = filesOf(folder, part);
  await writeWhole(images, idx([labels.length, SIZE, SIZE], pixels));
  await writeWhole(classes, idx([labels.length], labels));
}

/**
 * Writes images and labels as the four IDX files that MNIST comes in, unless they are there: `train` to learn from and
 * `t10k` to measure on.
 */
export async function writeImages(folder: string, load: () => Promise<ImageSplit>): Promise<void> {
  const files = [...filesOf(folder, 'train'), ...filesOf(folder, 't10k')];
  const known = await Promise.all(files.map((file) => stat(file).catch(() => undefined)));
  if (known.every((one) => one !== undefined)) return;
  const { train, test } = await load();
  await mkdir(folder, { recursive: true });
  await writePart(folder, 'train', train);
  await writePart(folder, 't10k', test);
}
