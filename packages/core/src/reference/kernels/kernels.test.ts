import { describe, expect, it } from 'vitest';
import { type Attribute, attribute } from '../../ir/attribute.ts';
import { Graph } from '../../ir/graph.ts';
import { Model } from '../../ir/model.ts';
import type { DType, DTypeArrays } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { evaluateValues } from '../evaluate-model.ts';
import { evaluateNode } from '../evaluate-node.ts';
import type { ReferenceValue } from '../kernel.ts';

const f32 = (shape: readonly number[], ...values: number[]): Tensor =>
  Tensor.from('float32', shape, new Float32Array(values));
const u8 = (...values: number[]): Tensor => Tensor.from('uint8', [values.length], new Uint8Array(values));
const i64 = (...values: bigint[]): Tensor => Tensor.from('int64', [values.length], new BigInt64Array(values));
const scalar = <D extends DType>(dtype: D, data: DTypeArrays[D]): Tensor => Tensor.from(dtype, [], data);

interface Extra {
  readonly domain?: string;
  readonly attributes?: Record<string, Attribute>;
  readonly outputs?: number;
  readonly seed?: number;
}

function run(opType: string, inputs: readonly (Tensor | null)[], extra: Extra = {}): readonly Tensor[] {
  const graph = new Graph();
  const values = inputs.map((input, index) => (input === null ? null : graph.addInput(`in${index}`)));
  const node = graph.addNode(
    { opType, domain: extra.domain, inputs: values, attributes: extra.attributes },
    extra.outputs ?? 1,
  );
  const outputs = evaluateNode(node, inputs, { seed: extra.seed });
  if (outputs === undefined) throw new Error(`${opType} was not computed`);
  return outputs;
}

const numbers = (tensor: Tensor | undefined): number[] => Array.from(tensor?.toFloat64Array() ?? []);

describe('conversions', () => {
  it('rounds float32 to float16 to nearest even, through subnormals and to infinity', () => {
    const input = f32([5], 1 + 2 ** -11, 1 + 3 * 2 ** -11, 2 ** -25, 65520, -(2 ** -24));
    const [out] = run('Cast', [input], { attributes: { to: attribute.int(10) } });
    expect(numbers(out)).toEqual([1, 1 + 2 ** -9, 0, Number.POSITIVE_INFINITY, -(2 ** -24)]);
  });

  it('saturates 8-bit floats unless told not to', () => {
    const input = f32([2], 1000, Number.NEGATIVE_INFINITY);
    const to = attribute.int(17);
    expect(numbers(run('Cast', [input], { attributes: { to } })[0])).toEqual([448, -448]);
    const strict = run('Cast', [input], { attributes: { to, saturate: attribute.int(0) } });
    expect(numbers(strict[0])).toEqual([Number.NaN, Number.NaN]);
  });

  it('reads and writes numbers as texts', () => {
    const texts = Tensor.from('string', [4], ['1e-5', '-INF', 'nan', '+3.5']);
    expect(numbers(run('Cast', [texts], { attributes: { to: attribute.int(1) } })[0])).toEqual([
      Math.fround(1e-5),
      Number.NEGATIVE_INFINITY,
      Number.NaN,
      3.5,
    ]);
    const back = run('Cast', [f32([3], 0.1, 2, Number.POSITIVE_INFINITY)], {
      attributes: { to: attribute.int(8) },
    });
    expect(back[0]?.data).toEqual(['0.1', '2.0', 'INF']);
    const wide = Tensor.from('string', [1], ['9007199254740993']);
    expect(run('Cast', [wide], { attributes: { to: attribute.int(7) } })[0]?.data).toEqual(
      new BigInt64Array([9007199254740993n]),
    );
  });

  it('wraps wide integers into narrow ones', () => {
    const input = i64(300n, -1n, 2n ** 40n + 5n);
    expect(numbers(run('Cast', [input], { attributes: { to: attribute.int(2) } })[0])).toEqual([44, 255, 5]);
  });
});

