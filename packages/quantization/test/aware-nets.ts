import { attribute, type Dataset, type Feeds, type Model, Tensor, type Value } from '@lithe/core';
import { type Net, net } from './net.ts';
import { fixedData, normal } from './support.ts';

/** A batch normalization with statistics of its own. */
export function norm(n: Net, x: Value, channels: number, seed: number): Value {
  const vector = (at: number, deviation: number, center: number): Value => {
    const { data } = normal([channels], seed + at, deviation);
    return n.constant(
      Tensor.from(
        'float32',
        [channels],
        data.map((value) => center + value),
      ),
    );
  };
  const variance = normal([channels], seed + 9, 0.2).data.map((value) => 0.6 + Math.abs(value));
  return n.add('BatchNormalization', [
    x,
    vector(1, 0.3, 1),
    vector(2, 0.2, 0),
    vector(3, 0.2, 0.1),
    n.constant(Tensor.from('float32', [channels], variance)),
  ]);
}

const ints = (...values: readonly number[]): ReturnType<typeof attribute.ints> => attribute.ints(values);
const int = attribute.int;

/** Small models with input `x` `[N, …]` and output `y` `[N, 5]`, by what they are there for. */
export const awareNets: Readonly<
  Record<string, () => { readonly model: Model; readonly shape: readonly number[] }>
