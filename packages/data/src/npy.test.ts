import { createRng, type DType, randomTensor, Tensor } from '@lithe/core';
import fc from 'fast-check';
import { zipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { fixture } from '../test/fixtures.ts';
import { bytesSource } from './byte-source.ts';
import { openIdx, readIdx } from './idx.ts';
import { openNpy, readNpy, writeNpy } from './npy.ts';
import { readNpz, writeNpz } from './npz.ts';

const invalid = expect.objectContaining({ code: 'DATA_INVALID' });
const tooLarge = expect.objectContaining({ code: 'LIMIT_EXCEEDED' });

const codes: Readonly<Record<string, DType>> = {
  i1: 'int8',
  i2: 'int16',
  i4: 'int32',
  i8: 'int64',
  u1: 'uint8',
  u2: 'uint16',
  u4: 'uint32',
  u8: 'uint64',
  f2: 'float16',
  f4: 'float32',
  f8: 'float64',
  b1: 'bool',
  c8: 'complex64',
  c16: 'complex128',
};

describe('NPY files that NumPy wrote', () => {
  for (const [code, dtype] of Object.entries(codes)) {
    it(`hold ${dtype} in either byte order and either memory order`, async () => {
      for (const file of [`${code}.npy`, `${code}-big-fortran.npy`]) {
        const tensor = await readNpy(fixture(file), file);
        expect(tensor).toMatchObject({ dtype, shape: [2, 3] });
        const values = [-2, -1, 0, 1, 2, 3];
        if (code.startsWith('c')) {
          expect([...(tensor.data as Float32Array)]).toEqual(values.flatMap((value) => [value, value]));
        } else if (code === 'b1')
          expect([...tensor.toFloat64Array()]).toEqual(values.map((value) => Number(value > 0)));
        else
          expect([...tensor.toFloat64Array()]).toEqual(
            values.map((value) => (code.startsWith('u') ? value + 2 : value)),
          );
      }
    });
  }

  it('may be scalars, empty, of rank 3 in Fortran order, of versions 2 and 3', async () => {
    expect(await readNpy(fixture('scalar.npy'))).toMatchObject({ shape: [], data: new Float32Array([2.5]) });
    expect(await readNpy(fixture('empty.npy'))).toMatchObject({ shape: [0, 3], size: 0 });
    const rank3 = await readNpy(fixture('rank3-fortran.npy'));
    expect([...rank3.toFloat64Array()]).toEqual(Array.from({ length: 24 }, (_, index) => index));
    for (const version of [2, 3]) {
      expect((await readNpy(fixture(`version${version}.npy`))).data).toEqual(new Float32Array([1.5, -2]));
    }
  });

  it('may hold text', async () => {
    expect((await readNpy(fixture('text.npy'))).data).toEqual(['a', 'grün', '日本']);
    expect((await readNpy(fixture('bytes.npy'))).data).toEqual(['ab', 'c']);
    expect((await readNpy(fixture('text-big-fortran.npy'))).data).toEqual(['a', 'b', 'cd', 'e']);
  });

  it('are refused when they hold objects, records or dates', async () => {
    for (const name of ['object', 'record', 'date'])
      await expect(readNpy(fixture(`${name}.npy`))).rejects.toThrow(invalid);
  });

  it('are read row by row', async () => {
    for (const file of ['f4.npy', 'f4-big-fortran.npy']) {
      const opened = await openNpy(bytesSource(fixture(file)));
      expect(await opened.rows(1, 2)).toMatchObject({ shape: [1, 3] });
      expect([...(await opened.rows(1, 2)).toFloat64Array()]).toEqual([1, 2, 3]);
      await expect(opened.rows(1, 3)).rejects.toThrow(
        expect.objectContaining({ code: 'VALUE_OUT_OF_RANGE' }),
      );
    }
  });
});

describe('writeNpy', () => {
  it('writes the same bytes as NumPy', () => {
    const float = Tensor.from('float32', [2, 3], new Float32Array([-2, -1, 0, 1, 2, 3]));
    expect(writeNpy(float)).toEqual(fixture('f4.npy'));
    expect(writeNpy(Tensor.from('string', [3], ['a', 'grün', '日本']))).toEqual(fixture('text.npy'));
    expect(writeNpy(Tensor.from('float32', [], new Float32Array([2.5])))).toEqual(fixture('scalar.npy'));
  });

  it('reads back what it wrote, for every dtype and shape', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<DType>(...Object.values(codes), 'string'),
        fc.array(fc.nat(4), { maxLength: 4 }),
        fc.integer(),
        async (dtype, shape, seed) => {
          const tensor = randomTensor(dtype, shape, createRng(seed));
          const back = await readNpy(writeNpy(tensor));
          expect([back.dtype, back.shape, back.data]).toEqual([tensor.dtype, tensor.shape, tensor.data]);
        },
      ),
      { seed: 1, numRuns: 200 },
    );
  });

  it('refuses dtypes that NumPy has no type for', () => {
    const tensor = Tensor.from('bfloat16', [1], new Uint16Array(1));
    expect(() => writeNpy(tensor)).toThrow(expect.objectContaining({ code: 'DTYPE_UNSUPPORTED' }));
  });
});

