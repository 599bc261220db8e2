import { nodeCpuTarget, onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { optimizedGraph } from '@lithe/backend-onnxruntime/node';
import { attribute, type Backend, type Feeds, type Model, Tensor, type Value } from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { readOnnx } from '@lithe/onnx';
import { explain, type StaticInt8Options, staticInt8 } from '@lithe/quantization';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

const window = { kernel_shape: attribute.ints([3, 3]), pads: attribute.ints([1, 1, 1, 1]) };
const images = Array.from({ length: 4 }, (_, index): Feeds => ({ x: normal([1, 16, 12, 12], 30 + index) }));
const unseen: Feeds = { x: normal([1, 16, 12, 12], 77) };

/** Weights of a depthwise convolution whose channels differ by a factor of up to a thousand. */
function uneven(n: Net): Value {
  const data = normal([32, 1, 3, 3], 9).data.slice();
  for (let index = 0; index < data.length; index++) data[index]! *= 10 ** -((Math.floor(index / 9) * 3) / 31);
  return n.constant(Tensor.from('float32', [32, 1, 3, 3], data));
}

/** Expand, depthwise, project: what mobile networks are made of. */
function separable(): Model {
  const n = net();
  const wide = n.add('Relu', [
    n.add('Conv', [n.input('x', [1, 16, 12, 12]), n.weight([32, 16, 1, 1]), n.weight([32])]),
  ]);
  const depthwise = n.add('Conv', [wide, uneven(n), n.weight([32], 0.001)], {
    ...window,
    group: attribute.int(32),
  });
  const scaled = n.add('Mul', [
    n.add('Relu', [depthwise]),
    n.constant(
      Tensor.from(
        'float32',
        [1, 32, 1, 1],
        Float32Array.from({ length: 32 }, (_, c) => 10 ** ((c * 3) / 31)),
      ),
    ),
  ]);
  return n.model(n.add('Conv', [n.add('Relu', [scaled]), n.weight([16, 32, 1, 1])]));
}

function quantize(model: Model, options: StaticInt8Options, data: readonly Feeds[] = images) {
  const everything = { conversionCost: 0, minimumElements: 1 };
  const context = contextOf({ backend, data: fixedData(data), target: nodeCpuTarget() });
  return apply(model, staticInt8({ ...everything, ...options }), context);
}

describe('a depthwise convolution', () => {
  it('that is left in float stays so in the runtime, which would give all its channels one scale', async () => {
    const { model } = await quantize(separable(), { depthwise: false });
    // Before layouts for this processor, in which other operators become convolutions.
    const left = operators(await readOnnx(await optimizedGraph(model)));
    expect([left['QLinearConv'], (left['Conv'] ?? 0) + (left['FusedConv'] ?? 0)]).toEqual([2, 1]);
    const explanation = await explain(model, { target: nodeCpuTarget() });
    expect(explanation.operators.filter(({ code }) => code === 'weights-by-runtime')).toEqual([]);
  });

  it('has a scale per channel in integers', async () => {
    const { model } = await quantize(separable(), { depthwise: true });
    expect(operators(await optimizedModel(model))['QLinearConv']).toBe(3);
  });

  it('runs in integers between integers by itself, and not alone', async () => {
    const target = nodeCpuTarget();
    const context = contextOf({ backend, data: fixedData(images), target });
    const dense = (n: Net, x: Value): Value => n.add('Conv', [x, n.weight([16, 16, 3, 3])], window);
    const depth = (n: Net, x: Value): Value =>
      n.add('Conv', [x, n.weight([16, 1, 3, 3])], { ...window, group: attribute.int(16) });
    const between = net();
    const chain = between.model(
      dense(between, depth(between, dense(between, between.input('x', [1, 16, 12, 12])))),
    );
    expect((await apply(chain, staticInt8(), context)).report.skipped).toEqual([]);
    const alone = net();
    const single = alone.model(depth(alone, alone.input('x', [1, 16, 12, 12])));
    const { report } = await apply(single, staticInt8(), context);
    expect(report.skipped.map(({ code }) => code)).toEqual(['conversions']);
  });
});

describe('formats for other runtimes', () => {
  const plain = (): Model => {
    const n = net();
    const first = n.add('Relu', [
      n.add('Conv', [n.input('x', [1, 16, 12, 12]), n.weight([16, 16, 3, 3])], window),
    ]);
    return n.model(n.add('Conv', [first, n.weight([16, 16, 3, 3]), n.weight([16])], window));
  };

  it.each([
    // Sixteen bits of activations leave the noise of 8-bit weights, about 40 dB each layer.
    [{ activations: 'uint16' }, 'uint16', 38],
    [{ activations: 'int16' }, 'int16', 38],
    [{ weightScales: 'per-tensor' }, 'uint8', 28],
    [{ symmetricActivations: true }, 'uint8', 28],
    [{ activations: 'int8', symmetricActivations: true }, 'int8', 25],
    // Four bits: 15 steps over about 6 deviations, 18 dB each layer.
    [{ weightBits: 4 }, 'uint8', 12],
  ] as const)(
    '%o give the same answer in onnxruntime and in the reference interpreter',
    async (options, dtype, least) => {
      const model = plain();
      // Wide activations and 4-bit weights are computed in floats.
      const inIntegers = !dtype.endsWith('16') && !('weightBits' in options);
      const reducedRange = processorSaturates && inIntegers;
      const { model: quantized } = await quantize(model, { ...options, reducedRange });
      const [pair] = [...quantized.graph.nodes()].filter((node) => node.is('QuantizeLinear'));
      expect(pair?.input(2)?.initializer?.dtype).toBe(dtype);
      const actual = await runModel(quantized, unseen);
      expect(sqnr(await runModel(model, unseen), actual)).toBeGreaterThan(least);
      expect(sqnr(await evaluateModel(quantized, unseen), actual)).toBeGreaterThan(least + 8);
    },
  );

  it('says that onnxruntime computes wide activations in floats', async () => {
    const { report, model } = await quantize(plain(), { activations: 'uint16' });
    expect(report.skipped.map(({ code }) => code)).toContain('other-runtimes');
    const { operators: all } = await explain(model, { target: nodeCpuTarget() });
    expect(all.filter(({ op }) => op === 'Conv').map(({ code }) => code)).toEqual([
      'wide-integers',
      'wide-integers',
    ]);
  });

  it('keeps the zero point in the middle only where activations go below 0', async () => {
    const { model } = await quantize(plain(), { symmetricActivations: true });
    const zeros: number[] = [];
    for (const node of model.graph.nodes()) {
      if (!node.is('QuantizeLinear')) continue;
      zeros.push(...((await node.input(2)?.initializer?.load())?.toFloat64Array() ?? []));
    }
    expect(zeros.sort((a, b) => a - b)).toEqual([0, 128, 128]);
  });
});

it('stores the weights of transposed convolutions when asked, and says that they compute in floats', async () => {
  const n = net();
  const x = n.add('Conv', [n.input('x', [1, 16, 12, 12]), n.weight([16, 16, 3, 3])], window);
  const up = n.add('ConvTranspose', [x, n.weight([16, 8, 2, 2]), n.weight([8])], {
    strides: attribute.ints([2, 2]),
    kernel_shape: attribute.ints([2, 2]),
  });
  const model = n.model(n.add('Conv', [up, n.weight([4, 8, 3, 3])], window));
  const { model: float, report } = await quantize(model, {});
  expect(report.skipped).toMatchObject([{ code: 'no-kernel' }]);
  expect(operators(await optimizedModel(float))['ConvTranspose']).toBe(1);
  const weightOf = (made: Model) =>
    [...made.graph.nodes()].find((node) => node.is('ConvTranspose'))?.input(1);
  expect(weightOf(float)?.initializer?.dtype).toBe('float32');
  const { model: stored } = await quantize(model, { transposed: 'weights' });
  expect(weightOf(stored)?.producer?.input(0)?.initializer?.dtype).toBe('int8');
  expect(weightOf(stored)?.producer?.input(1)?.initializer?.shape).toEqual([8]);
  const expected = await runModel(model, unseen);
  expect(sqnr(expected, await runModel(float, unseen))).toBeGreaterThan(25);
  expect(sqnr(expected, await runModel(stored, unseen))).toBeGreaterThan(25);
});

it('stores tables of embeddings as rows of int8', async () => {
  const n = net();
  const rows = n.add('Gather', [n.weight([80, 32]), n.input('i', [1, 6], 'int64')]);
  const model = n.model(n.add('MatMul', [rows, n.weight([32, 40])]));
  const feeds: Feeds = { i: Tensor.from('int64', [1, 6], BigInt64Array.of(1n, 5n, 79n, 0n, 3n, 3n)) };
  const { model: small } = await quantize(model, { reducedRange: processorSaturates }, [feeds]);
  expect(
    [...small.graph.initializers].some(
      ({ dtype, shape }) => dtype === 'float32' && shape?.join() === '80,32',
    ),
  ).toBe(false);
  expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(28);
  const { model: kept } = await quantize(model, { tables: false }, [feeds]);
  expect([...kept.graph.nodes()].find((node) => node.is('Gather'))?.input(0)?.dtype).toBe('float32');
});

describe('a concatenation', () => {
  const joined = (scale: number): Model => {
    const n = net();
    const x = n.add('Conv', [n.input('x', [1, 16, 12, 12]), n.weight([16, 16, 3, 3])], window);
    const left = n.add('Conv', [x, n.weight([8, 16, 3, 3], 0.2)], window);
    const right = n.add('Conv', [x, n.weight([8, 16, 3, 3], 0.2 * scale)], window);
    const both = n.add('Concat', [left, right], { axis: attribute.int(1) });
    return n.model(n.add('Conv', [both, n.weight([16, 16, 3, 3])], window));
  };
  const scalesAround = (model: Model): number => {
    const node = [...model.graph.nodes()].find((one) => one.is('Concat'));
    const readers = node?.output().uses.map((use) => use.node.input(1)) ?? [];
    return new Set([...(node?.inputs ?? []).map((value) => value?.producer?.input(1)), ...readers]).size;
  };

  it('has one scale around it where no part loses more than a bit by it', async () => {
    const model = joined(1);
    const { model: alike } = await quantize(model, { reducedRange: processorSaturates });
    expect(scalesAround(alike)).toBe(1);
    expect(sqnr(await runModel(model, unseen), await runModel(alike, unseen))).toBeGreaterThan(25);
    const { model: unlike } = await quantize(joined(0.1), {});
    expect(scalesAround(unlike)).toBe(3);
  });

  it('takes no part of another one further than a bit from its own range', async () => {
    const n = net();
    const x = n.input('x', [1, 16, 12, 12]);
    const branch = (deviation: number): Value => n.add('Conv', [x, n.weight([16, 16, 1, 1], deviation)]);
    const parts = [0.05, 0.09, 0.16, 0.29, 0.52, 0.94].map(branch);
    const all = parts.reduce((left, right) => n.add('Concat', [left, right], { axis: attribute.int(1) }));
    const own = n.add('Conv', [parts[0] ?? null, n.weight([16, 16, 1, 1])]);
    const joint = n.add('Conv', [all, n.weight([16, 96, 1, 1], 0.001)]);
    const model = n.model(n.add('Add', [own, joint]));
    const { model: small } = await quantize(model, { reducedRange: processorSaturates });
    // One scale for all would leave the smallest part 4 of 8 bits, and 12 dB.
    expect(sqnr(await runModel(model, unseen), await runModel(small, unseen))).toBeGreaterThan(25);
  });

  it('leaves rectified parts a range that takes the rectifier in, whatever they are joined to later', async () => {
    const n = net();
    const x = n.input('x', [1, 16, 12, 12]);
    const shifted = n.constant(Tensor.from('float32', [16], new Float32Array(16).fill(1.5)));
    const rectified = (): Value => n.add('Relu', [n.add('Conv', [x, n.weight([16, 16, 1, 1])])]);
    const axis = attribute.int(1);
    const both = n.add('Concat', [rectified(), rectified()], { axis });
    const signed = n.add('Conv', [x, n.weight([16, 16, 1, 1], 0.15), shifted]);
    const all = n.add('Concat', [both, signed], { axis });
    const model = n.model(n.add('Conv', [all, n.weight([16, 48, 1, 1])]));
    const { model: small } = await quantize(model, {});
    // A convolution whose rectifier the range does not take in stays in floats.
    expect(operators(await optimizedModel(small))['QLinearConv']).toBe(4);
  });
});
