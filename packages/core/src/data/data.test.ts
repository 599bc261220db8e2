import { describe, expect, it } from 'vitest';
import { createRng } from '../context/rng.ts';
import { Graph } from '../ir/graph.ts';
import { Model } from '../ir/model.ts';
import { tensorType } from '../ir/types.ts';
import { type DType, dtypes } from '../tensor/dtype.ts';
import { packNibbles, unpackInt4 } from '../tensor/packed4.ts';
import { Tensor } from '../tensor/tensor.ts';
import { arrayDataset } from './array-dataset.ts';
import type { Batch, BatchOptions, Dataset } from './dataset.ts';
import { iterableDataset } from './iterable-dataset.ts';
import { randomDataset, randomTensor } from './random-dataset.ts';
import { concatRows, sliceRows, stackRows } from './rows.ts';
import { mapDataset, takeSamples } from './transforms.ts';

const f32 = (shape: number[], values: number[]): Tensor =>
  Tensor.from('float32', shape, new Float32Array(values));

async function read(dataset: Dataset, options?: BatchOptions): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of dataset.batches(options)) batches.push(batch);
  return batches;
}
const xs = (batches: Batch[]): number[][] =>
  batches.map((batch) => [...(batch.inputs['x'] as Tensor).toFloat64Array()]);

describe('rows', () => {
  it('are cut and joined again, for bytes, nibbles and strings', () => {
    const tensors = [
      f32([3, 2], [1, 2, 3, 4, 5, 6]),
      Tensor.from('int4', [3, 3], packNibbles(new Int8Array([-8, -1, 7, 1, 2, 3, -4, 5, -6]))),
      Tensor.from('string', [3, 1], ['a', 'b', 'c']),
    ];
    for (const tensor of tensors) {
      const parts = [sliceRows(tensor, 0, 1), sliceRows(tensor, 1, 1), sliceRows(tensor, 1, 3)];
      const joined = concatRows(parts);
      expect(joined.shape).toEqual(tensor.shape);
      expect(joined.data).toEqual(tensor.data);
    }
    const nibbles = sliceRows(tensors[1] as Tensor, 1, 2) as Tensor<'int4'>;
    expect([...unpackInt4(nibbles.data, 3)]).toEqual([1, 2, 3]);
  });

  it('are stacked on a new axis', () => {
    expect(stackRows([f32([2], [1, 2]), f32([2], [3, 4])])).toMatchObject({ shape: [2, 2] });
    expect(stackRows([f32([], [1]), f32([], [2])])).toMatchObject({ shape: [2] });
  });

  it('that do not fit are refused', () => {
    const mismatch = expect.objectContaining({ code: 'SHAPE_MISMATCH' });
    expect(() => concatRows([f32([1, 2], [1, 2]), f32([1, 3], [1, 2, 3])])).toThrow(mismatch);
    expect(() => stackRows([f32([1], [1]), Tensor.from('int32', [1], new Int32Array(1))])).toThrow(mismatch);
    expect(() => sliceRows(f32([], [1]), 0, 0)).toThrow(mismatch);
    expect(() => sliceRows(f32([1], [1]), 0, 2)).toThrow(
      expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
    );
    expect(() => concatRows([])).toThrow(expect.objectContaining({ code: 'TENSOR_INVALID' }));
  });
});

