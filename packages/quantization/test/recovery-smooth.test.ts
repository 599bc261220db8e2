import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  attribute,
  type Backend,
  type Dataset,
  type Feeds,
  type Model,
  type PassReport,
  Tensor,
  type Value,
} from '@lithe/core';
import { smoothQuant, staticInt8 } from '@lithe/quantization';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Net, net, operators } from './net.ts';
import { apply, contextOf, fixedData, normal, runModel, sqnr } from './support.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await onnxruntimeNode();
});
afterAll(async () => {
  await backend.dispose();
});

const tokens = Array.from({ length: 24 }, (_, index): Feeds => ({ x: normal([1, 16, 32], 30 + index) }));
const unseen: Feeds = { x: normal([1, 16, 32], 777) };
const context = () => contextOf({ backend, data: fixedData(tokens) });

/** Scales of a normalization, a few of them far larger than the others. */
function outliers(n: Net, factor: number): Value {
  const data = Float32Array.from({ length: 32 }, (_, channel) => (channel % 11 === 3 ? factor : 1));
  return n.constant(Tensor.from('float32', [32], data));
}

function linear(n: Net, x: Value, from: number, to: number): Value {
  return n.add('Add', [n.add('MatMul', [x, n.weight([from, to])]), n.weight([to])]);
}

/** A block with a normalization that only products read, and one that is added again behind them. */
function block(factor = 40): Model {
  const n = net();
  const x = n.input('x', ['N', 16, 32]);
  const first = n.add('LayerNormalization', [x, outliers(n, factor), n.weight([32])]);
  const [q, k, v] = [linear(n, first, 32, 32), linear(n, first, 32, 32), linear(n, first, 32, 32)] as const;
  const scores = n.add('Softmax', [
    n.add('MatMul', [q, n.add('Transpose', [k], { perm: attribute.ints([0, 2, 1]) })]),
  ]);
  const sum = n.add('Add', [x, linear(n, n.add('MatMul', [scores, v]), 32, 32)]);
  const second = n.add('LayerNormalization', [sum, outliers(n, factor), n.weight([32])]);
  const hidden = n.add('Relu', [linear(n, second, 32, 64)]);
  return n.model(n.add('Add', [second, linear(n, hidden, 64, 32)]));
}

function smooth(model: Model, options = {}): Promise<{ readonly model: Model; readonly report: PassReport }> {
  return apply(model, smoothQuant({ insert: true, ...options }), context());
}

async function int8(model: Model): Promise<number> {
  const step = staticInt8({ conversionCost: 0, minimumElements: 1 });
  const { model: small } = await apply(model, step, context());
  return sqnr(await runModel(model, unseen), await runModel(small, unseen));
}

