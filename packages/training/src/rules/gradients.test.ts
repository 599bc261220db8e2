import {
  createRng,
  type Feeds,
  Graph,
  inferShapes,
  Model,
  standardOps,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { type EmitAttributes, Emitter } from '../autodiff/emitter.ts';
import { gradients } from '../autodiff/gradients.ts';

type Range = readonly [number, number];

/** One operator with inputs: float shapes are drawn, tensors are constants, `null` is left out. */
interface Case {
  readonly name?: string;
  readonly op: string;
  readonly inputs: readonly (readonly number[] | Tensor | null)[];
  readonly attributes?: EmitAttributes;
  readonly outputs?: number;
  /** Where inputs are drawn from; [-2, 2] by default. */
  readonly range?: Range;
  /** Inputs (by index) that have no gradient. */
  readonly constant?: readonly number[];
}

const ints = (...values: number[]): Tensor =>
  Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));
const scalar = (value: number): Tensor => Tensor.from('float64', [], Float64Array.of(value));
const positive: Range = [0.2, 2];
const bools = (...values: number[]): Tensor => Tensor.from('bool', [values.length], Uint8Array.from(values));

const unary = (ops: readonly string[], range?: Range): Case[] =>
  ops.map((op) => ({ op, inputs: [[2, 5]], ...(range ? { range } : {}) }));

/** Sequences of 3 steps, 2 samples, 3 features, 2 hidden units; every direction, with and without bias, initial states and batch first. */
function recurrent(op: string, gates: number, more: EmitAttributes = {}): Case[] {
  const hidden = 2;
  const outputs = op === 'LSTM' ? 3 : 2;
  return ['forward', 'reverse', 'bidirectional'].flatMap((direction): Case[] => {
    const directions = direction === 'bidirectional' ? 2 : 1;
    const attributes = { hidden_size: hidden, direction, ...more };
    const weights: (readonly number[])[] = [
      [directions, gates * hidden, 3],
      [directions, gates * hidden, hidden],
    ];
    const bias = [directions, 2 * gates * hidden];
    const state = (batchFirst: boolean): readonly number[] =>
      batchFirst ? [2, directions, hidden] : [directions, 2, hidden];
    const states = (batchFirst: boolean): (readonly number[])[] =>
      new Array<readonly number[]>(outputs - 1).fill(state(batchFirst));
    const range: Range = [-1, 1];
    return [
      { op, inputs: [[3, 2, 3], ...weights], attributes, outputs, range },
      { op, inputs: [[3, 2, 3], ...weights, bias, null, ...states(false)], attributes, outputs, range },
      {
        op,
        inputs: [[2, 3, 3], ...weights, bias, null, ...states(true)],
        attributes: { ...attributes, layout: 1 },
        outputs,
        range,
      },
    ];
  });
}

