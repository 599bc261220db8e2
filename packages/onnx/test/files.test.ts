import { link, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ErrorCode, Graph, isLitheError, lazyTensor, Model, Tensor, tensorType } from '@lithe/core';
import { readOnnx } from '@lithe/onnx';
import { loadOnnx, saveOnnx } from '@lithe/onnx/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { around, floatBytes, modelBytes } from './build.ts';

let folder: string;
let count = 0;
/** A new folder with a model `m.onnx` whose one weight lies at `location`. */
async function withExternal(
  location: string,
  range: { offset?: string; length?: string } = {},
): Promise<string> {
  const own = join(folder, `case${count++}`);
  await mkdir(join(own, 'model'), { recursive: true });
  await writeFile(join(own, 'outside.bin'), floatBytes(1, 2, 3, 4));
  await writeFile(join(own, 'model', 'w.bin'), floatBytes(1, 2, 3, 4));
  const entries = Object.entries({ location, ...range }).map(([key, value]) => ({ key, value }));
  const graph = {
    ...around({ opType: 'Add', input: ['x', 'w'], output: ['y'] }),
    initializer: [
      { name: 'w', dataType: 1, dims: [2n, 2n], dataLocation: 1 as const, externalData: entries },
    ],
  };
  await writeFile(join(own, 'model', 'm.onnx'), modelBytes(graph));
  return join(own, 'model');
}

const failure = (code: ErrorCode) => expect.toSatisfy((error: unknown) => isLitheError(error, code));

