import { createRng, type Dim, GraphBuilder, type Model, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { meanSquaredError } from '../losses/regression.ts';
import { sgd } from '../optimizers/standard.ts';
import { trainingStep } from '../step/training-step.ts';

function normal(shape: readonly number[], seed: number): Tensor<'float32'> {
  const rng = createRng(seed);
  const size = shape.reduce((product, dim) => product * dim, 1);
  return Tensor.from(
    'float32',
    shape,
    Float32Array.from({ length: size }, () => rng.normal()),
  );
}

const ints = (shape: readonly number[], ...values: readonly number[]): Tensor<'int64'> =>
  Tensor.from('int64', shape, BigInt64Array.from(values, BigInt));

/** Values of three kinds made by one product, and picked apart by number, as exporters write attention. */
async function pickedApart(batch: Dim): Promise<Model> {
  const b = new GraphBuilder('picked');
  const x = b.input('x', 'float32', [batch, 4, 6]);
  const all = b.op.MatMul([x, b.constant('w', normal([6, 6], 1))]);
  const split = b.op.Transpose([b.op.Reshape([all, ints([4], 0, 4, 3, 2)])], { perm: [2, 0, 1, 3] });
  const pick = (index: Tensor<'int64'>): ReturnType<typeof b.op.Gather> =>
    b.op.Gather([split, index], { axis: 0 });
  const product = b.op.Mul([pick(ints([], 0)), pick(ints([], -2))]);
  const rows = b.op.Gather([all, ints([3], 2, 0, 2)], { axis: 1 });
  const summed = b.op.ReduceSum([rows, ints([1], 1)], { keepdims: false });
  b.output(
    'y',
    b.op.Concat([b.op.Reshape([b.op.Add([product, pick(ints([], 2))]), ints([2], 0, 8)]), summed], {
      axis: 1,
    }),
  );
  return await b.build();
}

async function trained(batch: Dim): Promise<readonly number[]> {
  const step = await trainingStep(await pickedApart(batch), {
    loss: meanSquaredError({ output: 'y' }),
    optimizer: sgd(),
  });
  await using executable = await referenceBackend().compile(step.model, { state: step.state });
  await executable.run({
    x: normal([5, 4, 6], 2),
    target: normal([5, 14], 3),
    learning_rate: Tensor.from('float32', [], Float32Array.of(1)),
  });
  const { w } = await executable.readState();
  return [...(w as Tensor).toFloat64Array()];
}

describe('the gradient of Gather', () => {
  it('is the same for a batch of any size as for one that is known', async () => {
    const [open, known] = [await trained('N'), await trained(5)];
    expect(open).toEqual(known);
    expect(open).not.toEqual([...normal([6, 6], 1).toFloat64Array()]);
  });
});
