import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { saveOnnx } from '@lithe/onnx/node';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type ImageSplit, loadImages, PIXELS } from './images.ts';
import { main } from './main.ts';
import { plainAccuracy } from './plain-onnxruntime.ts';
import { trainImages } from './train.ts';

describe('the CNN example', () => {
  let folder: string;
  let images: ImageSplit;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lithe-cnn-'));
    images = await loadImages('mnist');
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('reads MNIST', () => {
    expect(images.train.pixels.length).toBe(60_000 * PIXELS);
    expect(images.test.labels.length).toBe(10_000);
    // The first digits of both files, as everyone knows them.
    expect([...images.train.labels.subarray(0, 5)]).toEqual([5, 0, 4, 1, 9]);
    expect([...images.test.labels.subarray(0, 5)]).toEqual([7, 2, 1, 0, 4]);
  });

  it('learns from 1,280 digits, and the saved file reads as many in plain onnxruntime', async () => {
    await using backend = await onnxruntimeNode({ threads: 2 });
    const testCount = 1000;
    const { model, history } = await trainImages(images, {
      backend,
      epochs: 3,
      mirror: false,
      count: 1280,
      testCount,
    });
    const [first, , last] = history;
    expect(last?.loss).toBeLessThan((first?.loss ?? 0) / 3);
    // 30 steps reach 82 %; chance is 10 %.
    expect(last?.metric).toBeGreaterThan(0.6);
    const file = path.join(folder, 'mnist.onnx');
    await saveOnnx(model, file);
    const { pixels, labels } = images.test;
    const part = { pixels: pixels.subarray(0, testCount * PIXELS), labels: labels.subarray(0, testCount) };
    expect(await plainAccuracy(file, part)).toBeCloseTo(last?.metric ?? 0, 3);
  });
});

describe('the command line of the example', () => {
  afterEach(() => vi.restoreAllMocks());

  it.each([
    ['--epoch 3', "Unknown option '--epoch'"],
    ['--epochs', "Option '--epochs <value>' argument missing"],
    ['--epochs two', '--epochs takes a whole number from 1, not "two".'],
    ['mnist --threads 0', '--threads takes a whole number from 1, not "0".'],
    ['cifar', 'There is no data set "cifar".'],
    ['mnist fashion', 'One data set at a time: "fashion" is too much.'],
  ])('says what is wrong with %s, and how it is used', async (line, message) => {
    let written = '';
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      written += String(text);
      return true;
    });
    expect(await main(line.split(' '))).toBe(2);
    expect(written).toContain(message);
    expect(written.trimEnd().split('\n').at(-1)).toMatch(/^npm start -- mnist\|fashion/);
    expect(written).not.toMatch(/^ +at /m);
  });
});
