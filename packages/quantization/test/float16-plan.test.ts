import {
  attribute,
  dtypes,
  type Feeds,
  type Model,
  Tensor,
  tensorType,
  toFloat16Bits,
  type Value,
} from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { float16Compute } from '@lithe/quantization';
import { describe, expect, it } from 'vitest';
import { type Net, net, operators } from './net.ts';
import { apply, contextOf, fixedData, normal, runModel, sqnr } from './support.ts';

const LOWEST = -3.4028234663852886e38;
const to = (dtype: 'float32' | 'int64') => ({ to: attribute.int(dtypes[dtype].onnx) });
const scalar = (value: number): Tensor => Tensor.from('float32', [], Float32Array.of(value));
const int64s = (shape: readonly number[], ...values: readonly number[]): Tensor =>
  Tensor.from('int64', shape, BigInt64Array.from(values, BigInt));
const codes = (report: { readonly skipped: readonly { readonly code: string; readonly target: string }[] }) =>
  report.skipped.map(({ code, target }) => [code, target]);

/** The outputs in the reference interpreter, which computes float16 as it is specified. */
async function reference(model: Model, feeds: Feeds): Promise<Record<string, Tensor>> {
  const executable = await referenceBackend().compile(model);
  return { ...(await executable.run(feeds)) };
}

describe('masks in float16', () => {
  const ways: Readonly<Record<string, (n: Net, scores: Value, mask: Value) => Value>> = {
    'added, (1 - mask) times the lowest number': (n, scores, mask) => {
      const hidden = n.add('Sub', [n.constant(scalar(1)), n.add('Cast', [mask], to('float32'))]);
      return n.add('Add', [scores, n.add('Mul', [hidden, n.constant(scalar(LOWEST))])]);
    },
    'chosen by Where': (n, scores, mask) => {
      const seen = n.add('Equal', [mask, n.constant(int64s([], 1))]);
      return n.add('Where', [seen, scores, n.constant(scalar(LOWEST))]);
    },
    'infinite, chosen by Where': (n, scores, mask) => {
      const seen = n.add('Equal', [mask, n.constant(int64s([], 1))]);
      return n.add('Where', [seen, scores, n.constant(scalar(Number.NEGATIVE_INFINITY))]);
    },
    'filled by ConstantOfShape, and added twice': (n, scores, mask) => {
      const fill = { value: attribute.tensor(Tensor.from('float32', [1], Float32Array.of(LOWEST))) };
      const filled = n.add('ConstantOfShape', [n.add('Shape', [mask])], fill);
      const zeros = n.add('ConstantOfShape', [n.add('Shape', [mask])]);
      const bias = n.add('Where', [n.add('Equal', [mask, n.constant(int64s([], 1))]), zeros, filled]);
      return n.add('Add', [n.add('Add', [scores, bias]), bias]);
    },
  };
  for (const [name, build] of Object.entries(ways)) {
    it(`hide the same: ${name}`, async () => {
      const n = net();
      const scores = n.add('MatMul', [n.input('x', [2, 8]), n.weight([8, 6])]);
      const model = n.model(n.add('Softmax', [build(n, scores, n.input('mask', [2, 6], 'int64'))]));
      const feeds = { x: normal([2, 8], 3), mask: int64s([2, 6], 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 0) };
      const data = fixedData([feeds]);
      const { model: small, report } = await apply(
        model,
        float16Compute(),
        contextOf({ backend: referenceBackend(), data }),
      );
      expect(codes(report)).toEqual([]);
      expect(report.applied.filter((text) => text.includes('clamp the mask'))).toHaveLength(1);
      const expected = await runModel(model, feeds);
      for (const outputs of [await runModel(small, feeds), await reference(small, feeds)]) {
        expect(sqnr(expected, outputs)).toBeGreaterThan(50);
        const [row] = Object.values(outputs);
        expect([...(row as Tensor).toFloat64Array()].filter((value) => value === 0)).toHaveLength(5);
      }
    });
  }

  it('are clamped on their way into a fused attention', async () => {
    const n = net();
    const x = n.input('x', [1, 4, 8]);
    // Each token sees those before it and itself.
    const triangle = Float32Array.from({ length: 16 }, (_, at) => (at % 4 > at >> 2 ? LOWEST : 0));
    const fill = n.constant(Tensor.from('float32', [1, 1, 4, 4], triangle));
    const bias = n.add('Mul', [fill, n.constant(scalar(1))]);
    const node = n.graph.addNode({
      opType: 'MultiHeadAttention',
      domain: 'com.microsoft',
      inputs: [x, x, x, null, null, bias],
      attributes: { num_heads: attribute.int(2) },
    });
    const model = n.model(node.output());
    model.opsetImports.set('com.microsoft', 1);
    const { model: small, report } = await apply(model, float16Compute());
    expect(codes(report)).toEqual([['ranges-not-measured', 'activations']]);
    const feeds = { x: normal([1, 4, 8], 3) };
    expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(50);
  });

  it('are not taken for masks where they do not end in Softmax, or reach above the range', async () => {
    const n = net();
    const x = n.input('x', [2, 8]);
    const kept = n.add('Add', [x, n.constant(scalar(-1e9))]);
    const high = n.add('Softmax', [n.add('Add', [x, n.constant(scalar(1e9))])]);
    const { report } = await apply(n.model(kept, high), float16Compute());
    expect(codes(report)).toEqual([
      ['ranges-not-measured', 'activations'],
      ['overflow', 'Add_0'],
      ['overflow', 'Add_1'],
    ]);
  });
});

