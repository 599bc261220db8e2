import { attribute, createRng, type DType, type Feeds, type Model, Tensor, tensorType } from '@lithe/core';
import { evaluateModel, type KernelTable } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { saturatingKernels } from '../src/portability/saturating-kernels.ts';
import { type Net, net } from './net.ts';
import { processorKernels } from './processor.ts';
import { runModel } from './support.ts';

const saturating = saturatingKernels(() => undefined, true);

/** Levels of activations, any; of weights, most of them near the ends of their range. */
function levels(dtype: 'uint8' | 'int8', shape: readonly number[], seed: number): Tensor {
  const rng = createRng(seed);
  const elements = shape.reduce((left, right) => left * right, 1);
  if (dtype === 'uint8') {
    return Tensor.from(
      'uint8',
      shape,
      Uint8Array.from({ length: elements }, () => rng.integer(256)),
    );
  }
  const signed = (): number => (rng.integer(3) === 0 ? -128 + rng.integer(60) : 127 - rng.integer(60));
  return Tensor.from('int8', shape, Int8Array.from({ length: elements }, signed));
}

const float = (n: Net, value: number) => n.constant(Tensor.from('float32', [], Float32Array.of(value)));
const zero = (n: Net, dtype: 'uint8' | 'int8', value: number) =>
  n.constant(
    dtype === 'uint8'
      ? Tensor.from('uint8', [], Uint8Array.of(value))
      : Tensor.from('int8', [], Int8Array.of(value)),
  );

/** The outcome of one operator, its type given. */
function modelOf(n: Net, dtype: DType, ...node: Parameters<Net['add']>): Model {
  const output = n.add(...node);
  output.type = tensorType(dtype);
  return n.model(output);
}

async function results(model: Model, feeds: Feeds, kernels: KernelTable = {}): Promise<readonly number[]> {
  const [output] = Object.values(await evaluateModel(model, feeds, { kernels }));
  return [...(output as Tensor).toFloat64Array()];
}

async function resultsHere(model: Model, feeds: Feeds): Promise<readonly number[]> {
  const [output] = Object.values(await runModel(model, feeds));
  return [...(output as Tensor).toFloat64Array()];
}

/** Holds onnxruntime to the kernels of this processor, on numbers that tell the two kinds apart. */
async function expectAsHere(model: Model, feeds: Feeds): Promise<void> {
  expect(await results(model, feeds, saturating)).not.toEqual(await results(model, feeds));
  expect(await resultsHere(model, feeds)).toEqual(await results(model, feeds, processorKernels));
}

/** Holds onnxruntime to exact sums, on any processor. */
async function expectExact(model: Model, feeds: Feeds): Promise<void> {
  expect(await resultsHere(model, feeds)).toEqual(await results(model, feeds));
}

interface Product {
  readonly sizes: readonly [rows: number, k: number, columns: number];
  readonly zero: number;
}

/** `MatMulInteger` with a constant on the right. */
function product({ sizes: [rows, k, columns], zero: point }: Product, dtype: 'uint8' | 'int8') {
  const n = net();
  const right = levels('int8', [k, columns], 7);
  const inputs = [n.input('x', [rows, k], dtype), n.constant(right), zero(n, dtype, point)];
  const feeds: Feeds = { x: levels(dtype, [rows, k], 5) };
  return { model: modelOf(n, 'int32', 'MatMulInteger', inputs), feeds };
}

const products: readonly Product[] = [
  { sizes: [1, 8, 16], zero: 0 },
  { sizes: [3, 7, 5], zero: 3 },
  { sizes: [4, 64, 32], zero: 128 },
  { sizes: [5, 101, 33], zero: 0 },
  { sizes: [64, 333, 70], zero: 255 },
];

interface Convolution {
  readonly channels: number;
  readonly maps: number;
  readonly kernel: number;
  readonly stride: number;
  readonly pad: number;
  readonly groups: number;
  readonly zero: number;
}

