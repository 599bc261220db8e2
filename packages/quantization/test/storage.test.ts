import { attribute, Graph, Model, Tensor, tensorType, type Value } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import { float16Storage, foldableWeights } from '@lithe/quantization';
import { describe, expect, it } from 'vitest';
import { type Net, net, operators } from './net.ts';
import { apply, load, normal, optimizedModel, runModel, runSession, sqnr } from './support.ts';

interface Case {
  readonly name: string;
  readonly feed: readonly number[];
  build(net: Net, x: Value): Value;
}

/** One model for each reader of weights, with sums long enough for blocks of 4-bit weights. */
const cases: readonly Case[] = [
  { name: 'MatMul', feed: [2, 64], build: (n, x) => n.add('MatMul', [x, n.weight([64, 48])]) },
  {
    name: 'MatMul with a stack of matrices',
    feed: [3, 2, 64],
    build: (n, x) => n.add('MatMul', [x, n.weight([3, 64, 16])]),
  },
  { name: 'Gemm', feed: [2, 64], build: (n, x) => n.add('Gemm', [x, n.weight([64, 48]), n.weight([48])]) },
  {
    name: 'Gemm with transB',
    feed: [2, 64],
    build: (n, x) => n.add('Gemm', [x, n.weight([48, 64])], { transB: attribute.int(1) }),
  },
  {
    name: 'Conv',
    feed: [1, 32, 9, 9],
    build: (n, x) => n.add('Conv', [x, n.weight([24, 32, 3, 3]), n.weight([24])]),
  },
  {
    name: 'ConvTranspose',
    feed: [1, 32, 5, 5],
    build: (n, x) => n.add('ConvTranspose', [x, n.weight([32, 8, 2, 2])]),
  },
  {
    name: 'LSTM',
    feed: [4, 1, 32],
    build: (n, x) =>
      n.add('LSTM', [x, n.weight([1, 96, 32]), n.weight([1, 96, 24]), n.weight([1, 192])], {
        hidden_size: attribute.int(24),
      }),
  },
  {
    name: 'Gather',
    feed: [2, 32],
    build: (n, x) => n.add('Add', [x, n.add('Gather', [n.weight([50, 32]), n.integers(3, 49)])]),
  },
];

function build(item: Case): Model {
  const n = net();
  return n.model(item.build(n, n.input('x', item.feed)));
}

describe('foldable weights', () => {
  for (const item of cases) {
    it(`are folded by onnxruntime at load, in Node and WASM: ${item.name}`, async () => {
      const model = build(item);
      const feeds = { x: normal(item.feed, 7) };
      const expected = await runModel(model, feeds);
      // 8 bits: quantization noise of a normal weight at 1/127 of its largest element is 40 dB below it; 4 bits 18 dB.
      for (const [bits, least] of [
        [8, 34],
        [4, 13],
      ] as const) {
        const { model: small, report } = await apply(model, foldableWeights({ bits }));
        expect(report.changed).toBe(true);
        expect(operators(small)['Cast']).toBeGreaterThan(0);
        expect(sqnr(expected, await runModel(small, feeds))).toBeGreaterThan(least);
        expect(sqnr(expected, await runModel(small, feeds, 'wasm'))).toBeGreaterThan(least);
        const left = operators(await optimizedModel(small));
        expect(Object.keys(left)).not.toContain('Cast');
        expect(Object.keys(left)).not.toContain('Mul');
      }
    });
  }

  it('take a quarter of the bytes, or less than a sixth', async () => {
    const n = net();
    const model = n.model(n.add('MatMul', [n.input('x', [1, 512]), n.weight([512, 512])]));
    const before = (await writeOnnx(model)).length;
    const bytes = async (bits: 8 | 4): Promise<number> =>
      (await writeOnnx((await apply(model, foldableWeights({ bits }))).model)).length;
    expect(before / (await bytes(8))).toBeGreaterThan(3.9);
    expect(before / (await bytes(4))).toBeGreaterThan(6.3);
  });

  it('work in subgraphs and with weights in Constant nodes', async () => {
    const graph = new Graph('main');
    const condition = graph.addInput('condition', tensorType('bool', []));
    const x = graph.addInput('x', tensorType('float32', [2, 64]));
    const branch = (name: string, seed: number): Graph => {
      const inner = new Graph(name, graph);
      const weight = inner
        .addNode(
          { opType: 'Constant', inputs: [], attributes: { value: attribute.tensor(normal([64, 8], seed)) } },
          [{ name: `${name}_weight` }],
        )
        .output();
      const product = inner.addNode({ opType: 'MatMul', inputs: [x, weight] }, [
        { name: `${name}_product`, type: tensorType('float32', [2, 8]) },
      ]);
      inner.setOutputs([product.output()]);
      return inner;
    };
    const attributes = {
      then_branch: attribute.graph(branch('yes', 1)),
      else_branch: attribute.graph(branch('no', 2)),
    };
    const result = graph.addNode({ opType: 'If', inputs: [condition], attributes }, [
      { name: 'y', type: tensorType('float32', [2, 8]) },
    ]);
    graph.setOutputs([result.output()]);
    const model = new Model({ graph });
    for (const choice of [0, 1]) {
      const feeds = { condition: Tensor.from('bool', [], Uint8Array.of(choice)), x: normal([2, 64], 3) };
      const { model: small, report } = await apply(model, foldableWeights());
      expect(report.applied).toHaveLength(2);
      expect(operators(small)['Constant']).toBeUndefined();
      expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(34);
    }
  });

  it('leave vectors, small constants, overridable and returned weights as they are, and say so', async () => {
    const n = net();
    const weight = n.input('w', [64, 8]);
    n.graph.setInitializer(weight, normal([64, 8], 1));
    const returned = n.weight([64, 64]);
    const product = n.add('MatMul', [n.add('MatMul', [n.input('x', [1, 64]), returned]), weight]);
    const { report } = await apply(
      n.model(n.add('Mul', [product, n.weight([8])]), n.add('Identity', [returned])),
      foldableWeights(),
    );
    expect(report.skipped.map(({ code }) => code)).toEqual(['overridable']);
    expect(report.applied).toHaveLength(1);
  });

  it('name the weight that holds a NaN, when it is written', async () => {
    const n = net();
    const data = new Float32Array(512).fill(1);
    data[5] = Number.NaN;
    const model = n.model(
      n.add('MatMul', [n.input('x', [1, 64]), n.constant(Tensor.from('float32', [64, 8], data))]),
    );
    const { model: small } = await apply(model, foldableWeights());
    await expect(writeOnnx(small)).rejects.toMatchObject({
      code: 'VALUE_OUT_OF_RANGE',
      message: expect.stringContaining('constant'),
    });
  });
});

