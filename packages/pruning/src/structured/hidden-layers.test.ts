import {
  createPassContext,
  Graph,
  GraphBuilder,
  type Model,
  optimize,
  Tensor,
  tensorType,
} from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { lowRank } from '../low-rank/low-rank.ts';
import { sparsify } from '../unstructured/sparsify.ts';
import { planPruning } from './prune.ts';

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
});
