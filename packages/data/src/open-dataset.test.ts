import { type Batch, type BatchOptions, type Dataset, type DType, Tensor } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { expectedImages, fixture, pixelsOf } from '../test/fixtures.ts';
import { bytesSource, comparePaths, type DataFile, filesFromBrowser } from './byte-source.ts';
import { castTo } from './cast.ts';
import type { InputSpec } from './image/preprocessing.ts';
import { indexedDataset, shuffled, split } from './indexed-dataset.ts';
import { writeNpy } from './npy.ts';
import { writeNpz } from './npz.ts';
import { openDataset } from './open-dataset.ts';
import { memoryCache } from './sample-cache.ts';

const invalid = expect.objectContaining({ code: 'DATA_INVALID' });
const file = (path: string, bytes: Uint8Array): DataFile => ({ path, source: bytesSource(bytes, path) });
const npy = (path: string, tensor: Tensor): DataFile => file(path, writeNpy(tensor));
const f32 = (shape: number[], values?: number[]): Tensor =>
  Tensor.from(
    'float32',
    shape,
    Float32Array.from(values ?? Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i)),
  );
const i64 = (...values: number[]): Tensor =>
  Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));
const input = (name: string, shape?: (number | string | null)[], dtype: DType = 'float32'): InputSpec => ({
  name,
  dtype,
  shape,
});

async function read(dataset: Dataset, options?: BatchOptions): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of dataset.batches(options)) batches.push(batch);
  return batches;
}
const shapes = (batches: Batch[], name = 'x'): (readonly number[] | undefined)[] =>
  batches.map((batch) => batch.inputs[name]?.shape);
const xOf = (batch: Batch | undefined): Float64Array =>
  (batch as Batch).inputs['x']?.toFloat64Array() ?? new Float64Array();
const values = (batches: Batch[], name = 'x'): number[] =>
  batches.flatMap((batch) => [...(batch.inputs[name] as Tensor).toFloat64Array()]);

