import { attribute, Graph, Tensor, tensorType, type Value } from '@lithe/core';
import { expect, it } from 'vitest';
import { shareEqualNodes } from './share-equal-nodes.ts';

it('makes one of nodes that compute the same, and only of those', () => {
  const graph = new Graph('equal');
  const x = graph.addInput('x', tensorType('float32', [2]));
  const constant = (name: string, value: number): Value =>
    graph.addInitializer(name, Tensor.from('float32', [1], Float32Array.of(value)));
  const add = (opType: string, inputs: readonly Value[], attributes: Record<string, number> = {}): Value =>
    graph
      .addNode({
        opType,
        inputs,
        attributes: new Map(
          Object.entries(attributes).map(([name, value]) => [name, attribute.float(value)]),
        ),
      })
      .output();
  const ends = [
    // Equal by what their constants hold: one node of two.
    add('Mul', [x, constant('a', 2)]),
    add('Mul', [x, constant('b', 2)]),
    add('Mul', [x, constant('c', 3)]),
    // Apart by an attribute.
    add('Elu', [x], { alpha: 1 }),
    add('Elu', [x], { alpha: 2 }),
    // Each draws numbers of its own.
    add('RandomNormalLike', [x]),
    add('RandomNormalLike', [x]),
  ];
  const sum = graph.addNode({ opType: 'Sum', inputs: ends });
  graph.setOutputs([sum.output()]);
  shareEqualNodes(graph);
  const kinds = [...graph.nodes()].map(({ opType }) => opType);
  expect(kinds).toEqual(['Mul', 'Mul', 'Elu', 'Elu', 'RandomNormalLike', 'RandomNormalLike', 'Sum']);
  expect(sum.input(1)).toBe(sum.input(0));
});
