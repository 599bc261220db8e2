import { describe, expect, test } from 'vitest';
import { type Attribute, attribute } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import { Model } from '../ir/model.ts';
import { type Dim, tensorType } from '../ir/types.ts';
import type { Value } from '../ir/value.ts';
import { elementsOf } from '../tensor/dtype.ts';
import { Tensor } from '../tensor/tensor.ts';
import { modelCost } from './cost.ts';
import { inferShapes } from './infer-shapes.ts';

const weight = (graph: Graph, name: string, shape: readonly number[]): Value =>
  graph.addInitializer(name, Tensor.from('float32', shape, new Float32Array(elementsOf(shape))));

interface Case {
  readonly op: string;
  readonly data: readonly Dim[];
  readonly weights: readonly (readonly number[])[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** Worked out by hand. */
  readonly macs: number;
}

const cases: readonly Case[] = [
  // 8 * 16 * 16 output elements, each 3 * 3 * 3 products.
  {
    op: 'Conv',
    data: [1, 3, 16, 16],
    weights: [[8, 3, 3, 3]],
    attributes: { pads: attribute.ints([1, 1, 1, 1]) },
    macs: 8 * 256 * 27,
  },
  // Depthwise: one channel per output.
  {
    op: 'Conv',
    data: [2, 8, 4, 4],
    weights: [[8, 1, 2, 2]],
    attributes: { group: attribute.int(8) },
    macs: 2 * 8 * 9 * 4,
  },
  // Every input element is spread over 5 * 2 * 2 weights.
  { op: 'ConvTranspose', data: [1, 3, 4, 4], weights: [[3, 5, 2, 2]], macs: 48 * 20 },
  {
    op: 'Gemm',
    data: [4, 6],
    weights: [[10, 6]],
    attributes: { transB: attribute.int(1) },
    macs: 4 * 10 * 6,
  },
  { op: 'MatMul', data: [2, 3, 7], weights: [[7, 1024]], macs: 2 * 3 * 7 * 1024 },
  // b, i, j and k, once.
  {
    op: 'Einsum',
    data: [2, 3, 5],
    weights: [[2, 5, 7]],
    attributes: { equation: attribute.string('bij,bjk->bik') },
    macs: 2 * 3 * 5 * 7,
  },
  // 5 steps, batch 2, 4 gates of 6 units over 3 features and 6 states.
  {
    op: 'LSTM',
    data: [5, 2, 3],
    weights: [
      [1, 24, 3],
      [1, 24, 6],
    ],
    attributes: { hidden_size: attribute.int(6) },
    macs: 5 * 2 * 24 * 9,
  },
  { op: 'Relu', data: [5, 2], weights: [], macs: 0 },
];

describe('multiply-accumulates', () => {
  test.each(cases.map((item) => [item.op, item] as const))(
    'of %s are those worked out by hand',
    async (_, item) => {
      const graph = new Graph();
      const data = graph.addInput('data', tensorType('float32', item.data));
      const weights = item.weights.map((shape, index) => weight(graph, `w${index}`, shape));
      const node = graph.addNode({
        opType: item.op,
        inputs: [data, ...weights],
        attributes: item.attributes ?? {},
      });
      graph.setOutputs([node.output()]);
      const model = new Model({ graph });
      await inferShapes(model);
      const cost = modelCost(model);
      expect(cost.macs).toBe(item.macs);
      expect(cost.nodes.map((entry) => entry.macs)).toEqual([item.macs]);
      expect(cost.unknown).toEqual([]);
    },
  );
});

describe('the cost of a model', () => {
  test('counts a shared constant once, and in each node that reads it', async () => {
    const graph = new Graph();
    const shared = weight(graph, 'shared', [64, 64]);
    const first = graph.addNode({
      opType: 'MatMul',
      inputs: [graph.addInput('data', tensorType('float32', ['N', 64])), shared],
    });
    const second = graph.addNode({ opType: 'MatMul', inputs: [first.output(), shared] });
    graph.setOutputs([second.output()]);
    const model = new Model({ graph });
    await inferShapes(model);
    const cost = modelCost(model, { dims: { N: 3 } });
    expect([cost.parameters, cost.parameterBytes]).toEqual([4096, 16384]);
    expect(cost.nodes.map((entry) => entry.parameters)).toEqual([4096, 4096]);
    // Each node reads and writes 3 * 64 floats.
    expect(cost.activationBytes).toBe(4 * 3 * 64 * 4);
    expect(cost.macs).toBe(2 * 3 * 64 * 64);
  });

  test('names what can not be counted', async () => {
    const graph = new Graph();
    const data = graph.addInput('data', tensorType('float32', ['N', 64]));
    const known = graph.addNode({ opType: 'Relu', inputs: [data], name: 'known' });
    const other = graph.addNode({
      opType: 'Mystery',
      domain: 'com.example',
      inputs: [known.output()],
      name: 'other',
    });
    graph.setOutputs([other.output()]);
    const model = new Model({ graph });
    await inferShapes(model);
    expect(modelCost(model).unknown).toEqual([
      { node: 'known', op: 'Relu', reason: 'the size of "data" is not known' },
      { node: 'other', op: 'com.example.Mystery', reason: 'the operator has no definition' },
    ]);
  });

  test('counts the branch of an If that multiplies most', async () => {
    const graph = new Graph();
    const data = graph.addInput('data', tensorType('float32', [2, 8]));
    const branch = (name: string, columns: number): Attribute => {
      const body = new Graph(name, graph);
      const product = body.addNode({
        opType: 'MatMul',
        inputs: [data, weight(body, `${name}_w`, [8, columns])],
      });
      body.setOutputs([product.output()]);
      return attribute.graph(body);
    };
    const condition = graph.addInput('condition', tensorType('bool', []));
    const node = graph.addNode({
      opType: 'If',
      inputs: [condition],
      attributes: { then_branch: branch('small', 4), else_branch: branch('large', 16) },
    });
    node.output().type = tensorType('float32', [2, 16]);
    graph.setOutputs([node.output()]);
    const model = new Model({ graph });
    await inferShapes(model);
    expect(modelCost(model).macs).toBe(2 * 8 * 16);
    expect(modelCost(model).parameters).toBe(8 * 4 + 8 * 16);
  });
});
