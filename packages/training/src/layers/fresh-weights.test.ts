import { constantOf, GraphBuilder, type Model, Tensor, type Value } from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { freshWeights } from './fresh-weights.ts';
import { layers } from './layers.ts';
import { cnn, mlp, mobileNetV2, resnet20, transformerEncoder } from './networks.ts';

const floats = (shape: readonly number[], value: number): Tensor<'float32'> =>
  Tensor.from('float32', shape, new Float32Array(shape.reduce((left, right) => left * right, 1)).fill(value));

const numbers = async (model: Model, name: string): Promise<Float64Array> =>
  (await constantOf(model.graph.value(name))?.load())?.toFloat64Array() ?? new Float64Array();

const deviation = (values: ArrayLike<number>): number =>
  Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0) / values.length);

/** Four standard errors of the deviation of a normal sample. */
const near = (found: number, wanted: number, size: number): void => {
  expect(Math.abs(found / wanted - 1)).toBeLessThan(4 / Math.sqrt(2 * size));
};

/** A model of one weight, every element 7. */
async function single(
  shape: readonly number[],
  use: (b: GraphBuilder, weight: Value) => Value,
): Promise<Model> {
  const b = new GraphBuilder('single');
  b.output('y', use(b, b.constant('w', floats(shape, 7))));
  return (await b.build()).clone();
}