describe('arrayDataset', () => {
  const x = f32([5, 1], [0, 1, 2, 3, 4]);
  const label = Tensor.from('int64', [5], BigInt64Array.from([0n, 1n, 2n, 3n, 4n]));
  const dataset = arrayDataset({ inputs: { x }, targets: { label } }, { batchSize: 2 });

  it('reads in order, as often as asked, in batches of the asked size', async () => {
    expect(xs(await read(dataset))).toEqual([[0, 1], [2, 3], [4]]);
    expect(xs(await read(dataset, { batchSize: 4, limit: 3 }))).toEqual([[0, 1, 2]]);
    expect(xs(await read(dataset, { limit: 0 }))).toEqual([]);
    const [, , last] = await read(dataset);
    expect(last).toMatchObject({ size: 1 });
    expect(last?.targets?.['label']?.data).toEqual(new BigInt64Array([4n]));
  });

  it('refuses tensors that differ in their number of samples, and senseless sizes', async () => {
    const invalid = expect.objectContaining({ code: 'DATA_INVALID' });
    expect(() => arrayDataset({ inputs: { x, y: f32([4], [0, 0, 0, 0]) } })).toThrow(invalid);
    expect(() => arrayDataset({ inputs: { x: f32([], [0]) } })).toThrow(invalid);
    expect(() => arrayDataset({ inputs: {} })).toThrow(invalid);
    const range = expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' });
    expect(() => arrayDataset({ inputs: { x } }, { batchSize: 0 })).toThrow(range);
    await expect(read(dataset, { batchSize: 1.5 })).rejects.toThrow(range);
  });

  it('stops when it is aborted', async () => {
    await expect(read(dataset, { signal: AbortSignal.abort() })).rejects.toThrow(
      expect.objectContaining({ name: 'AbortError' }),
    );
  });

  it('goes through mapDataset and takeSamples', async () => {
    const twice = mapDataset(dataset, (batch) => ({
      inputs: {
        x: Tensor.from(
          'float64',
          [batch.size],
          (batch.inputs['x'] as Tensor).toFloat64Array().map((n) => 2 * n),
        ),
      },
      size: batch.size,
    }));
    const taken = takeSamples(twice, 3);
    expect(taken.size).toBe(3);
    expect(xs(await read(taken))).toEqual([[0, 2], [4]]);
    expect(xs(await read(taken, { limit: 1 }))).toEqual([[0]]);
  });
});

describe('iterableDataset', () => {
  it('stacks samples, ends a batch where shapes change, and reads no more than it needs', async () => {
    let produced = 0;
    const dataset = iterableDataset(
      async function* () {
        for (const width of [1, 1, 2, 2, 2, 1]) {
          produced++;
          yield {
            inputs: {
              x: f32(
                [width],
                Array.from({ length: width }, () => width),
              ),
            },
          };
        }
      },
      { batchSize: 2 },
    );
    expect(xs(await read(dataset))).toEqual([[1, 1], [2, 2, 2, 2], [2, 2], [1]]);
    produced = 0;
    expect((await read(dataset, { limit: 2 })).length).toBe(1);
    expect(produced).toBe(2);
  });

  it('refuses samples that lack an input which others have', async () => {
    const dataset = iterableDataset(
      function* () {
        yield { inputs: { x: f32([1], [1]), y: f32([1], [1]) } };
        yield { inputs: { x: f32([1], [1]) } };
      },
      { batchSize: 2 },
    );
    await expect(read(dataset)).rejects.toThrow(expect.objectContaining({ code: 'DATA_INVALID' }));
  });
});

