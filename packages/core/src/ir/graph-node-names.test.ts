import { expect, it } from 'vitest';
import { Graph } from './graph.ts';
import { Model } from './model.ts';
import { tensorType } from './types.ts';

it('numbers new nodes behind those of a cloned or read graph, since runtimes refuse two nodes of one name', () => {
  const graph = new Graph();
  const x = graph.addInput('x', tensorType('float32', [1]));
  graph.addNode({ opType: 'Relu', inputs: [x], name: 'Relu_7' });
  graph.addNode({ opType: 'Relu', inputs: [x] });
  const copy = new Model({ graph }).clone().graph;
  copy.addNode({ opType: 'Relu', inputs: [copy.inputs[0] ?? null] });
  expect([...copy.nodes()].map((node) => node.name)).toEqual(['Relu_7', 'Relu_8', 'Relu_9']);
});
