import { attribute, createRng, Graph, Model, type Node, Tensor, tensorType } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { type LinearLayer, readLinearLayer } from '../layers/linear-layer.ts';
import { addRows, layerRows, matrixView } from './rows.ts';

interface Case {
  readonly name: string;
  readonly opType: string;
  readonly x: readonly number[];
  readonly weight: readonly number[];
  readonly attributes?: Readonly<Record<string, ReturnType<typeof attribute.int>>>;
}

const cases: readonly Case[] = [
  {
    name: 'a padded convolution',
    opType: 'Conv',
    x: [3, 4, 6, 5],
    weight: [7, 4, 3, 3],
    attributes: { pads: attribute.ints([1, 0, 1, 2]) },
  },
  {
    name: 'a strided, dilated convolution in groups',
    opType: 'Conv',
    x: [2, 6, 9, 9],
    weight: [4, 3, 3, 2],
    attributes: {
      group: attribute.int(2),
      strides: attribute.ints([2, 3]),
      dilations: attribute.ints([2, 1]),
    },
  },
  {
    name: 'a depthwise convolution with pads made to keep the size',
    opType: 'Conv',
    x: [2, 5, 7, 8],
    weight: [5, 1, 4, 3],
    attributes: {
      group: attribute.int(5),
      auto_pad: attribute.string('SAME_LOWER'),
      strides: attribute.ints([2, 1]),
    },
  },
  {
    name: 'a convolution along one axis',
    opType: 'Conv',
    x: [2, 3, 11],
    weight: [4, 3, 5],
    attributes: { auto_pad: attribute.string('SAME_UPPER') },
  },
  {
    name: 'a transposed convolution in groups',
    opType: 'ConvTranspose',
    x: [2, 4, 4, 3],
    weight: [4, 3, 3, 2],
    attributes: {
      group: attribute.int(2),
      strides: attribute.ints([2, 2]),
      pads: attribute.ints([1, 0, 0, 1]),
    },
  },
  { name: 'a product of many axes', opType: 'MatMul', x: [2, 5, 6], weight: [6, 4] },
  {
    name: 'a Gemm with a transposed weight',
    opType: 'Gemm',
    x: [9, 6],
    weight: [4, 6],
    attributes: { transB: attribute.int(1) },
  },
];

function random(shape: readonly number[], seed: number): Tensor<'float32'> {
  const rng = createRng(seed);
  const size = shape.reduce((product, dim) => product * dim, 1);
  return Tensor.from(
    'float32',
    shape,
    Float32Array.from({ length: size }, () => rng.normal()),
  );
}

describe('rows of a layer', () => {
  it.each(cases)('times the matrices of its weight give its results: $name', async (item) => {
    const graph = new Graph();
    const x = graph.addInput('x', tensorType('float32', item.x));
    const weight = random(item.weight, 2);
    const inputs = [x, graph.addInitializer('w', weight)];
    const node: Node = graph.addNode({ opType: item.opType, inputs, attributes: item.attributes ?? {} }, [
      { name: 'y', type: tensorType('float32') },
    ]);
    graph.setOutputs([node.output()]);
    await using executable = await referenceBackend().compile(new Model({ graph }));
    const input = random(item.x, 1);
    const { y } = await executable.run({ x: input });
    const layer = readLinearLayer(node) as LinearLayer;
    const view = matrixView(layer);
    const { groups, outputs, length, order } = view;
    const rows = layerRows(view, 40);
    const batch = { input, output: y as Tensor };
    expect(addRows(layer, view, batch, { rows, perSample: 9, rng: createRng(3) })).toBe(true);
    expect(rows.count).toBeGreaterThan(8);
    for (let group = 0; group < groups; group++) {
      for (let row = 0; row < rows.count; row++) {
        for (let output = 0; output < outputs; output++) {
          let sum = 0;
          for (let at = 0; at < length; at++) {
            const place = (group * outputs + output) * length + at;
            const element = weight.data[order === undefined ? place : order[place]!]!;
            sum += rows.inputs[(group * rows.capacity + row) * length + at]! * element;
          }
          expect(sum).toBeCloseTo(rows.targets[(group * rows.capacity + row) * outputs + output]!, 4);
        }
      }
    }
  });
});
