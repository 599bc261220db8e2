import { attribute, type Tensor } from '@lithe/core';
import { referenceBackend } from '@lithe/core/reference';
import { normalFloat4, normalFloat4Levels, quantizeNormalFloat4 } from '@lithe/quantization';
import { describe, expect, it } from 'vitest';
import { net } from './net.ts';
import { apply, normal, runModel, sqnr } from './support.ts';

/** The nearest level by looking at all of them. */
function nearest(value: number): number {
  let best = 0;
  normalFloat4Levels.forEach((level, index) => {
    if (Math.abs(level - value) < Math.abs(normalFloat4Levels[best]! - value)) best = index;
  });
  return best;
}

describe('NF4', () => {
  it('takes the nearest level of each number, the first of two in the high nibble', () => {
    const { data } = normal([3, 67], 9);
    const { packed, magnitudes } = quantizeNormalFloat4(data, 64, 'w');
    expect(packed).toHaveLength(101);
    expect(magnitudes).toHaveLength(4);
    for (let at = 0; at < data.length; at++) {
      const block = data.subarray(at - (at % 64), Math.min(data.length, at - (at % 64) + 64));
      const most = Math.max(...block.map(Math.abs));
      expect(magnitudes[at >> 6]).toBe(most);
      const code = at % 2 === 0 ? packed[at >> 1]! >> 4 : packed[at >> 1]! & 15;
      expect(code).toBe(nearest(data[at]! / most));
    }
    // The last byte is half full.
    expect(packed[100]! & 15).toBe(0);
  });

  it('stores a block of zeros as zeros, and refuses what is not finite', () => {
    const { packed, magnitudes } = quantizeNormalFloat4(new Float32Array(16), 16, 'w');
    expect(magnitudes).toEqual(Float32Array.of(0));
    expect([...packed]).toEqual(new Array(8).fill(0x77));
    expect(() => quantizeNormalFloat4(Float32Array.of(1, Number.NaN), 16, 'w')).toThrow(/finite/);
  });

  it('multiplies alike in onnxruntime, WASM and the reference interpreter, either way round, with a bias', async () => {
    const n = net();
    const x = n.input('x', [3, 72]);
    const model = n.model(
      n.add('MatMul', [x, n.weight([72, 40])]),
      n.add('Gemm', [x, n.weight([40, 72]), n.weight([1, 40])], { transB: attribute.int(1) }),
    );
    const { model: small, report } = await apply(model, normalFloat4());
    expect(report.applied).toHaveLength(2);
    const feeds = { x: normal([3, 72], 5) };
    const expected = await runModel(model, feeds);
    const actual = await runModel(small, feeds);
    // Normal weights in 16 levels: 18 to 22 dB.
    expect(sqnr(expected, actual)).toBeGreaterThan(17);
    expect(sqnr(actual, await runModel(small, feeds, 'wasm'))).toBeGreaterThan(100);
    const reference = await referenceBackend().compile(small);
    const outputs = (await reference.run(feeds)) as Record<string, Tensor>;
    expect(sqnr(actual, outputs)).toBeGreaterThan(100);
  });

  it('stores a weight that two nodes read once, and says what it leaves', async () => {
    const n = net();
    const x = n.input('x', [3, 64]);
    const shared = n.weight([64, 32]);
    const small = n.weight([64, 4]);
    const first = n.add('MatMul', [x, shared]);
    const model = n.model(n.add('Add', [first, n.add('MatMul', [x, shared])]), n.add('MatMul', [x, small]));
    const { model: made, report } = await apply(model, normalFloat4());
    expect(report.skipped.map(({ code }) => code)).toEqual(['small']);
    expect([...made.graph.initializers].filter(({ dtype }) => dtype === 'uint8')).toHaveLength(1);
  });
});