describe('float16 storage', () => {
  it('rounds to the nearest half, is folded at load, and halves the file', async () => {
    const n = net();
    const model = n.model(n.add('MatMul', [n.input('x', [1, 128]), n.weight([128, 64])]));
    const feeds = { x: normal([1, 128], 3) };
    const { model: small } = await apply(model, float16Storage());
    const [before, after] = [await writeOnnx(model), await writeOnnx(small)];
    expect(before.length / after.length).toBeGreaterThan(1.9);
    expect(operators(await optimizedModel(small))['Cast']).toBeUndefined();
    // Half an 11-bit step: 2^-12 of each number at most, 72 dB and more.
    const session = await load(after, 'wasm');
    expect(sqnr(await runModel(model, feeds), await runSession(session, feeds, 'wasm'))).toBeGreaterThan(68);
  });

  it.each([
    [65519, [], 65504],
    [65520, ['overflow'], 65520],
  ])('takes %s for what it rounds to', async (value, codes, kept) => {
    const n = net();
    const data = new Float32Array(256);
    data[0] = value;
    const weight = n.constant(Tensor.from('float32', [16, 16], data));
    const { model, report } = await apply(
      n.model(n.add('MatMul', [n.input('x', [1, 16]), weight])),
      float16Storage(),
    );
    expect(report.skipped.map(({ code }) => code)).toEqual(codes);
    const x = Tensor.from('float32', [1, 16], new Float32Array(16).fill(1));
    expect(Object.values(await runModel(model, { x }))[0]?.toFloat64Array()[0]).toBe(kept);
  });

  it('keeps a weight beyond the float16 range in float32, and numbers too small for it away from zero', async () => {
    const n = net();
    const large = new Float32Array(256).fill(1);
    large[3] = 70000;
    const tiny = new Float32Array(256).fill(1e-9);
    const x = n.input('x', [1, 16]);
    const make = (data: Float32Array): Value =>
      n.add('MatMul', [x, n.constant(Tensor.from('float32', [16, 16], data))]);
    const { model, report } = await apply(n.model(make(large), make(tiny)), float16Storage());
    expect(report.skipped.map(({ code }) => code)).toEqual(['overflow']);
    expect(report.metrics['elementsRaisedFromZero']?.value).toBe(256);
    const outputs = await runModel(model, {
      x: Tensor.from('float32', [1, 16], new Float32Array(16).fill(1)),
    });
    expect((Object.values(outputs)[1] as Tensor<'float32'>).data[0]).toBeCloseTo(16 * 2 ** -24, 12);
  });
});
