import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  attribute,
  type Backend,
  type Feeds,
  type Model,
  type Target,
  Tensor,
  type Value,
} from '@lithe/core';
import { type CalibrationStats, observe, staticInt8 } from '@lithe/quantization';
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

function conv(n: Net, x: Value, from: number, to: number): Value {
  return n.add(
    'Conv',
    [x, n.weight([to, from, 3, 3], Math.sqrt(2 / (9 * from))), n.weight([to], 0.1)],
    window,
  );
}

/** A stem, a residual block, pooling and a classifier: every kind of operator that runs in integers. */
function residual(): Model {
  const n = net();
  const x = n.input('x', [1, 3, 16, 16]);
  const stem = n.add('MaxPool', [n.add('Relu', [conv(n, x, 3, 32)])], {
    kernel_shape: attribute.ints([2, 2]),
    strides: attribute.ints([2, 2]),
  });
  const six = n.constant(Tensor.from('float32', [], Float32Array.of(6)));
  const zero = n.constant(Tensor.from('float32', [], Float32Array.of(0)));
  const first = n.add('Clip', [conv(n, stem, 32, 32), zero, six]);
  const block = n.add('Relu', [n.add('Add', [conv(n, first, 32, 32), stem])]);
  const features = n.add('Flatten', [n.add('GlobalAveragePool', [block])]);
  return n.model(n.add('Gemm', [features, n.weight([10, 32]), n.weight([10])], { transB: attribute.int(1) }));
}

const images = Array.from({ length: 6 }, (_, index): Feeds => ({ x: normal([1, 3, 16, 16], 60 + index) }));
const unseen: Feeds = { x: normal([1, 3, 16, 16], 99) };
const everything = { conversionCost: 0, minimumElements: 1 };

function quantize(
  model: Model,
  options: Parameters<typeof staticInt8>[0] = {},
  data: readonly Feeds[] = images,
) {
  return apply(
    model,
    staticInt8({ ...everything, ...options }),
    contextOf({ backend, data: fixedData(data) }),
  );
}