describe('NPZ archives', () => {
  it('that NumPy wrote are read, stored or compressed', async () => {
    const stored = await readNpz(fixture('stored.npz'));
    expect(Object.keys(stored)).toEqual(['x', 'label']);
    expect([...(stored['label'] as Tensor).toFloat64Array()]).toEqual([2, 0, 1]);
    const compressed = await readNpz(fixture('compressed.npz'));
    expect((compressed['x'] as Tensor).toFloat64Array().every((value) => value === 1)).toBe(true);
    expect(compressed['y']).toMatchObject({ shape: [], dtype: 'int64' });
  });

  it('are written and read back, the same bytes for the same tensors', async () => {
    const x = Tensor.from('int16', [2], new Int16Array([1, -1]));
    for (const compress of [false, true]) {
      const bytes = writeNpz({ x, 'a/b': x }, { compress });
      expect(bytes).toEqual(writeNpz({ x, 'a/b': x }, { compress }));
      const back = await readNpz(bytes);
      expect(Object.keys(back)).toEqual(['x', 'a/b']);
      expect(back['x']?.data).toEqual(x.data);
    }
  });

  it('that claim too much are refused before anything is expanded', async () => {
    const bomb = zipSync({ 'x.npy': new Uint8Array(2 ** 22) });
    expect(bomb.length).toBeLessThan(8192);
    await expect(readNpz(bomb, 'bomb.npz', { maxBytes: 2 ** 20 })).rejects.toThrow(tooLarge);
    // Many entries that are small alone.
    const many = zipSync(
      Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`${index}.npy`, new Uint8Array(2 ** 18)])),
    );
    await expect(readNpz(many, 'many.npz', { maxBytes: 2 ** 20 })).rejects.toThrow(tooLarge);
  });
});

describe('IDX files', () => {
  it('are read plain and gzipped, and row by row', async () => {
    const images = await openIdx(bytesSource(fixture('mini-images-idx3-ubyte.gz')));
    expect(images.shape).toEqual([3, 4, 5]);
    const all = Array.from({ length: 60 }, (_, index) => (index * 4) % 256);
    expect([...(await images.load()).toFloat64Array()]).toEqual(all);
    expect([...(await images.rows(1, 2)).toFloat64Array()]).toEqual(all.slice(20, 40));
    expect([...(await readIdx(fixture('mini-labels-idx1-ubyte'))).toFloat64Array()]).toEqual([7, 1, 9]);
    expect([...(await readIdx(fixture('float-idx2'))).toFloat64Array()]).toEqual([1, -2, 0.5, 4]);
  });

  it('that claim too much are refused before anything is expanded', async () => {
    const gz = fixture('mini-images-idx3-ubyte.gz').slice();
    await expect(readIdx(gz, 'x.gz', { maxBytes: 50 })).rejects.toThrow(tooLarge);
    gz.set([0xff, 0xff, 0xff, 0x3f], gz.length - 4);
    await expect(readIdx(gz)).rejects.toThrow(invalid);
  });
});

describe('hostile files', () => {
  const files: readonly [string, (bytes: Uint8Array) => Promise<unknown>][] = [
    ['f4.npy', readNpy],
    ['text.npy', readNpy],
    ['rank3-fortran.npy', readNpy],
    ['stored.npz', readNpz],
    ['compressed.npz', readNpz],
    ['mini-images-idx3-ubyte.gz', readIdx],
    ['float-idx2', readIdx],
  ];
  const outcome = async (run: Promise<unknown>): Promise<string> => {
    try {
      await run;
      return 'read';
    } catch (error) {
      return (error as { code?: string }).code ?? `raw ${String(error)}`;
    }
  };
  const allowed = ['read', 'DATA_INVALID', 'LIMIT_EXCEEDED'];

  it('that are cut off end in a typed error, at every length', async () => {
    for (const [name, read] of files) {
      const bytes = fixture(name);
      for (let length = 0; length < bytes.length; length++) {
        expect(allowed.slice(1), `${name} cut at ${length}`).toContain(
          await outcome(read(bytes.slice(0, length))),
        );
      }
    }
  });

  it('with flipped bytes end in a typed error or are read', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(files.length - 1),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        async (which, flips) => {
          const [name, read] = files[which] as (typeof files)[0];
          const bytes = fixture(name);
          for (const [place, value] of flips) bytes[place % bytes.length] = value;
          expect(allowed).toContain(await outcome(read(bytes)));
        },
      ),
      { seed: 2, numRuns: 1500 },
    );
  });

  it('with absurd shapes are refused by their size, not by running out of memory', async () => {
    const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 4000000000), }";
    const bytes = new Uint8Array(10 + header.length);
    bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length, 0]);
    bytes.set(new TextEncoder().encode(header), 10);
    await expect(readNpy(bytes)).rejects.toThrow(invalid);
    await expect(readNpy(bytes.fill(0xff, 8, 10))).rejects.toThrow(invalid);
    const small = bytesSource(fixture('f4.npy'));
    await expect((await openNpy(small, { maxBytes: 8 })).load()).rejects.toThrow(tooLarge);
  });
});
