import { isLitheError, Tensor } from '@lithe/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readSafetensors, writeSafetensors } from './safetensors.ts';

/** A file from a header and as many bytes of data. */
function fileOf(header: unknown, dataBytes: number): Uint8Array {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  const head = new TextEncoder().encode(text);
  const bytes = new Uint8Array(8 + head.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(head.length), true);
  bytes.set(head, 8);
  return bytes;
}

const f32 = (shape: readonly unknown[], from: unknown, to: unknown): object => ({
  dtype: 'F32',
  shape,
  data_offsets: [from, to],
});

describe('safetensors', () => {
  it('are written byte for byte as the format says', () => {
    const bytes = writeSafetensors({
      tensors: { a: Tensor.from('float32', [1], Float32Array.of(1)) },
      metadata: {},
    });
    const header = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
    expect(new TextDecoder().decode(bytes.subarray(8, 8 + padded.length))).toBe(padded);
    expect([...bytes.subarray(0, 8)]).toEqual([padded.length, 0, 0, 0, 0, 0, 0, 0]);
    // 1 is 0x3f800000, least significant byte first.
    expect([...bytes.subarray(8 + padded.length)]).toEqual([0, 0, 0x80, 0x3f]);
  });

  it('come back as they were, at any alignment, with any name', () => {
    const tensors = {
      'weights/größe': Tensor.from('float16', [3], Uint16Array.of(1, 2, 0x3c00)),
      __proto__x: Tensor.from('int64', [2], BigInt64Array.of(-1n, 2n ** 62n)),
      scalar: Tensor.from('float64', [], Float64Array.of(Math.PI)),
      none: Tensor.from('bool', [0, 4], new Uint8Array()),
    };
    const bytes = writeSafetensors({ tensors, metadata: { step: '12', text: '"\u0000"' } });
    const shifted = new Uint8Array(bytes.length + 1).fill(7);
    shifted.set(bytes, 1);
    for (const file of [bytes, shifted.subarray(1)]) {
      const found = readSafetensors(file);
      expect(found.metadata).toEqual({ step: '12', text: '"\u0000"' });
      expect(Object.keys(found.tensors).sort()).toEqual(Object.keys(tensors).sort());
      for (const [name, tensor] of Object.entries(tensors)) {
        expect(found.tensors[name]?.dtype).toBe(tensor.dtype);
        expect(found.tensors[name]?.shape).toEqual(tensor.shape);
        expect(found.tensors[name]?.data).toEqual(tensor.data);
      }
    }
  });

  it.each<readonly [string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['a length alone that is past the end', Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255)],
    ['no JSON', fileOf('{"a":', 0)],
    ['a list', fileOf('[]', 0)],
    ['null for a tensor', fileOf({ a: null }, 0)],
    ['an unknown dtype', fileOf({ a: { dtype: 'F7', shape: [1], data_offsets: [0, 4] } }, 4)],
    ['a negative dim', fileOf({ a: f32([-1], 0, 4) }, 4)],
    ['dims whose product overflows', fileOf({ a: f32([2 ** 52, 2 ** 52, 0.5], 0, 4) }, 4)],
    ['dims whose whole product overflows', fileOf({ a: f32([2 ** 52, 2 ** 52], 0, 4) }, 4)],
    ['a shape that needs more bytes', fileOf({ a: f32([2], 0, 4) }, 4)],
    ['offsets past the end', fileOf({ a: f32([1], 4, 8) }, 4)],
    ['offsets that go backwards', fileOf({ a: f32([1], 4, 0) }, 4)],
    ['offsets that are texts', fileOf({ a: f32([1], '0', '4') }, 4)],
    ['tensors that overlap', fileOf({ a: f32([1], 0, 4), b: f32([1], 0, 4) }, 4)],
    ['a hole', fileOf({ a: f32([1], 4, 8) }, 8)],
    ['bytes left over', fileOf({ a: f32([1], 0, 4) }, 8)],
    [
      'a name twice',
      fileOf(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        8,
      ),
    ],
    ['metadata that are no texts', fileOf({ __metadata__: { step: 1 } }, 0)],
    ['a list of metadata', fileOf({ __metadata__: ['x'] }, 0)],
  ])('with %s are refused', (_, bytes) => {
    expect(() => readSafetensors(bytes)).toThrow(expect.objectContaining({ code: 'FILE_INVALID' }));
  });

  it('that are damaged anywhere are read or refused, nothing else', () => {
    const whole = writeSafetensors({
      tensors: {
        a: Tensor.from('float32', [2, 2], Float32Array.of(1, 2, 3, 4)),
        b: Tensor.from('int8', [3], Int8Array.of(1, 2, 3)),
      },
      metadata: { step: '1' },
    });
    fc.assert(
      fc.property(
        fc.nat(whole.length - 1),
        fc.integer({ min: 0, max: 255 }),
        fc.nat(whole.length),
        (at, value, length) => {
          const bytes = whole.slice(0, Math.max(at + 1, length));
          bytes[at] = value;
          try {
            readSafetensors(bytes);
          } catch (error) {
            expect(isLitheError(error, 'FILE_INVALID')).toBe(true);
          }
        },
      ),
      { seed: 1, numRuns: 2000 },
    );
  });

  it('cannot hold dtypes that the format has no name for', () => {
    const tensors = { a: Tensor.from('string', [1], ['x']) };
    expect(() => writeSafetensors({ tensors, metadata: {} })).toThrow(
      expect.objectContaining({ code: 'DTYPE_UNSUPPORTED' }),
    );
  });
});