describe('static int8', () => {
  it('leaves no float convolution, product, addition or pool between the input and the output', async () => {
    const model = residual();
    const { model: small, report } = await quantize(model);
    expect(report.skipped).toEqual([]);
    const left = operators(await optimizedModel(small));
    expect(left).toMatchObject({
      QLinearConv: 3,
      QLinearAdd: 1,
      QLinearGlobalAveragePool: 1,
      QGemm: 1,
      QuantizeLinear: 1,
    });
    for (const gone of ['Conv', 'Relu', 'Clip', 'Add', 'Gemm', 'DequantizeLinear', 'MaxPool'])
      expect(Object.keys(left)).not.toContain(gone);
    const expected = await runModel(model, unseen);
    // Five layers of 8-bit weights and activations, 40 dB each, noise adding up.
    expect(sqnr(expected, await runModel(small, unseen))).toBeGreaterThan(25);
    expect(sqnr(expected, await runModel(small, unseen, 'wasm'))).toBeGreaterThan(25);
  });

  it('keeps inputs and outputs, their names and types', async () => {
    const model = residual();
    const { model: small } = await quantize(model);
    expect(small.graph.inputs.map(({ name, dtype }) => [name, dtype])).toEqual([['x', 'float32']]);
    expect(small.graph.outputs.map(({ name }) => name)).toEqual(model.graph.outputs.map(({ name }) => name));
    for (const node of small.graph.nodes())
      if (node.is('QuantizeLinear')) expect(node.output().isGraphOutput).toBe(false);
  });

  it('gives an output that a convolution makes back as float, with the integer kernel before it', async () => {
    const n = net();
    const middle = n.add('Relu', [conv(n, n.input('x', [1, 3, 16, 16]), 3, 16)]);
    const model = n.model(conv(n, middle, 16, 8), middle);
    const { model: small } = await quantize(model, { reducedRange: processorSaturates });
    expect(operators(await optimizedModel(small))['QLinearConv']).toBe(2);
    expect(small.graph.outputs.every((value) => value.producer?.is('DequantizeLinear') === true)).toBe(true);
    expect(sqnr(await runModel(model, unseen), await runModel(small, unseen))).toBeGreaterThan(28);
  });

  it('stores weights per channel in [-127, 127] and biases at the scale of the sums', async () => {
    const { model: small } = await quantize(residual());
    const stem = [...small.graph.nodes()].find((node) => node.is('Conv'));
    const tensor = async (value: Value | null | undefined): Promise<Tensor> =>
      (await value?.initializer?.load()) as Tensor;
    const [weight, bias, input] = [
      stem?.input(1)?.producer,
      stem?.input(2)?.producer,
      stem?.input(0)?.producer,
    ];
    const levels = (await tensor(weight?.input(0))).data as Int8Array;
    expect(Math.max(...levels)).toBeLessThanOrEqual(127);
    expect(Math.min(...levels)).toBeGreaterThanOrEqual(-127);
    const scales = (await tensor(weight?.input(1))).data as Float32Array;
    expect(scales).toHaveLength(32);
    const inputScale = ((await tensor(input?.input(1))).data as Float32Array)[0]!;
    const biasScales = (await tensor(bias?.input(1))).data as Float32Array;
    biasScales.forEach((scale, channel) => {
      expect(scale).toBe(Math.fround(scales[channel]! * inputScale));
    });
    expect((await tensor(bias?.input(0))).dtype).toBe('int32');
  });

  it('keeps the bias of a channel whose weights are all zero', async () => {
    const n = net();
    const weight = normal([16, 8, 3, 3], 5, 0.2).data.slice();
    weight.fill(0, 0, 4 * 72);
    const x = n.input('x', [1, 8, 6, 6]);
    const bias = Float32Array.from({ length: 16 }, (_, channel) => 0.3 + channel * 0.001);
    const inputs = [
      x,
      n.constant(Tensor.from('float32', [16, 8, 3, 3], weight)),
      n.constant(Tensor.from('float32', [16], bias)),
    ];
    const model = n.model(n.add('Conv', inputs, window));
    const feeds = { x: normal([1, 8, 6, 6], 1, 20) };
    const { model: small } = await quantize(model, {}, [feeds]);
    const conv = [...small.graph.nodes()].find((node) => node.is('Conv'));
    const [levels, scales] = await Promise.all(
      [0, 1].map(async (index) =>
        (await conv?.input(2)?.producer?.input(index)?.initializer?.load())?.toFloat64Array(),
      ),
    );
    for (let channel = 0; channel < 16; channel++) {
      expect(levels![channel]! * scales![channel]!).toBeCloseTo(bias[channel]!, channel < 4 ? 6 : 2);
    }
    expect(operators(await optimizedModel(small))['QLinearConv']).toBe(1);
  });

  it('takes the type of activations from the target, and leaves what it does not fuse', async () => {
    const profile = { formats: [], unsignedActivations: false, channelMultiple: 1 };
    const refuse = (node: { opType: string }) =>
      node.opType === 'Add' ? ({ ok: false, reason: 'not fused there' } as const) : ({ ok: true } as const);
    const target = {
      name: 'test',
      description: 'test',
      profile: { ...profile, fusesQdq: refuse },
    } as unknown as Target;
    const context = contextOf({ backend, data: fixedData(images), target });
    const { model: small } = await apply(residual(), staticInt8(everything), context);
    const pairs = [...small.graph.nodes()].filter((node) => node.is('QuantizeLinear'));
    expect(pairs.every((node) => node.input(2)?.dtype === 'int8')).toBe(true);
    const add = [...small.graph.nodes()].find((node) => node.is('Add'));
    expect(add?.output().uses[0]?.node.opType).toBe('Relu');
    expect(operators(await optimizedModel(small))['QLinearAdd']).toBeUndefined();
  });

  it('keeps products of transformers in integers whether or not a bias follows', async () => {
    const n = net();
    const x = n.input('x', [1, 8, 32]);
    const hidden = n.add('Gelu', [n.add('Add', [n.add('MatMul', [x, n.weight([32, 64])]), n.weight([64])])]);
    const model = n.model(n.add('Add', [x, n.add('MatMul', [hidden, n.weight([64, 32])])]));
    const { model: small } = await quantize(model, { reducedRange: processorSaturates }, [
      { x: normal([1, 8, 32], 1) },
    ]);
    expect(operators(await optimizedModel(small))['MatMulIntegerToFloat']).toBe(2);
    const feeds = { x: normal([1, 8, 32], 2) };
    expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(28);
  });

  it('gives a product of matrices an integer bias', async () => {
    const n = net();
    const model = n.model(
      n.add('Add', [n.weight([40]), n.add('MatMul', [n.input('x', [4, 32]), n.weight([32, 40])])]),
    );
    const feeds = { x: normal([4, 32], 2) };
    const { model: small } = await quantize(model, {}, [feeds]);
    expect(operators(await optimizedModel(small))).toEqual({ QuantizeLinear: 1, QGemm: 1 });
    expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(30);
  });

  it('leaves in float, with the reason, what loses: depthwise, short sums, functions between floats', async () => {
    const n = net();
    const x = n.input('x', [1, 16, 8, 8]);
    const depthwise = n.add('Conv', [x, n.weight([16, 1, 3, 3]), null], {
      ...window,
      group: attribute.int(16),
    });
    const short = n.add('Conv', [n.add('Tanh', [depthwise]), n.weight([8, 16, 1, 1])]);
    const model = n.model(n.add('Add', [short, short]), n.add('ConvTranspose', [x, n.weight([16, 4, 2, 2])]));
    const context = contextOf({ backend, data: fixedData([{ x: normal([1, 16, 8, 8], 1) }]) });
    const { report } = await apply(model, staticInt8({ depthwise: false }), context);
    expect(report.changed).toBe(false);
    expect(report.skipped.map(({ code }) => code).sort()).toEqual(['conversions', 'depthwise', 'no-kernel']);
    const named = await apply(
      residual(),
      staticInt8({ ...everything, exclude: ['Conv_0'] }),
      contextOf({ backend, data: fixedData(images) }),
    );
    expect(named.report.skipped).toContainEqual({
      target: 'Conv_0',
      code: 'excluded',
      reason: 'it was excluded by name',
    });
  });

  it('works from statistics that went through JSON, and needs data without them', async () => {
    const model = residual();
    const stats = JSON.parse(
      JSON.stringify(await observe(model, fixedData(images), { backend })),
    ) as CalibrationStats;
    const given = await apply(model, staticInt8({ ...everything, stats }));
    const observed = await quantize(model);
    const outputs = await runModel(given.model, unseen);
    expect(sqnr(await runModel(observed.model, unseen), outputs)).toBe(Number.POSITIVE_INFINITY);
    await expect(apply(model, staticInt8())).rejects.toMatchObject({ code: 'PASS_NEEDS' });
  });

  it('leaves nodes without statistics in float and says so', async () => {
    const model = residual();
    const stats = await observe(model, fixedData(images), { backend });
    const { x: _, ...rest } = stats.tensors;
    const { report } = await apply(model, staticInt8({ ...everything, stats: { ...stats, tensors: rest } }));
    expect(report.skipped).toContainEqual({
      target: 'Conv_0',
      code: 'no-statistics',
      reason: 'value "x" was not observed',
    });
  });
});