const image = (channels: number): readonly number[] => [1, channels, 9, 9];

function attributesOf({ stride, pad, groups }: Convolution) {
  return {
    strides: attribute.ints([stride, stride]),
    pads: attribute.ints([pad, pad, pad, pad]),
    group: attribute.int(groups),
  };
}

const weightOf = ({ channels, maps, kernel, groups }: Convolution): Tensor =>
  levels('int8', [maps, channels / groups, kernel, kernel], 9);

/** Powers of two, so that no rounding of scales comes in: of activations, of weights, and one that holds most results. */
const scalesOf = ({ channels, kernel, groups }: Convolution) => ({
  x: 2 ** -4,
  w: 2 ** -6,
  y: 2 ** Math.ceil(Math.log2(Math.sqrt((channels / groups) * kernel * kernel) * 2)),
});

/** `QLinearConv`. */
function convolution(part: Convolution, dtype: 'uint8' | 'int8') {
  const n = net();
  const scales = scalesOf(part);
  const inputs = [
    n.input('x', image(part.channels), dtype),
    float(n, scales.x),
    zero(n, dtype, part.zero),
    n.constant(weightOf(part)),
    float(n, scales.w),
    zero(n, 'int8', 0),
    float(n, scales.y),
    zero(n, dtype, dtype === 'uint8' ? 90 : -38),
  ];
  const feeds: Feeds = { x: levels(dtype, image(part.channels), 11) };
  return { model: modelOf(n, dtype, 'QLinearConv', inputs, attributesOf(part)), feeds };
}

const convolutions: readonly (readonly [string, Convolution])[] = [
  ['plain', { channels: 4, maps: 3, kernel: 3, stride: 1, pad: 0, groups: 1, zero: 0 }],
  ['padded', { channels: 32, maps: 24, kernel: 3, stride: 1, pad: 1, groups: 1, zero: 7 }],
  ['strided, odd sums', { channels: 3, maps: 16, kernel: 3, stride: 2, pad: 1, groups: 1, zero: 0 }],
  ['of one channel', { channels: 1, maps: 8, kernel: 5, stride: 1, pad: 2, groups: 1, zero: 7 }],
  ['of one tap', { channels: 5, maps: 2, kernel: 1, stride: 1, pad: 0, groups: 1, zero: 128 }],
  ['in groups', { channels: 6, maps: 4, kernel: 3, stride: 2, pad: 1, groups: 2, zero: 7 }],
  ['in groups of one channel', { channels: 8, maps: 16, kernel: 3, stride: 1, pad: 1, groups: 8, zero: 3 }],
];

const depthwise: Convolution = { channels: 8, maps: 8, kernel: 3, stride: 1, pad: 1, groups: 8, zero: 7 };

