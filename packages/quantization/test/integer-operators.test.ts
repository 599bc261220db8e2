import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { attribute, type Backend, type Feeds, type Model, Tensor, type Value } from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { writeOnnx } from '@lithe/onnx';
import { integerOperators, type StaticInt8Options, staticInt8 } from '@lithe/quantization';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Net, net, operators } from './net.ts';
import { processorKernels, processorSaturates } from './processor.ts';
import { apply, contextOf, fixedData, load, normal, runModel, runSession, sqnr } from './support.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await onnxruntimeNode();
});
afterAll(async () => {
  await backend.dispose();
});

const window = { kernel_shape: attribute.ints([3, 3]), pads: attribute.ints([1, 1, 1, 1]) };
const two = { kernel_shape: attribute.ints([2, 2]), strides: attribute.ints([2, 2]) };
const images = Array.from({ length: 4 }, (_, index): Feeds => ({ x: normal([1, 3, 16, 16], 30 + index) }));
const unseen: Feeds = { x: normal([1, 3, 16, 16], 77) };

function conv(n: Net, x: Value, from: number, to: number): Value {
  return n.add(
    'Conv',
    [x, n.weight([to, from, 3, 3], Math.sqrt(2 / (9 * from))), n.weight([to], 0.1)],
    window,
  );
}

/** A stem, pooling, a residual block and a classifier: all that a small network is made of. */
function residual(): Model {
  const n = net();
  const stem = n.add('MaxPool', [n.add('Relu', [conv(n, n.input('x', [1, 3, 16, 16]), 3, 16)])], two);
  const six = n.constant(Tensor.from('float32', [], Float32Array.of(6)));
  const zero = n.constant(Tensor.from('float32', [], Float32Array.of(0)));
  const first = n.add('Clip', [conv(n, stem, 16, 16), zero, six]);
  const block = n.add('Relu', [n.add('Add', [conv(n, first, 16, 16), stem])]);
  const both = n.add('Concat', [block, n.add('AveragePool', [conv(n, block, 16, 16)], { ...window })], {
    axis: attribute.int(1),
  });
  const features = n.add('Flatten', [n.add('GlobalAveragePool', [both])]);
  return n.model(n.add('Gemm', [features, n.weight([10, 32]), n.weight([10])], { transB: attribute.int(1) }));
}

/** Two convolutions. */
function plain(): Model {
  const n = net();
  const first = n.add('Relu', [conv(n, n.input('x', [1, 3, 16, 16]), 3, 8)]);
  return n.model(conv(n, first, 8, 8));
}

/** Attention in small: projections, a product of activations, an output with a bias. */
function attention(): Model {
  const n = net();
  const x = n.input('x', [1, 8, 32]);
  const turned = n.add('Transpose', [n.add('MatMul', [x, n.weight([32, 32])])], {
    perm: attribute.ints([0, 2, 1]),
  });
  const scores = n.add('Softmax', [n.add('MatMul', [n.add('MatMul', [x, n.weight([32, 32])]), turned])]);
  return n.model(
    n.add('Add', [n.add('MatMul', [n.add('MatMul', [scores, x]), n.weight([32, 32])]), n.weight([32])]),
  );
}

const words = Array.from({ length: 4 }, (_, index): Feeds => ({ x: normal([1, 8, 32], 50 + index) }));
const models: readonly (readonly [string, () => Model, readonly Feeds[], Feeds])[] = [
  ['a convolutional network', residual, images, unseen],
  ['attention', attention, words, { x: normal([1, 8, 32], 70) }],
];

function quantize(model: Model, data: readonly Feeds[], options: StaticInt8Options) {
  const everything = { conversionCost: 0, minimumElements: 1, activationProducts: true };
  return apply(
    model,
    staticInt8({ ...everything, ...options }),
    contextOf({ backend, data: fixedData(data) }),
  );
}

const kernels = { kernels: processorKernels };

/** Largest difference of any output. */
function distance(left: Readonly<Record<string, Tensor>>, right: Readonly<Record<string, Tensor>>): number {
  let worst = 0;
  for (const [name, tensor] of Object.entries(left)) {
    const other = right[name]?.toFloat64Array() ?? new Float64Array();
    const values = tensor.toFloat64Array();
    expect(other.length).toBe(values.length);
    for (let index = 0; index < values.length; index++)
      worst = Math.max(worst, Math.abs(values[index]! - other[index]!));
  }
  return worst;
}

describe.each(models)('integer operators of %s', (_, build, data, feeds) => {
  it.each(['uint8', 'int8'] as const)(
    'give what onnxruntime makes of the pairs, with %s activations',
    async (activations) => {
      // onnxruntime makes signed activations between pairs unsigned, whose products may saturate; in integer operators it
      // leaves them signed, whose products do not.
      const reducedRange = processorSaturates && activations === 'int8';
      const options = { activations, reducedRange };
      const { model: pairs } = await quantize(build(), data, options);
      const { model: integers } = await quantize(build(), data, { ...options, format: 'qoperator' });
      const names = operators(integers);
      expect(
        (names['QLinearConv'] ?? 0) + (names['QLinearMatMul'] ?? 0) + (names['MatMulInteger'] ?? 0),
      ).toBeGreaterThan(3);
      expect([...integers.graph.nodes()].every((node) => node.domain === '')).toBe(true);
      const expected = await runModel(build(), feeds);
      const fused = await runModel(pairs, feeds);
      const actual = await runModel(integers, feeds);
      // Additions and pools run in floats here and in integers there: a rounding step apart, 40 dB and more.
      expect(sqnr(fused, actual)).toBeGreaterThan(32);
      expect(sqnr(expected, actual)).toBeGreaterThan(sqnr(expected, fused) - 1.5);
      expect(sqnr(await evaluateModel(integers, feeds, kernels), actual)).toBeGreaterThan(38);
    },
  );

  it('are the same operators that onnxruntime makes of the pairs, when its own are allowed', async () => {
    // The interpreter has no saturating kernel for QGemm.
    const { model: pairs } = await quantize(build(), data, { reducedRange: processorSaturates });
    const { model: integers } = await apply(pairs, integerOperators({ microsoftOperators: true }));
    expect(distance(await runModel(pairs, feeds), await runModel(integers, feeds))).toBeLessThan(1e-5);
    expect(sqnr(await evaluateModel(integers, feeds), await runModel(integers, feeds))).toBeGreaterThan(38);
  });
});

describe('the file', () => {
  it.each([
    ['opset 12, where pooling takes integers', residual, 12],
    ['opset 10', plain, 10],
  ] as const)('can be written at %s, for runtimes that know no pairs', async (_, build, opset) => {
    const { model } = await quantize(build(), images, { format: 'qoperator' });
    const session = await load(await writeOnnx(model, { opset }));
    const actual = await runSession(session, unseen);
    await session.release();
    expect(distance(await runModel(model, unseen), actual)).toBeLessThan(1e-5);
  });

  it('never holds ConvInteger, whose signed weights are seven times slower than floats', async () => {
    const { model } = await quantize(residual(), images, { format: 'qoperator' });
    expect(operators(model)['ConvInteger']).toBeUndefined();
  });
});

it('refuses formats that integer operators do not have', () => {
  expect(() => staticInt8({ format: 'qoperator', weightBits: 4 })).toThrow(/4-bit weights need/);
  expect(() => staticInt8({ format: 'qoperator', activations: 'int16' })).toThrow(/16-bit activations need/);
});
