import { GraphBuilder, type Model, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { expect, it } from 'vitest';
import { sampleTable } from '../data/sample-table.ts';
import { meanSquaredError } from '../losses/regression.ts';
import { accuracyOnSamples, lossOnSamples } from './evaluate-samples.ts';

/** Gives back what it is fed. */
async function echo(): Promise<Model> {
  const b = new GraphBuilder('echo');
  b.output('y', b.op.Identity([b.input('x', 'float32', ['N', 2])]));
  return await b.build();
}

const x = Tensor.from('float32', [5, 2], Float32Array.of(1, 0, 0, 1, 1, 0, 0, 1, 1, 0));
const how = { backend: referenceBackend(), signal: new AbortController().signal };

it('counts a last batch that is not full by its samples', async () => {
  const label = Tensor.from('int64', [5], BigInt64Array.of(0n, 1n, 1n, 0n, 0n));
  const target = Tensor.from('float32', [5, 2], Float32Array.of(1, 0, 0, 1, 1, 0, 0, 1, 4, 0));
  for (const batchSize of [1, 2, 5, 8]) {
    const table = sampleTable({ inputs: { x }, targets: { label } });
    const accuracy = await accuracyOnSamples(await echo(), table, {
      ...how,
      batchSize,
      output: 'y',
      target: 'label',
    });
    expect(accuracy).toBeCloseTo(3 / 5, 10);
    const numbers = sampleTable({ inputs: { x }, targets: { target } });
    const loss = meanSquaredError({ output: 'y' });
    // One number of ten is off by 3.
    expect(await lossOnSamples(await echo(), numbers, { ...how, batchSize, loss })).toBeCloseTo(9 / 10, 6);
  }
});