it('leaves a group in float that pays part by part and loses as a whole', async () => {
  const chain = (joins: boolean): Model => {
    const n = net();
    const x = n.input('x', [1, 64, 8, 8]);
    const first = n.add('Conv', [x, n.weight([64, 64, 1, 1], 0.1)]);
    // Each product saves 64 x 64 sums a position, and converting 64 numbers costs 48 each: once pays, three times do not.
    const between = joins ? n.add('Add', [first, n.add('Tanh', [x])]) : first;
    return n.model(n.add('Conv', [between, n.weight([64, 64, 1, 1], 0.1)]));
  };
  const data = [{ x: normal([1, 64, 8, 8], 5) }];
  const alone = await quantize(chain(false), { conversionCost: 48 }, data);
  expect(operators(alone.model)['QuantizeLinear']).toBe(3);
  const joined = await quantize(chain(true), { conversionCost: 48 }, data);
  expect(joined.report.skipped.filter(({ code }) => code === 'conversions')).toHaveLength(2);
  expect(operators(joined.model)['QuantizeLinear']).toBeUndefined();
});

it('keeps integers below the bound of a Clip that rounding would put them above', async () => {
  // 255 steps of the float32 nearest to 7.97 / 255 pass 7.97, so that onnxruntime would keep the Clip, and the floats.
  const bound = Math.fround(7.97);
  expect(Math.fround(255 * Math.fround(bound / 255))).toBeGreaterThan(bound);
  const n = net();
  const scalar = (value: number) => n.constant(Tensor.from('float32', [], Float32Array.of(value)));
  const first = n.add('Conv', [n.input('x', [1, 16, 8, 8]), n.weight([16, 16, 1, 1], 2)]);
  const clipped = n.add('Clip', [first, scalar(0), scalar(bound)]);
  const model = n.model(n.add('Conv', [clipped, n.weight([16, 16, 1, 1], 0.1)]));
  const { model: small } = await quantize(model, everything, [{ x: normal([1, 16, 8, 8], 5) }]);
  expect(operators(await optimizedModel(small))['QLinearConv']).toBe(2);
});
