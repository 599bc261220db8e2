import { createRng, lazyTensor, Tensor } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { granularity } from '../parameters/granularity.ts';
import { integerRange } from '../parameters/integer-range.ts';
import { quantizedWeight } from './quantized-weight.ts';

const spec = {
  granularity: granularity.perChannel(1),
  range: integerRange('int8', { extent: 'narrow' }),
  scheme: 'symmetric',
  what: 'weight "w"',
} as const;

function counted(): { readonly source: ReturnType<typeof lazyTensor>; loads(): number } {
  let loads = 0;
  const rng = createRng(3);
  const data = Float32Array.from({ length: 512 }, () => rng.normal());
  const source = lazyTensor('float32', [64, 8], () => {
    loads++;
    return Tensor.from('float32', [64, 8], data.slice());
  });
  return { source, loads: () => loads };
}

describe('a quantized weight', () => {
  it('reads its source once for integers, scales and zero points, and not before they are asked for', async () => {
    const { source, loads } = counted();
    const { values, scales, zeroPoints } = quantizedWeight(source, spec);
    expect(loads()).toBe(0);
    expect([values, scales, zeroPoints].map(({ dtype, shape }) => [dtype, shape])).toEqual([
      ['int8', [64, 8]],
      ['float32', [8]],
      ['int8', [8]],
    ]);
    await values.load();
    await scales.load();
    await zeroPoints.load();
    expect(loads()).toBe(1);
  });

  it('gives the same in whatever order and however often it is loaded', async () => {
    const first = quantizedWeight(counted().source, spec);
    const second = quantizedWeight(counted().source, spec);
    const scales = await second.scales.load();
    const values = await second.values.load();
    expect(values.bytes).toEqual((await first.values.load()).bytes);
    expect(scales.bytes).toEqual((await first.scales.load()).bytes);
    expect((await first.scales.load()).bytes).toEqual(scales.bytes);
    expect((await first.values.load()).bytes).toEqual(values.bytes);
  });

  it('stops when it is told to', async () => {
    const { values } = quantizedWeight(counted().source, spec);
    await expect(values.load(AbortSignal.abort())).rejects.toThrow(/abort/i);
  });
});
