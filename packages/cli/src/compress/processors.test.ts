import { setTimeout } from 'node:timers/promises';
import { createRunContext, type Dataset, Graph, Model, Tensor, tensorType } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { saturationWarning } from './processors.ts';

/** A product of bright bytes with large weights, behind an operator that may be unknown. */
function model(level: number, domain = ''): Model {
  const graph = new Graph('one');
  const x = graph.addInput('x', tensorType('uint8', [1, 64]));
  const same = graph.addNode({ opType: 'Identity', domain, inputs: [x] });
  const weight = Tensor.from('int8', [64, 8], new Int8Array(512).fill(level));
  const inputs = [same.output(), graph.addInitializer('w', weight)];
  const sum = graph.addNode({ opType: 'MatMulInteger', inputs }).output();
  const to = graph.addNode({
    opType: 'CastLike',
    inputs: [sum, graph.addInitializer('f', Tensor.from('float32', [], new Float32Array(1)))],
  });
  graph.setOutputs([to.output()]);
  return new Model({ graph });
}

const data = (wait = 0): Dataset => ({
  description: 'bright bytes',
  size: 1,
  batches: async function* () {
    if (wait > 0) await setTimeout(wait);
    yield { size: 1, inputs: { x: Tensor.from('uint8', [1, 64], new Uint8Array(64).fill(255)) } };
  },
});

const warn = (level: number, rest: { domain?: string; wait?: number; patience?: number } = {}) =>
  saturationWarning(
    model(level, rest.domain),
    data(rest.wait),
    createRunContext({}),
    'Do so.',
    rest.patience,
  );

describe('the warning of processors that saturate', () => {
  it('is given where sums leave 16 bits, and only there', async () => {
    expect(await warn(127)).toMatch(/sums of 1 of 1 layers leave 16 bits: .* \d+\.\d dB .* Do so\.$/);
    expect(await warn(64)).toBeUndefined();
  });

  it('says that it could not be found out, and does not fail', async () => {
    expect(await warn(64, { domain: 'a.third.party' })).toMatch(
      /could not be tried out: .*Identity.* Do so\.$/,
    );
    expect(await warn(64, { wait: 50, patience: 1 })).toMatch(
      /could not be tried out: it takes too long\. Do so\.$/,
    );
  });

  it('ends when the run is cancelled', async () => {
    const context = createRunContext({ signal: AbortSignal.abort(new Error('enough')) });
    await expect(saturationWarning(model(64), data(), context, '')).rejects.toThrow('enough');
  });
});
