import { Graph, GraphBuilder, type Model, Tensor, tensorType, verify } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { meanSquaredError } from '../losses/regression.ts';
import { sgd } from '../optimizers/standard.ts';
import type { ForwardForm } from './forward-form.ts';
import { sortNodes } from './sort-nodes.ts';
import { type TrainingStepOptions, trainingStep } from './training-step.ts';

const floats = (shape: readonly number[], values: readonly number[]): Tensor<'float32'> =>
  Tensor.from('float32', shape, Float32Array.from(values));

/** y = w x / peak. */
async function model(): Promise<Model> {
  const b = new GraphBuilder('test');
  const x = b.input('x', 'float32', ['N', 1]);
  const peak = b.constant('peak', floats([], [4]));
  b.output('y', b.op.Div([b.op.MatMul([x, b.constant('w', floats([1, 1], [3]))]), peak]));
  return await b.build();
}

/** While training, the peak follows the largest input of the batch by halves, without a gradient. */
const following: ForwardForm = {
  name: 'following',
  build: async ({ emit, graph, value, statistic, stop }) => {
    const peak = await statistic('peak');
    const largest = emit.op('ReduceMax', [value('x')], { keepdims: 0 });
    const readers = peak.input.uses;
    const next = emit.scale(emit.add(peak.input, largest), 0.5);
    for (const { node, index } of readers) graph.setInput(node, index, next);
    stop(next);
    peak.finish(next);
  },
};

const options: TrainingStepOptions = {
  loss: meanSquaredError({ output: 'y' }),
  optimizer: sgd(),
  trainable: ['w'],
};

async function train(extra: Partial<TrainingStepOptions>): Promise<Readonly<Record<string, number>>> {
  const step = await trainingStep(await model(), { ...options, ...extra });
  expect(verify(step.model)).toEqual([]);
  await using executable = await referenceBackend().compile(step.model, { state: step.state });
  await executable.run({
    x: floats([1, 1], [2]),
    target: floats([1, 1], [0]),
    learning_rate: floats([], [1]),
  });
  const state = await executable.readState();
  return Object.fromEntries(
    [...step.parameters, ...step.statistics].map((name) => [name, state[name]?.toFloat64Array()[0] ?? NaN]),
  );
}

describe('forms of the forward part', () => {
  it('turn a constant into one that follows the batches, and keep gradients off it', async () => {
    // The peak is (4 + 2) / 2 = 3, y = 3 * 2 / 3 = 2, dL/dw = 2 y x / peak = 8 / 3.
    const { peak, w } = await train({ forms: [following] });
    expect(peak).toBe(3);
    expect(w).toBeCloseTo(3 - 8 / 3, 6);
  });

  it('leave everything as it was where there is none', async () => {
    // y = 3 * 2 / 4 = 1.5, dL/dw = 2 * 1.5 * 2 / 4 = 1.5.
    expect(await train({})).toEqual({ w: 1.5 });
  });

  it('are told when a name is unknown', async () => {
    const lost = (build: ForwardForm['build']): Promise<unknown> =>
      train({ forms: [{ name: 'lost', build }] });
    const wrong = expect.objectContaining({
      code: 'OPTIONS_INVALID',
      message: expect.stringContaining('lost'),
    });
    await expect(lost(({ value }) => void value('nothing'))).rejects.toThrow(wrong);
    await expect(lost(async ({ statistic }) => void (await statistic('x')))).rejects.toThrow(wrong);
  });
});

describe('groups of parameters', () => {
  it('scale gradients before they are clipped', async () => {
    const groups = [{ matches: () => true, gradientScale: 0.1 }];
    // 0.1 * 1.5 is below the limit, 1.5 is not.
    expect((await train({ groups, clipValue: 1 }))['w']).toBeCloseTo(3 - 0.15, 6);
    expect((await train({ clipValue: 1 }))['w']).toBeCloseTo(2, 6);
  });
});

describe('sortNodes', () => {
  it('puts what is read before what reads it, and moves nothing without need', () => {
    const graph = new Graph('test');
    const x = graph.addInput('x', tensorType('float32', [1]));
    const first = graph.addNode({ opType: 'Relu', inputs: [x], name: 'first' });
    const second = graph.addNode({ opType: 'Neg', inputs: [first.output()], name: 'second' });
    const late = graph.addNode({ opType: 'Abs', inputs: [x], name: 'late' });
    const names = (): readonly string[] => [...graph.nodes()].map(({ name }) => name);
    const before = graph.revision.count;
    sortNodes(graph);
    expect(graph.revision.count).toBe(before);
    graph.setInput(first, 0, late.output());
    sortNodes(graph);
    expect(names()).toEqual(['late', 'first', 'second']);
    graph.setInput(late, 0, second.output());
    expect(() => sortNodes(graph)).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
  });
});