describe('arrays', () => {
  it('of one file per input are samples by their first axis, with targets', async () => {
    const files = [npy('x.npy', f32([3, 2])), npy('labels.npy', i64(5, 6, 7)), npy('other.npy', f32([9]))];
    const data = await openDataset(files, [input('x', ['N', 2])], { batchSize: 2 });
    const batches = await read(data);
    expect(data.size).toBe(3);
    expect(shapes(batches)).toEqual([
      [2, 2],
      [1, 2],
    ]);
    expect(values(batches)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(batches[0]?.targets).toEqual({ label: i64(5, 6) });
    expect(shapes(await read(data, { batchSize: 3, limit: 2 }))).toEqual([[2, 2]]);
  });

  it('of the declared literal shape are fed as they are; longer ones go in pieces', async () => {
    const spec = [input('x', [2, 3])];
    expect(shapes(await read(await openDataset([npy('x.npy', f32([2, 3]))], spec)))).toEqual([[2, 3]]);
    const pieces = await openDataset([npy('x.npy', f32([6, 3]))], spec, { batchSize: 5 });
    expect([shapes(await read(pieces)), pieces.size]).toEqual([
      [
        [2, 3],
        [2, 3],
        [2, 3],
      ],
      6,
    ]);
    await expect(openDataset([npy('x.npy', f32([5, 3]))], spec)).rejects.toThrow(invalid);
  });

  it('without a batch axis are one sample, with one more are complete feeds', async () => {
    const spec = [input('x', ['N', 3])];
    expect(shapes(await read(await openDataset([npy('x.npy', f32([3]))], spec)))).toEqual([[1, 3]]);
    expect(shapes(await read(await openDataset([npy('x.npy', f32([2, 4, 3]))], spec)))).toEqual([
      [4, 3],
      [4, 3],
    ]);
  });

  it('that every run shares, such as a scalar, are repeated', async () => {
    const rate = Tensor.from('int64', [], new BigInt64Array([16000n]));
    const files = [npy('x.npy', f32([3, 2])), npy('sr.npy', rate), npy('state.npy', f32([2, 1, 4]))];
    const data = await openDataset(
      files,
      [input('x', ['N', 2]), input('sr', [], 'int64'), input('state', [2, 'N', 4])],
      { batchSize: 3 },
    );
    const batches = await read(data);
    expect(shapes(batches)).toEqual([
      [1, 2],
      [1, 2],
      [1, 2],
    ]);
    expect(shapes(batches, 'sr')).toEqual([[], [], []]);
    expect(shapes(batches, 'state')).toEqual([
      [2, 1, 4],
      [2, 1, 4],
      [2, 1, 4],
    ]);
  });

  it('may lie in a folder per sample, or be numbered', async () => {
    const spec = [input('x:0', ['N', 2]), input('y', ['N', 1])];
    for (const name of [
      (n: number, what: string) => `${n}/${what}.npy`,
      (n: number, what: string) => `${what}_${n}.npy`,
    ]) {
      const files = [10, 9, 2].flatMap((n) => [
        npy(name(n, 'x_0'), f32([1, 2], [n, n])),
        npy(name(n, 'y'), f32([1, 1], [n])),
      ]);
      const batches = await read(await openDataset(files, spec, { batchSize: 2 }));
      expect(values(batches, 'x:0')).toEqual([2, 2, 9, 9, 10, 10]);
      expect(shapes(batches, 'y')).toEqual([
        [2, 1],
        [1, 1],
      ]);
    }
  });

  it('of any name serve a model with one input', async () => {
    const files = [npy('b.npy', f32([2], [3, 4])), npy('a.npy', f32([2], [1, 2]))];
    expect(values(await read(await openDataset(files, [input('x', ['N', 2])])))).toEqual([1, 2, 3, 4]);
    await expect(openDataset(files, [input('x'), input('y')])).rejects.toThrow(invalid);
  });

  it('come out of NPZ archives, one or many', async () => {
    const spec = [input('x', ['N', 2])];
    const batches = await read(
      await openDataset([file('d.npz', fixture('stored.npz'))], spec, { batchSize: 3 }),
    );
    expect(values(batches)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(batches[0]?.targets?.['label']?.data).toEqual(new BigInt64Array([2n, 0n, 1n]));
    const many = [2, 1].map((n) => file(`s${n}.npz`, writeNpz({ arr_0: f32([n, 2]) })));
    expect(shapes(await read(await openDataset(many, spec, { batchSize: 4 })))).toEqual([[3, 2]]);
  });

  it('are converted to the dtype of the input where nothing is lost', async () => {
    const doubles = Tensor.from('float64', [1, 2], new Float64Array([1, 2]));
    const [batch] = await read(await openDataset([npy('x.npy', doubles)], [input('x', ['N', 2])]));
    expect(batch?.inputs['x']?.dtype).toBe('float32');
    await expect(
      read(await openDataset([npy('x.npy', doubles)], [input('x', ['N', 2], 'int64')])),
    ).rejects.toThrow(invalid);
    expect(castTo(Tensor.from('uint8', [1], new Uint8Array([200])), 'int64', 'x').data).toEqual(
      new BigInt64Array([200n]),
    );
    expect(() => castTo(Tensor.from('uint8', [1], new Uint8Array([200])), 'int8', 'x')).toThrow(invalid);
    expect(() => castTo(Tensor.from('uint64', [1], new BigUint64Array([2n ** 63n])), 'int64', 'x')).toThrow(
      invalid,
    );
    expect(castTo(i64(3), 'int32', 'x').data).toEqual(new Int32Array([3]));
    expect(castTo(Tensor.from('bool', [2], new Uint8Array([1, 0])), 'float32', 'x').data).toEqual(
      new Float32Array([1, 0]),
    );
  });

  it('that do not fit are refused by name', async () => {
    const spec = [input('x', ['N', 2]), input('y', ['N', 2])];
    for (const files of [
      [npy('x.npy', f32([3, 2]))],
      [npy('x.npy', f32([3, 2])), npy('y.npy', f32([2, 2]))],
      [npy('x.npy', f32([3, 2])), npy('y.npy', f32([3, 4]))],
      [npy('a/x.npy', f32([3, 2])), npy('b/y.npy', f32([3, 2]))],
    ]) {
      await expect(openDataset(files, spec)).rejects.toThrow(invalid);
    }
    await expect(openDataset([], spec)).rejects.toThrow(invalid);
    await expect(openDataset([file('a.txt', new Uint8Array(1))], spec)).rejects.toThrow(invalid);
  });
});

describe('IDX pairs', () => {
  const images = file('mini-images-idx3-ubyte.gz', fixture('mini-images-idx3-ubyte.gz'));
  const labels = file('mini-labels-idx1-ubyte', fixture('mini-labels-idx1-ubyte'));

  it('become scaled images with their labels', async () => {
    const [batch] = await read(
      await openDataset([images, labels], [input('x', ['N', 1, 4, 5])], { batchSize: 3 }),
    );
    expect(batch?.inputs['x']?.shape).toEqual([3, 1, 4, 5]);
    expect(xOf(batch)[3]).toBeCloseTo(12 / 255, 6);
    expect(batch?.targets?.['label']).toEqual(i64(7, 1, 9));
  });

  it('feed inputs that are no images, and fixed batches', async () => {
    const flat = await read(
      await openDataset([images, labels], [input('x', ['N', 20])], { preprocessing: { scale: 1 } }),
    );
    expect(values(flat).slice(0, 3)).toEqual([0, 4, 8]);
    const pairs = await openDataset([images, labels], [input('x', [2, 1, 4, 5])]);
    expect([shapes(await read(pairs)), pairs.size]).toEqual([[[2, 1, 4, 5]], 2]);
    expect(shapes(await read(await openDataset([images], [input('x', ['N', 1, 'H', 'W'])])))[0]).toEqual([
      1, 1, 4, 5,
    ]);
    await expect(openDataset([images], [input('x', ['N', 7])])).rejects.toThrow(invalid);
  });

  it('are read a batch at a time, for each reading opens the file', async () => {
    const ranges: (readonly [number, number])[] = [];
    const { source } = labels;
    const counted: DataFile = {
      ...labels,
      source: {
        ...source,
        read: (start, end) => {
          ranges.push([start, end]);
          return source.read(start, end);
        },
      },
    };
    const data = await openDataset([images, counted], [input('x', ['N', 1, 4, 5])], { batchSize: 2 });
    ranges.length = 0;
    const one = await read(data);
    expect(one.map(({ size }) => size)).toEqual([2, 1]);
    expect(one.map(({ targets }) => targets?.['label'])).toEqual([i64(7, 1), i64(9)]);
    // Behind the 8 bytes of the header.
    expect(ranges).toEqual([
      [8, 10],
      [10, 11],
    ]);
  });

  it('that are several need to be told apart', async () => {
    const files = [images, labels, { ...images, path: 't10k-images-idx3-ubyte.gz' }];
    await expect(openDataset(files, [input('x', ['N', 1, 4, 5])])).rejects.toThrow(invalid);
    expect((await openDataset(files, [input('x', ['N', 1, 4, 5])], { part: 't10k' })).size).toBe(3);
  });
});

describe('images', () => {
  const png = (path: string, name = 'rgb.png'): DataFile => file(path, fixture(name));
  const spec = [input('x', ['N', 3, 9, 11])];
  const text = (path: string, content: string): DataFile => file(path, new TextEncoder().encode(content));
  const labelsOf = async (files: DataFile[]): Promise<number[]> =>
    (await read(await openDataset(files, spec))).map((batch) =>
      Number(batch.targets?.['label']?.toFloat64Array()[0]),
    );

  it('are decoded and preprocessed', async () => {
    const [batch] = await read(
      await openDataset([png('a.png')], spec, { preprocessing: { scale: 1, layout: 'nchw' } }),
    );
    const pixels = pixelsOf(expectedImages['rgb.png']?.rgb as string);
    const tensor = xOf(batch);
    expect(tensor.length).toBe(pixels.length);
    tensor.forEach((value, index) => {
      expect(value).toBe(pixels[3 * (index % 99) + Math.floor(index / 99)]);
    });
    expect(batch?.targets).toBeUndefined();
  });

  it('take their classes from folders, CSV or JSON', async () => {
    expect(await labelsOf([png('dog/1.png'), png('cat/1.png'), png('cat/2.png')])).toEqual([0, 0, 1]);
    expect(
      await labelsOf([png('a.png'), png('b.png'), text('labels.csv', 'file,label\na.png,4\r\n"b.png",2\n')]),
    ).toEqual([4, 2]);
    expect(
      await labelsOf([png('a.png'), png('b.png'), text('labels.json', '{"a.png":"zebra","b.png":"ape"}')]),
    ).toEqual([1, 0]);
    await expect(labelsOf([png('a.png'), png('b.png'), text('labels.csv', 'a.png,1')])).rejects.toThrow(
      invalid,
    );
    await expect(labelsOf([png('a.png'), text('labels.json', '[')])).rejects.toThrow(invalid);
  });

  it('follow a preprocessing.json beside them', async () => {
    const config = text('preprocessing.json', '{ "resize": { "mode": "exact", "width": 4, "height": 2 } }');
    const open = [input('x', ['N', 3, 'H', 'W'])];
    expect(shapes(await read(await openDataset([png('a.png'), config], open)))).toEqual([[1, 3, 2, 4]]);
    await expect(
      openDataset([png('a.png'), text('preprocessing.json', '{ "size": 3 }')], open),
    ).rejects.toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID' }));
    await expect(openDataset([png('a.png')], open)).rejects.toThrow(invalid);
  });

  it('of different sizes end a batch early', async () => {
    const files = [png('1.png'), png('2.png'), png('3.png', 'noise.png'), png('4.png')];
    const data = await openDataset(files, [input('x', ['N', 3, 'H', 'W'])], {
      batchSize: 4,
      preprocessing: { resize: { mode: 'none' } },
    });
    expect(shapes(await read(data))).toEqual([
      [2, 3, 9, 11],
      [1, 3, 37, 53],
      [1, 3, 9, 11],
    ]);
  });

  it('are decoded once where there is a cache, and again when the configuration changes', async () => {
    let decoded = 0;
    const kept = memoryCache();
    const cache = {
      get: kept.get,
      put: (key: string, tensor: Tensor): Promise<void> => {
        decoded++;
        return kept.put(key, tensor);
      },
    };
    const first = values(await read(await openDataset([png('a.png')], spec, { cache })));
    expect(values(await read(await openDataset([png('b.png')], spec, { cache })))).toEqual(first);
    expect(decoded).toBe(1);
    await read(await openDataset([png('a.png')], spec, { cache, preprocessing: { scale: 1 } }));
    expect(decoded).toBe(2);
  });

  it('come from browser files, paths relative to the folder that was picked', () => {
    const picked = new File([fixture('rgb.png') as BlobPart], '1.png');
    Object.defineProperty(picked, 'webkitRelativePath', { value: 'photos/cat/1.png' });
    expect(filesFromBrowser([picked, new File([], 'x.npy')]).map((one) => one.path)).toEqual([
      'cat/1.png',
      'x.npy',
    ]);
  });
});

describe('order, shuffling and splitting', () => {
  const numbers = indexedDataset({
    items: 10,
    description: 'numbers',
    item: (index) => Promise.resolve({ inputs: { x: f32([1], [index]) }, size: 1 }),
  });

  it('sorts numbers in paths as numbers', () => {
    expect(['x_10', 'x_9', 'x_2b', 'a/1', 'x_09'].sort(comparePaths)).toEqual([
      'a/1',
      'x_2b',
      'x_09',
      'x_9',
      'x_10',
    ]);
  });

  it('shuffles by seed, losing nothing', async () => {
    const order = values(await read(shuffled(numbers, 1), { batchSize: 3 }));
    expect(order).toEqual(values(await read(shuffled(numbers, 1))));
    expect(order).not.toEqual(values(await read(shuffled(numbers, 2))));
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, index) => index));
  });

  it('splits by seed, each item in one part', async () => {
    const [train, rest] = split(numbers, { fraction: 0.7, seed: 3 });
    expect([train.size, rest.size]).toEqual([7, 3]);
    const all = [...values(await read(train)), ...values(await read(rest))];
    expect(all.sort((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, index) => index));
    expect(() => split(numbers, { fraction: 2 })).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
  });
});

it('calls the data what the caller calls it, also where one file is all there is', async () => {
  const bytes = writeNpy(Tensor.from('float32', [3, 2], new Float32Array(6)));
  const inputs = [{ name: 'x', dtype: 'float32', shape: ['N', 2] }] as const;
  const files = [{ path: 'x.npy', source: bytesSource(bytes) }];
  expect((await openDataset(files, inputs, { description: 'my numbers' })).description).toBe('my numbers');
});
