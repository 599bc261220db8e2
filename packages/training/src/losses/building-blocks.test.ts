import { GraphBuilder, standardOps, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { Emitter } from '../autodiff/emitter.ts';
import { huberBetween, oneHot } from './building-blocks.ts';

const floats = (shape: readonly number[], values: readonly number[]): Tensor =>
  Tensor.from('float32', shape, Float32Array.from(values));

describe('building blocks of losses', () => {
  it('marks the class of each label, and nothing for a label that is no class', async () => {
    const builder = new GraphBuilder('labels');
    const labels = builder.input('labels', 'int64', [2, 2]);
    const scores = builder.input('scores', 'float32', [2, 3, 2]);
    builder.output('y', scores);
    const model = await builder.build();
    const marked = oneHot(new Emitter(model.graph, standardOps, 'add'), labels, scores);
    model.graph.setOutputs([marked]);
    await using executable = await referenceBackend().compile(model);
    const results = await executable.run({
      labels: Tensor.from('int64', [2, 2], BigInt64Array.of(0n, 2n, -1n, 1n)),
      scores: floats([2, 3, 2], Array<number>(12).fill(5)),
    });
    const found = results[marked.name];
    expect(found?.shape).toEqual([2, 3, 2]);
    expect([...(found?.toFloat64Array() ?? [])]).toEqual([1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]);
  });

  it('needs the number of classes', async () => {
    const builder = new GraphBuilder('labels');
    const labels = builder.input('labels', 'int64', ['N']);
    const scores = builder.input('scores', 'float32', ['N', 'C']);
    builder.output('y', scores);
    const { graph } = await builder.build();
    const emit = new Emitter(graph, standardOps, 'add');
    expect(() => oneHot(emit, labels, scores)).toThrow(
      expect.objectContaining({ code: 'OPTIONS_INVALID', message: expect.stringContaining('"scores"') }),
    );
  });

  it.each([
    // Distances 0.5, 1, 3: (0.125 + 0.5 + 2.5) / 3 and (0.125 + 0.5 + 2 (3 - 1)) / 3.
    [1, 3.125 / 3],
    [2, 4.625 / 3],
  ])('has the Huber loss with delta %d', async (delta, expected) => {
    const builder = new GraphBuilder('pair');
    const left = builder.input('left', 'float32', [3]);
    const right = builder.input('right', 'float32', [3]);
    builder.output('y', left);
    const model = await builder.build();
    const loss = huberBetween(new Emitter(model.graph, standardOps, 'add'), left, right, delta);
    model.graph.setOutputs([loss]);
    await using executable = await referenceBackend().compile(model);
    const results = await executable.run({
      left: floats([3], [1, 1, -1]),
      right: floats([3], [0.5, 2, 2]),
    });
    expect(results[loss.name]?.toFloat64Array()[0]).toBeCloseTo(expected, 6);
  });
});
