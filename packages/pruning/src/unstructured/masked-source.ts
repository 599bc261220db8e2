import { Tensor, type TensorSource } from '@lithe/core';

/** One bit an element. */
export function packMask(mask: Uint8Array): Uint8Array {
  const bits = new Uint8Array(Math.ceil(mask.length / 8));
  for (let index = 0; index < mask.length; index++)
    if (mask[index]! !== 0) bits[index >> 3]! |= 1 << (index & 7);
  return bits;
}

/**
 * A float32 weight with zeros where a mask has none, computed as it is read: a model that does not fit into memory is
 * masked with a thirty-second part of it.
 *
 * @param bits one bit an element, as {@link packMask} gives them
 */
export function maskedSource(source: TensorSource, bits: Uint8Array): TensorSource {
  const { dtype, shape, byteLength } = source;
  return {
    dtype,
    shape,
    byteLength,
    load: async (signal) => {
      const data = ((await source.load(signal)).data as Float32Array).slice();
      for (let index = 0; index < data.length; index++)
        if (((bits[index >> 3]! >> (index & 7)) & 1) === 0) data[index] = 0;
      return Tensor.from('float32', shape, data);
    },
  };
}
