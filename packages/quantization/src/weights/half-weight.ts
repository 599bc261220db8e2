import { lazyTensor, Tensor, type TensorSource, toFloat16Bits } from '@lithe/core';
import { float32Data } from './lazy-parts.ts';

/** What happens to a weight's elements in float16. */
export interface HalfFit {
  /** Elements beyond the largest float16, infinite or NaN: the weight cannot be halved. */
  readonly beyond: number;
  /** Elements that are not zero but would round to it. */
  readonly vanishing: number;
}

/** Looks whether float32 elements fit float16. About 1 GB/s on one core. */
export function halfFit(data: Float32Array): HalfFit {
  let beyond = 0;
  let vanishing = 0;
  // 65504 plus half of the last step rounds to infinity; 2^-25 and below round to 0.
  for (let index = 0; index < data.length; index++) {
    const magnitude = Math.abs(data[index]!);
    if (!(magnitude < 65520)) beyond++;
    else if (magnitude <= 2 ** -25 && magnitude !== 0) vanishing++;
  }
  return { beyond, vanishing };
}

/** Rounds to float16. Normal numbers take a short way: about 500 MB/s of float32 on one core. */
function convert(data: Float32Array): Uint16Array {
  const out = new Uint16Array(data.length);
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  for (let index = 0; index < data.length; index++) {
    const word = bits[index]!;
    const magnitude = word & 0x7fffffff;
    if (magnitude >= 0x38800000 && magnitude < 0x477ff000) {
      // A normal float16: rebias the exponent, round the 13 lost bits half to even.
      const rounded = magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1);
      out[index] = ((word >>> 16) & 0x8000) | (rounded >>> 13);
    } else {
      const value = data[index]!;
      const half = toFloat16Bits(value);
      // A number that is not zero stays so: divisors and epsilons must not vanish.
      out[index] = (half & 0x7fff) === 0 && value !== 0 ? half | 1 : half;
    }
  }
  return out;
}

/**
 * A float32 weight rounded to float16 (half to even) when it is loaded. Numbers that are not zero stay so.
 *
 * @param mask what stands for numbers below the range of float16, minus infinity included; they become minus infinity
 *   when it is left out
 */
export function halfWeight(source: TensorSource, what: string, mask?: number): TensorSource {
  return lazyTensor('float16', source.shape, async (signal) => {
    const data = float32Data(await source.load(signal), what);
    const raised = mask === undefined ? data : data.map((value) => (value <= -65520 ? mask : value));
    return Tensor.from('float16', source.shape, convert(raised));
  });
}
