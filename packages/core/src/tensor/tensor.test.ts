import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  byteLengthOf,
  type DType,
  dtypeFromOnnx,
  dtypes,
  elementsOf,
  isFloat,
  isInteger,
  stridesOf,
} from './dtype.ts';
import { packNibbles, unpackInt4, unpackUint4 } from './packed4.ts';
import { lazyTensor, Tensor } from './tensor.ts';

const invalid = expect.objectContaining({ code: 'TENSOR_INVALID' });

describe('nibbles', () => {
  it('are packed low first, as the ONNX specification stores them', () => {
    // "the first element is in the 4 least significant bits": 1, 2, 3 -> 0x21 0x03.
    expect([...packNibbles(new Uint8Array([1, 2, 3]))]).toEqual([0x21, 0x03]);
    expect([...packNibbles(new Int8Array([-8, 7, -1]))]).toEqual([0x78, 0x0f]);
  });

  it('come back as they went in, for every pair and any length', () => {
    for (let first = -8; first < 8; first++) {
      for (let second = -8; second < 8; second++) {
        expect([...unpackInt4(packNibbles(new Int8Array([first, second])), 2)]).toEqual([first, second]);
        expect([...unpackUint4(packNibbles(new Uint8Array([first + 8, second + 8])), 2)]).toEqual([
          first + 8,
          second + 8,
        ]);
      }
    }
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -8, max: 7 })), (values) => {
        const packed = packNibbles(Int8Array.from(values));
        expect(packed.length).toBe(Math.ceil(values.length / 2));
        expect([...unpackInt4(packed, values.length)]).toEqual(values);
      }),
      { seed: 4 },
    );
    expect(() => unpackUint4(new Uint8Array(1), 3)).toThrow(invalid);
  });
});

describe('dtypes', () => {
  it('have the codes and sizes of ONNX', () => {
    // TensorProto.DataType of the ONNX specification.
    const codes = [
      '',
      'float32',
      'uint8',
      'int8',
      'uint16',
      'int16',
      'int32',
      'int64',
      'string',
      'bool',
      'float16',
      'float64',
      'uint32',
      'uint64',
      'complex64',
      'complex128',
      'bfloat16',
      'float8e4m3fn',
      'float8e4m3fnuz',
      'float8e5m2',
      'float8e5m2fnuz',
      'uint4',
      'int4',
    ];
    codes.forEach((dtype, code) => {
      expect(dtypeFromOnnx(code)).toBe(dtype === '' ? undefined : dtype);
    });
    expect(dtypeFromOnnx(99)).toBeUndefined();
    expect([
      byteLengthOf('int4', 3),
      byteLengthOf('float32', 3),
      byteLengthOf('complex128', 2),
      byteLengthOf('bool', 5),
    ]).toEqual([2, 12, 32, 5]);
    expect([isFloat('bfloat16'), isFloat('complex64'), isInteger('uint4'), isInteger('bool')]).toEqual([
      true,
      false,
      true,
      false,
    ]);
    expect([dtypes.int8.range, dtypes.uint64.range]).toEqual([
      [-128n, 127n],
      [0n, 18446744073709551615n],
    ]);
  });

  it('count elements and strides', () => {
    expect([elementsOf([]), elementsOf([2, 0, 3]), elementsOf([2, 3])]).toEqual([1, 0, 6]);
    expect([stridesOf([2, 3, 4]), stridesOf([])]).toEqual([[12, 4, 1], []]);
  });
});

