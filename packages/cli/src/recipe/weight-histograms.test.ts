import { GraphBuilder, Tensor } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { histogramOf, weightHistograms } from './weight-histograms.ts';

describe('histogramOf', () => {
  it('counts in 64 equal bins, both ends included', () => {
    const data = Float32Array.from({ length: 65 }, (_, index) => index - 32);
    const { range, counts, zeros } = histogramOf('w', Tensor.from('float32', [5, 13], data));
    expect([range, zeros]).toEqual([[-32, 32], 1]);
    // One number a bin; the largest shares the last bin.
    expect(counts).toEqual([...new Array<number>(63).fill(1), 2]);
  });

  it('takes equal weights, integers, 4 bits and what is not finite', () => {
    const equal = histogramOf('w', Tensor.from('float32', [2, 2], new Float32Array(4).fill(3)));
    expect([equal.range, equal.counts[0], equal.zeros]).toEqual([[3, 3], 4, 0]);
    const integers = histogramOf('w', Tensor.from('int8', [1, 3], Int8Array.of(-128, 0, 127)));
    expect([integers.range, integers.counts[0], integers.counts[63], integers.zeros]).toEqual([
      [-128, 127],
      1,
      1,
      1,
    ]);
    // 0x21, 0xf0: the nibbles 1, 2, 0, -1.
    const nibbles = histogramOf('w', Tensor.fromBytes('int4', [2, 2], Uint8Array.of(0x21, 0xf0)));
    expect([nibbles.range, nibbles.zeros]).toEqual([[-1, 2], 1]);
    const odd = Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, 1, 2);
    const finite = histogramOf('w', Tensor.from('float32', [2, 2], odd));
    expect([finite.range, finite.counts.reduce((sum, one) => sum + one)]).toEqual([[1, 2], 2]);
    const none = histogramOf('w', Tensor.from('float32', [1, 1], Float32Array.of(Number.NaN)));
    expect([none.range, none.counts.every((count) => count === 0)]).toEqual([[0, 0], true]);
  });
});

describe('weightHistograms', () => {
  it('shows matrices and kernels in graph order, the largest 64 of many', async () => {
    const builder = new GraphBuilder('many');
    let x = builder.input('x', 'float32', ['N', 2]);
    for (let layer = 0; layer < 70; layer++) {
      const columns = layer < 6 ? 2 : 3;
      const rows = layer === 0 || layer < 7 ? 2 : 3;
      const weight = Tensor.from('float32', [rows, columns], new Float32Array(rows * columns).fill(layer));
      const bias = Tensor.from('float32', [columns], new Float32Array(columns));
      x = builder.op.Add([
        builder.op.MatMul([x, builder.constant(`w${layer}`, weight)]),
        builder.constant(`b${layer}`, bias),
      ]);
    }
    builder.output('y', x);
    const histograms = await weightHistograms(await builder.build(), new AbortController().signal);
    expect(histograms.map(({ weight }) => weight)).toEqual(
      Array.from({ length: 64 }, (_, index) => `w${index + 6}`),
    );
  });

  it('leaves out how blocks are stored, and counts codes of 4 bits rather than bytes', async () => {
    const builder = new GraphBuilder('blocks');
    const x = builder.input('x', 'float32', ['N', 4]);
    const scales = Tensor.from('float32', [2, 2], Float32Array.of(1, 2, 3, 4));
    const codes = Tensor.from('int8', [4, 2], Int8Array.of(1, -2, 3, -4, 5, -6, 7, -8));
    const weight = builder.op.DequantizeLinear(
      [
        builder.constant('w', codes),
        builder.constant('w_scale', scales),
        builder.constant('w_zero_point', Tensor.from('int8', [2, 2], new Int8Array(4))),
      ],
      { axis: 0, block_size: 2 },
    );
    // Two columns of four codes, in two blocks each: 0x21 holds the codes 1 and 2.
    const packed = Tensor.from('uint8', [2, 2, 1], Uint8Array.of(0x21, 0x43, 0x65, 0x80));
    const product = builder.microsoft.MatMulNBits(
      [x, builder.constant('w_Q4', packed), builder.constant('w_scales', scales)],
      { K: 4, N: 2, bits: 4, block_size: 2 },
    );
    builder.output('y', builder.op.Add([builder.op.MatMul([x, weight]), product]));
    const histograms = await weightHistograms(await builder.build(), new AbortController().signal);
    expect(histograms.map(({ weight, range }) => [weight, range])).toEqual([
      ['w', [-8, 7]],
      ['w_Q4', [0, 8]],
    ]);
    expect(histograms[1]?.counts.reduce((sum, count) => sum + count)).toBe(8);
  });
});
