import { errors } from '../errors/catalogue.ts';

/**
 * Packs 4-bit integers two a byte, the first in the low nibble, as ONNX `TensorProto` stores `int4` and `uint4`.
 *
 * @param values whole numbers in [-8, 7] or [0, 15]; only their low four bits are kept
 * @returns `ceil(values.length / 2)` bytes; an odd last nibble is zero
 */
export function packNibbles(values: Int8Array | Uint8Array): Uint8Array {
  const packed = new Uint8Array((values.length + 1) >> 1);
  const even = values.length & ~1;
  for (let index = 0, byte = 0; index < even; index += 2, byte++) {
    packed[byte] = ((values[index] as number) & 0xf) | (((values[index + 1] as number) & 0xf) << 4);
  }
  if (even < values.length) packed[packed.length - 1] = (values[even] as number) & 0xf;
  return packed;
}

/**
 * Unpacks `elements` unsigned 4-bit integers.
 *
 * @throws {LitheError} TENSOR_INVALID when `packed` is too short
 */
export function unpackUint4(packed: Uint8Array, elements: number): Uint8Array {
  if (packed.length * 2 < elements)
    throw errors.tensorInvalid(`${packed.length} bytes cannot hold ${elements} nibbles`);
  const values = new Uint8Array(elements);
  for (let index = 0; index < elements; index++) {
    const byte = packed[index >> 1] as number;
    values[index] = (index & 1) === 0 ? byte & 0xf : byte >> 4;
  }
  return values;
}

/**
 * Unpacks `elements` signed 4-bit integers (two's complement).
 *
 * @throws {LitheError} TENSOR_INVALID when `packed` is too short
 */
export function unpackInt4(packed: Uint8Array, elements: number): Int8Array {
  const raw = unpackUint4(packed, elements);
  const values = new Int8Array(elements);
  for (let index = 0; index < elements; index++) values[index] = ((raw[index] as number) << 28) >> 28;
  return values;
}
