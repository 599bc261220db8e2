import { type Backend, type Executable, type Feeds, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { minMaxObserver, observe } from '@lithe/quantization';
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
