import { GraphBuilder, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { sgd } from '../optimizers/standard.ts';
import { trainingStep } from '../step/training-step.ts';
import type { Loss } from './loss.ts';

const floats = (shape: readonly number[], values: readonly number[]): Tensor<'float32'> =>
  Tensor.from('float32', shape, Float32Array.from(values));

describe('what a loss may ask for', () => {
  it('has weights that learn, values without gradient, state and the count of updates', async () => {
    const b = new GraphBuilder('product');
    const x = b.input('x', 'float32', [1]);
    b.output('y', b.op.Mul([x, b.constant('w', floats([1], [3]))]));
    // p y + (y as a constant) y, summed.
    const loss: Loss = {
      name: 'test',
      build: ({ emit, value, parameter, detach, state, step }) => {
        const y = value('y');
        const p = parameter('p', floats([1], [0.5]));
        expect(parameter('p', floats([1], [0.5]))).toBe(p);
        const seen = state('seen', floats([], [10]));
        seen.finish(emit.add(seen.input, step()));
        return emit.sum(emit.add(emit.mul(p, y), emit.mul(detach(y), y)), [0], false);
      },
    };
    const step = await trainingStep(await b.build(), {
      loss,
      optimizer: sgd({ momentum: 0 }),
      trainable: ['w'],
    });
    expect(step.parameters).toEqual(['w']);
    expect(step.lossParameters).toEqual(['loss:p']);
    await using executable = await referenceBackend().compile(step.model, { state: step.state });
    const feeds = { x: floats([1], [2]), learning_rate: floats([], [0.01]) };
    const results = await executable.run(feeds);
    // y = 6: 0.5 * 6 + 6 * 6; by w: x (p + y) = 13; by p: y = 6.
    expect(results[step.loss]?.toFloat64Array()[0]).toBeCloseTo(39, 5);
    await executable.run({ ...feeds, learning_rate: floats([], [0]) });
    const after = await executable.readState();
    expect(after['w']?.toFloat64Array()[0]).toBeCloseTo(3 - 0.13, 5);
    expect(after['loss:p']?.toFloat64Array()[0]).toBeCloseTo(0.5 - 0.06, 5);
    // 10 + 0 in the first step, + 1 in the second.
    expect(after['loss:seen']?.toFloat64Array()[0]).toBe(11);
  });
});