const cases: readonly Case[] = [
  ...unary(['Neg', 'Abs', 'Exp', 'Erf', 'Sin', 'Cos', 'Sinh', 'Cosh', 'Tanh', 'Atan', 'Asinh', 'Identity']),
  ...unary(['Sqrt', 'Log', 'Reciprocal'], positive),
  ...unary(['Tan', 'Asin', 'Acos', 'Atanh'], [-0.8, 0.8]),
  ...unary(['Acosh'], [1.2, 3]),
  ...unary([
    'Relu',
    'LeakyRelu',
    'Elu',
    'Selu',
    'Sigmoid',
    'Softplus',
    'Softsign',
    'HardSwish',
    'Gelu',
    'Mish',
    'ThresholdedRelu',
  ]),
  { op: 'HardSigmoid', inputs: [[3, 4]], range: [-4, 4] },
  { op: 'HardSwish', inputs: [[3, 4]], range: [-4, 4] },
  { op: 'Gelu', inputs: [[3, 4]], attributes: { approximate: 'tanh' } },
  {
    op: 'PRelu',
    inputs: [
      [2, 3, 4],
      [3, 1],
    ],
  },
  {
    op: 'Add',
    inputs: [
      [2, 1, 4],
      [3, 1],
    ],
  },
  { op: 'Sub', inputs: [[4], [2, 3, 4]] },
  {
    op: 'Mul',
    inputs: [
      [2, 3, 4],
      [3, 4],
    ],
  },
  { op: 'Div', inputs: [[2, 3], [3]], range: positive },
  { op: 'Pow', inputs: [[2, 3], [3]], range: positive },
  { op: 'Max', inputs: [[2, 3], [3], [2, 1]] },
  { op: 'Min', inputs: [[2, 3], [3], [2, 1]] },
  { op: 'Sum', inputs: [[2, 3], [3], [2, 1]] },
  { op: 'Mean', inputs: [[2, 3], [3]] },
  { op: 'Where', inputs: [bools(1, 0, 1), [2, 3], [3]] },
  { op: 'Clip', inputs: [[3, 4], scalar(-1), scalar(0.7)] },
  { op: 'Softmax', inputs: [[2, 3, 4]], attributes: { axis: 1 } },
  { op: 'LogSoftmax', inputs: [[2, 5]] },
  ...[
    'ReduceSum',
    'ReduceMean',
    'ReduceMax',
    'ReduceMin',
    'ReduceProd',
    'ReduceSumSquare',
    'ReduceL1',
    'ReduceL2',
    'ReduceLogSumExp',
  ].flatMap((op): Case[] => [
    { op, inputs: [[2, 3, 4], ints(1)], attributes: { keepdims: 0 } },
    { op, inputs: [[2, 3, 4], ints(-1, 0)] },
    { op, inputs: [[2, 3]] },
  ]),
  { op: 'ReduceLogSum', inputs: [[2, 3], ints(1)], range: positive },
  { op: 'CumSum', inputs: [[2, 4], Tensor.from('int64', [], BigInt64Array.of(1n))] },
  {
    op: 'CumSum',
    inputs: [[2, 4], Tensor.from('int64', [], BigInt64Array.of(0n))],
    attributes: { exclusive: 1, reverse: 1 },
  },
  { op: 'Reshape', inputs: [[2, 6], ints(3, -1)] },
  { op: 'Flatten', inputs: [[2, 3, 2]] },
  { op: 'Squeeze', inputs: [[2, 1, 3], ints(1)] },
  { op: 'Unsqueeze', inputs: [[2, 3], ints(0)] },
  { op: 'Expand', inputs: [[3, 1], ints(2, 3, 4)] },
  { op: 'Transpose', inputs: [[2, 3, 4]], attributes: { perm: [1, 2, 0] } },
  {
    op: 'Concat',
    inputs: [
      [2, 3],
      [2, 1],
      [2, 2],
    ],
    attributes: { axis: 1 },
  },
  { op: 'Split', inputs: [[2, 6], ints(2, 4)], attributes: { axis: 1 }, outputs: 2 },
  { op: 'Slice', inputs: [[4, 6], ints(1, -4), ints(3, 6), ints(0, 1)] },
  { op: 'Slice', inputs: [[7, 5], ints(6, 1), ints(0, 5), ints(0, 1), ints(-2, 2)] },
  { op: 'Pad', inputs: [[2, 3], ints(1, 0, 2, 3)] },
  { op: 'Pad', inputs: [[2, 3], ints(1, 2), null, ints(1)] },
  { op: 'Tile', inputs: [[2, 3], ints(2, 3)] },
  { op: 'Gather', inputs: [[4, 3], Tensor.from('int64', [2, 2], BigInt64Array.of(0n, 3n, 3n, -2n))] },
  { op: 'Gather', inputs: [[2, 4, 3], ints(1, 1, 0)], attributes: { axis: 1 } },
  {
    op: 'GatherElements',
    inputs: [[3, 3], Tensor.from('int64', [2, 3], BigInt64Array.of(0n, 1n, 2n, 0n, 2n, 1n))],
    attributes: { axis: 0 },
  },
  { op: 'GatherND', inputs: [[2, 3, 2], Tensor.from('int64', [2, 2], BigInt64Array.of(0n, 1n, 1n, 2n))] },
  { op: 'ScatterND', inputs: [[4, 2], Tensor.from('int64', [2, 1], BigInt64Array.of(3n, 1n)), [2, 2]] },
  {
    op: 'ScatterElements',
    inputs: [[3, 3], Tensor.from('int64', [1, 3], BigInt64Array.of(1n, 0n, 2n)), [1, 3]],
  },
  { op: 'DepthToSpace', inputs: [[1, 8, 2, 3]], attributes: { blocksize: 2 } },
  { op: 'DepthToSpace', inputs: [[1, 8, 2, 3]], attributes: { blocksize: 2, mode: 'CRD' } },
  { op: 'SpaceToDepth', inputs: [[1, 2, 4, 6]], attributes: { blocksize: 2 } },
  { op: 'Trilu', inputs: [[4, 4]], attributes: { upper: 0 } },
  {
    op: 'MatMul',
    inputs: [
      [2, 3],
      [3, 4],
    ],
  },
  {
    op: 'MatMul',
    inputs: [
      [2, 2, 3],
      [3, 4],
    ],
  },
  {
    op: 'MatMul',
    inputs: [
      [2, 1, 2, 3],
      [3, 3, 4],
    ],
  },
  { op: 'MatMul', inputs: [[3], [3, 4]] },
  { op: 'MatMul', inputs: [[2, 3], [3]] },
  { op: 'MatMul', inputs: [[3], [3]] },
  ...[0, 1].flatMap((transA) =>
    [0, 1].map(
      (transB): Case => ({
        op: 'Gemm',
        inputs: [transA ? [3, 2] : [2, 3], transB ? [4, 3] : [3, 4], [4]],
        attributes: { transA, transB, alpha: 0.5, beta: 2 },
      }),
    ),
  ),
  {
    op: 'Einsum',
    inputs: [
      [2, 3, 4],
      [2, 4, 5],
    ],
    attributes: { equation: 'bij,bjk->bik' },
  },
  {
    op: 'Einsum',
    inputs: [
      [2, 3],
      [3, 4],
    ],
    attributes: { equation: 'ij,jk->k' },
  },
  { op: 'Conv', inputs: [[2, 3, 6, 5], [4, 3, 3, 3], [4]], attributes: { pads: [1, 1, 1, 1] } },
  {
    op: 'Conv',
    inputs: [
      [1, 4, 7, 8],
      [6, 2, 3, 2],
    ],
    attributes: { group: 2, strides: [2, 3], pads: [0, 1, 2, 0] },
  },
  { op: 'Conv', inputs: [[1, 3, 8], [3, 1, 3], [3]], attributes: { group: 3, dilations: [2] } },
  {
    op: 'Conv',
    inputs: [
      [1, 1, 4, 4, 4],
      [2, 1, 2, 2, 2],
    ],
  },
  {
    op: 'Conv',
    inputs: [
      [1, 2, 5, 5],
      [2, 2, 3, 3],
    ],
    attributes: { auto_pad: 'SAME_UPPER', strides: [2, 2] },
  },
  {
    op: 'ConvTranspose',
    inputs: [[1, 2, 3, 3], [2, 3, 3, 3], [3]],
    attributes: { strides: [2, 2], pads: [1, 1, 1, 1], output_padding: [1, 1] },
  },
  {
    op: 'ConvTranspose',
    inputs: [
      [2, 4, 4],
      [4, 1, 3],
    ],
    attributes: { group: 2, dilations: [2] },
  },
  { op: 'MaxPool', inputs: [[2, 2, 4, 6]], attributes: { kernel_shape: [2, 2], strides: [2, 2] } },
  {
    op: 'MaxPool',
    inputs: [[1, 2, 7, 7]],
    attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] },
  },
  { op: 'MaxPool', inputs: [[1, 1, 6]], attributes: { kernel_shape: [3], strides: [2], ceil_mode: 1 } },
  {
    op: 'AveragePool',
    inputs: [[1, 2, 5, 6]],
    attributes: { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 0, 1, 0] },
  },
  {
    op: 'AveragePool',
    inputs: [[1, 2, 5, 6]],
    attributes: { kernel_shape: [3, 2], pads: [1, 1, 1, 1], count_include_pad: 1 },
  },
  { op: 'GlobalAveragePool', inputs: [[2, 3, 4, 5]] },
  { op: 'GlobalMaxPool', inputs: [[2, 3, 4, 5]] },
  {
    op: 'BatchNormalization',
    inputs: [[2, 3, 2, 2], [3], [3], [3], [3]],
    range: positive,
  },
  {
    name: 'BatchNormalization, training',
    op: 'BatchNormalization',
    inputs: [
      [2, 3, 2, 2],
      [3],
      [3],
      Tensor.from('float64', [3], new Float64Array(3)),
      Tensor.from('float64', [3], new Float64Array(3).fill(1)),
    ],
    attributes: { training_mode: 1 },
    outputs: 3,
  },
  { op: 'LayerNormalization', inputs: [[2, 3, 4], [4], [4]] },
  {
    op: 'LayerNormalization',
    inputs: [
      [2, 3, 4],
      [3, 4],
    ],
    attributes: { axis: 1 },
  },
  { op: 'InstanceNormalization', inputs: [[2, 3, 4], [3], [3]] },
  { op: 'GroupNormalization', inputs: [[2, 4, 3], [4], [4]], attributes: { num_groups: 2 } },
  { op: 'LpNormalization', inputs: [[2, 4]], attributes: { axis: 1, p: 2 } },
  { op: 'LpNormalization', inputs: [[2, 4]], attributes: { axis: 0, p: 1 } },
  { op: 'MeanVarianceNormalization', inputs: [[2, 3, 2, 2]] },
  { op: 'LRN', inputs: [[2, 5, 2, 2]], attributes: { size: 3, alpha: 0.5, beta: 0.75, bias: 1 } },
  { op: 'LRN', inputs: [[1, 6, 3]], attributes: { size: 4, alpha: 0.5, beta: 0.6, bias: 2 } },
  {
    op: 'LpPool',
    inputs: [[1, 2, 5, 6]],
    attributes: { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 0, 1, 0], p: 2 },
  },
  { op: 'LpPool', inputs: [[1, 2, 6]], attributes: { kernel_shape: [3], p: 3 } },
  { op: 'LpPool', inputs: [[1, 2, 6]], attributes: { kernel_shape: [2], p: 1 } },
  ...[1, 2, 3].map((p): Case => ({ op: 'GlobalLpPool', inputs: [[2, 3, 4]], attributes: { p } })),
  { op: 'Mod', inputs: [[3, 4], [4]], attributes: { fmod: 1 }, range: positive },
  { op: 'Shrink', inputs: [[3, 4]], attributes: { bias: 0.5, lambd: 1 } },
  { op: 'TopK', inputs: [[2, 5], ints(2)], attributes: { axis: 1 }, outputs: 2 },
  { op: 'ReverseSequence', inputs: [[4, 3, 2], ints(2, 4, 3)], attributes: { batch_axis: 1, time_axis: 0 } },
  ...recurrent('RNN', 1),
  ...recurrent('GRU', 3),
  ...recurrent('GRU', 3, { linear_before_reset: 1 }),
  ...recurrent('LSTM', 4),
  {
    op: 'Resize',
    inputs: [[1, 2, 3, 4], null, Tensor.from('float32', [4], Float32Array.of(1, 1, 2, 2))],
    attributes: { mode: 'nearest' },
  },
  { op: 'Resize', inputs: [[1, 2, 3, 4], null, null, ints(1, 2, 5, 7)], attributes: { mode: 'linear' } },
  {
    op: 'Resize',
    inputs: [[1, 1, 4, 4], null, null, ints(1, 1, 6, 3)],
    attributes: { mode: 'cubic', coordinate_transformation_mode: 'align_corners' },
  },
];

