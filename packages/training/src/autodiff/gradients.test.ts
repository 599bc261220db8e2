import {
  attr,
  createRng,
  defineOp,
  type Feeds,
  floatDTypes,
  Graph,
  GraphBuilder,
  Model,
  OpSet,
  standardOps,
  Tensor,
  tensorType,
} from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { standardGradients } from '../rules/standard-gradients.ts';
import { Emitter } from './emitter.ts';
import { gradient } from './gradient-rule.ts';
import { gradients } from './gradients.ts';

const int64s = (...values: number[]): Tensor =>
  Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));

function normal(seed: number, ...shape: number[]): Tensor<'float64'> {
  const rng = createRng(seed);
  const size = shape.reduce((left, right) => left * right, 1);
  return Tensor.from(
    'float64',
    shape,
    Float64Array.from({ length: size }, () => rng.normal()),
  );
}

/** Compares gradients with central differences at a few elements of each input. */
async function expectGradients(model: Model, feeds: Record<string, Tensor<'float64'>>): Promise<void> {
  const names = Object.keys(feeds);
  const results = await evaluateModel(await gradients(model, { of: 'loss', wrt: names }), feeds);
  const lossAt = async (at: Feeds): Promise<number> =>
    Number(((await evaluateModel(model, at))['loss'] as Tensor<'float64'>).data[0]);
  for (const name of names) {
    const base = feeds[name] as Tensor<'float64'>;
    const analytic = results[`grad:${name}`] as Tensor<'float64'>;
    expect(analytic.shape).toEqual(base.shape);
    const step = Math.max(1, Math.floor(base.size / 7));
    for (let index = 0; index < base.size; index += step) {
      const moved = async (delta: number): Promise<number> => {
        const data = Float64Array.from(base.data);
        data[index] = data[index]! + delta;
        return lossAt({ ...feeds, [name]: Tensor.from('float64', base.shape, data) });
      };
      const numeric = ((await moved(1e-5)) - (await moved(-1e-5))) / 2e-5;
      expect(Math.abs(analytic.data[index]! - numeric), `${name}[${index}]`).toBeLessThan(
        1e-6 * Math.max(1, Math.abs(numeric)),
      );
    }
  }
}

/** Loss = weighted sum of y: every element has a gradient of its own. */
function finish(builder: GraphBuilder, y: ReturnType<GraphBuilder['input']>, size: number): Promise<Model> {
  const flat = builder.op.Reshape([y, int64s(-1, size)]);
  const weighted = builder.op.Mul([flat, normal(99, size)]);
  builder.output('loss', builder.op.ReduceSum([weighted], { keepdims: false }));
  return builder.build();
}

