import { GraphBuilder, Tensor, type Value } from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { gradients } from '../autodiff/gradients.ts';

const floats = (shape: readonly number[], values: readonly number[]): Tensor<'float32'> =>
  Tensor.from('float32', shape, Float32Array.from(values));

const x = floats([2, 3], [0.3, -0.74, 2.9, -9, 0.06, 1.19]);
const upstream = floats([2, 3], [1, -2, 3, 0.5, -1.5, 2]);

/** Gradients of sum(upstream * dequantize(quantize(x))) by x and the scale; `build` says how it is expanded. */
async function found(
  scale: Tensor,
  zero: Tensor,
  build: (b: GraphBuilder, levels: Value, parts: readonly [Value, Value]) => Value,
): Promise<{ readonly x: readonly number[]; readonly scale: readonly number[] }> {
  const b = new GraphBuilder('pair');
  const input = b.input('x', 'float32', [2, 3]);
  const [s, z] = [b.constant('s', scale), b.constant('z', zero)] as const;
  const levels = b.op.QuantizeLinear([input, s, z], { axis: 1 });
  const y = build(b, levels, [s, z]);
  b.output('loss', b.op.ReduceSum([b.op.Mul([y, upstream])], { keepdims: false }));
  const results = await evaluateModel(await gradients(await b.build(), { of: 'loss', wrt: ['x', 's'] }), {
    x,
  });
  const numbers = (name: string): readonly number[] => [...(results[name] as Tensor).toFloat64Array()];
  return { x: numbers('grad:x'), scale: numbers('grad:s') };
}

/** Equations 2 and 3 of "Learned Step Size Quantization" for one element, around a zero point. */
function paper(
  value: number,
  scale: number,
  zero: number,
): { readonly inside: boolean; readonly step: number } {
  const level = Math.round(value / scale) + zero;
  if (level < -8) return { inside: false, step: -8 - zero };
  if (level > 7) return { inside: false, step: 7 - zero };
  return { inside: true, step: Math.round(value / scale) - value / scale };
}

const close = (left: readonly number[], right: readonly number[]): void => {
  expect(left.length).toBe(right.length);
  for (const [at, value] of left.entries()) expect(value).toBeCloseTo(right[at] as number, 5);
};

/** The integer -1 in 4 bits, for one or three channels. */
const minusOne = (shape: readonly number[]): Tensor =>
  Tensor.from('int4', shape, new Uint8Array(shape.length === 0 ? [0x0f] : [0xff, 0x0f]));

describe('the gradient of quantizing and expanding', () => {
  const scales = [0.31, 0.17, 0.23];
  const wanted = (scaleOf: (channel: number) => number): ReturnType<typeof paper>[] =>
    [...x.data].map((value, at) => paper(value, scaleOf(at % 3), -1));
  const byX = (parts: readonly ReturnType<typeof paper>[]): readonly number[] =>
    parts.map(({ inside }, at) => (inside ? (upstream.data[at] as number) : 0));

  it('is that of the paper with one scale', async () => {
    const parts = wanted(() => 0.31);
    const result = await found(floats([], [0.31]), minusOne([]), (b, levels, pair) =>
      b.op.DequantizeLinear([levels, ...pair]),
    );
    expect(parts.filter(({ inside }) => !inside).length).toBe(2);
    close(result.x, byX(parts));
    close(result.scale, [parts.reduce((sum, { step }, at) => sum + step * (upstream.data[at] as number), 0)]);
  });

  it('is that of the paper with a scale for each channel', async () => {
    const parts = wanted((channel) => scales[channel] as number);
    const result = await found(floats([3], scales), minusOne([3]), (b, levels, pair) =>
      b.op.DequantizeLinear([levels, ...pair], { axis: 1 }),
    );
    close(result.x, byX(parts));
    close(
      result.scale,
      [0, 1, 2].map((channel) =>
        parts.reduce(
          (sum, { step }, at) => sum + (at % 3 === channel ? step * (upstream.data[at] as number) : 0),
          0,
        ),
      ),
    );
  });

  it('is the same where the integers are read twice, or expanded by another scale', async () => {
    const parts = wanted(() => 0.31);
    const twice = await found(floats([], [0.31]), minusOne([]), (b, levels, pair) =>
      b.op.Add([
        b.op.DequantizeLinear([levels, ...pair]),
        b.op.DequantizeLinear([levels, ...pair], {}, { name: 'other' }),
      ]),
    );
    close(
      twice.x,
      byX(parts).map((value) => 2 * value),
    );
    const double = await found(floats([], [0.31]), minusOne([]), (b, levels, [, zero]) =>
      b.op.DequantizeLinear([levels, floats([], [0.62]), zero]),
    );
    close(
      double.x,
      byX(parts).map((value) => 2 * value),
    );
    // Only quantizing depends on the scale here: d level / ds = -x / s^2 where nothing is clipped.
    const byScale = parts.reduce(
      (sum, { inside }, at) =>
        sum - (inside ? ((x.data[at] as number) / 0.31 ** 2) * 0.62 * (upstream.data[at] as number) : 0),
      0,
    );
    close(double.scale, [byScale]);
  });
});
