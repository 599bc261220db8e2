import { type Dim, type Feeds, GraphBuilder, type Model, Tensor, type Value } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { type GroupOptions, type PruningGroup, pruningGroups } from '../src/index.ts';
import { checkShrinks, checkZeros, prunable } from './checks.ts';
import { normal } from './support.ts';

const ints = (...values: readonly number[]): Tensor<'int64'> =>
  Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));

let seed = 50;
const weight = (...shape: readonly number[]): Tensor<'float32'> => normal(shape, seed++, 0.5);

interface Case {
  readonly name: string;
  readonly shape: readonly Dim[];
  readonly size: readonly number[];
  /** What the parts to cut are called, with their number of units. */
  readonly units: readonly number[];
  readonly options?: GroupOptions;
  build(b: GraphBuilder, x: Value): Value;
}

const conv = (b: GraphBuilder, x: Value, from: number, to: number, kernel = 1): Value =>
  b.op.Conv([x, weight(to, from, kernel, kernel), weight(to)], {
    pads: [kernel >> 1, kernel >> 1, kernel >> 1, kernel >> 1],
  });
const dense = (b: GraphBuilder, x: Value, from: number, to: number): Value =>
  b.op.Add([b.op.MatMul([x, weight(from, to)]), weight(to)]);

/** [N, T, heads * size] to [N, heads, T, size]. */
function heads(b: GraphBuilder, x: Value, count: number, size: number): Value {
  return b.op.Transpose([b.op.Reshape([x, ints(0, 0, count, size)])], { perm: [0, 2, 1, 3] });
}

function attend(b: GraphBuilder, [q, k, v]: readonly [Value, Value, Value]): Value {
  const { op } = b;
  const scores = op.MatMul([q, op.Transpose([k], { perm: [0, 1, 3, 2] })]);
  const mixed = op.MatMul([
    op.Softmax([op.Div([scores, Tensor.from('float32', [], Float32Array.of(2))])]),
    v,
  ]);
  return op.Transpose([mixed], { perm: [0, 2, 1, 3] });
}

function selfAttention(b: GraphBuilder, x: Value): Value {
  const [q, k, v] = [0, 1, 2].map(() => heads(b, dense(b, x, 6, 12), 3, 4)) as [Value, Value, Value];
  return dense(b, b.op.Reshape([attend(b, [q, k, v]), ints(0, 0, 12)]), 12, 5);
}

function packedAttention(b: GraphBuilder, x: Value): Value {
  const { op } = b;
  const packed = op.Reshape([dense(b, x, 6, 36), ints(0, 0, 3, 3, 4)]);
  const moved = op.Transpose([packed], { perm: [2, 0, 3, 1, 4] });
  const [q, k, v] = [0, 1, 2].map((index) =>
    op.Gather([moved, Tensor.from('int64', [], BigInt64Array.of(BigInt(index)))], { axis: 0 }),
  ) as [Value, Value, Value];
  return dense(b, op.Reshape([attend(b, [q, k, v]), ints(0, 0, -1)]), 12, 5);
}

/** Four query heads share two heads of keys and values, which are repeated as exporters write it. */
function groupedAttention(b: GraphBuilder, x: Value): Value {
  const { op } = b;
  const repeat = (value: Value): Value => {
    const five = op.Unsqueeze([heads(b, value, 2, 4), ints(2)]);
    return op.Reshape([op.Expand([five, ints(1, 1, 2, 1, 1)]), ints(0, 4, -1, 4)]);
  };
  const q = heads(b, dense(b, x, 6, 16), 4, 4);
  const [k, v] = [repeat(dense(b, x, 6, 8)), repeat(dense(b, x, 6, 8))];
  return dense(b, op.Reshape([attend(b, [q, k, v]), ints(0, 0, 16)]), 16, 5);
}

function multiHeadOperator(b: GraphBuilder, x: Value): Value {
  const inputs = [0, 1, 2].map(() => b.op.MatMul([x, weight(6, 12)]));
  const [y] = b.microsoft.MultiHeadAttention([...inputs, weight(36)], { num_heads: 3 }, { outputs: 1 });
  return dense(b, y as Value, 12, 5);
}

