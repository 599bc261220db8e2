import {
  attribute,
  attributesOf,
  type Feeds,
  GraphBuilder,
  type Model,
  standardOpDefs,
  standardOps,
  Tensor,
  type Value,
  verify,
} from '@lithe/core';
import { evaluateModel, referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { trainedModel } from '../fit/trained-model.ts';
import { crossEntropy } from '../losses/classification.ts';
import { meanSquaredError } from '../losses/regression.ts';
import { sgd } from '../optimizers/standard.ts';
import { type TrainingStepOptions, trainingStep } from './training-step.ts';

const floats = (shape: readonly number[], values: readonly number[]): Tensor<'float32'> =>
  Tensor.from('float32', shape, Float32Array.from(values));
const rate = (value: number): Tensor => floats([], [value]);
const options: TrainingStepOptions = { loss: meanSquaredError({ output: 'y' }), optimizer: sgd() };

/** A model with input x and output y. */
async function modelOf(
  shape: readonly (number | string)[],
  body: (b: GraphBuilder, x: Value) => Value,
): Promise<Model> {
  const b = new GraphBuilder('test');
  b.output('y', body(b, b.input('x', 'float32', shape)));
  return await b.build();
}

/** Runs one step; gives the outputs and all state after it. */
async function runStep(
  model: Model,
  feeds: Feeds,
  extra: Partial<TrainingStepOptions> = {},
): Promise<{ results: Feeds; state: Feeds }> {
  const step = await trainingStep(model, { ...options, ...extra });
  expect(verify(step.model, { opset: standardOps })).toEqual([]);
  await using executable = await referenceBackend().compile(step.model, { state: step.state });
  const results = await executable.run({ learning_rate: rate(0.1), ...feeds });
  return { results, state: await executable.readState() };
}

const near = (tensor: Tensor | undefined, wanted: readonly number[], digits = 5): void => {
  expect(tensor?.size).toBe(wanted.length);
  for (const [index, value] of (tensor?.toFloat64Array() ?? []).entries())
    expect(value).toBeCloseTo(wanted[index] ?? Number.NaN, digits);
};

describe('trainingStep', () => {
  it('trains BatchNormalization by the batch, and keeps running statistics for inference', async () => {
    const model = await modelOf(['N', 2], (b, x) =>
      b.op.BatchNormalization(
        [
          x,
          b.constant('scale', floats([2], [2, 1])),
          b.constant('bias', floats([2], [0, 1])),
          b.constant('mean', floats([2], [10, 0])),
          b.constant('variance', floats([2], [4, 1])),
        ],
        { momentum: 0.75, epsilon: 0 },
      ),
    );
    // Columns [1, 3] and [0, 4]: means 2 and 2, population variances 1 and 4.
    const x = floats([2, 2], [1, 0, 3, 4]);
    const { results, state } = await runStep(model, { x, target: floats([2, 2], [0, 0, 0, 0]) });
    near(results['y'], [-2, 0, 2, 2]);
    near(state['mean'], [0.75 * 10 + 0.25 * 2, 0.25 * 2]);
    near(state['variance'], [0.75 * 4 + 0.25, 0.75 + 0.25 * 4]);
    // The loss is the mean of y^2: its gradients are sum(y normal) / 2 = [4, 2] / 2 and sum(y) / 2 = [0, 2] / 2.
    near(state['scale'], [2 - 0.1 * 2, 1 - 0.1 * 1]);
    near(state['bias'], [0, 1 - 0.1 * 1]);
    // The inference form uses what was kept.
    const { step: _, ...weights } = state;
    const { y } = await evaluateModel(trainedModel(model, weights), { x });
    const wanted = [1, 3].flatMap((first, row) => [
      (1.8 * (first - 8)) / Math.sqrt(3.25),
      (0.9 * ([0, 4][row]! - 0.5)) / Math.sqrt(1.75) + 0.9,
    ]);
    near(y, wanted);
  });

  it('leaves running statistics alone where they are frozen, and normalizes by them', async () => {
    const model = await modelOf(['N', 2], (b, x) =>
      b.op.BatchNormalization(
        [
          x,
          b.constant('scale', floats([2], [2, 1])),
          b.constant('bias', floats([2], [0, 1])),
          b.constant('mean', floats([2], [1, 0])),
          b.constant('variance', floats([2], [4, 1])),
        ],
        { epsilon: 0 },
      ),
    );
    const x = floats([2, 2], [1, 0, 3, 4]);
    const feeds = { x, target: floats([2, 2], [0, 0, 0, 0]) };
    const { results, state } = await runStep(model, feeds, { frozenStatistics: true });
    // Normal columns [0, 1] and [0, 4]; y = 2 n and n + 1.
    near(results['y'], [0, 1, 2, 5]);
    expect(Object.keys(state).sort()).toEqual(['bias', 'scale', 'step']);
    // Gradients of the mean of y^2 over four: sum(y n) / 2 = [1, 10] and sum(y) / 2 = [1, 3].
    near(state['scale'], [2 - 0.1 * 1, 1 - 0.1 * 10]);
    near(state['bias'], [0 - 0.1 * 1, 1 - 0.1 * 3]);
  });

  it('emits only operators that inference runtimes have', async () => {
    const model = await modelOf(['N', 2, 4, 4], (b, x) => {
      const ones = (name: string): Value => b.constant(name, floats([2], [1, 1]));
      return b.op.BatchNormalization([x, ones('s'), ones('b'), ones('m'), ones('v')]);
    });
    const step = await trainingStep(model, options);
    const modes = [...step.model.graph.nodes()]
      .filter((node) => node.is('BatchNormalization'))
      .map((node) => attributesOf(node, standardOpDefs.BatchNormalization).training_mode);
    expect(modes).not.toContain(true);
    expect(modes).toContain(false);
    expect(step.statistics).toEqual(['m', 'v']);
  });

  it('computes what forward part and gradient have in common once', async () => {
    const model = await modelOf(['N', 2, 4, 4], (b, x) => {
      const ones = (name: string): Value => b.constant(name, floats([2], [1, 1]));
      const first = b.op.Mul([x, b.constant('w', floats([2, 1, 1], [1, 1]))]);
      return b.op.BatchNormalization([first, ones('s'), ones('b'), ones('m'), ones('v')]);
    });
    const step = await trainingStep(model, options);
    const kinds = [...step.model.graph.nodes()].map(({ opType }) => opType);
    expect(kinds.filter((kind) => kind === 'Sqrt').length).toBe(1);
    expect(kinds.filter((kind) => kind === 'Reciprocal').length).toBe(1);
  });

  it('feeds Dropout its mask', async () => {
    const model = await modelOf(['N', 2], (b, x) =>
      b.op.Dropout([b.op.Mul([x, b.constant('w', floats([2], [1, 1]))]), floats([], [0.5])]),
    );
    const step = await trainingStep(model, options);
    expect(step.masks).toEqual([{ name: expect.any(String), shape: ['N', 2], ratio: 0.5 }]);
    const mask = { [step.masks[0]?.name ?? '']: floats([1, 2], [0, 2]) };
    const { results, state } = await runStep(model, {
      x: floats([1, 2], [3, 4]),
      target: floats([1, 2], [0, 0]),
      ...mask,
    });
    near(results['y'], [0, 8]);
    // dL/dw = mean of 2 y dy/dw = [0, 8 * 8].
    near(state['w'], [1, 1 - 0.1 * 64]);
    // Sizes of the mask that no input has cannot be drawn.
    const loose = await modelOf(['N', 2], (b, x) => {
      const kept = b.op.Compress([x, b.input('keep', 'bool', ['K'])], { axis: 0 });
      return b.op.Dropout([b.op.Mul([kept, b.constant('w', floats([2], [1, 1]))]), floats([], [0.5])]);
    });
    await expect(trainingStep(loose, options)).rejects.toMatchObject({ code: 'OP_UNSUPPORTED' });
  });

  it('moves a weight that is used twice by the sum of its gradients', async () => {
    const model = await modelOf(['N', 1], (b, x) => {
      const w = b.constant('w', floats([1, 1], [2]));
      return b.op.MatMul([b.op.MatMul([x, w]), w]);
    });
    // y = w^2 x; dL/dw = 2 (y - t) 2 w x = 2 * 3 * 4 with x = 1, t = 1.
    const { state } = await runStep(model, { x: floats([1, 1], [1]), target: floats([1, 1], [1]) });
    near(state['w'], [2 - 0.1 * 24]);
  });

  it('trains weights that an exporter wrote as Constant nodes', async () => {
    const model = await modelOf(['N', 1], (b, x) => {
      const [w] = [b.op.Constant([], { value: floats([1, 1], [2]) })];
      return b.op.MatMul([x, w]);
    });
    const step = await trainingStep(model, options);
    expect(step.parameters.length).toBe(1);
    const [name = ''] = step.parameters;
    const { state } = await runStep(model, { x: floats([1, 1], [1]), target: floats([1, 1], [1]) });
    near(state[name], [2 - 0.1 * 2]);
    const { y } = await evaluateModel(trainedModel(model, { [name]: floats([1, 1], [5]) }), {
      x: floats([1, 1], [1]),
    });
    near(y, [5]);
  });

  it('takes for weights what operators read as weights', async () => {
    const model = await modelOf(['N', 3], (b, x) => {
      const vector = b.op.Add([
        b.op.MatMul([x, b.op.Transpose([b.constant('matrix', floats([3, 3], Array<number>(9).fill(1)))])]),
        b.constant('bias', floats([3], [0, 0, 0])),
      ]);
      const three = b.op.Add([vector, b.constant('three', floats([], [3]))]);
      const six = b.op.Clip([three, b.constant('low', floats([], [0])), b.constant('high', floats([], [6]))]);
      const masked = b.op.Add([
        b.op.Unsqueeze([six, Tensor.from('int64', [1], BigInt64Array.of(1n))]),
        b.constant('mask', floats([3, 3], [0, -1e9, -1e9, 0, 0, -1e9, 0, 0, 0])),
      ]);
      const placed = b.op.Add([masked, b.constant('positions', floats([3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]))]);
      const root = b.op.Pow([placed, b.constant('power', floats([1], [1]))]);
      return b.op.Mul([root, b.constant('factor', floats([1], [0.5]))]);
    });
    const names = async (trainable?: TrainingStepOptions['trainable']): Promise<readonly string[]> =>
      (await trainingStep(model, { ...options, ...(trainable === undefined ? {} : { trainable }) }))
        .parameters;
    expect(await names()).toEqual(['matrix', 'bias', 'positions']);
    expect(await names((name) => name !== 'bias')).toEqual(['matrix', 'positions']);
    // What is named learns, whatever it is.
    expect(await names(['three', 'bias'])).toEqual(['three', 'bias']);
    for (const wrong of [['nothing'], ['x'], () => false] as const) {
      await expect(names(wrong as TrainingStepOptions['trainable'])).rejects.toMatchObject({
        code: 'OPTIONS_INVALID',
      });
    }
  });

  it('takes sizes that the model leaves open', async () => {
    const model = await modelOf(['N', 2, 'H', 'W'], (b, x) =>
      b.op.GlobalAveragePool([b.op.Conv([x, b.constant('w', floats([2, 2, 1, 1], [1, 0, 0, 1]))])]),
    );
    const inputShapes = { x: ['N', 2, 3, 5] };
    const step = await trainingStep(model, { ...options, inputShapes });
    expect(step.model.graph.value('x')?.shape).toEqual(inputShapes.x);
    expect(model.graph.value('x')?.shape).toEqual(['N', 2, 'H', 'W']);
    for (const wrong of [{ x: ['N', 3, 3, 5] }, { x: ['N', 2] }, { y: [1] }]) {
      await expect(trainingStep(model, { ...options, inputShapes: wrong })).rejects.toMatchObject({
        code: 'OPTIONS_INVALID',
      });
    }
  });

  it('trains weights and statistics that a file lists among its inputs too', async () => {
    const model = await modelOf(['N', 1], (b, x) => {
      const product = b.op.MatMul([x, b.constant('w', floats([1, 1], [2]))]);
      const vector = (name: string, value: number): Value => b.constant(name, floats([1], [value]));
      const inputs = [product, vector('s', 1), vector('b', 0), vector('m', 0), vector('v', 1)];
      return b.op.BatchNormalization(inputs, { momentum: 0.5, epsilon: 1 });
    });
    model.graph.setInputs([...model.graph.inputs, ...model.graph.initializers]);
    const { state } = await runStep(model, { x: floats([2, 1], [1, 3]), target: floats([2, 1], [0, 0]) });
    expect(Object.keys(state).sort()).toEqual(['b', 'm', 's', 'step', 'v', 'w']);
    near(state['m'], [0.5 * 4]);
    near(state['v'], [0.5 + 0.5 * 4]);
    expect(model.graph.inputs.map(({ name }) => name)).toEqual(['x', 'w', 's', 'b', 'm', 'v']);
  });

  it('leaves the model as it was', async () => {
    const model = await modelOf(['N', 1], (b, x) => b.op.MatMul([x, b.constant('w', floats([1, 1], [2]))]));
    const before = [...model.graph.nodes()].length;
    await trainingStep(model, options);
    expect([...model.graph.nodes()].length).toBe(before);
    expect(model.graph.inputs.length).toBe(1);
  });

  it('names the operator that it cannot train', async () => {
    const model = await modelOf(['N', 2], (b, x) => b.op.Mul([x, b.constant('w', floats([2], [1, 1]))]));
    const node = [...model.graph.nodes()][0];
    if (node === undefined) throw new Error('no node');
    const strange = model.graph.addNode({
      domain: 'com.example',
      opType: 'Strange',
      inputs: [node.output()],
      attributes: new Map([['a', attribute.int(1)]]),
    });
    strange.output().type = node.output().type;
    const flat = model.graph.addNode({ opType: 'Identity', inputs: [strange.output()] });
    flat.output().type = node.output().type;
    model.graph.setOutputs([flat.output()]);
    await expect(
      trainingStep(model, { ...options, loss: meanSquaredError({ output: flat.output().name }) }),
    ).rejects.toMatchObject({ code: 'OP_UNSUPPORTED', message: expect.stringContaining('Strange') });
    const small = await modelOf(['N', 2], (b, x) => b.op.Mul([x, b.constant('w', floats([2], [1, 1]))]));
    await expect(
      trainingStep(small, { ...options, loss: crossEntropy({ logits: 'z' }) }),
    ).rejects.toMatchObject({ code: 'OPTIONS_INVALID' });
  });
});
