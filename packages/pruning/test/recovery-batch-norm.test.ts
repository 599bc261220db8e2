import { arrayDataset, GraphBuilder, type Model, optimize, Tensor } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { batchNormReestimation } from '../src/index.ts';
import { nodeBackend, normal, runModel } from './support.ts';

const backend = await nodeBackend();

const vector = (
  name: string,
  values: readonly number[],
  b: GraphBuilder,
): ReturnType<GraphBuilder['constant']> =>
  b.constant(name, Tensor.from('float32', [values.length], Float32Array.from(values)));

/** Two normalizations, the second behind a convolution; scales of 1, shifts of 0, statistics that are far off. */
async function net(): Promise<Model> {
  const b = new GraphBuilder('net');
  const x = b.input('x', 'float32', ['N', 2, 3, 3]);
  const off = [vector('mean', [3, -4], b), vector('variance', [9, 0.1], b)] as const;
  const rest = [vector('scale', [1, 1], b), vector('shift', [0, 0], b)] as const;
  const first = b.op.BatchNormalization([x, ...rest, ...off]);
  const w = b.constant('w', normal([2, 2, 1, 1], 2));
  const second = b.op.BatchNormalization([b.op.Relu([b.op.Conv([first, w])]), ...rest, ...off]);
  b.output('first', first);
  b.output('second', second);
  return b.build();
}

/** Mean and variance of each of two channels of `[N, 2, 3, 3]`. */
function statistics(tensor: Tensor | undefined): readonly number[] {
  const data = tensor?.toFloat64Array() ?? new Float64Array();
  return [0, 1].flatMap((channel) => {
    const own = data.filter((_, index) => Math.floor(index / 9) % 2 === channel);
    const mean = own.reduce((sum, value) => sum + value, 0) / own.length;
    return [mean, own.reduce((sum, value) => sum + (value - mean) ** 2, 0) / own.length];
  });
}

describe('batch normalization measured anew', () => {
  it('gives outputs of mean 0 and variance 1 on its data, one behind the other, whatever the batch', async () => {
    const x = normal([30, 2, 3, 3], 1, 2);
    const data = arrayDataset({ inputs: { x } });
    for (const batchSize of [7, 64]) {
      const steps = [batchNormReestimation({ batchSize })];
      const { model, report } = await optimize(await net(), steps, { data, backend });
      expect(report.steps[0]?.applied).toHaveLength(2);
      const outputs = await runModel(model, { x });
      for (const name of ['first', 'second']) {
        const [mean, variance, otherMean, otherVariance] = statistics(outputs[name]) as [
          number,
          number,
          number,
          number,
        ];
        for (const value of [mean, otherMean]) expect(value).toBeCloseTo(0, 5);
        for (const value of [variance, otherVariance]) expect(value).toBeCloseTo(1, 3);
      }
    }
  });

  it('leaves one alone that takes its statistics from the batch', async () => {
    const b = new GraphBuilder('training');
    const x = b.input('x', 'float32', ['N', 1, 2, 2]);
    const one = vector('one', [1], b);
    b.output('y', b.op.BatchNormalization([x, one, one, one, one], { training_mode: true }));
    const data = arrayDataset({ inputs: { x: normal([2, 1, 2, 2], 1) } });
    const { report } = await optimize(await b.build(), [batchNormReestimation()], {
      data,
      backend,
      check: 'off',
    });
    expect(report.steps[0]).toMatchObject({ changed: false, skipped: [{ code: 'training' }] });
  });
});