describe('randomDataset', () => {
  const model = (...inputs: [string, DType, (number | string | null)[]][]): Model => {
    const graph = new Graph();
    for (const [name, dtype, shape] of inputs) graph.addInput(name, tensorType(dtype, shape));
    graph.addInitializer('w', f32([1], [1]));
    return new Model({ graph });
  };

  it('gives the same inputs for the same seed, and others for another', async () => {
    const net = model(['x', 'float32', ['N', 4]]);
    const first = xs(await read(randomDataset(net, { seed: 1, samples: 2 })));
    expect(first).toEqual(xs(await read(randomDataset(net, { seed: 1, samples: 2 }))));
    expect(first).not.toEqual(xs(await read(randomDataset(net, { seed: 2, samples: 2 }))));
    expect(first[0]).not.toEqual(first[1]);
  });

  it('leaves the batch open to the reader, and keeps one that the model fixes', async () => {
    const open = randomDataset(model(['x', 'float32', ['N', 2]], ['y', 'float32', [null, 3]]), {
      samples: 5,
    });
    expect(
      (await read(open, { batchSize: 2 })).map((batch) => [batch.size, batch.inputs['y']?.shape]),
    ).toEqual([
      [2, [2, 3]],
      [2, [2, 3]],
      [1, [1, 3]],
    ]);
    const fixed = randomDataset(model(['x', 'float32', [4, 2]]), { samples: 3 });
    expect(fixed.size).toBe(12);
    expect((await read(fixed, { batchSize: 1, limit: 8 })).map((batch) => batch.inputs['x']?.shape)).toEqual([
      [4, 2],
      [4, 2],
    ]);
  });

  it('asks for every dim that it cannot know', () => {
    expect(() => randomDataset(model(['x', 'float32', ['N', 3, 'H', null]]))).toThrow(
      expect.objectContaining({
        code: 'OPTIONS_INVALID',
        details: {
          problems: ['Dim 2 ("H") of input "x" is not given.', 'Dim 3 (unknown) of input "x" is not given.'],
        },
      }),
    );
    expect(() => randomDataset(model(['x', 'float32', ['N', 3]]), { shapes: { x: [1, 4] } })).toThrow(
      expect.objectContaining({ code: 'OPTIONS_INVALID' }),
    );
  });

  it('takes shapes and contents of single inputs, and warns about whole numbers', async () => {
    const net = model(['x', 'float32', ['N', 'T']], ['sr', 'int64', []], ['ids', 'int64', ['N', 'T']]);
    const sr = Tensor.from('int64', [], new BigInt64Array([16000n]));
    const data = randomDataset(net, { shapes: { x: [1, 512] }, dims: { T: 7 }, values: { sr } });
    const [batch] = await read(data);
    expect(batch?.inputs['x']?.shape).toEqual([1, 512]);
    expect(batch?.inputs['ids']?.shape).toEqual([1, 7]);
    expect(batch?.inputs['sr']).toBe(sr);
    expect(Object.keys(batch?.inputs ?? {})).toEqual(['x', 'sr', 'ids']);
    expect(data.warnings.filter((text) => text.includes('"ids"')).length).toBe(1);
    expect(data.warnings.filter((text) => text.includes('"sr"')).length).toBe(0);
  });

  it('uses the batch wherever its symbol stands, and sizes that follow from other inputs', async () => {
    const net = model(
      ['x', 'float32', ['batch', 'T']],
      ['state', 'float32', [2, 'batch', 8]],
      ['mask', 'bool', ['batch', 'T']],
    );
    const shapesOf = (batch: Batch | undefined): unknown =>
      Object.values(batch?.inputs ?? {}).map((tensor) => tensor.shape);
    const [open] = await read(randomDataset(net, { dims: { T: 5 }, samples: 3 }), { batchSize: 3 });
    expect(shapesOf(open)).toEqual([
      [3, 5],
      [2, 3, 8],
      [3, 5],
    ]);
    const [bound] = await read(randomDataset(net, { shapes: { x: [4, 6] } }), { batchSize: 3 });
    expect(shapesOf(bound)).toEqual([
      [4, 6],
      [2, 4, 8],
      [4, 6],
    ]);
  });

  it('makes every dtype, within bounds', () => {
    for (const dtype of Object.keys(dtypes) as DType[]) {
      const tensor = randomTensor(dtype, [64], createRng(1));
      expect(tensor).toMatchObject({ dtype, shape: [64] });
      if (['int', 'uint', 'bool'].includes(dtypes[dtype].category)) {
        const values = tensor.toFloat64Array();
        expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
        expect(Math.max(...values)).toBeLessThan(10);
      }
    }
    const values = randomTensor('float32', [20_000], createRng(1)).toFloat64Array();
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(Math.abs(variance - 1)).toBeLessThan(0.05);
  });
});
