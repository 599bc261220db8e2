import {
  attribute,
  attributesOf,
  GraphBuilder,
  type Model,
  standardOpDefs,
  Tensor,
  verify,
} from '@lithe/core';
import { evaluateModel, referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { trainedModel } from '../fit/trained-model.ts';
import { meanSquaredError } from '../losses/regression.ts';
import { sgd } from '../optimizers/standard.ts';
import { trainingStep } from './training-step.ts';

const floats = (shape: readonly number[], values: readonly number[]): Tensor<'float32'> =>
  Tensor.from('float32', shape, Float32Array.from(values));

const options = { loss: meanSquaredError({ output: 'y' }), optimizer: sgd(), frozenStatistics: true };
const x = floats([2, 2], [1, 0, 3, 4]);

/** y = batch normalization of x, in the form of a model that was exported while it trained. */
async function exportedInTraining(): Promise<Model> {
  const b = new GraphBuilder('exported');
  const y = b.op.BatchNormalization(
    [
      b.input('x', 'float32', ['N', 2]),
      b.constant('scale', floats([2], [2, 1])),
      b.constant('bias', floats([2], [0, 1])),
      b.constant('mean', floats([2], [1, 0])),
      b.constant('variance', floats([2], [4, 1])),
    ],
    { epsilon: 0 },
  );
  b.output('y', y);
  const model = await b.build();
  for (const node of model.graph.nodes()) {
    model.graph.setAttribute(node, 'training_mode', attribute.int(1));
    if (node.is('BatchNormalization'))
      for (const name of ['next_mean', 'next_variance']) model.graph.addOutputOf(node, { name });
  }
  return model;
}

const modesOf = ({ graph }: Model): readonly boolean[] =>
  [...graph.nodes()]
    .filter((node) => node.is('BatchNormalization'))
    .map((node) => attributesOf(node, standardOpDefs.BatchNormalization).training_mode);

describe('a batch normalization whose file says that it trains', () => {
  it('goes by its running statistics where they are frozen', async () => {
    const step = await trainingStep(await exportedInTraining(), options);
    expect(verify(step.model)).toEqual([]);
    expect(step.statistics).toEqual([]);
    await using executable = await referenceBackend().compile(step.model, { state: step.state });
    const { y } = await executable.run({
      x,
      target: floats([2, 2], [0, 0, 0, 0]),
      learning_rate: floats([], [0]),
    });
    // Columns [1, 3] and [0, 4] become [0, 1] and [0, 4]: 2 n and n + 1.
    expect([...(y as Tensor).toFloat64Array()]).toEqual([0, 1, 2, 5]);
  });

  it('comes back in inference form', async () => {
    const model = await exportedInTraining();
    const trained = trainedModel(model, { mean: floats([2], [0, 0]) });
    expect(modesOf(trained)).toEqual([false]);
    expect(modesOf(model)).toEqual([true]);
    expect(verify(trained)).toEqual([]);
    // 2 x / 2 and x + 1.
    const { y } = await evaluateModel(trained, { x });
    expect([...(y as Tensor).toFloat64Array()]).toEqual([1, 1, 3, 5]);
  });

  it('cannot be frozen while the statistics that it hands out are used', async () => {
    const model = await exportedInTraining();
    const { graph } = model;
    const mean = graph.value('next_mean');
    if (mean === undefined) throw new Error('no second output');
    graph.setOutputs([...graph.outputs, mean]);
    await expect(trainingStep(model, options)).rejects.toMatchObject({
      code: 'OP_UNSUPPORTED',
      message: expect.stringContaining('statistics'),
    });
    expect(modesOf(trainedModel(model, {}))).toEqual([true]);
  });
});