/** Sizes that are computed while the model runs. */
function dynamicReshape(b: GraphBuilder, x: Value): Value {
  const { op } = b;
  const y = conv(b, x, 3, 6);
  const shape = op.Shape([y]);
  const batch = op.Unsqueeze([op.Gather([shape, Tensor.from('int64', [], BigInt64Array.of(0n))]), ints(0)]);
  const target = op.Concat([batch, ints(6), ints(-1)], { axis: 0 });
  return op.MatMul([weight(4, 6), op.Reshape([y, target])]);
}

const [image, sequence]: readonly [readonly Dim[], readonly Dim[]] = [
  ['N', 3, 4, 4],
  ['N', 'T', 6],
];
const pixels = [2, 3, 4, 4];
const steps = [2, 5, 6];

const cases: readonly Case[] = [
  { name: 'heads of attention', shape: sequence, size: steps, units: [3], build: selfAttention },
  {
    name: 'the width of heads, of queries and keys apart from values',
    shape: sequence,
    size: steps,
    units: [4, 4],
    options: { attention: 'width' },
    build: selfAttention,
  },
  { name: 'heads of packed attention', shape: sequence, size: steps, units: [3], build: packedAttention },
  {
    name: 'groups of heads that share keys and values',
    shape: sequence,
    size: steps,
    units: [2],
    build: groupedAttention,
  },
  { name: 'heads of MultiHeadAttention', shape: sequence, size: steps, units: [3], build: multiHeadOperator },
  {
    name: 'the width of heads of MultiHeadAttention',
    shape: sequence,
    size: steps,
    units: [4, 4],
    options: { attention: 'width' },
    build: multiHeadOperator,
  },
  {
    name: 'heads of Attention',
    shape: [2, 5, 6],
    size: steps,
    units: [3],
    build: (b, x) => {
      const [y] = b.microsoft.Attention([x, weight(6, 36), weight(36)], { num_heads: 3 }, { outputs: 1 });
      return dense(b, y as Value, 12, 5);
    },
  },
  {
    name: 'hidden units of an LSTM in two directions',
    shape: [5, 2, 6],
    size: [5, 2, 6],
    units: [4],
    build: (b, x) => {
      const weights = [weight(2, 16, 6), weight(2, 16, 4), weight(2, 32)];
      const [y] = b.op.LSTM([x, ...weights], { hidden_size: 4, direction: 'bidirectional' }, { outputs: 1 });
      const joined = b.op.Reshape([b.op.Transpose([y as Value], { perm: [0, 2, 1, 3] }), ints(0, 0, 8)]);
      return dense(b, joined, 8, 5);
    },
  },
  {
    name: 'hidden units of a GRU and of a layer before it',
    shape: [5, 2, 6],
    size: [5, 2, 6],
    units: [7, 4],
    build: (b, x) => {
      const inner = b.op.Relu([dense(b, x, 6, 7)]);
      const weights = [weight(1, 12, 7), weight(1, 12, 4), weight(1, 24)];
      const [, last] = b.op.GRU([inner, ...weights], { hidden_size: 4 }, { outputs: 2 });
      return dense(b, last as Value, 4, 5);
    },
  },
  {
    name: 'channels through Einsum',
    shape: sequence,
    size: steps,
    units: [7],
    build: (b, x) => {
      const y = b.op.Relu([b.op.Einsum([x, weight(6, 7)], { equation: 'ntc,cd->ndt' })]);
      return b.op.Einsum([y, weight(5, 7)], { equation: 'ndt,ed->nte' });
    },
  },
  {
    name: 'channels through SpaceToDepth, DepthToSpace and Resize',
    shape: [2, 3, 4, 4],
    size: pixels,
    units: [4, 6, 5],
    build: (b, x) => {
      const { op } = b;
      let y = conv(b, op.SpaceToDepth([conv(b, x, 3, 4)], { blocksize: 2 }), 16, 24);
      y = op.DepthToSpace([y], { blocksize: 2, mode: 'CRD' });
      y = op.Resize([conv(b, y, 6, 5), null, null, ints(2, 5, 8, 8)], { mode: 'nearest' });
      return conv(b, y, 5, 2);
    },
  },
  {
    name: 'channels of a constant that is stretched and repeated',
    shape: [2, 3, 4, 4],
    size: pixels,
    units: [6],
    build: (b, x) => {
      const { op } = b;
      const y = conv(b, x, 3, 6);
      const stretched = op.Expand([weight(6, 1, 1), ints(2, 6, 4, 4)]);
      const repeated = op.Tile([op.Add([y, stretched]), ints(1, 2, 1, 1)]);
      return conv(b, repeated, 12, 2);
    },
  },
  {
    name: 'channels through a reshape to computed sizes',
    shape: image,
    size: pixels,
    units: [6],
    build: dynamicReshape,
  },
  {
    name: 'channels of an embedding tied to the layer that gives the scores',
    shape: ['N', 'T'],
    size: [],
    units: [6],
    build: (b, x) => {
      const table = b.constant('table', weight(9, 6));
      const y = b.op.Gather([table, b.op.Cast([x], { to: 7 })], { axis: 0 });
      return b.op.MatMul([b.op.Relu([y]), b.op.Transpose([table], { perm: [1, 0] })]);
    },
  },
  {
    name: 'channels through a gate, squeezed and unsqueezed',
    shape: image,
    size: pixels,
    units: [6, 4],
    build: (b, x) => {
      const { op } = b;
      const y = conv(b, x, 3, 6);
      const pooled = op.Squeeze([op.GlobalAveragePool([y]), ints(2, 3)]);
      const inner = op.Relu([op.Gemm([pooled, weight(4, 6), weight(4)], { transB: true })]);
      const gate = op.Sigmoid([op.Gemm([inner, weight(4, 6), weight(6)])]);
      return conv(b, op.Mul([y, op.Unsqueeze([gate, ints(2, 3)])]), 6, 2);
    },
  },
];