interface Built {
  readonly model: Model;
  readonly feeds: Record<string, Tensor<'float64'>>;
}

/** loss = sum of all outputs, each weighted elementwise by fixed random numbers. */
async function build(item: Case): Promise<Built> {
  const rng = createRng(7).fork(JSON.stringify([item.op, item.attributes]));
  const graph = new Graph('case');
  const feeds: Record<string, Tensor<'float64'>> = {};
  const [low, high] = item.range ?? [-2, 2];
  const values = item.inputs.map((input, index): Value | null => {
    if (input === null) return null;
    if (input instanceof Tensor) return graph.addInitializer(`c${index}`, input);
    const size = input.reduce((product, dim) => product * dim, 1);
    feeds[`x${index}`] = Tensor.from(
      'float64',
      input,
      Float64Array.from({ length: size }, () => low + (high - low) * rng.next()),
    );
    return graph.addInput(`x${index}`, tensorType('float64', input));
  });
  const emit = new Emitter(graph, standardOps, 'f/');
  const outputs = emit.node(item.op, values, item.attributes ?? {}, item.outputs ?? 1);
  const counted = outputs.filter(
    (output, index) =>
      output.dtype === 'float64' && (index === 0 || item.name?.includes('training') !== true),
  );
  const parts = counted.map((output) => {
    const shape = output.shape as readonly number[];
    const size = shape.reduce((product, dim) => product * dim, 1);
    const weights = emit.floats(
      shape,
      Float64Array.from({ length: size }, () => rng.normal()),
      'float64',
    );
    return emit.op('ReduceSum', [emit.mul(output, weights)], { keepdims: 0 });
  });
  const loss = parts.reduce((left, right) => emit.add(left, right));
  graph.rename(loss, 'loss');
  graph.setOutputs([loss]);
  const model = new Model({ graph });
  await inferShapes(model);
  return { model, feeds };
}