describe('casts of float16', () => {
  it('are not put around what moves elements between float32 nodes', async () => {
    const n = net();
    const x = n.input('x', [2, 6]);
    const axis = n.constant(int64s([], 1));
    const moved = n.add('Transpose', [n.add('Reshape', [n.add('CumSum', [x, axis]), n.integers(3, 4)])]);
    const sum = n.add('CumSum', [moved, axis]);
    const used = n.add('MatMul', [n.add('Transpose', [x]), n.add('Reshape', [sum, n.integers(2, 6)])]);
    const model = n.model(n.add('Identity', [sum]), used);
    const { model: small, report } = await apply(model, float16Compute());
    expect(
      codes(report)
        .filter(([code]) => code === 'between-float32')
        .map(([, target]) => target),
    ).toEqual(['Identity_0', 'Transpose_0', 'Reshape_0']);
    // Into the product twice, out of it once.
    expect(operators(small)['Cast']).toBe(3);
    const feeds = { x: normal([2, 6], 4) };
    expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(55);
  });

  it('are made once for each value, however many nodes read it', async () => {
    const n = net();
    const x = n.input('x', [4, 4]);
    const left = n.add('MatMul', [x, n.weight([4, 4])]);
    const axis = n.constant(int64s([], 1));
    const model = n.model(
      n.add('Add', [left, n.add('MatMul', [x, left])]),
      n.add('CumSum', [left, axis]),
      n.add('CumSum', [left, n.constant(int64s([], 0))]),
    );
    const { model: small } = await apply(model, float16Compute());
    // x in, one output out, `left` for both sums.
    expect(operators(small)['Cast']).toBe(3);
  });

  it('leave arithmetic with sizes in float32, which float16 cannot count', async () => {
    const n = net();
    const x = n.input('x', ['N', 4]);
    const rows = n.add('Slice', [n.add('Shape', [x]), n.integers(0), n.integers(1)]);
    const half = n.add('Mul', [
      n.add('Cast', [rows], to('float32')),
      n.constant(Tensor.from('float32', [1], Float32Array.of(0.5))),
    ]);
    const end = n.add('Cast', [n.add('Floor', [half])], to('int64'));
    const model = n.model(n.add('Slice', [n.add('Relu', [x]), n.integers(0), end, n.integers(0)]));
    const feeds = { x: normal([4102, 4], 6) };
    const { model: small, report } = await apply(
      model,
      float16Compute(),
      contextOf({ backend: referenceBackend(), data: fixedData([{ x: normal([8, 4], 6) }]) }),
    );
    expect(codes(report).map(([code]) => code)).toEqual(new Array(4).fill('whole-numbers'));
    const [output] = Object.values(await runModel(small, feeds));
    // 2051 is not a float16.
    expect(output?.shape).toEqual([2051, 4]);
  });

  it('leave sequences and what makes and reads them in float32', async () => {
    const n = net();
    const x = n.input('x', [2, 4]);
    const type = { kind: 'sequence', element: tensorType('float32', [2, 4]) } as const;
    const list = n.graph.addNode({ opType: 'SequenceConstruct', inputs: [n.add('Relu', [x]), x] }, [
      { type },
    ]);
    const model = n.model(n.add('ConcatFromSequence', [list.output()], { axis: attribute.int(0) }));
    const { model: small, report } = await apply(model, float16Compute());
    expect(new Set(codes(report).map(([code]) => code))).toEqual(
      new Set(['ranges-not-measured', 'not-a-tensor']),
    );
    const feeds = { x: normal([2, 4], 4) };
    expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(55);
  });

  it('go straight to float16 from whole numbers that were seen to be small, and not otherwise', async () => {
    const n = net();
    const ids = n.input('ids', [1, 4], 'int64');
    const model = n.model(n.add('Mul', [n.add('Cast', [ids], to('float32')), n.constant(scalar(0.5))]));
    const run = async (...values: readonly number[]) => {
      const data = fixedData([{ ids: int64s([1, 4], ...values) }]);
      return apply(model, float16Compute(), contextOf({ backend: referenceBackend(), data }));
    };
    const small = await run(0, 1, 1, 0);
    expect(codes(small.report)).toEqual([]);
    expect(operators(small.model)['Cast']).toBe(2);
    expect(codes((await run(0, 1, 3001, 0)).report)).toEqual([['integer-cast', 'Cast_0']]);
    expect(codes((await run(0, 1, -3001, 0)).report)).toEqual([['integer-cast', 'Cast_0']]);
  });
});

describe('inputs and outputs in float16', () => {
  it('change their type when they are asked to', async () => {
    const n = net();
    const x = n.input('x', [2, 8]);
    const sum = n.add('CumSum', [x, n.constant(int64s([], 1))]);
    const model = n.model(n.add('MatMul', [x, n.weight([8, 3])]), sum);
    const names = model.graph.outputs.map(({ name }) => name);
    const { model: small } = await apply(model, float16Compute({ io: 'float16' }));
    expect(small.graph.inputs.map(({ dtype }) => dtype)).toEqual(['float16']);
    expect(small.graph.outputs.map(({ name, dtype }) => [name, dtype])).toEqual(
      names.map((name) => [name, 'float16']),
    );
    const input = normal([2, 8], 7);
    const half = Tensor.from('float16', [2, 8], Uint16Array.from(input.data, toFloat16Bits));
    const expected = await runModel(model, { x: input });
    expect(sqnr(expected, await reference(small, { x: half }))).toBeGreaterThan(55);
  });

  it('leave an output alone that a constant or an input is', async () => {
    const n = net();
    const x = n.input('x', [2]);
    const { model: small } = await apply(n.model(x, n.add('Relu', [x])), float16Compute({ io: 'float16' }));
    expect(small.graph.outputs.map(({ dtype }) => dtype)).toEqual(['float16', 'float16']);
  });
});