async function modelOf({ shape, build }: Case): Promise<Model> {
  const b = new GraphBuilder('case');
  b.output('y', build(b, b.input('x', 'float32', shape)));
  return await b.build();
}

const feedsOf = ({ size }: Case): Feeds =>
  size.length > 0
    ? { x: normal(size, 9) }
    : { x: Tensor.from('float32', [2, 4], Float32Array.of(0, 3, 8, 1, 5, 5, 2, 7)) };

describe.each(cases)('$name', (one) => {
  it('can be cut, and zeros without any change', async () => {
    const model = await modelOf(one);
    const groups = await prunable(model, one.options);
    expect(groups.map((group) => group.units)).toEqual(one.units);
    for (const group of groups) {
      expect(group.inexact).toEqual([]);
      await checkZeros(model, group, { feeds: feedsOf(one), seed: 1 });
      await checkZeros(model, group, { feeds: feedsOf(one), seed: 2 });
    }
    await checkShrinks(model, { feeds: feedsOf(one), seed: 3 }, one.options);
  });
});

describe('attention by both', () => {
  it('names the groups that exclude each other', async () => {
    const model = await modelOf(cases[0] as Case);
    const groups = await prunable(model, { attention: 'both' });
    const byKind = (kind: PruningGroup['kind']): readonly PruningGroup[] =>
      groups.filter((group) => group.kind === kind);
    const [head] = byKind('head');
    const widths = byKind('head-width');
    expect(head?.alternatives).toEqual(widths.map((group) => group.name));
    expect(widths.map((group) => group.alternatives)).toEqual([[head?.name], [head?.name]]);
  });
});

describe('the scale of attention', () => {
  it('is written down when the width that it came from shrinks', async () => {
    const one = cases.find(({ name }) => name === 'the width of heads of MultiHeadAttention') as Case;
    const model = await modelOf(one);
    const [group] = await prunable(model, { attention: 'width' });
    const { removeUnits } = await import('../src/index.ts');
    await removeUnits(model, group as PruningGroup, [1]);
    const node = [...model.graph.nodes()].find(({ opType }) => opType === 'MultiHeadAttention');
    expect(node?.attributes.get('scale')).toEqual({ kind: 'float', value: 0.5 });
    expect(node?.attributes.get('num_heads')).toEqual({ kind: 'int', value: 3n });
  });
});

describe('what each unit costs', () => {
  it('is counted with all that goes along', async () => {
    // Two convolutions, 3 to 6 to 2 channels, on 4x4 pixels.
    const b = new GraphBuilder('cost');
    const x = b.input('x', 'float32', ['N', 3, 4, 4]);
    b.output('y', conv(b, conv(b, x, 3, 6, 3), 6, 2));
    const [group] = await pruningGroups(await b.build(), { dims: { N: 2 } });
    // A filter of 27 weights and its bias, and a column of 2 weights; 2 images of 16 pixels.
    expect(group?.unitCost).toEqual({ parameters: 30, bytes: 120, macs: 2 * 16 * (27 + 2) });
  });
});