describe('gradients of graphs', () => {
  it('flow through attention as exporters write it, with a symbolic batch', async () => {
    const b = new GraphBuilder('attention');
    const x = b.input('x', 'float64', ['N', 3, 4]);
    const project = (name: string): ReturnType<GraphBuilder['input']> =>
      b.op.Add([b.op.MatMul([x, b.input(name, 'float64', [4, 4])]), normal(5, 4)]);
    const split = (
      value: ReturnType<GraphBuilder['input']>,
      perm: number[],
    ): ReturnType<GraphBuilder['input']> => {
      const batch = b.op.Gather([b.op.Shape([x]), int64s(0)]);
      return b.op.Transpose([b.op.Reshape([value, b.op.Concat([batch, int64s(3, 2, 2)], { axis: 0 })])], {
        perm,
      });
    };
    const scores = b.op.MatMul([split(project('q'), [0, 2, 1, 3]), split(project('k'), [0, 2, 3, 1])]);
    const weights = b.op.Softmax([b.op.Div([scores, normal(3)])], { axis: -1 });
    const mixed = b.op.Transpose([b.op.MatMul([weights, split(project('v'), [0, 2, 1, 3])])], {
      perm: [0, 2, 1, 3],
    });
    const y = b.op.LayerNormalization([
      b.op.Add([x, b.op.Reshape([mixed, int64s(0, 0, 4)])]),
      b.input('scale', 'float64', [4]),
      null,
    ]);
    const model = await finish(b, y, 12);
    await expectGradients(model, {
      x: normal(1, 2, 3, 4),
      q: normal(2, 4, 4),
      k: normal(3, 4, 4),
      v: normal(4, 4, 4),
      scale: normal(6, 4),
    });
  });

  it('flow through a CNN with a symbolic batch', async () => {
    const b = new GraphBuilder('cnn');
    const x = b.input('x', 'float64', ['N', 2, 8, 8]);
    const zeros = Tensor.from('float64', [3], new Float64Array(3));
    const conv = b.op.Conv([x, b.input('w', 'float64', [3, 2, 3, 3])], { pads: [1, 1, 1, 1] });
    const [norm] = b.op.BatchNormalization(
      [conv, normal(3, 3), normal(4, 3), zeros, zeros],
      { training_mode: true },
      { outputs: 3 },
    );
    const pooled = b.op.MaxPool([norm as typeof x], { kernel_shape: [2, 2], strides: [2, 2] });
    const depthwise = b.op.Conv([pooled, b.input('d', 'float64', [3, 1, 3, 3])], {
      group: 3,
      strides: [2, 2],
      pads: [1, 1, 1, 1],
    });
    const average = b.op.AveragePool([depthwise], { kernel_shape: [2, 2] });
    const upward = b.op.ConvTranspose([average, b.input('u', 'float64', [3, 2, 2, 2])], { strides: [2, 2] });
    const wide = b.op.Concat([b.op.Sigmoid([upward]), upward], { axis: 1 });
    const model = await finish(b, b.op.Flatten([wide]), 16);
    await expectGradients(model, {
      x: normal(1, 2, 2, 8, 8),
      w: normal(2, 3, 2, 3, 3),
      d: normal(5, 3, 1, 3, 3),
      u: normal(6, 3, 2, 2, 2),
    });
  });

  it('are not computed where nobody needs them', async () => {
    const graph = new Graph();
    const [x, w, v] = ['x', 'w', 'v'].map((name) => graph.addInput(name, tensorType('float32', [4, 4])));
    const emit = new Emitter(graph, standardOps, 'f/');
    const hidden = emit.matmul(x!, w!);
    const loss = emit.op('ReduceSum', [emit.matmul(hidden, v!)], { keepdims: 0 });
    graph.rename(loss, 'loss');
    graph.setOutputs([loss]);
    const products = async (...wrt: string[]): Promise<number> => {
      const model = await gradients(new Model({ graph }), { of: 'loss', wrt });
      return [...model.graph.nodes()].filter((node) => node.opType === 'MatMul').length - 2;
    };
    // One product for v alone; w takes one through the second layer and one for itself; x instead of w the same.
    expect(await products('v')).toBe(1);
    expect(await products('w')).toBe(2);
    expect(await products('x')).toBe(2);
    expect(await products('x', 'w', 'v')).toBe(4);
  });

  it('are zero for what the loss does not depend on', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2]);
    const other = b.input('other', 'float32', [3]);
    b.output('loss', b.op.ReduceSum([b.op.Exp([x])], { keepdims: false }));
    b.output('unused', b.op.Neg([other]));
    const model = await gradients(await b.build(), { of: 'loss', wrt: ['x', 'other'] });
    const f32 = (...values: number[]): Tensor =>
      Tensor.from('float32', [values.length], Float32Array.from(values));
    const results = await evaluateModel(model, { x: f32(0, 0), other: f32(1, 2, 3) });
    expect([...(results['grad:x'] as Tensor<'float32'>).data]).toEqual([1, 1]);
    expect([...(results['grad:other'] as Tensor<'float32'>).data]).toEqual([0, 0, 0]);
  });

  it('share what is computed twice', () => {
    const graph = new Graph();
    const x = graph.addInput('x', tensorType('float32', [2]));
    const emit = new Emitter(graph, standardOps, 'f/');
    expect(emit.op('Exp', [x])).toBe(emit.op('Exp', [x]));
    expect(emit.op('Elu', [x], { alpha: 1 })).not.toBe(emit.op('Elu', [x], { alpha: 2 }));
    expect(emit.op('Identity', [x])).not.toBe(emit.op('Identity', [x]));
    expect(emit.op('RandomNormalLike', [x])).not.toBe(emit.op('RandomNormalLike', [x]));
  });
});

