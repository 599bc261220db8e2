import { GraphBuilder, type Model, Tensor } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { fingerprint } from './fingerprint.ts';

interface Variant {
  readonly size?: number;
  readonly dilation?: number;
  readonly weight?: number;
  readonly transposed?: boolean;
}

/** A convolution whose weights, attributes and input can be told apart. */
async function netOf({ size = 8, dilation = 1, weight = 1, transposed = false }: Variant): Promise<Model> {
  const b = new GraphBuilder('net');
  const data = new Float32Array(16).fill(weight);
  const w = b.constant('w', Tensor.from('float32', transposed ? [4, 4, 1, 1] : [1, 4, 2, 2], data));
  const x = b.input('x', 'float32', [1, 4, size, size]);
  b.output('y', b.op.Conv([x, w], { dilations: [dilation, dilation] }));
  return await b.build();
}

const { signal } = new AbortController();

describe('fingerprint', () => {
  it('is the same for the same model, however often it is made', async () => {
    const one = await fingerprint(await netOf({}), signal);
    expect(await fingerprint((await netOf({})).clone(), signal)).toBe(one);
    expect(one).toMatch(/^[0-9a-f]{8}$/);
  });

  it('tells weights, their shapes, attributes and inputs apart', async () => {
    const variants: readonly Variant[] = [
      {},
      { weight: 2 },
      { dilation: 2 },
      { size: 9 },
      { transposed: true },
    ];
    const found = await Promise.all(variants.map(async (one) => fingerprint(await netOf(one), signal)));
    expect(new Set(found).size).toBe(variants.length);
  });

  it('stops when it is told to', async () => {
    await expect(fingerprint(await netOf({}), AbortSignal.abort(new Error('enough')))).rejects.toThrow(
      'enough',
    );
  });
});
