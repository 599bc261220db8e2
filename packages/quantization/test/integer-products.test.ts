import { attribute, type Model, type Tensor, type TensorSource, type Value } from '@lithe/core';
import { dynamicInt8, type WeightOnlyOptions, weightOnly } from '@lithe/quantization';
import { describe, expect, it } from 'vitest';
import { type Net, net, operators } from './net.ts';
import { processorSaturates } from './processor.ts';
import { apply, normal, optimizedModel, runModel, sqnr } from './support.ts';

const feeds = { x: normal([3, 72], 5) };

function products(build: (n: Net, x: Value) => readonly Value[]): Model {
  const n = net();
  return n.model(...build(n, n.input('x', [3, 72])));
}

/** A product, a Gemm either way round, and a sum length (72) that no block size divides. */
const all = (): Model =>
  products((n, x) => [
    n.add('MatMul', [x, n.weight([72, 40])]),
    n.add('Gemm', [x, n.weight([72, 40]), n.weight([40])]),
    n.add('Gemm', [x, n.weight([40, 72]), n.weight([1, 40])], { transB: attribute.int(1) }),
  ]);

describe('weight-only quantization', () => {
  const variants: readonly (readonly [WeightOnlyOptions, number])[] = [
    // Noise of a normal weight in blocks: 4 bits 18 dB and more, 8 bits 40 dB and more.
    [{ bits: 4, blockSize: 16 }, 15],
    [{ bits: 4, blockSize: 32, symmetric: false }, 15],
    [{ bits: 4, blockSize: 256 }, 12],
    [{ bits: 8, blockSize: 32 }, 36],
    [{ bits: 8, blockSize: 64, symmetric: false }, 36],
    [{ bits: 4, blockSize: 32, format: 'dequantize-linear' }, 15],
    [{ bits: 4, blockSize: 16, format: 'dequantize-linear', symmetric: false }, 15],
    [{ bits: 8, blockSize: 32, format: 'dequantize-linear' }, 36],
    [{ bits: 8, blockSize: 128, format: 'dequantize-linear', symmetric: false }, 36],
  ];
  for (const [options, least] of variants) {
    it(`runs in Node and WASM: ${JSON.stringify(options)}`, async () => {
      const model = all();
      const { model: small, report } = await apply(model, weightOnly({ ...options, accuracyLevel: 1 }));
      expect(report.applied).toHaveLength(3);
      const expected = await runModel(model, feeds);
      expect(sqnr(expected, await runModel(small, feeds))).toBeGreaterThan(least);
      expect(sqnr(expected, await runModel(small, feeds, 'wasm'))).toBeGreaterThan(least);
    });
  }

  it('writes MatMulNBits with the attributes of its specification, level 4 by default', async () => {
    const { model } = await apply(
      products((n, x) => [n.add('MatMul', [x, n.weight([72, 40])])]),
      weightOnly(),
    );
    const [node] = [...model.graph.nodes()];
    expect(node?.op).toBe('com.microsoft.MatMulNBits');
    const numbers = Object.fromEntries(
      [...(node?.attributes ?? [])].map(([name, value]) => [
        name,
        'value' in value ? Number(value.value) : 0,
      ]),
    );
    expect(numbers).toEqual({ K: 72, N: 40, bits: 4, block_size: 32, accuracy_level: 4 });
    expect(node?.inputs.map((value) => value?.shape)).toEqual([[3, 72], [40, 3, 16], [120]]);
    expect(model.opsetImports.get('com.microsoft')).toBe(1);
  });

  it('stores a weight that several nodes share once, and both ways round where it must', async () => {
    const model = products((n, x) => {
      const weight = n.weight([72, 72]);
      return [
        n.add('MatMul', [x, weight]),
        n.add('MatMul', [n.add('Relu', [x]), weight]),
        n.add('Gemm', [x, weight], { transB: attribute.int(1) }),
      ];
    });
    const { model: small } = await apply(model, weightOnly());
    expect([...small.graph.initializers].filter((value) => value.dtype === 'uint8')).toHaveLength(2);
    expect(sqnr(await runModel(model, feeds), await runModel(small, feeds))).toBeGreaterThan(12);
  });

  it('reports what it has no form for', async () => {
    const model = products((n, x) => [
      n.add('MatMul', [n.add('Unsqueeze', [x, n.integers(0)]), n.weight([2, 72, 40])]),
      n.add('MatMul', [n.weight([40, 3]), x]),
      n.add('MatMul', [x, n.add('Transpose', [x])]),
      n.add('Gemm', [x, n.weight([72, 40])], { alpha: attribute.float(2) }),
      n.add('MatMul', [x, n.weight([72, 2])]),
      n.add('Add', [x, n.add('Gather', [n.weight([500, 72]), n.integers(1, 2, 3)])]),
    ]);
    const { report } = await apply(model, weightOnly());
    expect(report.applied).toEqual([]);
    expect(report.skipped.map(({ code }) => code)).toEqual([
      'weight-rank',
      'weight-on-the-left',
      'weight-not-constant',
      'gemm-alpha',
      'small',
      'embedding',
    ]);
  });
});