describe('integers beyond 2^53', () => {
  const big = 2n ** 60n + 1n;

  it('are summed, multiplied and compared exactly', () => {
    const input = i64(big, 1n);
    expect(run('ReduceSum', [input, i64(0n)])[0]?.data).toEqual(new BigInt64Array([big + 1n]));
    expect(run('CumSum', [input, i64(0n)])[0]?.data).toEqual(new BigInt64Array([big, big + 1n]));
    expect(numbers(run('Equal', [i64(big), i64(big - 1n)])[0])).toEqual([0]);
    const [square] = run('MatMul', [input.reshape([1, 2]), i64(1n, 2n).reshape([2, 1])]);
    expect(square?.data).toEqual(new BigInt64Array([big + 2n]));
    expect(run('TopK', [i64(big - 1n, big), i64(1n)], { outputs: 2 })[1]?.data).toEqual(
      new BigInt64Array([1n]),
    );
  });
});

describe('normalizations without published cases', () => {
  it('divides each lane by its norm, and leaves zeros', () => {
    const input = f32([2, 2], 3, 4, 0, 0);
    expect(numbers(run('LpNormalization', [input])[0])).toEqual([0.6, 0.8, 0, 0].map(Math.fround));
    const one = run('LpNormalization', [f32([2], 1, -3)], { attributes: { p: attribute.int(1) } });
    expect(numbers(one[0])).toEqual([0.25, -0.75]);
    expect(numbers(run('GlobalLpPool', [f32([1, 1, 2], 3, 4)])[0])).toEqual([5]);
  });

  it('scales by the root mean square', () => {
    const [out] = run('SimplifiedLayerNormalization', [f32([1, 2], 1, 7), f32([2], 1, 10)], {
      attributes: { epsilon: attribute.float(0) },
    });
    // sqrt((1 + 49) / 2) = 5
    expect(numbers(out)).toEqual([0.2, 14].map(Math.fround));
  });

  it('adds a bias along the last axis', () => {
    const inputs = [f32([1, 2, 2], 1, 2, 3, 4), f32([2], 10, 20), f32([1, 2, 2], 100, 100, 100, 100)];
    expect(numbers(run('BiasAdd', inputs, { domain: 'com.microsoft' })[0])).toEqual([111, 122, 113, 124]);
  });

  it('averages quantized elements', () => {
    const inputs = [
      u8(10, 20, 30, 40).reshape([2, 2]),
      scalar('float32', new Float32Array([0.5])),
      scalar('uint8', new Uint8Array([10])),
      scalar('float32', new Float32Array([0.25])),
      scalar('uint8', new Uint8Array([1])),
    ];
    const attributes = { axes: attribute.ints([1]), keepdims: attribute.int(0) };
    // Means 2.5 and 12.5; over 0.25, plus 1.
    const [out] = run('QLinearReduceMean', inputs, { domain: 'com.microsoft', attributes });
    expect(numbers(out)).toEqual([11, 51]);
  });
});

