import { attribute, type Model, Tensor } from '@lithe/core';
import { type DynamicInt8Options, dynamicInt8 } from '@lithe/quantization';
import { describe, expect, it } from 'vitest';
import { net, operators } from './net.ts';
import { apply, normal, runModel, sqnr } from './support.ts';

const feeds = { x: normal([3, 72], 5) };

function products(): Model {
  const n = net();
  const x = n.input('x', [3, 72]);
  return n.model(
    n.add('MatMul', [x, n.weight([72, 40])]),
    n.add('Gemm', [x, n.weight([40, 72]), n.weight([40])], { transB: attribute.int(1) }),
  );
}

describe('forms of dynamic int8', () => {
  const forms: readonly (readonly [DynamicInt8Options, number])[] = [
    [{ weights: 'uint8' }, 36],
    [{ weights: 'uint8', granularity: 'per-tensor' }, 32],
    [{ weights: 'int8', granularity: 'per-tensor' }, 32],
    [{ weights: 'int8', reducedRange: true }, 32],
  ];
  for (const [options, least] of forms) {
    it(`multiplies in Node and WASM: ${JSON.stringify(options)}`, async () => {
      const model = products();
      const { model: small, report } = await apply(model, dynamicInt8(options));
      expect(report.applied).toHaveLength(2);
      const dtypes = [...small.graph.initializers].map(({ dtype }) => dtype);
      expect(dtypes.filter((dtype) => dtype === options.weights)).toHaveLength(4);
      const expected = await runModel(model, feeds);
      expect(sqnr(expected, await runModel(small, feeds))).toBeGreaterThan(least);
      expect(sqnr(expected, await runModel(small, feeds, 'wasm'))).toBeGreaterThan(least);
    });
  }

  it('keeps 8 bits of unsigned weights under the reduced range, which is for signed ones', async () => {
    const { model } = await apply(products(), dynamicInt8({ weights: 'uint8', reducedRange: true }));
    for (const { initializer } of model.graph.initializers) {
      if (initializer?.dtype !== 'uint8' || initializer.shape.length < 2) continue;
      const { data } = (await initializer.load()) as Tensor<'uint8'>;
      expect(Math.max(...data)).toBe(255);
      expect(Math.min(...data)).toBe(0);
    }
  });

  it('stores tables row by row, so that rows of small numbers stay exact', async () => {
    const n = net();
    const ids = n.input('ids', ['N', 5], 'int64');
    const table = normal([40, 32], 8);
    // Rows differ by a factor of 1000, as those of rare tokens do.
    const data = table.data.map((value, index) => value * (index >> 5 < 20 ? 1 : 1e-3));
    const weight = n.constant(Tensor.from('float32', [40, 32], data));
    const model = n.model(n.add('Gather', [weight, ids]));
    const { model: same } = await apply(model, dynamicInt8());
    expect(operators(same)).toEqual({ Gather: 1 });
    const { model: small, report } = await apply(model, dynamicInt8({ embeddings: true }));
    expect(report.applied).toHaveLength(1);
    expect(operators(small)).toEqual({ Gather: 2, Cast: 1, Mul: 1 });
    expect([...small.graph.initializers].map(({ dtype }) => dtype).sort()).toEqual(['float32', 'int8']);
    for (const low of [0, 20]) {
      const inputs = {
        ids: Tensor.from(
          'int64',
          [2, 5],
          BigInt64Array.from({ length: 10 }, (_, i) => BigInt(low + i)),
        ),
      };
      const expected = await runModel(model, inputs);
      expect(sqnr(expected, await runModel(small, inputs))).toBeGreaterThan(38);
      expect(sqnr(expected, await runModel(small, inputs, 'wasm'))).toBeGreaterThan(38);
    }
  });
});