> = {
  'convolutions, residual, pools and a Gemm': () => {
    const n = net();
    const x = n.input('x', ['N', 3, 8, 8]);
    const first = n.add('Relu', [
      norm(n, n.add('Conv', [x, n.weight([8, 3, 3, 3])], { pads: ints(1, 1, 1, 1) }), 8, 100),
    ]);
    const second = norm(n, n.add('Conv', [first, n.weight([8, 8, 1, 1]), n.weight([8])]), 8, 120);
    const sum = n.add('Relu', [n.add('Add', [first, second])]);
    const pooled = n.add('MaxPool', [sum], { kernel_shape: ints(2, 2), strides: ints(2, 2) });
    const flat = n.add('Flatten', [n.add('GlobalAveragePool', [pooled])]);
    return {
      model: named(n, n.add('Gemm', [flat, n.weight([5, 8]), n.weight([5])], { transB: int(1) })),
      shape: [3, 8, 8],
    };
  },
  'depthwise, grouped and clipped convolutions': () => {
    const n = net();
    const x = n.input('x', ['N', 4, 6, 6]);
    const six = [n.constant(scalar(0)), n.constant(scalar(6))];
    const deep = n.add('Clip', [
      norm(
        n,
        n.add('Conv', [x, n.weight([4, 1, 3, 3], 0.5)], { group: int(4), pads: ints(1, 1, 1, 1) }),
        4,
        140,
      ),
      ...six,
    ]);
    const grouped = n.add('Clip', [
      norm(n, n.add('Conv', [deep, n.weight([8, 2, 3, 3], 0.4)], { group: int(2) }), 8, 160),
      ...six,
    ]);
    const point = n.add('Conv', [grouped, n.weight([6, 8, 1, 1], 0.4)]);
    const flat = n.add('Flatten', [n.add('GlobalAveragePool', [point])]);
    return { model: named(n, n.add('Gemm', [flat, n.weight([6, 5]), n.weight([5])])), shape: [4, 6, 6] };
  },
  'one dimension, concatenation and a product with a bias': () => {
    const n = net();
    const x = n.input('x', ['N', 3, 12]);
    const left = n.add('Relu', [norm(n, n.add('Conv', [x, n.weight([6, 3, 3], 0.4)]), 6, 180)]);
    const right = n.add('Relu', [n.add('Conv', [x, n.weight([4, 3, 3], 0.4), n.weight([4])])]);
    const both = n.add('Concat', [left, right], { axis: int(1) });
    const mixed = n.add('Relu', [n.add('Conv', [both, n.weight([8, 10, 3], 0.3)])]);
    const flat = n.add('Flatten', [n.add('GlobalAveragePool', [mixed])]);
    const product = n.add('MatMul', [flat, n.weight([8, 5], 0.4)]);
    return { model: named(n, n.add('Add', [product, n.weight([5])])), shape: [3, 12] };
  },
  'weights that layers share': () => {
    const n = net();
    // Sums of the first channel are so small that its biases fit int32 at raised scales alone, each at another.
    const { data } = normal([64], 60, 0.4);
    const tiny = data.map((value, at) => (at < 8 ? value * 1e-9 : value));
    const shared = n.constant(Tensor.from('float32', [8, 8, 1, 1], tiny));
    let x = n.add('Relu', [n.add('Conv', [n.input('x', ['N', 3, 4, 4]), n.weight([8, 3, 1, 1], 0.5)])]);
    for (const deviation of [0.2, 0.6, 0.1])
      x = n.add('Relu', [n.add('Conv', [x, shared, n.weight([8], deviation)])]);
    const flat = n.add('Flatten', [n.add('GlobalAveragePool', [x])]);
    return { model: named(n, n.add('Gemm', [flat, n.weight([8, 5], 0.5)])), shape: [3, 4, 4] };
  },
  'three dimensions': () => {
    const n = net();
    const x = n.input('x', ['N', 2, 4, 4, 4]);
    const deep = n.add('Relu', [norm(n, n.add('Conv', [x, n.weight([6, 2, 2, 2, 2], 0.4)]), 6, 200)]);
    const next = n.add('Relu', [n.add('Conv', [deep, n.weight([6, 6, 1, 1, 1], 0.4)])]);
    const flat = n.add('Flatten', [n.add('GlobalAveragePool', [next])]);
    return { model: named(n, n.add('Gemm', [flat, n.weight([6, 5], 0.5)])), shape: [2, 4, 4, 4] };
  },
  'transposed convolutions, plain and grouped': () => {
    const n = net();
    const x = n.input('x', ['N', 4, 5, 5]);
    const first = n.add('Relu', [n.add('Conv', [x, n.weight([6, 4, 1, 1], 0.5)])]);
    const up = n.add('Relu', [
      norm(
        n,
        n.add('ConvTranspose', [first, n.weight([6, 3, 2, 2], 0.4)], { strides: ints(2, 2), group: int(2) }),
        6,
        220,
      ),
    ]);
    const more = n.add('ConvTranspose', [up, n.weight([6, 5, 2, 2], 0.4), n.weight([5])], {
      strides: ints(2, 2),
    });
    return { model: named(n, n.add('Flatten', [n.add('GlobalAveragePool', [more])])), shape: [4, 5, 5] };
  },
  'products of three axes, with a normalized Gemm': () => {
    const n = net();
    const x = n.input('x', ['N', 4, 8]);
    const wide = n.add('Relu', [
      n.add('Add', [n.add('MatMul', [x, n.weight([8, 16], 0.4)]), n.weight([16])]),
    ]);
    const mean = n.add('ReduceMean', [wide, n.integers(1)], { keepdims: int(0) });
    const gemm = norm(n, n.add('MatMul', [mean, n.weight([16, 16], 0.4)]), 16, 240);
    return {
      model: named(n, n.add('Gemm', [n.add('Relu', [gemm]), n.weight([16, 5], 0.4), n.weight([5])])),
      shape: [4, 8],
    };
  },
};

const scalar = (value: number): Tensor => Tensor.from('float32', [], Float32Array.of(value));

function named(n: Net, y: Value): Model {
  n.graph.rename(y, 'y');
  return n.model(y);
}

/** Inputs `x` of `count` samples. */
export function samplesFor(shape: readonly number[], count: number, seed = 7): Feeds {
  return { x: normal([count, ...shape], seed) };
}

/** The same as data to calibrate on. */
export function dataFor(shape: readonly number[]): Dataset {
  return fixedData([samplesFor(shape, 16, 8), samplesFor(shape, 16, 9)]);
}
