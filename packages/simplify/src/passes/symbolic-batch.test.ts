import { optimize, Tensor, type Value } from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { expectClose, feedsFor, Net } from '../../test/net.ts';
import { simplify } from '../index.ts';

function net(target: number[]): { net: Net; y: Value } {
  const made = new Net();
  const x = made.input([1, 3, 4, 4], 'float32', 'x');
  const pooled = made.node('GlobalAveragePool', [made.node('Relu', [x])]);
  const flat = made.node('Reshape', [pooled, made.ints(...target)]);
  return { net: made, y: made.node('Gemm', [flat, made.weight([3, 2])]) };
}

describe('a literal batch', () => {
  it('becomes a symbol where the targets of Reshape prove it, and other batches run sample by sample alike', async () => {
    for (const target of [
      [1, 3],
      [1, -1],
    ]) {
      const { net: made, y } = net(target);
      const model = made.model(y);
      const { model: open } = await optimize(model, [simplify({ batch: 'N' })]);
      expect(open.graph.inputs[0]?.shape).toEqual(['N', 3, 4, 4]);
      expect(open.graph.outputs[0]?.shape?.[0]).toBe('N');
      const one = feedsFor(model);
      const x = one['x'] as Tensor<'float32'>;
      expectClose(await evaluateModel(open, one), await evaluateModel(model, one), 0);
      const twice = Tensor.from('float32', [2, 3, 4, 4], Float32Array.from([...x.data, ...x.data]));
      const [double] = Object.values(await evaluateModel(open, { x: twice }));
      const [single] = Object.values(await evaluateModel(model, one));
      expect([...(double as Tensor).toFloat64Array()]).toEqual([
        ...(single as Tensor).toFloat64Array(),
        ...(single as Tensor).toFloat64Array(),
      ]);
    }
  });

  it('stays, with the reason, where a target mixes the batch with other sizes', async () => {
    const made = new Net();
    const x = made.input([1, 3, 4], 'float32', 'x');
    const mixed = made.node('Reshape', [x, made.ints(3, 4)]);
    const model = made.model(made.node('Relu', [mixed]));
    const { model: same, report } = await optimize(model, [simplify({ batch: 'N' })]);
    expect(same.graph.inputs[0]?.shape).toEqual([1, 3, 4]);
    expect(report.steps[0]?.skipped.map((skip) => skip.code)).toContain('batch');
  });

  it('is left alone when it is a symbol already', async () => {
    const made = new Net();
    const model = made.model(made.node('Relu', [made.input(['B', 3])]));
    const { report } = await optimize(model, [simplify({ batch: 'N' })]);
    expect(report.steps[0]?.changed).toBe(false);
  });
});
