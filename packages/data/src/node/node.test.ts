import { mkdir, mkdtemp, readdir, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Batch, type Dataset, Tensor } from '@lithe/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixture, fixturePath } from '../../test/fixtures.ts';
import { writeNpy } from '../npy.ts';
import { listFiles } from './files.ts';
import { loadNpy, loadNpz, openDataset } from './open.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'lithe-data-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function read(dataset: Dataset): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of dataset.batches()) batches.push(batch);
  return batches;
}
const spec = [{ name: 'x', dtype: 'float32', shape: ['N', 3, 9, 11] }] as const;

describe('files of a folder', () => {
  it('are listed in order, without hidden files and links to folders', async () => {
    const root = path.join(folder, 'list');
    await mkdir(path.join(root, 'b'), { recursive: true });
    for (const name of ['b/10.npy', 'b/9.npy', 'a.npy', '.hidden'])
      await writeFile(path.join(root, name), 'x');
    await symlink(root, path.join(root, 'loop'));
    await symlink(path.join(root, 'a.npy'), path.join(root, 'c.npy'));
    await symlink(path.join(root, 'nowhere'), path.join(root, 'd.npy'));
    expect((await listFiles(root)).map((file) => file.path)).toEqual([
      'a.npy',
      'b/9.npy',
      'b/10.npy',
      'c.npy',
    ]);
    await expect(listFiles(path.join(root, 'nowhere'))).rejects.toThrow(
      expect.objectContaining({ code: 'FILE_NOT_FOUND' }),
    );
  });

  it('are read by range, and an end that moved is noticed', async () => {
    const file = path.join(folder, 'x.npy');
    await writeFile(file, writeNpy(Tensor.from('float32', [3, 2], new Float32Array([1, 2, 3, 4, 5, 6]))));
    const data = await openDataset(file, [{ name: 'x', dtype: 'float32', shape: ['N', 2] }]);
    expect((await read(data)).map((batch) => [...(batch.inputs['x'] as Tensor).toFloat64Array()])).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    await truncate(file, 140);
    await expect(read(data)).rejects.toThrow(expect.objectContaining({ code: 'DATA_INVALID' }));
  });
});

describe('loadNpy and loadNpz', () => {
  it('read files', async () => {
    expect((await loadNpy(fixturePath('f4.npy'))).shape).toEqual([2, 3]);
    expect(Object.keys(await loadNpz(fixturePath('stored.npz')))).toEqual(['x', 'label']);
    await expect(loadNpy(path.join(folder, 'missing.npy'))).rejects.toThrow(
      expect.objectContaining({ code: 'FILE_NOT_FOUND' }),
    );
  });
});

describe('openDataset on a path', () => {
  it('keeps decoded images in a folder, and goes on from what is there', async () => {
    const images = path.join(folder, 'images');
    const cacheFolder = path.join(folder, 'cache');
    await mkdir(images, { recursive: true });
    await writeFile(path.join(images, 'a.png'), fixture('rgb.png'));
    const kept = async (): Promise<string[]> =>
      (await readdir(cacheFolder, { recursive: true })).filter((name) => name.endsWith('.npy'));
    const first = await read(await openDataset(images, spec, { cacheFolder }));
    expect((await kept()).length).toBe(1);
    // A second image, and a damaged entry: one is decoded, the other anew.
    await writeFile(path.join(images, 'b.png'), fixture('palette16.png'));
    await writeFile(path.join(cacheFolder, (await kept())[0] as string), 'damaged');
    const second = await read(await openDataset(images, spec, { cacheFolder }));
    expect((await kept()).length).toBe(2);
    expect(second[0]?.inputs['x']?.data).toEqual(first[0]?.inputs['x']?.data);
    expect(await readdir(cacheFolder, { recursive: true })).not.toContainEqual(
      expect.stringContaining('.tmp'),
    );
  });

  it('takes preprocessing from a file, and says what is wrong with it', async () => {
    const config = path.join(folder, 'config.json');
    await writeFile(config, '{ "scale": 1, "resize": { "mode": "exact", "width": 2, "height": 2 } }');
    const data = await openDataset(fixturePath('rgb.png'), spec, { preprocessingFile: config });
    expect((await read(data))[0]?.inputs['x']?.shape).toEqual([1, 3, 2, 2]);
    await writeFile(config, '[]');
    const open = openDataset(fixturePath('rgb.png'), spec, { preprocessingFile: config });
    await expect(open).rejects.toThrow(expect.objectContaining({ code: 'DATA_INVALID' }));
  });

  it('names the package to install for other image formats', async () => {
    const data = await openDataset(fixturePath('smooth.webp'), [
      { name: 'x', dtype: 'float32', shape: ['N', 3, 40, 60] },
    ]);
    const outcome = await read(data).then(
      (batches) => batches[0]?.inputs['x']?.shape,
      (error: { hint?: string }) => error.hint,
    );
    // Where sharp is installed it decodes; where not, the hint has the line.
    expect([[1, 3, 40, 60], 'Install it: npm install sharp']).toContainEqual(outcome);
  });
});
