import { fromBfloat16Bits, type Model, Tensor } from '@lithe/core';
import { bfloat16Storage } from '@lithe/quantization';
import { describe, expect, it } from 'vitest';
import { net } from './net.ts';
import { apply, normal, optimizedModel, runModel, sqnr } from './support.ts';

function product(weight: Tensor<'float32'>): Model {
  const n = net();
  return n.model(n.add('MatMul', [n.input('x', [3, 32]), n.constant(weight)]));
}

/** The nearest of the two bfloat16 numbers around a float32 number, the even one of equally near. */
function nearest(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0] as number;
  const [down, up] = [fromBfloat16Bits(bits >>> 16), fromBfloat16Bits((bits >>> 16) + 1)] as const;
  const [left, right] = [Math.abs(value - down), Math.abs(up - value)];
  if (left === right) return ((bits >>> 16) & 1) === 0 ? down : up;
  return left < right ? down : up;
}

describe('bfloat16 storage', () => {
  it('halves the weight, rounds it to nearest, and runs in Node and WASM', async () => {
    const weight = normal([32, 16], 3);
    const model = product(weight);
    const { model: small, report } = await apply(model, bfloat16Storage());
    expect(report.metrics['bytesSaved']?.value).toBe(32 * 16 * 2);
    const [stored] = [...small.graph.initializers];
    const tensor = (await stored?.initializer?.load()) as Tensor<'bfloat16'>;
    expect([...tensor.data].map(fromBfloat16Bits)).toEqual([...weight.data].map(nearest));
    const feeds = { x: normal([3, 32], 5) };
    const expected = await runModel(model, feeds);
    // 8 significant bits: 6 dB each.
    for (const engine of ['node', 'wasm'] as const)
      expect(sqnr(expected, await runModel(small, feeds, engine))).toBeGreaterThan(48);
  });

  it('is expanded when the runtime loads the model', async () => {
    const { model: small } = await apply(product(normal([32, 16], 3)), bfloat16Storage());
    const loaded = await optimizedModel(small);
    expect([...loaded.graph.nodes()].map(({ opType }) => opType)).toEqual(['MatMul']);
  });

  it('stores exactly what was trained in bfloat16, also beyond the range of float16', async () => {
    const data = Float32Array.from(normal([32, 16], 4).data, (value) => nearest(value) * 2 ** 100);
    const model = product(Tensor.from('float32', [32, 16], data));
    const { model: small, report } = await apply(model, bfloat16Storage());
    expect(report.skipped).toEqual([]);
    const feeds = { x: normal([3, 32], 5) };
    const [expected] = Object.values(await runModel(model, feeds));
    const [actual] = Object.values(await runModel(small, feeds));
    expect([...(actual?.toFloat64Array() ?? [])]).toEqual([...(expected?.toFloat64Array() ?? [0])]);
  });

  it('leaves a weight that would become infinite', async () => {
    const data = new Float32Array(512).fill(1);
    data[7] = 3.4e38;
    const { report } = await apply(product(Tensor.from('float32', [32, 16], data)), bfloat16Storage());
    expect(report.skipped.map(({ code }) => code)).toEqual(['overflow']);
  });
});
