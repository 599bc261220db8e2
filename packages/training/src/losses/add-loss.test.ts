import { GraphBuilder, Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { addGradients } from '../autodiff/gradients.ts';
import { addLoss } from './add-loss.ts';
import { meanSquaredError } from './regression.ts';

describe('addLoss', () => {
  it('makes a model say its loss and the gradient of a weight', async () => {
    const builder = new GraphBuilder('line');
    const x = builder.input('x', 'float32', ['N', 1]);
    const w = builder.constant('w', Tensor.from('float32', [1, 1], Float32Array.of(3)));
    builder.output('y', builder.op.MatMul([x, w]));
    const model = await builder.build();
    const { value, detached } = addLoss(model, meanSquaredError({ output: 'y' }));
    const [gradient] = addGradients(model, { of: value, wrt: [w], stop: detached });
    if (gradient === undefined) throw new Error('the loss does not depend on the weight');
    model.graph.setOutputs([value, gradient]);
    await using executable = await referenceBackend().compile(model);
    const column = (...values: readonly number[]): Tensor =>
      Tensor.from('float32', [2, 1], Float32Array.from(values));
    const target = executable.inputNames.find((name) => name !== 'x') ?? '';
    const results = await executable.run({ x: column(1, 2), [target]: column(1, 1) });
    // Errors of 2 and 5: their squares are 14.5 in the mean, and the gradient is the mean of 2 e x.
    expect(results[value.name]?.toFloat64Array()[0]).toBe(14.5);
    expect(results[gradient.name]?.toFloat64Array()[0]).toBe((2 * 2 * 1 + 2 * 5 * 2) / 2);
  });
});
