import { attribute, dtypes, fromBfloat16Bits, type Model, Tensor, type Value } from '@lithe/core';
import { bfloat16Storage } from '@lithe/quantization';
import { describe, expect, it } from 'vitest';
import { net } from './net.ts';
import { apply, normal, optimizedModel, runModel, sqnr } from './support.ts';

function product(weight: Tensor<'float32'>): Model {
  const n = net();
  return n.model(n.add('MatMul', [n.input('x', [3, 32]), n.constant(weight)]));
}

/** The nearest of the two bfloat16 numbers around a float32 number, the even one of equally near. */
function nearest(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0] as number;
  const [down, up] = [fromBfloat16Bits(bits >>> 16), fromBfloat16Bits((bits >>> 16) + 1)] as const;
  const [left, right] = [Math.abs(value - down), Math.abs(up - value)];
  if (left === right) return ((bits >>> 16) & 1) === 0 ? down : up;
  return left < right ? down : up;
}

describe('bfloat16 storage', () => {
  it('halves the weight, rounds it to nearest, and runs in Node and WASM', async () => {
    const weight = normal([32, 16], 3);
    const model = product(weight);
    const { model: small, report } = await apply(model, bfloat16Storage());
    expect(report.metrics['bytesSaved']?.value).toBe(32 * 16 * 2);
    const [stored] = [...small.graph.initializers];
    const tensor = (await stored?.initializer?.load()) as Tensor<'bfloat16'>;
    expect([...tensor.data].map(fromBfloat16Bits)).toEqual([...weight.data].map(nearest));
    const feeds = { x: normal([3, 32], 5) };
    const expected = await runModel(model, feeds);
    // 8 significant bits: 6 dB each.
    for (const engine of ['node', 'wasm'] as const)
      expect(sqnr(expected, await runModel(small, feeds, engine))).toBeGreaterThan(48);
  });

  it('rounds what lies in the middle to the even one', async () => {
    const bits = Uint32Array.from({ length: 512 }, (_, index) => 0x3f808000 + index * 0x10000);
    const weight = Tensor.from('float32', [32, 16], new Float32Array(bits.buffer));
    const { model: small } = await apply(product(weight), bfloat16Storage());
    const tensor = (await [...small.graph.initializers][0]?.initializer?.load()) as Tensor<'bfloat16'>;
    expect([...tensor.data]).toEqual([...bits].map((word) => ((word >>> 16) + 1) & 0xfffe));
  });

  it('is expanded when the runtime loads the model', async () => {
    const { model: small } = await apply(product(normal([32, 16], 3)), bfloat16Storage());
    const loaded = await optimizedModel(small);
    expect([...loaded.graph.nodes()].map(({ opType }) => opType)).toEqual(['MatMul']);
  });

  it('stores exactly what was trained in bfloat16, also beyond the range of float16', async () => {
    const data = Float32Array.from(normal([32, 16], 4).data, (value) => nearest(value) * 2 ** 100);
    const model = product(Tensor.from('float32', [32, 16], data));
    const { model: small, report } = await apply(model, bfloat16Storage());
    expect(report.skipped).toEqual([]);
    const feeds = { x: normal([3, 32], 5) };
    const [expected] = Object.values(await runModel(model, feeds));
    const [actual] = Object.values(await runModel(small, feeds));
    expect([...(actual?.toFloat64Array() ?? [])]).toEqual([...(expected?.toFloat64Array() ?? [0])]);
  });

  it('leaves a weight that would become infinite', async () => {
    const data = new Float32Array(512).fill(1);
    data[7] = 3.4e38;
    const { report } = await apply(product(Tensor.from('float32', [32, 16], data)), bfloat16Storage());
    expect(report.skipped.map(({ code }) => code)).toEqual(['overflow']);
  });
});

describe.each(['node', 'wasm'] as const)('bfloat16 arithmetic in %s', (engine) => {
  /** An operator on two bfloat16 tensors, between casts. */
  function between(op: string, left: readonly number[], right: readonly number[]): Model {
    const n = net();
    const cast = (value: Value, to: 'bfloat16' | 'float32'): Value =>
      n.add('Cast', [value], { to: attribute.int(dtypes[to].onnx) });
    const inputs = [n.input('x', left), n.input('y', right)].map((value) => cast(value, 'bfloat16'));
    return n.model(cast(n.add(op, inputs), 'float32'));
  }

  it.each([
    ['MatMul', [2, 3], [3, 4]],
    ['Gemm', [2, 3], [3, 4]],
    ['Add', [2, 3], [2, 3]],
    ['Mul', [2, 3], [2, 3]],
    ['Conv', [1, 2, 4, 4], [3, 2, 1, 1]],
  ] as const)('has no kernel for %s', async (op, left, right) => {
    const feeds = { x: normal(left, 1), y: normal(right, 2) };
    await expect(runModel(between(op, left, right), feeds, engine)).rejects.toThrow(
      `Could not find an implementation for ${op}(`,
    );
  });

  it('has kernels that gather, and that cast', async () => {
    const n = net();
    const table = n.add('Cast', [n.input('x', [4, 2])], { to: attribute.int(dtypes.bfloat16.onnx) });
    const rows = n.add('Gather', [table, n.integers(2, 0)]);
    const model = n.model(n.add('Cast', [rows], { to: attribute.int(dtypes.float32.onnx) }));
    const x = normal([4, 2], 1);
    const [given] = Object.values(await runModel(model, { x }, engine));
    const expected = [x.data[4], x.data[5], x.data[0], x.data[1]].map((value) => nearest(value ?? 0));
    expect([...(given?.data ?? [])]).toEqual(expected);
  });
});