const lossOf = async (model: Model, feeds: Feeds): Promise<number> => {
  const results = await evaluateModel(model, feeds);
  return Number((results['loss'] as Tensor<'float64'>).data[0]);
};

/** Central differences, element by element. */
async function numericGradient({ model, feeds }: Built, name: string): Promise<Float64Array> {
  const step = 1e-5;
  const base = feeds[name] as Tensor<'float64'>;
  const result = new Float64Array(base.size);
  for (let index = 0; index < base.size; index++) {
    const at = async (delta: number): Promise<number> => {
      const moved = Float64Array.from(base.data);
      moved[index] = (moved[index] as number) + delta;
      return lossOf(model, { ...feeds, [name]: Tensor.from('float64', base.shape, moved) });
    };
    result[index] = ((await at(step)) - (await at(-step))) / (2 * step);
  }
  return result;
}

const label = (item: Case): string =>
  item.name ??
  `${item.op} ${item.inputs.map((input) => (input === null ? '–' : `[${(input instanceof Tensor ? input.shape : input).join(' ')}]`)).join(' ')} ${JSON.stringify(item.attributes ?? {})}`;

describe('gradients by hand', () => {
  it('splits the gradient of Clip between the input and the bound that it met', async () => {
    const graph = new Graph();
    const x = graph.addInput('x', tensorType('float32', [3]));
    const low = graph.addInput('low', tensorType('float32', []));
    const high = graph.addInput('high', tensorType('float32', []));
    const emit = new Emitter(graph, standardOps, 'f/');
    const loss = emit.sum(emit.op('Clip', [x, low, high]), [0], false);
    graph.rename(loss, 'loss');
    graph.setOutputs([loss]);
    const model = await gradients(new Model({ graph }), { of: 'loss', wrt: ['x', 'low', 'high'] });
    const f32 = (shape: number[], ...values: number[]): Tensor =>
      Tensor.from('float32', shape, Float32Array.from(values));
    const result = await evaluateModel(model, {
      x: f32([3], -5, 0.5, 7),
      low: f32([], -1),
      high: f32([], 1),
    });
    expect([...(result['grad:x'] as Tensor<'float32'>).data]).toEqual([0, 1, 0]);
    expect([...(result['grad:low'] as Tensor<'float32'>).data]).toEqual([1]);
    expect([...(result['grad:high'] as Tensor<'float32'>).data]).toEqual([1]);
  });

  it('follows exp(x / alpha) below zero for Celu', async () => {
    const graph = new Graph();
    const x = graph.addInput('x', tensorType('float32', [2]));
    const emit = new Emitter(graph, standardOps, 'f/');
    const loss = emit.sum(emit.op('Celu', [x], { alpha: 0.5 }), [0], false);
    graph.rename(loss, 'loss');
    graph.setOutputs([loss]);
    const model = await gradients(new Model({ graph }), { of: 'loss', wrt: ['x'] });
    const result = await evaluateModel(model, { x: Tensor.from('float32', [2], Float32Array.of(-1, 2)) });
    const [below, above] = (result['grad:x'] as Tensor<'float32'>).data;
    expect(below).toBeCloseTo(Math.exp(-2), 6);
    expect(above).toBe(1);
  });
});

describe('gradient rules agree with central differences in float64', () => {
  it.each(cases.map((item) => [label(item), item] as const))('%s', async (_, item) => {
    const built = await build(item);
    const wrt = Object.keys(built.feeds).filter(
      (name) => !(item.constant ?? []).includes(Number(name.slice(1))),
    );
    const model = await gradients(built.model, { of: 'loss', wrt });
    const results = await evaluateModel(model, built.feeds);
    for (const name of wrt) {
      const analytic = results[`grad:${name}`] as Tensor<'float64'>;
      const numeric = await numericGradient(built, name);
      expect(analytic.shape).toEqual(built.feeds[name]?.shape);
      const scale = Math.max(1, ...numeric.map(Math.abs));
      analytic.data.forEach((value, index) => {
        expect(
          Math.abs(value - (numeric[index] as number)) / scale,
          `${name}[${index}]: ${value} against ${numeric[index]}`,
        ).toBeLessThan(2e-6);
      });
    }
  });
});
