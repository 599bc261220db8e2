import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { attribute, type Backend, Tensor, type Value } from '@lithe/core';
import { staticInt8 } from '@lithe/quantization';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Net, net, operators } from './net.ts';
import { processorSaturates } from './processor.ts';
import { apply, contextOf, fixedData, normal, optimizedModel, runModel, sqnr } from './support.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await onnxruntimeNode();
});
afterAll(async () => {
  await backend.dispose();
});

const pair = attribute.ints([2, 2]);

/** What may stand between two integer convolutions: everything that the table of operators claims. */
const between: Readonly<Record<string, (n: Net, x: Value) => Value>> = {
  Add: (n, x) => n.add('Add', [x, n.weight([32, 1, 1])]),
  AveragePool: (n, x) => n.add('AveragePool', [x], { kernel_shape: pair }),
  Concat: (n, x) =>
    n.add('Concat', [x, n.add('Conv', [x, n.weight([32, 32, 1, 1])])], { axis: attribute.int(2) }),
  DepthToSpace: (n, x) =>
    n.add('Conv', [n.add('DepthToSpace', [x], { blocksize: attribute.int(2) }), n.weight([32, 8, 1, 1])]),
  Expand: (n, x) => n.add('Expand', [x, n.integers(2, 32, 8, 8)]),
  Flatten: (n, x) => n.add('Reshape', [n.add('Flatten', [x]), n.integers(1, 32, 8, 8)]),
  Gather: (n, x) => n.add('Gather', [x, n.integers(0, 3, 5)], { axis: attribute.int(2) }),
  GlobalAveragePool: (n, x) => n.add('GlobalAveragePool', [x]),
  LeakyRelu: (n, x) => n.add('LeakyRelu', [x], { alpha: attribute.float(0.1) }),
  MaxPool: (n, x) => n.add('MaxPool', [x], { kernel_shape: pair }),
  Mul: (n, x) => n.add('Mul', [x, n.weight([32, 1, 1])]),
  Reshape: (n, x) => n.add('Reshape', [x, n.integers(1, 32, 32, 2)]),
  Resize: (n, x) =>
    n.add('Resize', [x, null, n.constant(Tensor.from('float32', [4], Float32Array.of(1, 1, 2, 2)))], {
      coordinate_transformation_mode: attribute.string('asymmetric'),
      nearest_mode: attribute.string('floor'),
    }),
  Slice: (n, x) => n.add('Slice', [x, n.integers(0), n.integers(4), n.integers(2)]),
  Split: (n, x) => {
    const attributes = { axis: attribute.int(2), num_outputs: attribute.int(2) };
    const split = n.graph.addNode({ opType: 'Split', inputs: [x], attributes }, 2);
    return n.add('Add', [split.output(0), split.output(1)]);
  },
  Squeeze: (n, x) => n.add('Squeeze', [n.add('Unsqueeze', [x, n.integers(0)]), n.integers(0)]),
  Tile: (n, x) => n.add('Tile', [x, n.integers(1, 1, 2, 1)]),
  Transpose: (n, x) => n.add('Transpose', [x], { perm: attribute.ints([0, 1, 3, 2]) }),
};

it.each(Object.entries(between))(
  '%s runs on integers between two convolutions, without a conversion',
  async (_, build) => {
    const n = net();
    const first = n.add('Conv', [n.input('x', [1, 32, 8, 8]), n.weight([32, 32, 1, 1])]);
    const model = n.model(n.add('Conv', [build(n, first), n.weight([32, 32, 1, 1])]));
    const feeds = { x: normal([1, 32, 8, 8], 1) };
    const { model: small, report } = await apply(
      model,
      staticInt8({ conversionCost: 0, reducedRange: processorSaturates }),
      contextOf({ backend, data: fixedData([feeds]) }),
    );
    expect(report.skipped).toEqual([]);
    const left = operators(await optimizedModel(small));
    expect([left['QuantizeLinear'], left['DequantizeLinear'], left['Conv']]).toEqual([1, 1, undefined]);
    // Two to four layers of 8-bit weights and activations.
    expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(26);
  },
);