/** A model of `weights` float32 tensors of `elements` elements, each made when it is asked for. */
function largeModel(weights: number, elements: number): Model {
  const graph = new Graph();
  let value = graph.addInput('x', tensorType('float32', [elements]));
  for (let index = 0; index < weights; index++) {
    const source = lazyTensor('float32', [elements], () =>
      Tensor.from('float32', [elements], new Float32Array(elements).fill(index + 1)),
    );
    const weight = graph.addInitializer(`w${index}`, source);
    value = graph
      .addNode({ opType: 'Add', inputs: [value, weight] }, [{ type: tensorType('float32', [elements]) }])
      .output();
  }
  graph.rename(value, 'y');
  graph.setOutputs([value]);
  return new Model({ graph });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lithe-onnx-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('external data', () => {
  it('is read when it is asked for', async () => {
    const at = await withExternal('w.bin');
    const model = await loadOnnx(join(at, 'm.onnx'));
    const weight = await model.graph.value('w')?.initializer?.load();
    expect(weight?.toFloat64Array()).toEqual(new Float64Array([1, 2, 3, 4]));
  });

  it.each([
    ['an absolute path', '/etc/hostname'],
    ['a path up', '../outside.bin'],
    ['a hidden path up', 'a/../../outside.bin'],
    ['a backslash', '..\\outside.bin'],
    ['a drive', 'C:outside.bin'],
    ['the model itself', 'm.onnx'],
    ['the folder', '.'],
    ['nothing', ''],
    ['an address', 'file://w.bin'],
    ['a device', '../../../../../../../../dev/zero'],
  ])('refuses %s', async (_, location) => {
    const at = await withExternal(location);
    await expect(loadOnnx(join(at, 'm.onnx'))).rejects.toEqual(failure('PATH_ESCAPES'));
  });

  it('refuses links out of the folder, unless they are asked for', async () => {
    const soft = await withExternal('soft.bin');
    await symlink(join(soft, '..', 'outside.bin'), join(soft, 'soft.bin'));
    const hard = await withExternal('hard.bin');
    await link(join(hard, '..', 'outside.bin'), join(hard, 'hard.bin'));
    const through = await withExternal('sub/outside.bin');
    await symlink(join(through, '..'), join(through, 'sub'));
    for (const at of [soft, hard, through]) {
      await expect(loadOnnx(join(at, 'm.onnx'))).rejects.toEqual(failure('PATH_ESCAPES'));
      const trusted = await loadOnnx(join(at, 'm.onnx'), { followExternalDataLinksAnywhere: true });
      expect(trusted.graph.initializers.size).toBe(1);
    }
  });

  it('refuses a folder in place of a file, and names a missing file', async () => {
    const at = await withExternal('sub');
    await mkdir(join(at, 'sub'));
    await expect(loadOnnx(join(at, 'm.onnx'))).rejects.toEqual(failure('PATH_ESCAPES'));
    const missing = await withExternal('gone.bin');
    await expect(loadOnnx(join(missing, 'm.onnx'))).rejects.toEqual(failure('FILE_NOT_FOUND'));
    await expect(loadOnnx(join(missing, 'none.onnx'))).rejects.toEqual(failure('FILE_NOT_FOUND'));
  });

  it.each([
    ['FILE_INVALID', { offset: '4' }],
    ['FILE_INVALID', { offset: '9007199254740991' }],
    ['TENSOR_INVALID', { length: '12' }],
    ['TENSOR_INVALID', { offset: '-4' }],
    ['TENSOR_INVALID', { offset: '99999999999999999999' }],
  ] as const)('ends in %s for the range %o', async (code, range) => {
    const at = await withExternal('w.bin', range);
    await expect(loadOnnx(join(at, 'm.onnx'))).rejects.toEqual(failure(code));
  });

  it('comes from a map in a browser, under the same rules', async () => {
    const at = await withExternal('w.bin');
    const bytes = new Uint8Array(await readFile(join(at, 'm.onnx')));
    const blob = new Blob([floatBytes(5, 6, 7, 8).slice()]);
    const model = await readOnnx(new Blob([bytes]), { externalData: { 'w.bin': blob } });
    const weight = await model.graph.value('w')?.initializer?.load();
    expect(weight?.toFloat64Array()).toEqual(new Float64Array([5, 6, 7, 8]));
    await expect(readOnnx(bytes)).rejects.toEqual(failure('FILE_NOT_FOUND'));
    const escaping = await withExternal('../w.bin');
    const other = new Uint8Array(await readFile(join(escaping, 'm.onnx')));
    await expect(readOnnx(other, { externalData: { '../w.bin': blob } })).rejects.toEqual(
      failure('PATH_ESCAPES'),
    );
  });
});

describe('saveOnnx', () => {
  it('moves weights beside a large model, and reads them back', async () => {
    const path = join(folder, 'split.onnx');
    const report = await saveOnnx(largeModel(3, 5000), path, { externalDataAbove: 10_000 });
    expect(report.files).toEqual([path, `${path}_data`]);
    const model = await loadOnnx(path);
    const weight = await model.graph.value('w2')?.initializer?.load();
    expect(weight?.toFloat64Array()[4999]).toBe(3);
    expect((await stat(path)).size).toBeLessThan(2000);
  });

  it('splits the data into files of a given size, a tensor being in one of them', async () => {
    const at = join(folder, 'chunks');
    await mkdir(at);
    const path = join(at, 'm.onnx');
    // Three tensors of 20000 bytes: two fit a file of 45000, none one of 10000.
    const two = await saveOnnx(largeModel(3, 5000), path, {
      externalData: 'always',
      externalFileBytes: 45_000,
    });
    expect(two.files).toEqual([path, `${path}_data`, `${path}_data_1`]);
    const sizes = await Promise.all(two.files.map(async (file) => (await stat(file)).size));
    expect(sizes.slice(1)).toEqual([40_032, 20_000]);
    expect(two.bytes).toBe(sizes.reduce((left, right) => left + right));
    const model = await loadOnnx(path);
    const values = ['w0', 'w1', 'w2'].map(async (name) => model.graph.value(name)?.initializer?.load());
    expect((await Promise.all(values)).map((tensor) => tensor?.toFloat64Array()[4999])).toEqual([1, 2, 3]);
    const own = await saveOnnx(largeModel(3, 5000), path, {
      externalData: 'always',
      externalFileBytes: 10_000,
    });
    expect(own.files.map((file) => file.slice(path.length))).toEqual(['', '_data', '_data_1', '_data_2']);
  });

  it('saves a model over the files it is read from, and leaves nothing else behind', async () => {
    const at = join(folder, 'self');
    await mkdir(at);
    const path = join(at, 'm.onnx');
    await saveOnnx(largeModel(2, 300_000), path, { externalData: 'always' });
    const model = await loadOnnx(path);
    const [weight] = model.graph.initializers;
    // Another weight in front moves every byte range.
    model.graph.addInitializer('front', Tensor.from('float32', [2000], new Float32Array(2000)));
    await saveOnnx(model, path, { externalData: 'always' });
    expect((await readdir(at)).sort()).toEqual(['m.onnx', 'm.onnx_data']);
    const again = await loadOnnx(path);
    const data = (await again.graph.value('w1')?.initializer?.load())?.data as Float32Array;
    expect([data[0], data[299_999]]).toEqual([2, 2]);
    // The model that was read first still finds its bytes.
    const first = await weight?.initializer?.load();
    expect(first?.toFloat64Array()[0]).toBe(1);
  });

  it('keeps an unchanged model with external data byte for byte, in another folder too', async () => {
    const from = join(folder, 'from.onnx');
    await saveOnnx(largeModel(1, 2000), from, { externalData: 'always' });
    await mkdir(join(folder, 'to'));
    await saveOnnx(await loadOnnx(from), join(folder, 'to', 'copy.onnx'));
    const read = (name: string): Promise<Buffer> => readFile(join(folder, name));
    expect((await read('to/copy.onnx')).equals(await read('from.onnx'))).toBe(true);
    expect((await read('to/from.onnx_data')).equals(await read('from.onnx_data'))).toBe(true);
    // A file of that name may belong to another model.
    await writeFile(join(folder, 'to', 'from.onnx_data'), 'other');
    await saveOnnx(await loadOnnx(from), join(folder, 'to', 'second.onnx'), { externalData: 'auto' });
    expect((await read('to/from.onnx_data')).toString()).toBe('other');
    expect((await loadOnnx(join(folder, 'to', 'second.onnx'))).graph.initializers.size).toBe(1);
  });

  it('leaves the old file alone and no temporary one when a weight cannot be had', async () => {
    const at = join(folder, 'fails');
    await mkdir(at);
    const path = join(at, 'm.onnx');
    await writeFile(path, 'before');
    const model = largeModel(2, 10);
    const broken = lazyTensor('float32', [10], () => Promise.reject(new Error('no disk')));
    model.graph.setInitializer([...model.graph.initializers][1] as never, broken);
    await expect(saveOnnx(model, path)).rejects.toThrow('no disk');
    expect(await readdir(at)).toEqual(['m.onnx']);
    expect((await readFile(path)).toString()).toBe('before');
    const stopped = AbortSignal.abort();
    await expect(saveOnnx(largeModel(2, 10), path, { signal: stopped })).rejects.toThrow();
    expect(await readdir(at)).toEqual(['m.onnx']);
    await expect(saveOnnx(largeModel(1, 1), join(at, 'none', 'm.onnx'))).rejects.toEqual(
      failure('FILE_NOT_WRITTEN'),
    );
  });

  it('refuses a file over 2 GiB where it may not move weights out', async () => {
    const elements = 2 ** 27;
    const model = largeModel(5, elements);
    const never = saveOnnx(model, join(folder, 'huge.onnx'), { externalData: 'never' });
    await expect(never).rejects.toEqual(failure('LIMIT_EXCEEDED'));
  });

  it('passes 200 MB through with a few weights in memory at a time', { timeout: 120_000 }, async () => {
    const weightBytes = 8 * 2 ** 20;
    const path = join(folder, 'big.onnx');
    await saveOnnx(largeModel(25, weightBytes / 4), path, { externalData: 'always' });
    const model = await loadOnnx(path);
    for (const value of model.graph.initializers) {
      const source = value.initializer;
      if (source === undefined) continue;
      const { dtype, shape } = source;
      model.graph.setInitializer(
        value,
        lazyTensor(dtype, shape, (signal) => source.load(signal)),
      );
    }
    const before = process.memoryUsage.rss();
    let peak = before;
    const watch = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage.rss());
    }, 2);
    await saveOnnx(model, join(folder, 'big2.onnx'), { externalData: 'always' });
    clearInterval(watch);
    expect((await stat(join(folder, 'big2.onnx_data'))).size).toBe(25 * weightBytes);
    // Buffers wait for the collector, so more than one is alive; all of them would be 200 MB.
    expect(peak - before).toBeLessThan(10 * weightBytes);
  });
});
