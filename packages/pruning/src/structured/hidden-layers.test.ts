import {
  createPassContext,
  Graph,
  GraphBuilder,
  type Model,
  optimize,
  randomDataset,
  Tensor,
  tensorType,
} from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { lowRank } from '../low-rank/low-rank.ts';
import { leastSquaresRefit } from '../recovery/refit.ts';
import { sparsify } from '../unstructured/sparsify.ts';
import { planPruning, prune } from './prune.ts';

/** y = f(x), all of it inside a local function with one product. */
async function called(): Promise<Model> {
  const builder = new GraphBuilder('outer');
  builder.output('y', builder.op.Identity([builder.input('x', 'float32', ['N', 4])]));
  const model = await builder.build();
  const body = new Graph();
  const x = body.addInput('x', tensorType('float32', ['N', 4]));
  const w = body.addInitializer('w', Tensor.from('float32', [4, 4], new Float32Array(16).fill(1)));
  body.setOutputs([body.addNode({ opType: 'MatMul', inputs: [x, w] }).output()]);
  model.functions = [
    {
      domain: 'local',
      name: 'block',
      overload: '',
      graph: body,
      attributes: [],
      attributeDefaults: new Map(),
      opsetImports: new Map([['', 17]]),
      docString: undefined,
      props: new Map(),
    },
  ];
  return model;
}

describe('layers that pruning does not look into', () => {
  it('are reported where they are in local functions', async () => {
    const model = await called();
    const skip = expect.objectContaining({ target: 'block', code: 'in-function' });
    expect((await planPruning(model, {}, createPassContext())).skipped).toContainEqual(skip);
    for (const step of [sparsify(), lowRank()])
      expect((await optimize(model, [step])).report.steps[0]?.skipped).toContainEqual(skip);
  });

  it('are reported where only whole channels are cut of them', async () => {
    const b = new GraphBuilder('upsampling');
    const ones = (...shape: readonly number[]): Tensor =>
      Tensor.from('float32', shape, new Float32Array(shape.reduce((left, right) => left * right)).fill(1));
    const inner = b.op.Relu([b.op.Conv([b.input('x', 'float32', [1, 2, 4, 4]), ones(6, 2, 1, 1)])]);
    b.output('y', b.op.ConvTranspose([inner, ones(6, 2, 2, 2)], {}, { name: 'up' }));
    const model = await b.build();
    const skip = { target: 'up', code: 'operator', reason: 'weights of ConvTranspose are left as they are' };
    for (const step of [sparsify(), lowRank()])
      expect((await optimize(model, [step])).report.steps[0]?.skipped).toContainEqual(skip);
    const data = randomDataset(model, { samples: 4 });
    const run = { backend: referenceBackend(), data };
    const { report } = await optimize(model, [prune({ ratio: 0.5 }), leastSquaresRefit()], run);
    expect(report.steps[1]?.skipped).toEqual([skip]);
    const whole = await optimize(model, [leastSquaresRefit()], run);
    expect(whole.report.steps[0]?.skipped).toEqual([]);
  });
});