describe('onnxruntime on this processor', () => {
  it.each(products)('multiplies as the kernels say: %o', async (part) => {
    const { model, feeds } = product(part, 'uint8');
    await expectAsHere(model, feeds);
  });

  it('multiplies matrices as they say that are both fed', async () => {
    const n = net();
    const inputs = [n.input('x', [6, 21], 'uint8'), n.input('w', [21, 10], 'int8')];
    const feeds = { x: levels('uint8', [6, 21], 1), w: levels('int8', [21, 10], 2) };
    await expectAsHere(modelOf(n, 'int32', 'MatMulInteger', inputs), feeds);
  });

  it.each([
    ['one zero point', Tensor.from('int8', [], Int8Array.of(-9))],
    ['a zero point per column', Tensor.from('int8', [5], Int8Array.of(3, -128, 0, 100, -1))],
  ] as const)('multiplies weights with %s as they say: raw', async (_, point) => {
    const n = net();
    const inputs = [
      n.input('x', [6, 21], 'uint8'),
      n.constant(levels('int8', [21, 5], 2)),
      zero(n, 'uint8', 100),
      n.constant(point),
    ];
    const feeds = { x: levels('uint8', [6, 21], 1) };
    await expectAsHere(modelOf(n, 'int32', 'MatMulInteger', inputs), feeds);
  });

  it.each([0, -37])('multiplies into bytes as they say; zero point of the weights: %d', async (point) => {
    const n = net();
    const inputs = [
      n.input('x', [2, 3, 33], 'uint8'),
      float(n, 2 ** -4),
      zero(n, 'uint8', 9),
      n.constant(levels('int8', [33, 20], 4)),
      float(n, 2 ** -6),
      zero(n, 'int8', point),
      float(n, 8),
      zero(n, 'uint8', 90),
    ];
    const feeds = { x: levels('uint8', [2, 3, 33], 3) };
    await expectAsHere(modelOf(n, 'uint8', 'QLinearMatMul', inputs), feeds);
  });

  it.each(convolutions)('convolves as they say: %s', async (_, part) => {
    const { model, feeds } = convolution(part, 'uint8');
    await expectAsHere(model, feeds);
  });

  it.each(convolutions)(
    'convolves signed activations between pairs as if they were unsigned: %s',
    async (_, part) => {
      const n = net();
      const scales = scalesOf(part);
      const shape = image(part.channels);
      const pair = [float(n, scales.x), zero(n, 'int8', part.zero - 128)];
      const x = n.add('DequantizeLinear', [n.add('QuantizeLinear', [n.input('x', shape), ...pair]), ...pair]);
      const w = n.add('DequantizeLinear', [
        n.constant(weightOf(part)),
        float(n, scales.w),
        zero(n, 'int8', 0),
      ]);
      const out = [float(n, scales.y), zero(n, 'int8', -38)];
      const y = n.add('QuantizeLinear', [n.add('Conv', [x, w], attributesOf(part)), ...out]);
      const model = n.model(n.add('DequantizeLinear', [y, ...out]));

      const { model: unsigned, feeds } = convolution(part, 'uint8');
      const given = (feeds['x'] as Tensor).toFloat64Array().map((level) => (level - part.zero) * scales.x);
      const here = await resultsHere(model, { x: Tensor.from('float32', shape, Float32Array.from(given)) });
      const expected = await results(unsigned, feeds, processorKernels);
      expect(here).toEqual(expected.map((level) => (level - 90) * scales.y));
    },
  );
});

describe('onnxruntime on any processor', () => {
  it('multiplies signed activations exactly where the model says so itself', async () => {
    for (const part of products) {
      const { model, feeds } = product({ ...part, zero: part.zero % 100 }, 'int8');
      await expectExact(model, feeds);
    }
    for (const [, part] of convolutions) {
      const { model, feeds } = convolution({ ...part, zero: part.zero % 100 }, 'int8');
      await expectExact(model, feeds);
    }
  });

  it('multiplies unsigned weights exactly', async () => {
    const n = net();
    const inputs = [n.input('x', [6, 21], 'uint8'), n.constant(levels('uint8', [21, 10], 2))];
    const feeds = { x: levels('uint8', [6, 21], 1) };
    await expectExact(modelOf(n, 'int32', 'MatMulInteger', inputs), feeds);
  });

  it('convolves each channel by itself exactly', async () => {
    const { model, feeds } = convolution(depthwise, 'uint8');
    await expectExact(model, feeds);
  });

  it('multiplies weights of 7 bits exactly', async () => {
    const n = net();
    const right = (levels('int8', [33, 20], 4).data as Int8Array).map((level) => Math.round(level / 2));
    const inputs = [n.input('x', [5, 33], 'uint8'), n.constant(Tensor.from('int8', [33, 20], right))];
    await expectExact(modelOf(n, 'int32', 'MatMulInteger', inputs), {
      x: Tensor.from('uint8', [5, 33], new Uint8Array(165).fill(255)),
    });
  });
});
