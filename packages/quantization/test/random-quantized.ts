import { attribute, createRng, type Model, type Rng, Tensor, type Value } from '@lithe/core';
import { type Net, net } from './net.ts';

/** A tensor that the next step may read. */
interface Item {
  readonly value: Value;
  readonly shape: readonly number[];
}

/** What a step makes of a tensor; `keeps` says that it only moves elements. */
interface Made extends Item {
  readonly keeps?: boolean;
}

type Levels = 'int8' | 'uint8' | 'uint16' | 'int32';

/** Writes a graph with pairs in most of the right places. */
class Writer {
  readonly n: Net = net();
  readonly rng: Rng;
  readonly #types: readonly ('int8' | 'uint8' | 'uint16')[];
  #last: readonly [Value, Value] | undefined;

  constructor(seed: number) {
    this.rng = createRng(seed);
    this.#types = this.pick([['uint8'], ['uint8'], ['int8'], ['uint8', 'int8'], ['uint16', 'uint8']]);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.rng.integer(list.length)] as T;
  }

  chance(one: number): boolean {
    return this.rng.integer(one) === 0;
  }

  levels(dtype: Levels, shape: readonly number[], value: number): Value {
    const elements = shape.reduce((all, dim) => all * dim, 1);
    const fill = { length: elements };
    const at = (_: unknown, index: number): number => (elements === 1 ? value : (index * 37) % 127);
    if (dtype === 'int8') return this.n.constant(Tensor.from('int8', shape, Int8Array.from(fill, at)));
    if (dtype === 'uint8') return this.n.constant(Tensor.from('uint8', shape, Uint8Array.from(fill, at)));
    if (dtype === 'int32') return this.n.constant(Tensor.from('int32', shape, Int32Array.from(fill, at)));
    return this.n.constant(Tensor.from('uint16', shape, Uint16Array.from(fill, at)));
  }

  float(value: number): Value {
    return this.n.constant(Tensor.from('float32', [], Float32Array.of(value)));
  }

