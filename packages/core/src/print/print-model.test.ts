import { describe, expect, it } from 'vitest';
import { attribute } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import { Model } from '../ir/model.ts';
import { tensorType } from '../ir/types.ts';
import { lazyTensor, Tensor } from '../tensor/tensor.ts';
import { printModel } from './print-model.ts';

describe('printModel', () => {
  it('prints inputs, constants, nodes, attributes, types and outputs', () => {
    const graph = new Graph('net');
    const x = graph.addInput('x', tensorType('float32', ['N', 3, null, 8]));
    const w = graph.addInitializer(
      'w',
      Tensor.from('float32', [2, 2], new Float32Array([1, 0.1, -3, Number.NaN])),
    );
    const axes = graph.addInitializer('axes', Tensor.from('int64', [1], new BigInt64Array([2n ** 60n])));
    graph.addInitializer('big', Tensor.from('float32', [100], new Float32Array(100)));
    graph.addInitializer(
      'far',
      lazyTensor('int8', [1000, 1000], () => {
        throw new Error('must not be loaded');
      }),
    );
    const conv = graph.addNode(
      {
        opType: 'Conv',
        inputs: [x, w, null],
        attributes: { strides: attribute.ints([1, 1]), auto_pad: attribute.string('VALID') },
      },
      [{ name: 'odd name', type: tensorType('float32', ['N', 2]) }],
    );
    const split = graph.addNode(
      {
        opType: 'Thing',
        domain: 'com.example',
        inputs: [conv.output(), axes],
        attributes: { alpha: attribute.float(0.1) },
      },
      [{ name: 'a' }, { name: '' }],
    );
    graph.setOutputs([split.output(0), x]);
    const model = new Model({
      graph,
      opsetImports: new Map([
        ['', 21],
        ['com.example', 1],
      ]),
    });
    expect(printModel(model)).toBe(`// ai.onnx 21, com.example 1
graph net(%x: float32[N, 3, ?, 8]) {
  %w = float32[2, 2] [1, 0.1, -3, NaN]
  %axes = int64[1] [1152921504606846976]
  %big = float32[100] …
  %far = int8[1000, 1000]
  %"odd name" = Conv(%x, %w, _) {strides=[1, 1], auto_pad="VALID"} : float32[N, 2]
  %a, _ = com.example.Thing(%"odd name", %axes) {alpha=0.1} : ?, ?
  return %a, %x
}
`);
  });

  it('indents subgraphs and shortens what is long', () => {
    const graph = new Graph();
    const c = graph.addInput('c', tensorType('bool', []));
    const branch = new Graph('then', graph);
    branch.setOutputs([branch.addNode({ opType: 'Not', inputs: [c] }, [{ name: 'n' }]).output()]);
    const node = graph.addNode(
      {
        opType: 'If',
        inputs: [c],
        attributes: { then_branch: attribute.graph(branch), hint: attribute.ints([1, 2, 3, 4]) },
      },
      [{ name: 'y' }],
    );
    graph.addNode({ opType: 'Not', inputs: [c] });
    graph.setOutputs([node.output()]);
    expect(printModel(new Model({ graph }), { maxElements: 2, maxNodes: 1 })).toBe(`// ai.onnx 21
graph main(%c: bool[]) {
  %y = If(%c) {hint=[1, 2, … 4 in all]} : ?
    then_branch:
      graph then() {
        %n = Not(%c) : ?
        return %n
      }
  … 1 more nodes
  return %y
}
`);
  });
});
