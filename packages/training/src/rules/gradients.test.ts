import { Graph, GraphBuilder, Model, standardOpDefs, standardOps, Tensor, tensorType } from '@lithe/core';
import { evaluateModel } from '@lithe/core/reference';
import { describe, expect, it } from 'vitest';
import { cases } from '../../test/gradient-cases.ts';
import { build, label, numericGradient } from '../../test/gradient-check.ts';
import { Emitter } from '../autodiff/emitter.ts';
import { gradients } from '../autodiff/gradients.ts';
import { standardGradients } from './standard-gradients.ts';

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

  it('goes to the largest element of each window of MaxPool, the first of equal ones', async () => {
    const graph = new Graph();
    const x = graph.addInput('x', tensorType('float32', ['N', 1, 4, 4]));
    const emit = new Emitter(graph, standardOps, 'f/');
    const pooled = emit.op('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2] });
    const weights = emit.floats([2, 2], [1, 2, 3, 4]);
    const loss = emit.op('ReduceSum', [emit.mul(pooled, weights)], { keepdims: 0 });
    graph.rename(loss, 'loss');
    graph.setOutputs([loss]);
    const model = await gradients(new Model({ graph }), { of: 'loss', wrt: ['x'] });
    const data = Float32Array.of(1, 5, 0, 0, 2, 3, 0, 0, -1, -2, 7, 7, -3, -4, 6, 5);
    const result = await evaluateModel(model, { x: Tensor.from('float32', [1, 1, 4, 4], data) });
    expect([...(result['grad:x'] as Tensor<'float32'>).data]).toEqual([
      0, 1, 2, 0, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0,
    ]);
  });

  it('of Relu in float32, which has a form of its own, is 1 above 0 and else 0', async () => {
    const b = new GraphBuilder('relu');
    const x = b.input('x', 'float32', [6]);
    const weights = Tensor.from('float32', [6], Float32Array.of(2, 3, 4, 5, 6, 7));
    b.output('loss', b.op.ReduceSum([b.op.Mul([b.op.Relu([x]), weights])], { keepdims: false }));
    const model = await gradients(await b.build(), { of: 'loss', wrt: ['x'] });
    const at = Float32Array.of(-1, 0, 1e-20, 0.25, 3e38, -1e-20);
    const { 'grad:x': found } = await evaluateModel(model, { x: Tensor.from('float32', [6], at) });
    expect([...(found as Tensor<'float32'>).data]).toEqual([0, 0, 4, 5, 6, 0]);
  });

  it.each([
    ['ReduceL2', [1, 2], {}],
    ['ReduceL1', [1, 2], {}],
    ['LpNormalization', [1, 2], { axis: 1, p: 1 }],
    ['LpNormalization', [1, 2], { axis: 1, p: 2 }],
    ['GlobalLpPool', [1, 1, 2], { p: 2 }],
    ['LpPool', [1, 1, 2], { p: 3, kernel_shape: [2] }],
  ] as const)('is 0 for %s of zeros', async (op, inputs, attributes) => {
    const { model, feeds } = await build({ op, inputs: [inputs], attributes });
    const x0 = Tensor.from('float64', inputs, new Float64Array(2));
    const result = await evaluateModel(await gradients(model, { of: 'loss', wrt: ['x0'] }), { ...feeds, x0 });
    expect([...(result['grad:x0'] as Tensor<'float64'>).data].map((value) => value + 0)).toEqual([0, 0]);
  });

  it('is 0 for a power of 0, also of 0 itself, and nothing for a slice of nothing', async () => {
    const b = new GraphBuilder('edges');
    const base = b.input('base', 'float32', [4]);
    const exponent = b.input('exponent', 'float32', [4]);
    const [one, zero, two] = [1, 0, 2].map((value) =>
      Tensor.from('int64', [1], BigInt64Array.of(BigInt(value))),
    );
    if (one === undefined || zero === undefined || two === undefined) throw new Error('three numbers');
    const fixed = b.op.Pow([base, Tensor.from('float32', [4], Float32Array.of(0, 0, 1, 2))]);
    const none = b.op.Slice([base, one, one, zero, two]);
    const joined = b.op.Concat([b.op.Add([b.op.Pow([base, exponent]), fixed]), none], { axis: 0 });
    b.output('loss', b.op.ReduceSum([joined], { keepdims: false }));
    const model = await gradients(await b.build(), { of: 'loss', wrt: ['base'] });
    const result = await evaluateModel(model, {
      base: Tensor.from('float32', [4], Float32Array.of(0, 3, 0, 3)),
      exponent: Tensor.from('float32', [4], Float32Array.of(0, 0, 1, 2)),
    });
    expect([...(result['grad:base'] as Tensor<'float32'>).data]).toEqual([0, 0, 2, 12]);
  });

  it('refuses to resize by scales that it does not know', async () => {
    const b = new GraphBuilder('open');
    const x = b.input('x', 'float32', [1, 1, 4]);
    const y = b.op.Resize([x, null, b.input('scales', 'float32', [3])], { mode: 'nearest' });
    b.output('loss', b.op.ReduceSum([y], { keepdims: false }));
    const model = await b.build();
    await expect(gradients(model, { of: 'loss', wrt: ['x'] })).rejects.toMatchObject({
      code: 'OP_UNSUPPORTED',
      message: expect.stringContaining('scales'),
    });
  });

  it('says how to fix a size that a rule needs to know', async () => {
    const b = new GraphBuilder('open');
    const w = b.constant('w', Tensor.from('float32', [1, 1, 3, 3], new Float32Array(9)));
    const y = b.op.Conv([b.input('x', 'float32', ['N', 1, 'H', 'W']), w]);
    b.output('loss', b.op.ReduceSum([y], { keepdims: false }));
    await expect(gradients(await b.build(), { of: 'loss', wrt: ['w'] })).rejects.toMatchObject({
      code: 'OP_UNSUPPORTED',
      message: expect.stringContaining('is not known'),
      hint: expect.stringContaining('inputShapes'),
    });
  });

  it('stays finite for MeanVarianceNormalization of a constant channel', async () => {
    const { model, feeds } = await build({ op: 'MeanVarianceNormalization', inputs: [[1, 1, 1, 2]] });
    const x0 = Tensor.from('float64', [1, 1, 1, 2], Float64Array.of(3, 3));
    const result = await evaluateModel(await gradients(model, { of: 'loss', wrt: ['x0'] }), { ...feeds, x0 });
    const [left = Number.NaN, right = Number.NaN] = (result['grad:x0'] as Tensor<'float64'>).data;
    expect(Number.isFinite(left)).toBe(true);
    expect(left + right).toBe(0);
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

describe('the table of standard gradients', () => {
  it('answers for every standard operator, and has been checked for at least 80 of them', () => {
    for (const opType of Object.keys(standardOpDefs)) {
      expect(standardGradients.get({ domain: '', opType }), opType).toBeDefined();
    }
    const checked = new Set(cases.map((item) => `${item.domain ?? ''}:${item.op}`));
    for (const key of checked) {
      const [domain = '', opType = ''] = key.split(':');
      expect(standardGradients.get({ domain, opType }), key).toBeTypeOf('function');
    }
    expect(checked.size).toBeGreaterThanOrEqual(80);
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
