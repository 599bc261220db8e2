import {
  attribute,
  type Backend,
  createRng,
  type Feeds,
  Graph,
  GraphBuilder,
  LitheError,
  Model,
  Tensor,
  tensorType,
} from '@lithe/core';
import { evaluateModel, referenceBackend } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { saturatesProducts } from './saturates.ts';
import { type NodeSaturation, saturatingKernels } from './saturating-kernels.ts';
import { multiplySaturating } from './saturating-product.ts';

const single = (left: readonly number[], right: readonly number[]) => {
  const { exact, saturated, pairs } = multiplySaturating({
    left: Uint8Array.from(left),
    right: Int8Array.from(right),
    rows: 1,
    columns: 1,
    k: left.length,
  });
  return [exact[0], saturated[0], pairs];
};

describe('a product of 8-bit integers on a processor without VNNI', () => {
  it.each([
    ['fits', [100, 100], [100, 100], [20000, 20000, 0]],
    ['saturates above: 2 * 255 * 127 = 64770', [255, 255], [127, 127], [64770, 32767, 1]],
    ['saturates below: -2 * 255 * 128 = -65280', [255, 255], [-128, -128], [-65280, -32768, 1]],
    ['just fits: 255 * 127 + 3 * 127 + 1 = 32767', [255, 191], [127, 2], [32767, 32767, 0]],
    ['one more: 32768', [255, 129, 1, 1], [127, 3, 0, 0], [32772, 32767, 1]],
    ['pairs neighbours, not halves', [255, 0, 255, 0], [127, 127, 127, 127], [64770, 64770, 0]],
    ['leaves a last one alone', [255, 255, 255], [127, 127, 127], [97155, 65152, 1]],
    ['saturates each pair by itself', [255, 255, 255, 255], [127, 127, -128, -128], [-510, -1, 2]],
    ['has room for 7 bits: 2 * 255 * 64 = 32640', [255, 255], [64, 64], [32640, 32640, 0]],
  ])('%s', (_, left, right, expected) => {
    expect(single(left, right)).toEqual(expected);
  });
});

/** `QLinearConv` with saturation in the plainest of loops: tap after tap, channels inside, two at a time. */
function naive(
  x: Uint8Array,
  w: Int8Array,
  shape: {
    c: number;
    size: number;
    m: number;
    kernel: number;
    stride: number;
    pad: number;
    groups: number;
    zero: number;
  },
): number[] {
  const { c, size, m, kernel, stride, pad, groups, zero } = shape;
  const [perGroup, maps] = [c / groups, m / groups];
  const out = Math.floor((size + 2 * pad - kernel) / stride) + 1;
  const sums: number[] = [];
  for (let map = 0; map < m; map++) {
    for (let row = 0; row < out; row++) {
      for (let column = 0; column < out; column++) {
        const products: number[] = [];
        let shift = 0;
        for (let i = 0; i < kernel; i++) {
          for (let j = 0; j < kernel; j++) {
            for (let channel = 0; channel < perGroup; channel++) {
              const [y, z] = [row * stride - pad + i, column * stride - pad + j];
              const inside = y >= 0 && z >= 0 && y < size && z < size;
              const from = Math.floor(map / maps) * perGroup + channel;
              const level = inside ? x[(from * size + y) * size + z]! : zero;
              const weight = w[((map * perGroup + channel) * kernel + i) * kernel + j]!;
              products.push(level * weight);
              shift += zero * weight;
            }
          }
        }
        let sum = 0;
        for (let index = 0; index < products.length; index += 2)
          sum += Math.max(-32768, Math.min(32767, products[index]! + (products[index + 1] ?? 0)));
        sums.push(sum - shift);
      }
    }
  }
  return sums;
}

describe('a convolution', () => {
  it.each([
    { c: 4, m: 3, kernel: 3, stride: 1, pad: 1, groups: 1 },
    { c: 6, m: 4, kernel: 3, stride: 2, pad: 1, groups: 2 },
    { c: 5, m: 2, kernel: 1, stride: 1, pad: 0, groups: 1 },
  ])('saturates as its sums are laid out: %o', async (part) => {
    const rng = createRng(3);
    const size = 6;
    const { c, m, kernel, stride, pad, groups } = part;
    const x = Uint8Array.from({ length: c * size * size }, () => rng.integer(256));
    const w = Int8Array.from({ length: (m * c * kernel * kernel) / groups }, () => 127 - rng.integer(40));
    const zero = 7;
    const scale = 2 ** -4;
    const graph = new Graph('test');
    const constant = (tensor: Tensor) => graph.addInitializer(graph.uniqueName('c'), tensor);
    const float = (value: number) => constant(Tensor.from('float32', [], Float32Array.of(value)));
    const byte = (value: number) => constant(Tensor.from('uint8', [], Uint8Array.of(value)));
    const weightZero = constant(Tensor.from('int8', [], new Int8Array(1)));
    const input = graph.addInput('x', tensorType('uint8', [1, c, size, size]));
    const weight = constant(Tensor.from('int8', [m, c / groups, kernel, kernel], w));
    // A step of 1024 so that results do not end at 255.
    const inputs = [input, float(scale), byte(zero), weight, float(2 ** -6), weightZero, float(1), byte(0)];
    const attributes = {
      strides: attribute.ints([stride, stride]),
      pads: attribute.ints([pad, pad, pad, pad]),
      group: attribute.int(groups),
    };
    graph.setOutputs([graph.addNode({ opType: 'QLinearConv', inputs, attributes }).output()]);
    const found: NodeSaturation[] = [];
    const model = new Model({ graph });
    const kernels = saturatingKernels((one) => found.push(one), true);
    const feeds = { x: Tensor.from('uint8', [1, c, size, size], x) };
    const [actual] = Object.values(await evaluateModel(model, feeds, { kernels }));
    const sums = naive(x, w, { ...part, size, zero });
    const levels = sums.map((sum) => {
      const real = sum * 2 ** -10;
      const rest = real - Math.floor(real);
      const nearest = rest === 0.5 ? 2 * Math.round(real / 2) : Math.round(real);
      return Math.max(0, Math.min(255, nearest));
    });
    expect([...((actual as Tensor).data as Uint8Array)]).toEqual(levels);
    expect(found[0]?.saturated).toBeGreaterThan(0);
    expect(found[0]?.noise).toBeGreaterThan(0);
    const [exact] = Object.values(await evaluateModel(model, feeds));
    expect([...((exact as Tensor).data as Uint8Array)]).not.toEqual(levels);
  });
});

