import { attribute, type Model, optimize, Tensor } from '@lithe/core';
import { type TransformersJsDType, transformersJs, transformersJsDTypes } from '@lithe/quantization';
import { describe, expect, it } from 'vitest';
import { net, operators } from './net.ts';
import { normal, runModel, sqnr } from './support.ts';

/** A table, a product, a `Gemm`, and with `convolution` a `Conv`. */
function model(convolution = false): Model {
  const n = net();
  const ids = n.input('ids', [1, 6], 'int64');
  const rows = n.add('Gather', [n.weight([50, 64]), ids]);
  const flat = n.add('Reshape', [n.add('MatMul', [rows, n.weight([64, 64])]), n.integers(6, 64)]);
  const gemm = n.add('Gemm', [flat, n.weight([48, 64]), n.weight([48])], { transB: attribute.int(1) });
  if (!convolution) return n.model(gemm);
  const image = n.add('Reshape', [gemm, n.integers(1, 6, 6, 8)]);
  return n.model(n.add('Conv', [image, n.weight([12, 6, 3, 3])]));
}

async function made(dtype: TransformersJsDType, from: Model, options = {}): Promise<Model> {
  const [file] = transformersJs(from, { dtypes: [dtype], ...options }).files;
  return (await optimize(from, file?.steps ?? [], { check: 'off' })).model;
}

const dtypesOf = (of: Model): ReadonlySet<string> =>
  new Set(
    [...of.graph.initializers]
      .filter((value) => (value.shape?.length ?? 0) > 1)
      .map(({ dtype }) => String(dtype)),
  );

describe('the file set of transformers.js', () => {
  it('names the files as transformers.js asks for them', () => {
    const { files } = transformersJs(model());
    expect(files.map(({ dtype, suffix }) => [dtype, suffix])).toEqual([
      ['fp32', ''],
      ['fp16', '_fp16'],
      ['q8', '_quantized'],
      ['int8', '_int8'],
      ['uint8', '_uint8'],
      ['q4', '_q4'],
      ['q4f16', '_q4f16'],
      ['bnb4', '_bnb4'],
    ]);
    expect(files.map(({ dtype }) => dtype)).toEqual(transformersJsDTypes);
    expect(() => transformersJs(model(), { dtypes: ['q3' as 'q4'] })).toThrow(/"q3" is not a dtype/);
  });

  it('gives q8 signed weights, and unsigned ones where the model has convolutions', async () => {
    expect(dtypesOf(await made('q8', model()))).toEqual(new Set(['int8', 'float32']));
    const unsigned = await made('q8', model(true));
    expect(operators(unsigned)).toMatchObject({ ConvInteger: 1, MatMulInteger: 2 });
    expect(dtypesOf(unsigned).has('uint8')).toBe(true);
  });

  it('follows the model type in what the recipe excepts', () => {
    const settings = (modelType: string) => transformersJs(model(), { modelType }).settings;
    expect(settings('bert')).toMatchObject({ per_channel: true, reduce_range: true });
    expect(settings('whisper')).toMatchObject({ per_channel: false, reduce_range: false });
    expect(transformersJs(model(), { modelType: 'llama', perChannel: true }).settings).toMatchObject({
      per_channel: true,
      reduce_range: false,
    });
  });

  it('quantizes signed weights to 7 bits, a scale per column, by the formula of the recipe', async () => {
    const small = await made('int8', model(), { modelType: 'bert' });
    const original = normal([64, 64], 41, 0.2).data;
    const quantized = [...small.graph.initializers].find(
      ({ dtype, shape }) => dtype === 'int8' && shape?.join() === '64,64',
    );
    const tensor = await quantized?.initializer?.load();
    const data = tensor?.toFloat64Array() ?? [];
    for (const column of [0, 17, 63]) {
      let most = 0;
      for (let row = 0; row < 64; row++)
        most = Math.max(most, Math.abs(original[row * 64 + column] as number));
      const scale = Math.fround(most / 64);
      for (let row = 0; row < 64; row++) {
        const exact = (original[row * 64 + column] as number) / scale;
        expect(Math.abs((data[row * 64 + column] as number) - exact)).toBeLessThanOrEqual(0.5001);
      }
    }
  });

  it('quantizes Gemm and tables in the 4-bit files, and leaves tables on demand', async () => {
    const q4 = await made('q4', model());
    expect(operators(q4)).toMatchObject({ MatMulNBits: 2, Gather: 2, Add: 1 });
    expect(operators(await made('q4', model(), { embeddings: 'int4' }))).toMatchObject({
      GatherBlockQuantized: 1,
    });
    expect(operators(await made('q4', model(), { embeddings: 'float' }))['Gather']).toBe(1);
    expect(operators(await made('bnb4', model()))).toMatchObject({ MatMulBnb4: 2, Gather: 2 });
  });

  it('runs in Node and WASM, each near the float model as its bits allow', async () => {
    const least = { fp32: 110, fp16: 55, q8: 27, int8: 27, uint8: 30, q4: 14, q4f16: 14, bnb4: 14 };
    const from = model();
    const ids = normal([1, 6], 8).data;
    const feeds = {
      ids: Tensor.from(
        'int64',
        [1, 6],
        BigInt64Array.from(ids, (value) => BigInt(Math.floor(Math.abs(value) * 15))),
      ),
    };
    const expected = await runModel(from, feeds);
    for (const dtype of transformersJsDTypes) {
      const small = await made(dtype, from);
      for (const engine of ['node', 'wasm'] as const)
        expect([dtype, engine, sqnr(expected, await runModel(small, feeds, engine)) > least[dtype]]).toEqual([
          dtype,
          engine,
          true,
        ]);
    }
  });
});