describe('random operators', () => {
  const shape = attribute.ints([20_000]);
  const moments = (values: number[]): { mean: number; deviation: number } => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    return { mean, deviation: Math.sqrt(variance) };
  };

  it('follow their distribution', () => {
    const normal = moments(
      numbers(
        run('RandomNormal', [], {
          attributes: { shape, mean: attribute.float(3), scale: attribute.float(2) },
        })[0],
      ),
    );
    expect(Math.abs(normal.mean - 3)).toBeLessThan(0.05);
    expect(Math.abs(normal.deviation - 2)).toBeLessThan(0.05);
    const uniform = numbers(run('RandomUniform', [], { attributes: { shape, low: attribute.float(-1) } })[0]);
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(-1);
    expect(Math.max(...uniform)).toBeLessThanOrEqual(1);
    expect(Math.abs(moments(uniform).mean)).toBeLessThan(0.02);
  });

  it('draw classes by their log-probabilities', () => {
    const logs = f32([1, 3], Math.log(0.5), Math.log(0.25), Math.log(0.25));
    const drawn = numbers(
      run('Multinomial', [logs], { attributes: { sample_size: attribute.int(8000) } })[0],
    );
    const share = (wanted: number): number => drawn.filter((item) => item === wanted).length / drawn.length;
    expect(Math.abs(share(0) - 0.5)).toBeLessThan(0.03);
    expect(Math.abs(share(2) - 0.25)).toBeLessThan(0.03);
  });

  it('give a node with a seed its own numbers, whatever the run draws', () => {
    const like = f32([4], 0, 0, 0, 0);
    const seeded = { attributes: { seed: attribute.float(7) } };
    const first = numbers(run('RandomNormalLike', [like], seeded)[0]);
    expect(numbers(run('RandomNormalLike', [like], seeded)[0])).toEqual(first);
    expect(numbers(run('RandomNormalLike', [like])[0])).not.toEqual(first);
  });

  it('drop elements in training and keep the mean', () => {
    const ones = Tensor.from('float32', [20_000], new Float32Array(20_000).fill(1));
    const inputs = [ones, scalar('float32', new Float32Array([0.25])), scalar('bool', new Uint8Array([1]))];
    const [out, mask] = run('Dropout', inputs, { outputs: 2 });
    const values = numbers(out);
    expect([...new Set(values)].sort()).toEqual([0, Math.fround(4 / 3)]);
    expect(numbers(mask)).toEqual(values.map((value) => (value === 0 ? 0 : 1)));
    expect(Math.abs(moments(values).mean - 1)).toBeLessThan(0.02);
  });
});

describe('sequences', () => {
  const items = [f32([1], 1), f32([1], 2), f32([1], 3)];
  const sequence: ReferenceValue = { kind: 'sequence', items };

  async function onSequence(
    opType: string,
    more: readonly Tensor[],
    attributes = {},
  ): Promise<ReferenceValue | null> {
    const graph = new Graph();
    const inputs = [graph.addInput('s'), ...more.map((_, index) => graph.addInput(`in${index}`))];
    const node = graph.addNode({ opType, inputs, attributes }, [{ name: 'out' }]);
    graph.setOutputs(node.outputs);
    const feeds = Object.fromEntries(more.map((tensor, index) => [`in${index}`, tensor]));
    return (await evaluateValues(new Model({ graph }), { s: sequence, ...feeds }))['out'] ?? null;
  }

  it('lose an item by position, the last by default', async () => {
    expect(await onSequence('SequenceErase', [])).toEqual({ kind: 'sequence', items: items.slice(0, 2) });
    const position = scalar('int64', new BigInt64Array([-3n]));
    expect(await onSequence('SequenceErase', [position])).toEqual({
      kind: 'sequence',
      items: items.slice(1),
    });
  });

  it('join along an axis there is, or a new one', async () => {
    const joined = await onSequence('ConcatFromSequence', [], { axis: attribute.int(0) });
    expect(joined).toMatchObject({ shape: [3], data: new Float32Array([1, 2, 3]) });
    const attributes = { axis: attribute.int(-1), new_axis: attribute.int(1) };
    expect(await onSequence('ConcatFromSequence', [], attributes)).toMatchObject({ shape: [1, 3] });
  });
});

describe('MatMulNBits', () => {
  it('reads a hand-packed block: low nibble first, zero point 8', () => {
    // K = 2, one block of 16: q = [9, 6] gives [1, -2] times the scale 0.5.
    const bytes = new Uint8Array(8);
    bytes[0] = 9 | (6 << 4);
    const attributes = {
      K: attribute.int(2),
      N: attribute.int(1),
      bits: attribute.int(4),
      block_size: attribute.int(16),
    };
    const inputs = [f32([1, 2], 10, 1), Tensor.from('uint8', [1, 1, 8], bytes), f32([1], 0.5)];
    expect(numbers(run('MatMulNBits', inputs, { domain: 'com.microsoft', attributes })[0])).toEqual([4]);
    const zeros = Tensor.from('uint8', [1, 1], new Uint8Array([6]));
    const shifted = run('MatMulNBits', [...inputs, zeros], { domain: 'com.microsoft', attributes });
    expect(numbers(shifted[0])).toEqual([15]);
  });
});
