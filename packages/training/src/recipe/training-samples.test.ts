import { arrayDataset, type Batch, type Dataset, Tensor } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { sampleTable } from '../data/sample-table.ts';
import { readSamples, subsetTable, withTarget } from './training-samples.ts';

const x = Tensor.from(
  'float32',
  [600, 2],
  Float32Array.from({ length: 1200 }, (_, at) => at),
);
const label = Tensor.from('uint8', [600], new Uint8Array(600));

/** A dataset of these batches, which may lie about its size. */
const dataset = (batches: readonly Batch[], size?: number): Dataset => ({
  size,
  description: 'test data',
  batches: async function* () {
    await Promise.resolve();
    yield* batches;
  },
});
const row = (shape: readonly number[]): Tensor =>
  Tensor.from('float32', shape, new Float32Array(shape.reduce((left, right) => left * right, 1)));

describe('readSamples', () => {
  it('joins the batches of a dataset in order', async () => {
    const { inputs, targets } = await readSamples(arrayDataset({ inputs: { x }, targets: { label } }));
    expect(inputs['x']?.shape).toEqual([600, 2]);
    expect(inputs['x']?.data).toEqual(x.data);
    expect(targets?.['label']?.dtype).toBe('uint8');
    expect((await readSamples(arrayDataset({ inputs: { x } }), { limit: 7 })).inputs['x']?.shape).toEqual([
      7, 2,
    ]);
  });

  it('takes no more memory than it may, whatever size the data claims', async () => {
    await expect(readSamples(arrayDataset({ inputs: { x } }), { maxBytes: 1000 })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    });
    const claimed = dataset([{ inputs: { x: row([1, 4]) }, size: 1 }], 2 ** 40);
    expect((await readSamples(claimed)).inputs['x']?.shape).toEqual([1, 4]);
  });

  it('refuses samples that differ, and none', async () => {
    const wrong: readonly (readonly Batch[])[] = [
      [],
      [
        { inputs: { x: row([1, 4]) }, size: 1 },
        { inputs: { x: row([1, 5]) }, size: 1 },
      ],
      [
        { inputs: { x: row([1, 4]) }, size: 1 },
        { inputs: { y: row([1, 4]) }, size: 1 },
      ],
      [{ inputs: { x: Tensor.from('string', [1], ['a']) }, size: 1 }],
    ];
    for (const batches of wrong)
      await expect(readSamples(dataset(batches))).rejects.toMatchObject({ code: 'DATA_INVALID' });
  });

  it('stops when it is told to', async () => {
    const context = { signal: AbortSignal.abort(), progress: () => undefined };
    await expect(readSamples(arrayDataset({ inputs: { x } }), { context })).rejects.toMatchObject({
      name: 'AbortError',
    });
  });
});

describe('withTarget', () => {
  const arrays = (target: Tensor): Parameters<typeof withTarget>[0] => ({
    inputs: { x: row([3, 1]) },
    targets: { y: target },
  });
  const labels = { labels: true, classes: 3 };

  it('makes class numbers int64 and other targets float32', () => {
    const bytes = Tensor.from('uint8', [3], Uint8Array.of(2, 0, 1));
    expect(withTarget(arrays(bytes), 'y', labels).targets?.['y']?.data).toEqual(BigInt64Array.of(2n, 0n, 1n));
    expect(withTarget(arrays(bytes), 'y', { labels: false }).targets?.['y']?.data).toEqual(
      Float32Array.of(2, 0, 1),
    );
  });

  it('refuses labels that are no class, but for the one that is ignored', () => {
    const odd = Tensor.from('int64', [3], BigInt64Array.of(2n, -100n, 1n));
    const invalid = expect.objectContaining({ code: 'DATA_INVALID' });
    expect(() => withTarget(arrays(odd), 'y', labels)).toThrow(invalid);
    expect(withTarget(arrays(odd), 'y', { ...labels, ignore: -100 }).targets?.['y']).toBe(odd);
    expect(() => withTarget(arrays(row([3])), 'y', labels)).toThrow(invalid);
    expect(() => withTarget(arrays(odd), 'z', labels)).toThrow(invalid);
  });
});

describe('subsetTable', () => {
  it('reads the rows that it stands for', async () => {
    const part = subsetTable(sampleTable({ inputs: { x } }), Uint32Array.of(5, 9, 100));
    const { inputs } = await part.gather(Uint32Array.of(2, 0));
    expect([part.size, [...(inputs['x']?.toFloat64Array() ?? [])]]).toEqual([3, [200, 201, 10, 11]]);
  });
});
