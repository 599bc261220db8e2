import { type Dim, type Feeds, GraphBuilder, type Model, Tensor, type Value } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { pruningGroups, removeUnits } from '../src/index.ts';
import { checkShrinks, checkZeros, prunable } from './checks.ts';
import { normal } from './support.ts';

const ints = (...values: readonly number[]): Tensor<'int64'> =>
  Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));
const floats = (shape: readonly number[], ...values: readonly number[]): Tensor<'float32'> =>
  Tensor.from('float32', shape, Float32Array.from(values));

let seed = 900;
const weight = (...shape: readonly number[]): Tensor<'float32'> => normal(shape, seed++, 0.5);
const dense = (b: GraphBuilder, x: Value, from: number, to: number): Value =>
  b.op.MatMul([x, weight(from, to)]);
const conv = (b: GraphBuilder, x: Value, from: number, to: number): Value =>
  b.op.Conv([x, weight(to, from, 1, 1), weight(to)]);

interface Case {
  readonly name: string;
  readonly shape: readonly Dim[];
  readonly size: readonly number[];
  /** Units of each group that can be pruned. */
  readonly units: readonly number[];
  /** Why zeros count all the same, for each group; nothing by default. */
  readonly inexact?: readonly (readonly string[])[];
  build(b: GraphBuilder, x: Value): Value;
}

const pixels = [2, 3, 4, 4];
const steps = [2, 5, 6];
const sequence = [5, 2, 6];

const exact: readonly Case[] = [
  {
    name: 'an LSTM with peepholes and states to start from, of which all results are read',
    shape: sequence,
    size: sequence,
    units: [4],
    build: (b, x) => {
      const weights = [weight(1, 16, 6), weight(1, 16, 4), weight(1, 32)];
      const states = [weight(1, 2, 4), weight(1, 2, 4), weight(1, 12)];
      const [y, hidden, cell] = b.op.LSTM(
        [x, ...weights, null, ...states],
        { hidden_size: 4 },
        { outputs: 3 },
      ) as [Value, Value, Value];
      const last = b.op.Add([dense(b, hidden, 4, 3), dense(b, cell, 4, 3)]);
      return b.op.Add([b.op.Squeeze([dense(b, y, 4, 3), ints(1)]), last]);
    },
  },
  {
    name: 'Attention whose values are narrower than its queries',
    shape: steps,
    size: steps,
    units: [3],
    build: (b, x) => {
      const [y] = b.microsoft.Attention(
        [x, weight(6, 30), weight(30)],
        { num_heads: 3, qkv_hidden_sizes: [12, 12, 6] },
        { outputs: 1 },
      );
      return dense(b, y as Value, 6, 5);
    },
  },
  {
    name: 'GroupQueryAttention, of which groups of heads go',
    shape: [1, 5, 6],
    size: [1, 5, 6],
    units: [2],
    build: (b, x) => {
      const last = Tensor.from('int32', [1], Int32Array.of(4));
      const total = Tensor.from('int32', [], Int32Array.of(5));
      const [q, k, v] = [dense(b, x, 6, 32), dense(b, x, 6, 16), dense(b, x, 6, 16)] as const;
      const [y] = b.microsoft.GroupQueryAttention(
        [q, k, v, null, null, last, total],
        { num_heads: 4, kv_num_heads: 2 },
        { outputs: 1 },
      );
      return dense(b, y as Value, 32, 5);
    },
  },
  {
    name: 'weights and activations that are quantized for each channel',
    shape: pixels,
    size: pixels,
    units: [4],
    build: (b, x) => {
      const codes = Tensor.from(
        'int8',
        [4, 3, 1, 1],
        Int8Array.of(9, -80, 3, 100, 5, -7, 60, 2, 90, -4, 33, 8),
      );
      const scales = floats([4], 0.01, 0.5, 0.02, 0.3);
      const kernel = b.op.DequantizeLinear([codes, scales], { axis: 0 });
      const y = b.op.Conv([x, kernel]);
      const steps8 = floats([4], 0.1, 2, 0.05, 1);
      const zeros = Tensor.from('int8', [4], new Int8Array(4));
      const stored = b.op.QuantizeLinear([y, steps8, zeros], { axis: 1 });
      return conv(b, b.op.DequantizeLinear([stored, steps8, zeros], { axis: 1 }), 4, 2);
    },
  },
  {
    name: 'a Resize whose height and width are computed',
    shape: ['N', 3, 'H', 'W'],
    size: pixels,
    units: [6],
    build: (b, x) => {
      const doubled = b.op.Mul([b.op.Shape([x], { start: 2, end: 4 }), ints(2, 2)]);
      return conv(b, b.op.Resize([conv(b, x, 3, 6), null, null, doubled], { axes: [2, 3] }), 6, 2);
    },
  },
  {
    name: 'DepthToSpace by depth first, and a grouped ConvTranspose',
    shape: pixels,
    size: pixels,
    units: [3, 2, 3],
    build: (b, x) => {
      const y = b.op.DepthToSpace([conv(b, x, 3, 12)], { blocksize: 2, mode: 'DCR' });
      const wide = conv(b, y, 3, 4);
      return conv(b, b.op.ConvTranspose([wide, weight(4, 3, 2, 2)], { group: 2 }), 6, 2);
    },
  },
  {
    name: 'reductions over channels to which zero adds nothing',
    shape: pixels,
    size: pixels,
    units: [6],
    build: (b, x) => {
      const y = conv(b, x, 3, 6);
      const sums = [b.op.ReduceSum([y, ints(1)]), b.op.ReduceL1([y, ints(1)]), b.op.ReduceL2([y, ints(1)])];
      return b.op.Concat([b.op.Concat(sums, { axis: 1 }), b.op.ReduceSumSquare([y, ints(1)])], { axis: 1 });
    },
  },
  {
    name: 'what looks along another axis',
    shape: steps,
    size: steps,
    units: [7],
    build: (b, x) => {
      const y = b.op.LpNormalization([dense(b, x, 6, 7)], { axis: 2 });
      const summed = b.op.CumSum([y, Tensor.from('int64', [], BigInt64Array.of(1n))]);
      const weighed = b.op.Softmax([summed], { axis: 1 });
      const [top] = b.op.TopK([weighed, ints(3)], { axis: 1 }, { outputs: 2 }) as [Value, Value];
      const turned = b.op.ReverseSequence([top, ints(2, 3)], { batch_axis: 0, time_axis: 1 });
      const first = b.op.Slice([turned, ints(0), ints(2), ints(1)]);
      return dense(b, first, 7, 3);
    },
  },
  {
    name: 'operators that onnxruntime fuses',
    shape: steps,
    size: steps,
    units: [7, 8],
    build: (b, x) => {
      const one = b.microsoft.BiasGelu([dense(b, x, 6, 7), weight(7)]);
      const two = b.microsoft.FastGelu([dense(b, one, 7, 8), weight(8)]);
      return dense(b, b.microsoft.QuickGelu([two]), 8, 3);
    },
  },
];