describe('SmoothQuant', () => {
  it('keeps results and brings 8 bits closer to them', async () => {
    const model = block();
    const { model: smoothed } = await smooth(model);
    expect(sqnr(await runModel(model, unseen), await runModel(smoothed, unseen))).toBeGreaterThan(100);
    expect(await int8(smoothed)).toBeGreaterThan((await int8(model)) + 3);
  });

  it('passes over batches without samples', async () => {
    const empty: Feeds = { x: Tensor.from('float32', [0, 16, 32], new Float32Array(0)) };
    const batches = [empty, ...tokens.slice(0, 2), empty, ...tokens.slice(2), empty];
    const data: Dataset = {
      size: tokens.length,
      description: 'tokens and nothing',
      async *batches() {
        for (const inputs of batches) yield { inputs, size: inputs === empty ? 0 : 1 };
      },
    };
    const found = await apply(block(), smoothQuant({ insert: true }), contextOf({ backend, data }));
    expect(found.report.applied).toEqual((await smooth(block())).report.applied);
  });

  it('folds into a normalization that only products read, with one scale for queries, keys and values', async () => {
    const { model: smoothed, report } = await smooth(block(), { alpha: 0.5 });
    expect(report.applied[0]).toBe('smooth "MatMul_0", "MatMul_1", "MatMul_2", alpha 0.50, folded');
    // The normalization that is added again needs a Mul; so does what the product of attention makes.
    const muls = [...smoothed.graph.nodes()].filter((node) => node.is('Mul'));
    expect(muls.map((node) => node.output().uses.map((use) => use.node.name))).toEqual([
      ['MatMul_5'],
      ['MatMul_6'],
    ]);
    expect(report.applied.at(-1)).toBe('smooth "MatMul_7", alpha 0.50, folded');
    const without = await smooth(block(), { alpha: 0.5, insert: false });
    expect(operators(without.model)['Mul']).toBeUndefined();
    expect(without.report.skipped.map(({ target, code }) => [target, code])).toEqual([
      ['MatMul_5', 'no-fold'],
      ['MatMul_6', 'no-fold'],
    ]);
  });

  it('takes the scales of equation 4, up to a common factor', async () => {
    const n = net();
    const x = n.input('x', ['N', 16, 32]);
    const weight = normal([32, 8], 4, 0.3);
    const model = n.model(n.add('MatMul', [x, n.constant(weight)]));
    const { model: smoothed } = await smooth(model, { alpha: 0.7 });
    const mul = [...smoothed.graph.nodes()].find((node) => node.is('Mul'));
    const constant = (await mul?.input(1)?.initializer?.load()) as Tensor<'float32'>;
    const factors = constant.data;
    const expected = Array.from({ length: 32 }, (_, channel) => {
      let [most, heaviest] = [0, 0];
      for (const { x: seen } of tokens)
        for (let row = 0; row < 16; row++)
          most = Math.max(most, Math.abs(((seen as Tensor).data as Float32Array)[row * 32 + channel]!));
      for (let column = 0; column < 8; column++)
        heaviest = Math.max(heaviest, Math.abs(weight.data[channel * 8 + column]!));
      return heaviest ** 0.3 / most ** 0.7;
    });
    const common = factors[0]! / expected[0]!;
    factors.forEach((factor, channel) => {
      expect(factor / (common * expected[channel]!)).toBeCloseTo(1, 4);
    });
  });

  it('folds through scales, shifts, rectifiers and gated products into what makes them', async () => {
    const n = net();
    const x = n.input('x', ['N', 16, 32]);
    const scaled = n.add('Add', [n.add('Mul', [n.add('Tanh', [x]), outliers(n, 30)]), n.weight([32])]);
    const gate = n.add('Sigmoid', [n.add('MatMul', [scaled, n.weight([32, 24])])]);
    const gated = n.add('Mul', [gate, n.add('MatMul', [scaled, n.weight([32, 24])])]);
    const model = n.model(n.add('MatMul', [gated, n.weight([24, 8])]));
    const { model: smoothed, report } = await smooth(model, { alpha: 0.5 });
    expect(report.applied).toHaveLength(2);
    expect(report.applied.every((line) => line.endsWith('folded'))).toBe(true);
    expect(operators(smoothed)).toEqual(operators(model));
    expect(sqnr(await runModel(model, unseen), await runModel(smoothed, unseen))).toBeGreaterThan(100);
  });

  it('leaves alone what gains nothing', async () => {
    const n = net();
    const x = n.input('x', ['N', 16, 32]);
    const weight = Tensor.from(
      'float32',
      [32, 8],
      Float32Array.from({ length: 256 }, (_, at) => (at % 3) - 1 || 1),
    );
    const signs = n.add('Sign', [x]);
    const { report } = await smooth(n.model(n.add('MatMul', [signs, n.constant(weight)])));
    expect(report.skipped).toEqual([
      { target: 'MatMul_0', code: 'no-gain', reason: 'smoothing takes too little off its error' },
    ]);
    expect(report.changed).toBe(false);
  });

  it('needs data and a backend', async () => {
    expect(smoothQuant().needs).toEqual(['data', 'backend']);
    await expect(apply(block(), smoothQuant())).rejects.toMatchObject({ code: 'PASS_NEEDS' });
  });
});