describe('Tensor', () => {
  it('views bytes of any alignment without changing them', () => {
    for (const dtype of Object.keys(dtypes) as DType[]) {
      if (dtype === 'string') continue;
      const length = byteLengthOf(dtype, 3);
      const bytes = Uint8Array.from({ length }, (_, index) => index + 1);
      const odd = new Uint8Array(length + 3);
      odd.set(bytes, 3);
      for (const source of [bytes, odd.subarray(3), Buffer.from(odd).subarray(3)]) {
        const tensor = Tensor.fromBytes(dtype, [3], source);
        const view = tensor.data as unknown as Uint8Array;
        expect(new Uint8Array(view.buffer, view.byteOffset, view.byteLength)).toEqual(bytes);
        expect(tensor.bytes.length).toBe(length);
        expect(tensor.byteLength).toBe(length);
      }
    }
  });

  it('reads every dtype as numbers', () => {
    const numbers = (dtype: DType, data: never): number[] => [
      ...Tensor.from(dtype, [2], data).toFloat64Array(),
    ];
    expect(numbers('float16', new Uint16Array([0x3c00, 0xc000]) as never)).toEqual([1, -2]);
    expect(numbers('bfloat16', new Uint16Array([0x3f80, 0xc000]) as never)).toEqual([1, -2]);
    expect(numbers('float8e4m3fn', new Uint8Array([0x38, 0xb8]) as never)).toEqual([1, -1]);
    expect(numbers('int4', new Uint8Array([0xf7]) as never)).toEqual([7, -1]);
    expect(numbers('uint4', new Uint8Array([0xf7]) as never)).toEqual([7, 15]);
    expect(numbers('int64', new BigInt64Array([2n ** 40n, -1n]) as never)).toEqual([2 ** 40, -1]);
    expect(numbers('uint32', new Uint32Array([4294967295, 0]) as never)).toEqual([4294967295, 0]);
    expect(numbers('bool', new Uint8Array([1, 0]) as never)).toEqual([1, 0]);
    for (const tensor of [
      Tensor.from('string', [1], ['a']),
      Tensor.from('complex64', [1], new Float32Array(2)),
    ]) {
      expect(() => tensor.toFloat64Array()).toThrow(expect.objectContaining({ code: 'DTYPE_UNSUPPORTED' }));
    }
  });

  it('reshapes without a copy', () => {
    const data = new Float32Array([1, 2, 3, 4]);
    const tensor = Tensor.from('float32', [4], data).reshape([2, 2]);
    expect([tensor.shape, tensor.data]).toEqual([[2, 2], data]);
    expect(tensor.data).toBe(data);
    expect(() => tensor.reshape([3])).toThrow(invalid);
  });

  it('refuses data that does not fit dtype and shape', () => {
    const f32 = new Float32Array(4);
    for (const make of [
      () => Tensor.from('float32', [3], f32),
      () => Tensor.from('int32', [4], f32 as never),
      () => Tensor.from('float32', [-2, -2], f32),
      () => Tensor.from('float32', [4.5], f32),
      () => Tensor.from('float32', [Number.NaN], f32),
      () => Tensor.from('float32', [2 ** 40, 2 ** 40], f32),
      () => Tensor.from('string', [2], ['a']),
      () => Tensor.from('string', [1], 'a' as never),
      () => Tensor.fromBytes('float32', [4], new Uint8Array(15)),
      () => Tensor.fromBytes('int4', [3], new Uint8Array(3)),
      () => Tensor.fromBytes('string', [1], new Uint8Array(1)),
      () => Tensor.from('string', [1], ['a']).bytes,
    ]) {
      expect(make).toThrow(invalid);
    }
  });

  it('has a shape of its own that nobody can change', () => {
    const shape = [2];
    const tensor = Tensor.from('int8', shape, new Int8Array(2));
    shape[0] = 9;
    expect(tensor.shape).toEqual([2]);
    expect(Object.isFrozen(tensor.shape)).toBe(true);
    expect(String(tensor)).toBe('Tensor(int8 [2])');
    expect(Tensor.from('string', [2], ['é', 'a']).byteLength).toBe(3);
    expect([
      Tensor.from('float32', [], new Float32Array(1)).size,
      Tensor.from('float32', [0], new Float32Array()).size,
    ]).toEqual([1, 0]);
  });
});

describe('lazyTensor', () => {
  it('computes when it is loaded, each time, and checks what comes out', async () => {
    let computed = 0;
    const source = lazyTensor('int8', [2], () => {
      computed++;
      return Tensor.from('int8', [2], new Int8Array(2));
    });
    expect([source.byteLength, computed]).toEqual([2, 0]);
    await source.load();
    await source.load();
    expect(computed).toBe(2);
    const liar = lazyTensor('int8', [3], () => Tensor.from('int8', [2], new Int8Array(2)));
    await expect(liar.load()).rejects.toThrow(invalid);
    await expect(source.load(AbortSignal.abort())).rejects.toThrow(
      expect.objectContaining({ name: 'AbortError' }),
    );
    expect(() => lazyTensor('int8', [-1], () => source.load())).toThrow(invalid);
  });
});
