import { describe, expect, it } from 'vitest';
import { attribute } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import { tensorType } from '../ir/types.ts';
import { Tensor } from '../tensor/tensor.ts';
import { inferNodeTypes } from './infer-node-types.ts';

describe('inferNodeTypes', () => {
  it('types a node from its inputs and the constants in memory', () => {
    const graph = new Graph();
    const x = graph.addInput('x', tensorType('float32', ['N', 6]));
    const shape = graph.addInitializer('shape', Tensor.from('int64', [3], BigInt64Array.of(0n, 2n, 3n)));
    const node = graph.addNode({ opType: 'Reshape', inputs: [x, shape] });
    inferNodeTypes(node);
    expect(node.output().type).toEqual(tensorType('float32', ['N', 2, 3]));
  });

  it('leaves the outputs of an unknown operator as they are', () => {
    const graph = new Graph();
    const node = graph.addNode({ opType: 'Mystery', domain: 'com.example', inputs: [] });
    inferNodeTypes(node);
    expect(node.output().type).toBeUndefined();
  });

  it('names the node that contradicts its operator', () => {
    const graph = new Graph();
    const x = graph.addInput('x', tensorType('float32', [2, 3]));
    const node = graph.addNode({
      opType: 'Concat',
      inputs: [x, x],
      name: 'joined',
      attributes: { axis: attribute.int(5) },
    });
    expect(() => inferNodeTypes(node)).toThrow(/joined/);
  });
});
