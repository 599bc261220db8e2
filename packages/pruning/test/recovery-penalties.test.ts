import { GraphBuilder, inferShapes, type Model, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import {
  addGradients,
  addLoss,
  type Loss,
  meanSquaredError,
  sgd,
  trainingStep,
  weightedSum,
} from '@lithe/training';
import { describe, expect, it } from 'vitest';
import {
  batchNormPenalty,
  groupLassoPenalty,
  growingPenalty,
  type PruningGroup,
  pruningGroups,
} from '../src/index.ts';
import { normal } from './support.ts';

const floats = (shape: readonly number[], values: readonly number[]): Tensor<'float32'> =>
  Tensor.from('float32', shape, Float32Array.from(values));

/** x [2] to two neurons to y [1]. The first neuron has weights 1, 2 and 2 around it, the second 3, 0 and 4. */
async function neurons(): Promise<Model> {
  const b = new GraphBuilder('neurons');
  const x = b.input('x', 'float32', ['N', 2]);
  const hidden = b.op.Relu([b.op.MatMul([x, b.constant('w1', floats([2, 2], [1, 3, 2, 0]))])]);
  b.output('y', b.op.MatMul([hidden, b.constant('w2', floats([2, 1], [2, 4]))]));
  return b.build();
}

/** Convolution, normalization with scales 3 and -5, and a classifier behind a Flatten of 2 x 2 pixels. */
async function normalized(): Promise<Model> {
  const b = new GraphBuilder('normalized');
  const x = b.input('x', 'float32', ['N', 1, 2, 2]);
  const vector = (name: string, values: readonly number[]): ReturnType<GraphBuilder['constant']> =>
    b.constant(name, floats([2], values));
  const y = b.op.BatchNormalization([
    b.op.Conv([x, b.constant('w', floats([2, 1, 1, 1], [0, 0]))]),
    vector('scale', [3, -5]),
    vector('shift', [0, 0]),
    vector('mean', [0, 0]),
    vector('variance', [1, 1]),
  ]);
  const classifier = b.constant('classifier', floats([8, 1], [1, 1, 1, 1, 0, 0, 12, 0]));
  b.output('y', b.op.MatMul([b.op.Flatten([y]), classifier]));
  return b.build();
}

/** The value of a loss and its gradient by some weights, on the reference interpreter. */
async function derived(
  model: Model,
  loss: Loss,
  weights: readonly string[],
): Promise<readonly (readonly number[])[]> {
  await inferShapes(model);
  const { value, detached } = addLoss(model, loss);
  const wrt = weights.flatMap((name) => model.graph.value(name) ?? []);
  const gradients = addGradients(model, { of: value, wrt, stop: detached });
  const outputs = [value, ...gradients.flatMap((gradient) => gradient ?? [])];
  expect(outputs).toHaveLength(weights.length + 1);
  model.graph.setOutputs(outputs);
  await using executable = await referenceBackend().compile(model);
  const feeds = Object.fromEntries(
    executable.inputNames.map((name) => {
      const shape = model.graph.value(name)?.shape?.map((dim) => (typeof dim === 'number' ? dim : 1)) ?? [];
      return [name, normal(shape, 1)];
    }),
  );
  const results = await executable.run(feeds);
  return outputs.map(({ name }) => [...(results[name]?.toFloat64Array() ?? [])]);
}

const groupsOf = (model: Model): Promise<readonly PruningGroup[]> => pruningGroups(model);
const close = (actual: readonly number[] | undefined, expected: readonly number[]): void => {
  expect(actual).toHaveLength(expected.length);
  for (const [index, value] of expected.entries()) expect(actual?.[index]).toBeCloseTo(value, 5);
};

describe('penalties before pruning', () => {
  it('batch-norm: the sum of magnitudes, with their signs as the gradient', async () => {
    const model = await normalized();
    const [value, gradient] = await derived(model, batchNormPenalty(await groupsOf(model)), ['scale']);
    close(value, [8]);
    close(gradient, [1, -1]);
    const none = await neurons();
    const groups = await groupsOf(none);
    await inferShapes(none);
    expect(() => addLoss(none, batchNormPenalty(groups))).toThrow(
      expect.objectContaining({ code: 'OPTIONS_INVALID' }),
    );
  });

  it('group lasso: the sum of the norms of neurons, with unit vectors as the gradient', async () => {
    const model = await neurons();
    const penalty = groupLassoPenalty(await groupsOf(model));
    const [value, first, second] = await derived(model, penalty, ['w1', 'w2']);
    // Norms of (1, 2, 2) and (3, 0, 4).
    close(value, [3 + 5]);
    close(first, [1 / 3, 3 / 5, 2 / 3, 0]);
    close(second, [2 / 3, 4 / 5]);
  });

  it('group lasso: a channel takes with it all that a Flatten makes of it', async () => {
    const model = await normalized();
    const penalty = groupLassoPenalty(await groupsOf(model));
    const [value, gradient] = await derived(model, penalty, ['classifier']);
    // Scale 3 with four weights of 1, and scale -5 with 12.
    const root = Math.sqrt(9 + 4);
    close(value, [root + 13]);
    close(gradient, [1 / root, 1 / root, 1 / root, 1 / root, 0, 0, 12 / 13, 0]);
  });

  it('growing: half the factor times the squares of what goes, and the factor grows with the steps', async () => {
    const model = await neurons();
    const [group] = await groupsOf(model);
    if (group === undefined) throw new Error('there is no group');
    const removals = [{ group, units: [1] }];
    const loss = weightedSum([
      { loss: meanSquaredError({ output: 'y' }), weight: 0 },
      { loss: growingPenalty(removals, { increment: 0.25, every: 2, ceiling: 0.6 }), weight: 1 },
    ]);
    const step = await trainingStep(model, { loss, optimizer: sgd({ momentum: 0 }) });
    await using executable = await referenceBackend().compile(step.model, { state: step.state });
    const run = async (rate: number): Promise<number> => {
      const feeds = {
        x: floats([1, 2], [0, 0]),
        target: floats([1, 1], [0]),
        learning_rate: floats([], [rate]),
      };
      return (await executable.run(feeds))[step.loss]?.toFloat64Array()[0] ?? Number.NaN;
    };
    const losses: number[] = [];
    for (let count = 0; count < 7; count++) losses.push(await run(0));
    // (9 + 0 + 16) / 2 = 12.5, times 0, 0.25, 0.5 and at most 0.6.
    close(losses, [0, 0, 3.125, 3.125, 6.25, 6.25, 7.5]);
    await run(0.5);
    const { w1, w2 } = await executable.readState(['w1', 'w2']);
    // Only the second neuron shrinks, by 0.5 times 0.6 of itself.
    close([...(w1?.toFloat64Array() ?? [])], [1, 3 * 0.7, 2, 0]);
    close([...(w2?.toFloat64Array() ?? [])], [2, 4 * 0.7]);
    expect(() => growingPenalty(removals, { every: 0 })).toThrow(
      expect.objectContaining({ code: 'OPTIONS_INVALID' }),
    );
  });
});