const counted: readonly Case[] = [
  {
    name: 'reductions over channels in which zero counts',
    shape: pixels,
    size: pixels,
    units: [6],
    inexact: [
      [
        'an extreme is taken over it',
        'a mean is taken over it',
        'a product is taken over it',
        'exp of 0 counts in the sum',
      ],
    ],
    build: (b, x) => {
      const y = conv(b, x, 3, 6);
      return b.op.Concat(
        [
          b.op.ReduceMax([y, ints(1)]),
          b.op.ReduceMean([y, ints(1)]),
          b.op.ReduceProd([y, ints(1)]),
          b.op.ReduceLogSumExp([y, ints(1)]),
        ],
        { axis: 1 },
      );
    },
  },
  {
    name: 'few large groups of a normalization, which lose a channel each',
    shape: pixels,
    size: pixels,
    units: [4],
    inexact: [['the normalization takes its statistics over all channels']],
    build: (b, x) =>
      conv(b, b.op.GroupNormalization([conv(b, x, 3, 8), weight(8), weight(8)], { num_groups: 2 }), 8, 2),
  },
  {
    name: 'a skip connection that is added and normalized at once',
    shape: steps,
    size: steps,
    units: [8],
    inexact: [['the normalization takes its statistics over all channels']],
    build: (b, x) => {
      const parts = [dense(b, x, 6, 8), dense(b, x, 6, 8)];
      const [y] = b.microsoft.SkipLayerNormalization([...parts, weight(8), weight(8)], {}, { outputs: 1 });
      return dense(b, y as Value, 8, 3);
    },
  },
  {
    name: 'a number of channels that is divided by',
    shape: pixels,
    size: pixels,
    units: [6],
    inexact: [['its length is a number in a computation']],
    build: (b, x) => {
      const y = conv(b, x, 3, 6);
      const count = b.op.Cast([b.op.Shape([y], { start: 1, end: 2 })], { to: 1 });
      return b.op.Div([b.op.ReduceSum([y, ints(1)]), count]);
    },
  },
];