describe('freshWeights', () => {
  it.each([
    ['a CNN', (): Promise<Model> => cnn({ image: [1, 28, 28], seed: 3 })],
    ['a residual network', (): Promise<Model> => resnet20({ image: [3, 16, 16], seed: 3 })],
  ])('draws %s as its builder does, but for the last layer', async (_, make) => {
    const built = await make();
    const model = (await make()).clone();
    const { drawn, left } = await freshWeights(model, { seed: 1 });
    expect(left).toEqual([]);
    const names = [...built.graph.initializers]
      .filter(({ dtype }) => dtype === 'float32')
      .map(({ name }) => name);
    expect(drawn.map(({ name }) => name).sort()).toEqual([...names].sort());
    for (const name of names) {
      const [before, after] = [await numbers(built, name), await numbers(model, name)];
      // Vectors begin alike wherever: zeros and ones.
      if (!name.includes('weight') || deviation(before) === 1) expect(after).toEqual(before);
      else {
        expect(after).not.toEqual(before);
        if (!name.startsWith('classifier')) near(deviation(after), deviation(before), before.length / 2);
      }
    }
  });

  it('forgets what was learned: statistics, scales, shifts', async () => {
    const model = (await mobileNetV2({ image: [3, 32, 32], width: 0.25 })).clone();
    const norm = [...model.graph.nodes()].find((node) => node.is('BatchNormalization'));
    const learned = norm?.inputs.slice(1) ?? [];
    for (const value of learned)
      if (value?.initializer !== undefined)
        model.graph.setInitializer(value, floats(value.initializer.shape, 3));
    await freshWeights(model);
    const means: number[] = [];
    for (const value of learned) means.push((await numbers(model, value?.name ?? ''))[0] ?? Number.NaN);
    expect(means).toEqual([1, 0, 0, 1]);
  });

  it('says which statistics it leaves', async () => {
    const b = new GraphBuilder('odd');
    const doubles = (name: string): Value =>
      b.constant(name, Tensor.from('float64', [3], Float64Array.of(3, 3, 3)));
    const x = b.input('x', 'float64', ['N', 3, 2, 2]);
    const mean = b.op.Abs([doubles('negative')]);
    b.output('y', b.op.BatchNormalization([x, doubles('s'), doubles('b'), mean, doubles('variance')]));
    const model = (await b.build()).clone();
    const { drawn, left } = await freshWeights(model);
    expect(drawn).toEqual([]);
    expect(left).toEqual([
      { name: 's', reason: 'it is float64, not float32' },
      { name: 'b', reason: 'it is float64, not float32' },
      { name: mean.name, reason: 'it is computed' },
      { name: 'variance', reason: 'it is float64, not float32' },
    ]);
  });

  it('takes as many inputs for the fan as each output sums over', async () => {
    const image = (b: GraphBuilder, channels: number): Value =>
      b.input('x', 'float32', ['N', channels, 8, 8]);
    const cases: readonly (readonly [Model, number])[] = [
      [await single([64, 16, 3, 3], (b, w) => b.op.Relu([b.op.Conv([image(b, 16), w])])), 16 * 9],
      [await single([64, 2, 5, 5], (b, w) => b.op.Conv([image(b, 16), w], { group: 8 })), 2 * 25],
      // Of the 4x4 positions of a kernel, a stride of 2 lets 2x2 meet each output.
      [
        await single([64, 32, 4, 4], (b, w) => b.op.ConvTranspose([image(b, 64), w], { strides: [2, 2] })),
        64 * 4,
      ],
    ];
    for (const [model, fanIn] of cases) {
      await freshWeights(model);
      const values = await numbers(model, 'w');
      near(deviation(values), Math.sqrt(2 / fanIn), values.length);
    }
  });

  it('gives matrices the gain of what follows, on either side of a product', async () => {
    const rows = (b: GraphBuilder, width: number): Value => b.input('x', 'float32', ['N', width]);
    const [kaiming, xavier] = [Math.sqrt(2 / 40), Math.sqrt(2 / (40 + 60))];
    const cases: readonly (readonly [Model, number])[] = [
      [await single([40, 60], (b, w) => b.op.Relu([b.op.MatMul([rows(b, 40), w])])), kaiming],
      [await single([40, 60], (b, w) => b.op.Tanh([b.op.MatMul([rows(b, 40), w])])), xavier],
      [await single([60, 40], (b, w) => b.op.Gemm([rows(b, 40), w], { transB: true })), xavier],
      [
        await single([60, 40], (b, w) => b.op.Relu([b.op.MatMul([w, b.input('x', 'float32', [40, 5])])])),
        kaiming,
      ],
      [
        await single([60, 40], (b, w) => b.op.Relu([b.op.MatMul([rows(b, 40), b.op.Transpose([w])])])),
        kaiming,
      ],
      [
        await single([40, 60], (b, w) =>
          b.op.LeakyRelu([b.op.Einsum([rows(b, 40), w], { equation: 'ni,io->no' })]),
        ),
        kaiming,
      ],
    ];
    for (const [model, wanted] of cases) {
      await freshWeights(model);
      const values = await numbers(model, 'w');
      near(deviation(values), wanted, values.length);
    }
  });

  it('keeps the size of a signal through twenty layers', async () => {
    const model = (await mlp({ inputs: 64, hidden: new Array<number>(20).fill(64), classes: 64 })).clone();
    await freshWeights(model, { seed: 5 });
    const x = Tensor.from(
      'float32',
      [32, 64],
      Float32Array.from({ length: 2048 }, (_, at) => Math.SQRT2 * Math.sin(at * 1.7)),
    );
    const { logits } = await evaluateModel(model, { x });
    // A factor of 0.7 a layer, as small weights would have, would leave a thousandth.
    expect(deviation(logits?.toFloat64Array() ?? [])).toBeGreaterThan(0.2);
    expect(deviation(logits?.toFloat64Array() ?? [])).toBeLessThan(5);
  });

  it('draws tables and normalizations of a transformer, and leaves its arithmetic alone', async () => {
    const options = { vocabulary: 200, length: 16, depth: 1, width: 32, heads: 2 };
    const built = await transformerEncoder({ ...options, seed: 1 });
    const model = (await transformerEncoder({ ...options, seed: 1 })).clone();
    const { drawn, left } = await freshWeights(model, { seed: 2 });
    expect(left).toEqual([]);
    const role = (name: string): string | undefined => drawn.find((one) => one.name === name)?.role;
    expect(role('embedding1.weight')).toBe('table');
    expect(role('position.weight')).toBe('table');
    expect(role('attention1.query.weight')).toBe('matrix');
    // A normal cut at two deviations has 0.88 of its deviation.
    const table = await numbers(model, 'embedding1.weight');
    near(deviation(table), 0.02 * 0.8796, table.length / 4);
    const touched = new Set(drawn.map(({ name }) => name));
    for (const { name, dtype } of built.graph.initializers) {
      if (dtype !== 'float32' || touched.has(name)) continue;
      expect(await numbers(model, name)).toEqual(await numbers(built, name));
    }
    expect([...touched].filter((name) => name.includes('norm')).length).toBe(6);
  });

  it('starts states of recurrent layers orthogonal, and lets an LSTM remember', async () => {
    const b = new GraphBuilder('lstm');
    const x = b.input('x', 'float32', [3, 'N', 5]);
    const weights = [
      b.constant('w', floats([1, 16, 5], 7)),
      b.constant('r', floats([1, 16, 4], 7)),
      b.constant('bias', floats([1, 32], 7)),
    ];
    const y = b.op.LSTM([x, ...weights], { hidden_size: 4 })[0];
    b.output('y', y as Value);
    const model = (await b.build()).clone();
    expect((await freshWeights(model)).drawn.length).toBe(3);
    const states = await numbers(model, 'r');
    for (let gate = 0; gate < 4; gate++) {
      for (let left = 0; left < 4; left++) {
        for (let right = 0; right < 4; right++) {
          let product = 0;
          for (let at = 0; at < 4; at++)
            product += (states[gate * 16 + left * 4 + at] ?? 0) * (states[gate * 16 + right * 4 + at] ?? 0);
          expect(product).toBeCloseTo(left === right ? 1 : 0, 5);
        }
      }
    }
    // i, o, f, c of the inputs, then of the states.
    expect([...(await numbers(model, 'bias'))]).toEqual([
      ...new Array<number>(8).fill(0),
      ...new Array<number>(4).fill(1),
      ...new Array<number>(20).fill(0),
    ]);
  });

  it('does not touch masks, numbers, or what brings the input into form, and says what it leaves', async () => {
    const b = new GraphBuilder('odd');
    const x = b.input('x', 'float32', ['N', 4]);
    const centred = b.op.Sub([x, b.constant('mean', floats([4], 0.5))]);
    const product = b.op.MatMul([centred, b.constant('w', floats([4, 4], 7))]);
    const scaled = b.op.Mul([product, b.constant('half', floats([], 0.5))]);
    const shifted = b.op.Add([scaled, b.constant('bias', floats([4], 7))]);
    b.output('y', b.op.Add([shifted, b.constant('mask', floats([4, 4], -1e9))]));
    const model = (await b.build()).clone();
    const { drawn, left } = await freshWeights(model);
    expect(drawn.map(({ name, role }) => [name, role])).toEqual([
      ['w', 'matrix'],
      ['bias', 'shift'],
    ]);
    expect(left.map(({ name }) => name)).toEqual(['mean']);
    expect([(await numbers(model, 'mean'))[0], (await numbers(model, 'half'))[0]]).toEqual([0.5, 0.5]);
    expect((await numbers(model, 'mask'))[0]).toBe(Math.fround(-1e9));
    expect((await numbers(model, 'bias'))[0]).toBe(0);
  });

  it('gives each weight a stream of its own, by seed and name', async () => {
    const draw = async (seed: number, hidden: readonly number[]): Promise<Float64Array> => {
      const model = (await mlp({ inputs: 3, hidden, classes: 2 })).clone();
      await freshWeights(model, { seed });
      return await numbers(model, 'linear1.weight');
    };
    expect(await draw(1, [5])).toEqual(await draw(1, [5, 6]));
    expect(await draw(1, [5])).not.toEqual(await draw(2, [5]));
  });

  it('takes initializers of the caller', async () => {
    const b = new GraphBuilder('own');
    const net = layers(b, 0);
    b.output('y', net.linear(b.input('x', 'float32', ['N', 3]), 2));
    const model = (await b.build()).clone();
    await freshWeights(model, { initializers: { matrix: ({ shape }) => floats(shape, 4) } });
    expect([...(await numbers(model, 'linear1.weight'))]).toEqual([4, 4, 4, 4, 4, 4]);
  });
});