describe('dynamic int8', () => {
  it('quantizes an activation once for all its readers, in the order that onnxruntime fuses', async () => {
    const model = all();
    const { model: small } = await apply(model, dynamicInt8({ reducedRange: processorSaturates }));
    expect(operators(small)).toMatchObject({ DynamicQuantizeLinear: 1, MatMulInteger: 3 });
    const expected = await runModel(model, feeds);
    // 8-bit weights and activations: 40 dB each.
    expect(sqnr(expected, await runModel(small, feeds))).toBeGreaterThan(33);
    expect(sqnr(expected, await runModel(small, feeds, 'wasm'))).toBeGreaterThan(33);
    const single = await apply(
      products((n, x) => [n.add('Gemm', [x, n.weight([72, 40]), n.weight([40])])]),
      dynamicInt8(),
    );
    expect(operators(await optimizedModel(single.model))).toEqual({ DynamicQuantizeMatMul: 1 });
  });

  it('turns LSTM into the quantized operator with a scale per gate row', async () => {
    const model = products((n, x) => {
      const steps = n.add('Unsqueeze', [x, n.integers(1)]);
      const inputs = [steps, n.weight([2, 96, 72]), n.weight([2, 96, 24]), n.weight([2, 192])];
      return [
        n.add('LSTM', inputs, {
          hidden_size: attribute.int(24),
          direction: attribute.string('bidirectional'),
        }),
      ];
    });
    const { model: small } = await apply(model, dynamicInt8({ reducedRange: processorSaturates }));
    expect(operators(small)['DynamicQuantizeLSTM']).toBe(1);
    const expected = await runModel(model, feeds);
    expect(sqnr(expected, await runModel(small, feeds))).toBeGreaterThan(30);
    expect(sqnr(expected, await runModel(small, feeds, 'wasm'))).toBeGreaterThan(30);
  });

  it('never gives ConvInteger signed weights, and convolutions only when asked', async () => {
    const n = net();
    const model = n.model(
      n.add('Conv', [n.input('x', [1, 8, 9, 9]), n.weight([16, 8, 3, 3]), n.weight([16])]),
    );
    const image = { x: normal([1, 8, 9, 9], 2) };
    const plain = await apply(model, dynamicInt8());
    expect(plain.report.changed).toBe(false);
    expect(plain.report.skipped.map(({ code }) => code)).toEqual(['slower']);
    const asked = await apply(model, dynamicInt8({ convolutions: true }));
    const integer = [...asked.model.graph.nodes()].find((node) => node.opType === 'ConvInteger');
    expect(integer?.input(1)?.dtype).toBe('uint8');
    expect(sqnr(await runModel(model, image), await runModel(asked.model, image))).toBeGreaterThan(30);
  });

  it('reports recurrent operators without a quantized form', async () => {
    const model = products((n, x) => {
      const steps = n.add('Unsqueeze', [x, n.integers(1)]);
      return [
        n.add('GRU', [steps, n.weight([1, 72, 72]), n.weight([1, 72, 24])], {
          hidden_size: attribute.int(24),
        }),
      ];
    });
    const { report } = await apply(model, dynamicInt8());
    expect(report.skipped.map(({ code }) => code)).toEqual(['no-kernel']);
  });

  it('keeps weights in 7 bits when the processor may saturate', async () => {
    const { model } = await apply(all(), dynamicInt8({ reducedRange: true }));
    for (const value of model.graph.initializers) {
      if (value.dtype !== 'int8') continue;
      const { data } = (await (value.initializer as TensorSource).load()) as Tensor<'int8'>;
      expect(data.every((level) => level >= -64 && level <= 64)).toBe(true);
    }
  });
});