async function modelOf({ shape, build }: Case): Promise<Model> {
  const b = new GraphBuilder('case');
  b.output('y', build(b, b.input('x', 'float32', shape)));
  return await b.build();
}

const feedsOf = ({ size }: Case): Feeds => ({ x: normal(size, 9) });

describe.each([...exact, ...counted])('$name', (one) => {
  it('can be cut, and says whether zeros can without any change', async () => {
    const model = await modelOf(one);
    const groups = await prunable(model);
    expect(groups.map((group) => group.units)).toEqual(one.units);
    expect(groups.map((group) => [...group.inexact].sort())).toEqual(
      one.units.map((_, index) => [...(one.inexact?.[index] ?? [])].sort()),
    );
    for (const group of groups) {
      if (group.inexact.length > 0) continue;
      await checkZeros(model, group, { feeds: feedsOf(one), seed: 1 });
      await checkZeros(model, group, { feeds: feedsOf(one), seed: 2 });
    }
    await checkShrinks(model, { feeds: feedsOf(one), seed: 3 });
  });
});

describe('what cannot be cut', () => {
  it('is the last of a part, and the others can', async () => {
    // A part of one channel beside one of five.
    const b = new GraphBuilder('parts');
    const x = b.input('x', 'float32', [1, 3, 4, 4]);
    const y = b.op.Conv([x, weight(6, 3, 1, 1)], {}, { name: 'first' });
    const [one, five] = b.op.Split([y, ints(1, 5)], { axis: 1 }, { outputs: 2 }) as [Value, Value];
    b.output('y', b.op.Add([conv(b, one, 1, 2), conv(b, five, 5, 2)]));
    const model = await b.build();
    const group = (await pruningGroups(model)).find(({ name }) => name === 'first');
    expect([...(group?.pinned ?? [])]).toEqual([[0, 'nothing would be left of an axis']]);
    if (group === undefined) return;
    await expect(removeUnits(model.clone(), group, [0])).rejects.toMatchObject({ code: 'OPTIONS_INVALID' });
    await checkZeros(model, group, { feeds: { x: normal([1, 3, 4, 4], 9) }, seed: 1 });
  });

  it('is a batch axis of a product whose other side is not known', async () => {
    // The other side may be 6 matrices, or one for all.
    const b = new GraphBuilder('batches');
    const x = b.input('x', 'float32', [1, 3, 4, 4]);
    const other = b.input('other', 'float32', ['B', 4, 2]);
    const y = b.op.Squeeze([b.op.Conv([x, weight(6, 3, 1, 1)], {}, { name: 'first' }), ints(0)]);
    b.output('y', b.op.ReduceSum([b.op.MatMul([y, other]), ints(0)]));
    const group = (await pruningGroups(await b.build())).find(({ name }) => name === 'first');
    expect(group?.prunable).toBe(false);
    expect(group?.obstacles[0]?.reason).toContain('MatMul');
  });

  it.each(['all computed', 'computed beside them'])(
    'are channels under a Resize to sizes %s',
    async (which) => {
      const b = new GraphBuilder('resize');
      const x = b.input('x', 'float32', [1, 3, 'H', 'W']);
      const sizes =
        which === 'all computed'
          ? b.input('sizes', 'int64', [4])
          : b.op.Concat([ints(1, 6), b.op.Mul([b.op.Shape([x], { start: 2, end: 4 }), ints(2, 2)])], {
              axis: 0,
            });
      const y = b.op.Resize([b.op.Conv([x, weight(6, 3, 1, 1)], {}, { name: 'first' }), null, null, sizes]);
      b.output('y', conv(b, y, 6, 2));
      const group = (await pruningGroups(await b.build())).find(({ name }) => name === 'first');
      expect(group?.prunable).toBe(false);
    },
  );
});
