import { expect, test } from 'vitest';
import { attribute } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import { Model } from '../ir/model.ts';
import { formatType, tensorType } from '../ir/types.ts';
import { Tensor } from '../tensor/tensor.ts';
import { inferShapes } from './infer-shapes.ts';

const int64 = (values: readonly number[]): Tensor =>
  Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));

test('follows sizes through Shape, Gather, Concat and Reshape with a symbolic batch', async () => {
  const graph = new Graph();
  const data = graph.addInput('data', tensorType('float32', ['N', 12, 4, 4]));
  const shape = graph.addNode({ opType: 'Shape', inputs: [data] });
  const zero = graph.addInitializer('zero', int64([0]));
  const batch = graph.addNode({ opType: 'Gather', inputs: [shape.output(), zero] });
  const rest = graph.addInitializer('rest', int64([3, -1]));
  const target = graph.addNode({
    opType: 'Concat',
    inputs: [batch.output(), rest],
    attributes: { axis: attribute.int(0) },
  });
  const reshaped = graph.addNode({ opType: 'Reshape', inputs: [data, target.output()] });
  graph.setOutputs([reshaped.output()]);
  const report = await inferShapes(new Model({ graph }));
  expect(formatType(reshaped.output().type)).toBe('float32[N, 3, 64]');
  expect(report).toMatchObject({ values: 4, typed: 4, fixed: 3, unknown: [], conflicts: [] });
});
