import { arrayDataset, type Backend, type Executable, type Feeds, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { minMaxObserver, observe, type TensorStatistics } from '@lithe/quantization';
import { expect, it } from 'vitest';
import { net } from './net.ts';
import { fixedData } from './support.ts';

function samples(...rows: readonly (readonly number[])[]): readonly Feeds[] {
  return rows.map((row) => ({ x: Tensor.from('float32', [1, row.length], Float32Array.from(row)) }));
}

function model() {
  const n = net();
  const x = n.input('x', [1, 3]);
  const doubled = n.add('Add', [x, x]);
  const whole = n.add('Cast', [doubled], {});
  whole.producer?.graph.setAttribute(whole.producer, 'to', { kind: 'int', value: 7n });
  return n.model(n.add('Neg', [doubled]), whole);
}

function anyBatch() {
  const n = net();
  const x = n.input('x', ['N', 3]);
  return n.model(n.add('Neg', [n.add('Add', [x, x])]));
}

it('finds the range of every float value over all samples, as worked out by hand', async () => {
  const backend = referenceBackend();
  const stats = await observe(model(), fixedData(samples([1, -2, 3], [4, 0, -1])), {
    backend,
    observer: minMaxObserver,
  });
  expect(stats).toEqual({
    version: 1,
    samples: 2,
    source: 'fixed samples',
    tensors: {
      x: { minimum: -2, maximum: 4, finite: true },
      Add_0_output: { minimum: -4, maximum: 8, finite: true },
      Neg_0_output: { minimum: -8, maximum: 4, finite: true },
    },
  });
});

it('fetches no more in a run than the memory it may use, to the same result', async () => {
  const inner = referenceBackend();
  const fetched: number[] = [];
  const backend: Backend = {
    ...inner,
    compile: async (...args) => {
      const executable = await inner.compile(...args);
      const run: Executable['run'] = async (feeds, options) => {
        const outputs = await executable.run(feeds, options);
        const floats = Object.values(outputs).filter((tensor) => tensor.dtype === 'float32');
        fetched.push(floats.reduce((bytes, tensor) => bytes + tensor.byteLength, 0));
        return outputs;
      };
      const { inputNames, outputNames } = executable;
      return {
        ...executable,
        inputNames,
        outputNames,
        run,
        dispose: () => executable.dispose(),
      } as Executable;
    },
  };
  const data = fixedData(samples([1, -2, 3], [4, 0, -1]));
  const tight = await observe(model(), data, { backend, memoryBytes: 12 });
  expect(Math.max(...fetched)).toBe(12);
  expect(tight).toEqual(await observe(model(), data, { backend: referenceBackend() }));
});

it('observes only what it is asked for, and as many samples as it is told', async () => {
  const data = fixedData(samples([1, 1, 1], [9, 9, 9]));
  const stats = await observe(model(), data, {
    backend: referenceBackend(),
    values: ['Add_0_output'],
    samples: 1,
  });
  expect(Object.keys(stats.tensors)).toEqual(['Add_0_output']);
  expect(stats.tensors['Add_0_output']).toMatchObject({ minimum: 2, maximum: 2, elements: 3 });
});

it('marks a value that was not finite', async () => {
  const data = fixedData(samples([1, Number.POSITIVE_INFINITY, -1]));
  const stats = await observe(model(), data, { backend: referenceBackend(), values: ['x'] });
  expect(stats.tensors['x']).toMatchObject({ minimum: -1, maximum: 1, finite: false, elements: 2 });
});

it('refuses an empty dataset, and stops when it is told to', async () => {
  await expect(observe(model(), fixedData([]), { backend: referenceBackend() })).rejects.toMatchObject({
    code: 'DATA_INVALID',
  });
});

it('keeps a histogram and moments of every value', async () => {
  const stats = await observe(model(), fixedData(samples([1, -2, 3], [4, 0, -1])), {
    backend: referenceBackend(),
    bins: 256,
  });
  // Six values from -2 to 4: 193 of 256 bins of a 32nd; of a 64th they would be too many.
  const { histogram, ...x } = stats.tensors['x'] as TensorStatistics;
  expect(x).toEqual({
    minimum: -2,
    maximum: 4,
    finite: true,
    elements: 6,
    zeros: 1,
    mean: 5 / 6,
    meanSquare: 31 / 6,
    batches: { minima: [-2, -1], maxima: [3, 4] },
  });
  expect(histogram).toMatchObject({ exponent: -5, first: -64 });
  const filled = histogram?.counts.flatMap((count, bin) => (count > 0 ? [[(bin - 64) / 32, count]] : []));
  expect(filled).toEqual([
    [-2, 1],
    [-1, 1],
    [0, 1],
    [1, 1],
    [3, 1],
    [4, 1],
  ]);
});

it('tells channels apart for the values that it is asked for', async () => {
  const data = fixedData(samples([1, -2, 3], [4, 0, -1]));
  const some = await observe(model(), data, { backend: referenceBackend(), channels: { Neg_0_output: -1 } });
  expect(some.tensors['x']?.channels).toBeUndefined();
  expect(some.tensors['Neg_0_output']?.channels).toEqual({
    axis: -1,
    minimum: [-8, 0, -6],
    maximum: [-2, 4, 2],
    mean: [-5, 2, -2],
    meanSquare: [34, 8, 20],
  });
  const all = await observe(model(), data, { backend: referenceBackend(), channels: 1 });
  expect(all.tensors['x']?.channels?.mean).toEqual([2.5, -1, 1]);
});

it('gives the same whatever the batches, but for the extremes of batches', async () => {
  const rows = Array.from({ length: 12 }, (_, row) => [row * 1.7 - 9, Math.sin(row) * 5, row === 7 ? 90 : 0]);
  const one = fixedData(samples(...rows));
  const table = arrayDataset({
    inputs: { x: Tensor.from('float32', [12, 3], Float32Array.from(rows.flat())) },
  });
  const backend = referenceBackend();
  const single = await observe(anyBatch(), one, { backend });
  for (const batchSize of [3, 5, 12]) {
    const batched = await observe(anyBatch(), table, { backend, batchSize });
    for (const [name, seen] of Object.entries(single.tensors)) {
      const other = batched.tensors[name] as TensorStatistics;
      expect(other.histogram).toEqual(seen.histogram);
      expect([other.minimum, other.maximum, other.elements, other.zeros]).toEqual([
        seen.minimum,
        seen.maximum,
        seen.elements,
        seen.zeros,
      ]);
      expect(other.mean).toBeCloseTo(seen.mean as number, 10);
    }
  }
});

it('refuses a number of bins that is too small or too large', async () => {
  for (const bins of [10, 1e6, 256.5]) {
    await expect(
      observe(model(), fixedData(samples([1, 2, 3])), { backend: referenceBackend(), bins }),
    ).rejects.toMatchObject({ code: 'VALUE_OUT_OF_RANGE' });
  }
});