describe('without saturation', () => {
  const ints = (...list: number[]) => attribute.ints(list);
  it.each([
    ['pads on both sides', { pads: ints(1, 0, 2, 1), strides: ints(2, 1) }],
    ['dilations', { pads: ints(2, 2, 2, 2), dilations: ints(2, 3) }],
    ['SAME_UPPER', { auto_pad: attribute.string('SAME_UPPER'), strides: ints(2, 2) }],
    ['SAME_LOWER', { auto_pad: attribute.string('SAME_LOWER'), strides: ints(2, 3) }],
    ['VALID', { auto_pad: attribute.string('VALID') }],
    ['groups', { group: attribute.int(2) }],
  ] as const)('a convolution is what it is in the reference interpreter: %s', async (_, given) => {
    const rng = createRng(11);
    const graph = new Graph('test');
    const constant = (tensor: Tensor) => graph.addInitializer(graph.uniqueName('c'), tensor);
    const float = (...values: number[]) =>
      constant(Tensor.from('float32', values.length === 1 ? [] : [values.length], Float32Array.from(values)));
    const byte = (value: number) => constant(Tensor.from('uint8', [], Uint8Array.of(value)));
    const perGroup = 'group' in given ? 2 : 4;
    const weights = Int8Array.from({ length: 4 * perGroup * 6 }, () => rng.integer(255) - 127);
    const bias = Int32Array.from({ length: 4 }, () => rng.integer(4000) - 2000);
    const inputs = [
      graph.addInput('x', tensorType('uint8', [2, 4, 7, 8])),
      float(0.02),
      byte(121),
      constant(Tensor.from('int8', [4, perGroup, 3, 2], weights)),
      float(0.01, 0.02, 0.03, 0.007),
      constant(Tensor.from('int8', [4], new Int8Array(4))),
      float(0.13),
      byte(130),
      constant(Tensor.from('int32', [4], bias)),
    ];
    graph.setOutputs([graph.addNode({ opType: 'QLinearConv', inputs, attributes: given }).output()]);
    const model = new Model({ graph });
    const x = Uint8Array.from({ length: 2 * 4 * 7 * 8 }, () => rng.integer(256));
    const feeds = { x: Tensor.from('uint8', [2, 4, 7, 8], x) };
    const seen: NodeSaturation[] = [];
    const kernels = saturatingKernels((one) => seen.push(one), false);
    expect(await evaluateModel(model, feeds, { kernels })).toEqual(await evaluateModel(model, feeds));
    expect(seen).toHaveLength(1);
  });

  it('refuses shapes that do not fit as the reference interpreter does', async () => {
    const b = new GraphBuilder('test');
    const x = b.input('x', 'uint8', ['N', 'K']);
    const w = Tensor.from('int8', [3, 2], new Int8Array(6));
    b.output('y', b.op.MatMulInteger([x, w]));
    const model = await b.build();
    const feeds = { x: Tensor.from('uint8', [1, 4], new Uint8Array(4)) };
    const kernels = saturatingKernels(() => undefined, true);
    const refusal = await evaluateModel(model, feeds).catch((error: unknown) => error);
    await expect(evaluateModel(model, feeds, { kernels })).rejects.toEqual(refusal);
    expect(refusal).toBeInstanceOf(LitheError);
  });
});

describe('saturatesProducts', () => {
  it('finds out what a runtime does', async () => {
    expect(await saturatesProducts(referenceBackend())).toBe(false);
    const reference = referenceBackend();
    const saturating: Backend = {
      ...reference,
      compile: async (model, options) => {
        const executable = await reference.compile(model, options);
        const run = async (feeds: Feeds): Promise<Feeds> =>
          evaluateModel(model as Model, feeds, { kernels: saturatingKernels(() => undefined, true) });
        return { ...executable, run, dispose: () => executable.dispose() };
      },
    };
    expect(await saturatesProducts(saturating)).toBe(true);
  });
});
