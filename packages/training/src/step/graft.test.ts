import {
  attribute,
  Graph,
  GraphBuilder,
  Model,
  standardOps,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { Graft } from './graft.ts';

const floats = (...values: readonly number[]): Tensor<'float32'> =>
  Tensor.from('float32', [values.length], Float32Array.from(values));

/** y = (x - 1) / 2 by running statistics; in training form it would be (x - mean) / deviation. */
async function normalizing(): Promise<Model> {
  const b = new GraphBuilder('source');
  const x = b.input('x', 'float32', ['N', 1]);
  const inputs = [
    x,
    ...Object.entries({ s: 1, b: 0, m: 1, v: 4 }).map(([name, value]) => b.constant(name, floats(value))),
  ];
  b.output('y', b.op.BatchNormalization(inputs, { epsilon: 0 }));
  const model = await b.build();
  for (const node of model.graph.nodes()) model.graph.setAttribute(node, 'training_mode', attribute.int(1));
  return model;
}

describe('Graft', () => {
  it('brings batch normalization in by its running statistics, whatever form its file has', async () => {
    const { graph: source } = await normalizing();
    const target = new Graph('target');
    const x = target.addInput('x', tensorType('float32', ['N', 1]));
    const graft = new Graft({ source, target, prefix: 'teacher/', opset: standardOps, input: () => x });
    const y = graft.copy(source.outputs[0] as Value);
    expect(graft.copy(source.outputs[0] as Value)).toBe(y);
    target.setOutputs([y]);
    const feeds = { x: Tensor.from('float32', [2, 1], Float32Array.of(1, 5)) };
    const results = await evaluateModel(new Model({ graph: target }), feeds);
    expect([...(results[y.name]?.toFloat64Array() ?? [])]).toEqual([0, 2]);
    expect(y.name).toBe('teacher/y');
  });

  it('shares weights with what has them already, and with the source', async () => {
    const b = new GraphBuilder('source');
    const x = b.input('x', 'float32', [2]);
    b.output(
      'y',
      b.op.Add([b.op.Mul([x, b.constant('own', floats(2, 3))]), b.constant('shared', floats(1, 1))]),
    );
    const { graph: source } = await b.build();
    const target = new Graph('target');
    const input = target.addInput('x', tensorType('float32', [2]));
    const shared = target.addInput('shared', tensorType('float32', [2]));
    const weight = (name: string): Value | undefined => (name === 'shared' ? shared : undefined);
    const graft = new Graft({ source, target, prefix: 't/', opset: standardOps, input: () => input, weight });
    target.setOutputs([graft.copy(source.outputs[0] as Value)]);
    expect(target.value('t/own')?.initializer).toBe(source.value('own')?.initializer);
    expect(target.value('t/shared')).toBeUndefined();
    const results = await evaluateModel(new Model({ graph: target }), {
      x: floats(1, 1),
      shared: floats(10, 20),
    });
    expect([...(results['t/y']?.toFloat64Array() ?? [])]).toEqual([12, 23]);
  });

  it('refuses nodes with subgraphs', async () => {
    const b = new GraphBuilder('source');
    const x = b.input('x', 'float32', [2]);
    const [y] = b.op.If([b.input('condition', 'bool', [])], {
      then_branch: (inner) => [inner.op.Neg([x])],
      else_branch: (inner) => [inner.op.Exp([x])],
    }) as [Value];
    b.output('y', y);
    const { graph: source } = await b.build();
    const target = new Graph('target');
    const graft = new Graft({
      source,
      target,
      prefix: 't/',
      opset: standardOps,
      input: (name) => target.addInput(name),
    });
    expect(() => graft.copy(source.outputs[0] as Value)).toThrow(
      expect.objectContaining({ code: 'OP_UNSUPPORTED' }),
    );
  });
});
