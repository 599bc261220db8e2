import { Graph, Model, Tensor, tensorType, type Value } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { freshWeights } from '../layers/fresh-weights.ts';
import { findWeights } from './weights.ts';

const DEPTH = 100_000;

/** x times a weight that has gone through very many nodes. */
function deepChain(): Model {
  const graph = new Graph('deep');
  const x = graph.addInput('x', tensorType('float32', [1, 1]));
  const shape = graph.addInitializer('shape', Tensor.from('int64', [2], BigInt64Array.of(1n, 1n)));
  let value: Value = graph.addInitializer('w', Tensor.from('float32', [1, 1], Float32Array.of(2)));
  for (let count = 0; count < DEPTH; count++)
    value = graph.addNode({ opType: 'Reshape', inputs: [value, shape] }, [{ name: `r${count}` }]).output();
  graph.setOutputs([graph.addNode({ opType: 'MatMul', inputs: [x, value] }, [{ name: 'y' }]).output()]);
  return new Model({ graph });
}

describe('the weights of a model', () => {
  it('are found behind 100,000 nodes that reshape them, and drawn anew', async () => {
    const model = deepChain();
    expect((await findWeights(model.graph)).map(({ name }) => name)).toEqual(['w']);
    const { drawn } = await freshWeights(model, { seed: 1 });
    expect(drawn).toEqual([{ name: 'w', role: 'matrix' }]);
  });

  it('are not those of an operator that is called as a member of every object', async () => {
    const graph = new Graph('strange');
    const w = graph.addInitializer('w', Tensor.from('float32', [2], Float32Array.of(1, 2)));
    const reads = ['constructor', 'toString', '__proto__', 'hasOwnProperty'].map((opType) =>
      graph.addNode({ opType, inputs: [w] }).output(),
    );
    graph.setOutputs(reads);
    expect(await findWeights(graph)).toEqual([]);
  });
});