describe('operators without a rule', () => {
  const cubeOp = defineOp({
    domain: 'com.example',
    type: 'ScaledCube',
    since: 1,
    inputs: [{ name: 'X', dtypes: floatDTypes, variable: 'T' }],
    outputs: [{ name: 'Y', dtypes: floatDTypes, variable: 'T' }],
    attributes: { scale: attr.float(1) },
    infer: (context) => context.output(0, context.dtype(0), context.shape(0)),
  });
  const opset = new OpSet([...standardOps, cubeOp]);

  async function cubed(): Promise<Model> {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [3]);
    const [y] = b.call(cubeOp, [x], { scale: 2 }, { name: 'cube' });
    b.output('loss', b.op.ReduceSum([y as typeof x], { keepdims: false }));
    return b.build();
  }

  it('are refused by node and operator, with what to do', async () => {
    await expect(gradients(await cubed(), { of: 'loss', wrt: ['x'], opset })).rejects.toMatchObject({
      code: 'OP_UNSUPPORTED',
      message: expect.stringMatching(/cube.*com\.example.*ScaledCube|ScaledCube.*cube/s),
      hint: expect.stringContaining('gradient.of('),
    });
  });

  it('are learned from a third party', async () => {
    const rules = standardGradients.with(
      gradient.of(cubeOp, (context, upstream) => {
        const { scale } = context.attributes(cubeOp);
        const x = context.input(0);
        return [context.emit.mul(upstream, context.emit.scale(context.emit.mul(x, x), 3 * scale))];
      }),
    );
    const model = await gradients(await cubed(), { of: 'loss', wrt: ['x'], rules, opset });
    const slope = [...model.graph.nodes()].filter((node) => node.opType === 'Mul');
    // No kernel knows the operator, but its gradient is made of known ones: 3 * scale = 6 is among the constants.
    expect(slope.length).toBeGreaterThan(0);
    const constants = [...model.graph.initializers].map((value) => value.initializer as Tensor);
    expect(constants.some((tensor) => tensor.size === 1 && tensor.toFloat64Array()[0] === 6)).toBe(true);
  });

  it.each([
    ['Round', 'no useful gradient'],
    ['Floor', 'no useful gradient'],
  ] as const)('%s has no gradient and says so', async (op, reason) => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [3]);
    b.output('loss', b.op.ReduceSum([b.op[op]([x])], { keepdims: false }));
    await expect(gradients(await b.build(), { of: 'loss', wrt: ['x'] })).rejects.toMatchObject({
      code: 'OP_UNSUPPORTED',
      message: expect.stringContaining(reason),
    });
  });

  it.each([
    ['a loss of three numbers', 'y', 'x'],
    ['a loss of open size', 'open', 'x'],
    ['a loss that is a count', 'count', 'x'],
    ['slopes by integers', 'loss', 'n'],
    ['a loss that is not there', 'z', 'x'],
  ])('refuses %s', async (_, of, wrt) => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [3]);
    const n = b.input('n', 'int64', ['N']);
    b.output('y', b.op.Exp([x]));
    b.output('open', b.op.Cast([n], { to: 1 }));
    b.output('count', b.op.Size([x]));
    b.output('loss', b.op.ReduceSum([x], { keepdims: true }));
    await expect(gradients(await b.build(), { of, wrt: [wrt] })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
  });

  it('refuses subgraphs through which a gradient would flow', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [3]);
    const condition = b.input('condition', 'bool', []);
    const [y] = b.op.If([condition], {
      then_branch: (inner) => [inner.op.Neg([x])],
      else_branch: (inner) => [inner.op.Exp([x])],
    }) as [typeof x];
    b.output('loss', b.op.ReduceSum([y], { keepdims: false }));
    await expect(gradients(await b.build(), { of: 'loss', wrt: ['x'] })).rejects.toMatchObject({
      code: 'OP_UNSUPPORTED',
      message: expect.stringContaining('subgraphs'),
    });
  });
});