  /** A pair behind a value: with parameters of its own, or with those of the pair before. */
  pair(value: Value, same = false): Value {
    if (!same || this.#last === undefined) {
      const dtype = this.pick(this.#types);
      const zero = { uint8: [0, 128], int8: [-128, 0], uint16: [0, 32768] }[dtype];
      this.#last = [this.float(this.pick([0.02, 0.05])), this.levels(dtype, [], this.pick(zero))];
    }
    const quantized = this.n.add('QuantizeLinear', [value, ...this.#last]);
    return this.n.add('DequantizeLinear', [quantized, ...this.#last]);
  }

  /** A weight: in floats now and then, else in integers, with one scale or one per channel. */
  weight(shape: readonly number[], axis: number): Value {
    if (this.chance(5)) return this.n.weight(shape);
    const channels = this.chance(2) ? [shape[axis] as number] : [];
    const dtype = this.chance(4) ? 'uint8' : 'int8';
    const scale = new Float32Array(channels[0] ?? 1).fill(0.01);
    const inputs = [
      this.levels(dtype, shape, 0),
      this.n.constant(Tensor.from('float32', channels, scale)),
      this.n.constant(
        dtype === 'int8'
          ? Tensor.from('int8', channels, new Int8Array(channels[0] ?? 1))
          : Tensor.from('uint8', channels, new Uint8Array(channels[0] ?? 1)),
      ),
    ];
    return this.n.add('DequantizeLinear', inputs, { axis: attribute.int(channels.length === 0 ? 1 : axis) });
  }

  /** No bias, one in floats, or one in integers at a scale that fits some inputs. */
  bias(length: number): readonly Value[] {
    if (this.chance(3)) return [];
    if (this.chance(2)) return [this.n.weight([length])];
    const inputs = [this.levels('int32', [length], 0), this.float(0.0002), this.levels('int32', [], 0)];
    return [this.n.add('DequantizeLinear', inputs)];
  }
}

const window = { kernel_shape: attribute.ints([3, 3]), pads: attribute.ints([1, 1, 1, 1]) };

type Step = (w: Writer, item: Item, items: readonly Item[]) => Made;

const unary =
  (opType: string): Step =>
  (w, { value, shape }) => ({ value: w.n.add(opType, [value]), shape });

const binary =
  (opType: string): Step =>
  (w, { value, shape }, items) => {
    const alike = items.filter((item) => item.shape.join() === shape.join());
    const other = w.chance(4) ? w.n.weight(shape) : w.pick(alike).value;
    const isPair = other.producer?.is('DequantizeLinear') === true;
    return { value: w.n.add(opType, [value, isPair ? other : w.pair(other)]), shape };
  };

const convolution: Step = (w, { value, shape: [n = 1, c = 1, ...rest] }) => ({
  value: w.n.add('Conv', [value, w.weight([8, c, 1, 1], 0), ...w.bias(8)]),
  shape: [n, 8, ...rest],
});

const images: readonly Step[] = [
  convolution,
  convolution,
  convolution,
  (w, { value, shape }) => {
    const c = shape[1] as number;
    const inputs = [value, w.weight([c, 1, 3, 3], 0), ...w.bias(c)];
    return { value: w.n.add('Conv', inputs, { ...window, group: attribute.int(c) }), shape };
  },
  (w, { value, shape: [n = 1, c = 1, ...rest] }) => ({
    value: w.n.add('ConvTranspose', [value, w.weight([c, 8, 1, 1], 1), ...w.bias(8)]),
    shape: [n, 8, ...rest],
  }),
  unary('Relu'),
  unary('Tanh'),
  unary('Sigmoid'),
  unary('HardSwish'),
  unary('LeakyRelu'),
  unary('Softmax'),
  binary('Add'),
  binary('Mul'),
  (w, { value, shape }) => ({
    value: w.n.add('Clip', [value, w.float(0), w.float(w.pick([6, 5.1]))]),
    shape,
  }),
  (w, { value, shape }) => {
    const attributes = { kernel_shape: attribute.ints([2, 2]), pads: attribute.ints([0, 0, 1, 1]) };
    const keeps = w.chance(2);
    return { value: w.n.add(keeps ? 'MaxPool' : 'AveragePool', [value], attributes), shape, keeps };
  },
  (w, { value, shape: [n = 1, c = 1] }) => ({
    value: w.n.add('GlobalAveragePool', [value]),
    shape: [n, c, 1, 1],
  }),
  (w, { value, shape: [n = 1, c = 1, ...rest] }) => ({
    value: w.n.add('Concat', [value, w.chance(2) ? value : w.pair(value)], { axis: attribute.int(1) }),
    shape: [n, 2 * c, ...rest],
  }),
  (w, { value, shape: [, c = 1, h = 1, width = 1] }) => ({
    value: w.n.add('Reshape', [value, w.n.integers(c, h * width)]),
    shape: [c, h * width],
    keeps: true,
  }),
  (w, { value, shape: [n = 1, ...rest] }) => ({
    value: w.n.add('Flatten', [value]),
    shape: [n, rest.reduce((all, dim) => all * dim, 1)],
    keeps: true,
  }),
  (w, { value, shape: [n = 1, c = 1, ...rest] }) => ({
    value: w.n.add('Slice', [value, w.n.integers(0), w.n.integers(4), w.n.integers(1)]),
    shape: [n, Math.min(4, c), ...rest],
    keeps: true,
  }),
  (w, { value, shape: [n = 1, c = 1, h = 1, width = 1] }) => ({
    value: w.n.add('Pad', [value, w.n.integers(0, 0, 0, 0, 0, 0, 0, 1)]),
    shape: [n, c, h, width + 1],
  }),
];

const matrices: readonly Step[] = [
  (w, { value, shape }) => ({
    value: w.n.add('MatMul', [value, w.weight([shape.at(-1) as number, 8], 1)]),
    shape: [...shape.slice(0, -1), 8],
  }),
  (w, { value, shape }) => {
    const product = w.n.add('MatMul', [value, w.weight([shape.at(-1) as number, 8], 1)]);
    return { value: w.n.add('Add', [product, w.n.weight([8])]), shape: [...shape.slice(0, -1), 8] };
  },
  (w, { value, shape }) => {
    if (shape.length !== 2) return { value: w.n.add('Erf', [value]), shape };
    const [rows = 1, k = 1] = shape;
    const transposed = w.chance(2);
    const weight = transposed ? w.weight([8, k], 0) : w.weight([k, 8], 1);
    const beta = attribute.float(w.chance(8) ? 0.5 : 1);
    const attributes = { transB: attribute.int(transposed ? 1 : 0), beta };
    return { value: w.n.add('Gemm', [value, weight, ...w.bias(8)], attributes), shape: [rows, 8] };
  },
  binary('Add'),
  unary('Relu'),
  unary('Erf'),
  unary('Softmax'),
  (w, { value, shape }) => ({
    value: w.n.add('Unsqueeze', [value, w.n.integers(0)]),
    shape: [1, ...shape],
    keeps: true,
  }),
];

/**
 * A random small network with Quantize/Dequantize pairs, most of them in the right places and some missing, doubled,
 * of mixed types, or behind activation functions that they do not absorb.
 */
export function randomQuantized(seed: number): Model {
  const w = new Writer(seed);
  const items: Item[] = [{ value: w.n.input('x', [1, 8, 8, 8]), shape: [1, 8, 8, 8] }];
  const steps = 4 + w.rng.integer(8);
  for (let step = 0; step < steps; step++) {
    const found = w.chance(3) ? w.pick(items) : (items.at(-1) as Item);
    const isPair = found.value.producer?.is('DequantizeLinear') === true;
    const item = isPair || w.chance(8) ? found : { ...found, value: w.pair(found.value) };
    const made = w.pick(item.shape.length === 4 ? images : matrices)(w, item, items);
    const rectifies = w.chance(4) && made.keeps !== true && !made.value.producer?.is('Clip');
    const value = rectifies ? w.n.add('Relu', [made.value]) : made.value;
    items.push({ ...made, value: w.chance(6) ? value : w.pair(value, made.keeps === true && !w.chance(6)) });
  }
  const open = items.map(({ value }) => value).filter((value) => value.isUnused && value.producer !== null);
  if (w.chance(3)) open.push((items[items.length >> 1] as Item).value);
  return w.n.model(...new Set(open.filter((value) => value.producer !== null)));
}
