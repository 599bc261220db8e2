import {
  type Attribute,
  attribute,
  createRunContext,
  isLitheError,
  type Model,
  type Node,
  Tensor,
  type Value,
} from '@lithe/core';
import { readOnnx } from '@lithe/onnx';
import { describe, expect, it } from 'vitest';
import { Sketch } from '../../test/models.ts';
import { nodeCpuTarget, wasmTarget, webgpuTarget } from '../index.ts';
import { optimizedGraph } from '../node/index.ts';
import { absorbedOperators, floatOperators, integerOperators } from './qdq-fusion.ts';

/** Puts a value through a Quantize/Dequantize pair with unsigned 8-bit numbers. */
function pair(sketch: Sketch, value: Value, name: string, scale = 0.02, zero = 128): Value {
  const scaleOf = sketch.floats(`${name}_scale`, [], [scale]);
  const zeroOf = sketch.constant(`${name}_zero`, Tensor.from('uint8', [], new Uint8Array([zero])));
  return sketch.node('DequantizeLinear', [
    sketch.node('QuantizeLinear', [value, scaleOf, zeroOf]),
    scaleOf,
    zeroOf,
  ]);
}

/** An int8 weight with its Dequantize node. */
function weight(sketch: Sketch, name: string, shape: readonly number[]): Value {
  const data = Int8Array.from(
    { length: shape.reduce((a, b) => a * b, 1) },
    (_, index) => ((index * 37) % 255) - 127,
  );
  const scale = sketch.floats(`${name}_scale`, [], [0.01]);
  const zero = sketch.constant(`${name}_zero`, Tensor.from('int8', [], new Int8Array([0])));
  return sketch.node('DequantizeLinear', [
    sketch.constant(name, Tensor.from('int8', shape, data)),
    scale,
    zero,
  ]);
}

/** An int32 bias with its Dequantize node; the scale is that of the products. */
function bias(sketch: Sketch, name: string, length: number): Value {
  const scale = sketch.floats(`${name}_scale`, [], [0.0002]);
  const zero = sketch.constant(`${name}_zero`, Tensor.from('int32', [], new Int32Array([0])));
  const data = Tensor.from('int32', [length], new Int32Array(length).fill(5));
  return sketch.node('DequantizeLinear', [sketch.constant(name, data), scale, zero]);
}

const ints = (...values: number[]): Attribute => attribute.ints(values);
const int64s = (sketch: Sketch, name: string, ...values: number[]): Value =>
  sketch.constant(name, Tensor.from('int64', [values.length], BigInt64Array.from(values.map(BigInt))));

/** One node between pairs: how each operator is called, over `x`, an activation of 1 x 16 x 8 x 8. */
const calls: Readonly<Record<string, (sketch: Sketch, x: Value) => Value>> = {
  Add: (s, x) => s.node('Add', [x, pair(s, s.input('z', 'float32', [1, 16, 8, 8]), 'z')]),
  ArgMax: (s, x) => s.node('ArgMax', [x], { axis: attribute.int(1) }),
  AveragePool: (s, x) => s.node('AveragePool', [x], { kernel_shape: ints(2, 2), strides: ints(2, 2) }),
  BatchNormalization: (s, x) =>
    s.node('BatchNormalization', [
      x,
      ...['a', 'b', 'c', 'd'].map((name) => s.floats(name, [16], new Array(16).fill(0.5))),
    ]),
  Clip: (s, x) =>
    s.node('Clip', [
      s.node('Conv', [x, weight(s, 'w', [16, 16, 3, 3])]),
      s.floats('low', [], [0]),
      s.floats('high', [], [6]),
    ]),
  Concat: (s, x) =>
    s.node('Concat', [x, pair(s, s.input('z', 'float32', [1, 16, 8, 8]), 'z')], { axis: attribute.int(1) }),
  Conv: (s, x) => s.node('Conv', [x, weight(s, 'w', [16, 16, 3, 3]), bias(s, 'b', 16)]),
  ConvTranspose: (s, x) => s.node('ConvTranspose', [x, weight(s, 'w', [16, 16, 2, 2])]),
  DepthToSpace: (s, x) => s.node('DepthToSpace', [x], { blocksize: attribute.int(2) }),
  Div: (s, x) => s.node('Div', [x, pair(s, s.input('z', 'float32', [1, 16, 8, 8]), 'z')]),
  Elu: (s, x) => s.node('Elu', [x]),
  Erf: (s, x) => s.node('Erf', [x]),
  Expand: (s, x) => s.node('Expand', [x, int64s(s, 'shape', 2, 16, 8, 8)]),
  Flatten: (s, x) => s.node('Flatten', [x]),
  Gather: (s, x) => s.node('Gather', [x, int64s(s, 'index', 1, 0)], { axis: attribute.int(1) }),
  GatherElements: (s, x) =>
    s.node('GatherElements', [
      x,
      s.constant('index', Tensor.from('int64', [1, 1, 1, 1], new BigInt64Array(1))),
    ]),
  Gelu: (s, x) => s.node('Gelu', [x]),
  Gemm: (s, x) =>
    s.node('Gemm', [pair(s, s.node('Flatten', [x]), 'f'), weight(s, 'w', [8, 1024]), bias(s, 'b', 8)], {
      transB: attribute.int(1),
    }),
  GlobalAveragePool: (s, x) => s.node('GlobalAveragePool', [x]),
  HardSigmoid: (s, x) => s.node('HardSigmoid', [x]),
  HardSwish: (s, x) => s.node('HardSwish', [x]),
  InstanceNormalization: (s, x) =>
    s.node('InstanceNormalization', [
      x,
      s.floats('a', [16], new Array(16).fill(1)),
      s.floats('b', [16], new Array(16).fill(0)),
    ]),
  LayerNormalization: (s, x) => s.node('LayerNormalization', [x, s.floats('a', [8], new Array(8).fill(1))]),
  LeakyRelu: (s, x) => s.node('LeakyRelu', [x]),
  MatMul: (s, x) => s.node('MatMul', [x, weight(s, 'w', [8, 8])]),
  MaxPool: (s, x) => s.node('MaxPool', [x], { kernel_shape: ints(2, 2) }),
  Mul: (s, x) => s.node('Mul', [x, pair(s, s.input('z', 'float32', [1, 16, 8, 8]), 'z')]),
  Pad: (s, x) => s.node('Pad', [x, int64s(s, 'pads', 0, 0, 1, 1, 0, 0, 1, 1)]),
  PRelu: (s, x) => s.node('PRelu', [x, s.floats('slope', [16, 1, 1], new Array(16).fill(0.1))]),
  ReduceMean: (s, x) => s.node('ReduceMean', [x, int64s(s, 'axes', 2, 3)]),
  Relu: (s, x) => s.node('Relu', [s.node('Conv', [x, weight(s, 'w', [16, 16, 3, 3])])]),
  Reshape: (s, x) => s.node('Reshape', [x, int64s(s, 'shape', 1, 32, 4, 8)]),
  Resize: (s, x) =>
    s.node('Resize', [x, null, s.floats('scales', [4], [1, 1, 2, 2])], { mode: attribute.string('nearest') }),
  Sigmoid: (s, x) => s.node('Sigmoid', [x]),
  Slice: (s, x) => s.node('Slice', [x, int64s(s, 'starts', 0), int64s(s, 'ends', 8), int64s(s, 'axes', 1)]),
  Softmax: (s, x) => s.node('Softmax', [x]),
  SpaceToDepth: (s, x) => s.node('SpaceToDepth', [x], { blocksize: attribute.int(2) }),
  Split: (s, x) => s.node('Split', [x], { axis: attribute.int(1), num_outputs: attribute.int(1) }),
  Squeeze: (s, x) => s.node('Squeeze', [x, int64s(s, 'axes', 0)]),
  Sub: (s, x) => s.node('Sub', [x, pair(s, s.input('z', 'float32', [1, 16, 8, 8]), 'z')]),
  Tanh: (s, x) => s.node('Tanh', [x]),
  Tile: (s, x) => s.node('Tile', [x, int64s(s, 'repeats', 2, 1, 1, 1)]),
  Transpose: (s, x) => s.node('Transpose', [x], { perm: ints(0, 2, 3, 1) }),
  Unsqueeze: (s, x) => s.node('Unsqueeze', [x, int64s(s, 'axes', 0)]),
  Where: (s, x) =>
    s.node('Where', [
      s.input('flag', 'bool', [1, 16, 8, 8]),
      x,
      pair(s, s.input('z', 'float32', [1, 16, 8, 8]), 'z'),
    ]),
  Exp: (s, x) => s.node('Exp', [x]),
  Max: (s, x) => s.node('Max', [x, pair(s, s.input('z', 'float32', [1, 16, 8, 8]), 'z')]),
  Min: (s, x) => s.node('Min', [x, pair(s, s.input('z', 'float32', [1, 16, 8, 8]), 'z')]),
  Neg: (s, x) => s.node('Neg', [x]),
  Pow: (s, x) => s.node('Pow', [x, s.floats('two', [], [2])]),
  ReduceMax: (s, x) => s.node('ReduceMax', [x, int64s(s, 'axes', 2, 3)]),
  ReduceSum: (s, x) => s.node('ReduceSum', [x, int64s(s, 'axes', 2, 3)]),
  Softplus: (s, x) => s.node('Softplus', [x]),
  Sqrt: (s, x) => s.node('Sqrt', [x]),
};

/** Input, pair, operator, pair, and an identity-like tail so that nothing is a graph output. */
function microModel(opType: string): { readonly model: Model; readonly node: Node } {
  const sketch = new Sketch();
  const call = calls[opType];
  if (call === undefined) throw new Error(`No call for ${opType}.`);
  const x = pair(sketch, sketch.input('x', 'float32', [1, 16, 8, 8]), 'x');
  const result = call(sketch, x);
  const node = result.producer as Node;
  if (opType === 'ArgMax') return { model: sketch.model({ y: [result, 'int64'] }), node };
  // Softmax and Sigmoid are fused for the scale that their range asks for.
  const unit = opType === 'Softmax' || opType === 'Sigmoid';
  const positive = absorbedOperators.has(opType);
  const [scale, zero] = unit
    ? [1 / 256, 0]
    : positive
      ? [6 / 255, 0]
      : passing.has(opType)
        ? [0.02, 128]
        : [0.03, 120];
  return { model: sketch.model({ y: [pair(sketch, result, 'y', scale, zero), 'float32'] }), node };
}

/** Operators that move elements: the numbers after them are quantized as those before. */
const passing = new Set([
  'DepthToSpace',
  'Expand',
  'Flatten',
  'Gather',
  'GatherElements',
  'MaxPool',
  'ReduceMax',
  'Reshape',
  'Resize',
  'Slice',
  'SpaceToDepth',
  'Split',
  'Squeeze',
  'Tile',
  'Transpose',
  'Unsqueeze',
]);

/** Operators of the graph that the runtime really runs, quantization nodes left out, and whether any reads floats. */
async function runtimeGraph(
  model: Model,
): Promise<{ readonly operators: readonly string[]; readonly inFloat: boolean }> {
  const { graph } = await readOnnx(await optimizedGraph(model));
  const conversions = new Set(['QuantizeLinear', 'DequantizeLinear']);
  const nodes = [...graph.nodes()].filter((node) => !conversions.has(node.opType));
  const inFloat = nodes.some((node) =>
    node.inputs.some((input) => input?.producer?.opType === 'DequantizeLinear'),
  );
  return { operators: nodes.map((node) => node.opType), inFloat };
}

describe('what onnxruntime does with pairs around a node', () => {
  const { profile } = nodeCpuTarget();

  it.each(Object.entries(integerOperators))('computes %s in integers, as %s', async (opType, { becomes }) => {
    const { model, node } = microModel(opType);
    const { operators, inFloat } = await runtimeGraph(model);
    expect(operators).toContain(becomes);
    expect(inFloat).toBe(false);
    expect(profile.fusesQdq(node)).toEqual({ ok: true });
  });

  it.each([...absorbedOperators])('takes %s into the convolution before it', async (opType) => {
    const { model, node } = microModel(opType);
    expect(await runtimeGraph(model)).toEqual({ operators: ['QLinearConv'], inFloat: false });
    expect(profile.fusesQdq(node)).toEqual({ ok: true });
  });

  it.each(floatOperators)('leaves %s in float', async (opType) => {
    const { model, node } = microModel(opType);
    expect((await runtimeGraph(model)).inFloat).toBe(true);
    expect(profile.fusesQdq(node)).toMatchObject({ ok: false, reason: expect.stringContaining(opType) });
  });

  it('has a call for every operator of the tables, and no other', () => {
    const listed = [...Object.keys(integerOperators), ...absorbedOperators, ...floatOperators];
    expect(Object.keys(calls).sort()).toEqual(listed.sort());
  });

  it('leaves a Gemm in float whose beta is not 1', async () => {
    const sketch = new Sketch();
    const x = pair(sketch, sketch.input('x', 'float32', [1, 8]), 'x');
    const gemm = sketch.node('Gemm', [x, weight(sketch, 'w', [4, 8]), bias(sketch, 'b', 4)], {
      transB: attribute.int(1),
      beta: attribute.float(0.5),
    });
    expect(profile.fusesQdq(gemm.producer as Node)).toMatchObject({ ok: false });
    const model = sketch.model({ y: [pair(sketch, gemm, 'y'), 'float32'] });
    expect(await runtimeGraph(model)).toEqual({ operators: ['Gemm'], inFloat: true });
  });

  it('wants unsigned activations where signed ones stop a residual block from fusing', async () => {
    const convolutions = async (dtype: 'int8' | 'uint8'): Promise<number> => {
      const sketch = new Sketch();
      const through = (value: Value, name: string): Value => {
        const zero =
          dtype === 'int8'
            ? Tensor.from(dtype, [], new Int8Array(1))
            : Tensor.from(dtype, [], new Uint8Array([128]));
        const parameters = [
          sketch.floats(`${name}_scale`, [], [0.02]),
          sketch.constant(`${name}_zero`, zero),
        ];
        return sketch.node('DequantizeLinear', [
          sketch.node('QuantizeLinear', [value, ...parameters]),
          ...parameters,
        ]);
      };
      const conv = (value: Value, name: string): Value =>
        through(
          sketch.node('Conv', [value, weight(sketch, `${name}_w`, [16, 16, 3, 3])], {
            pads: ints(1, 1, 1, 1),
          }),
          name,
        );
      const first = conv(through(sketch.input('x', 'float32', [1, 16, 8, 8]), 'x'), 'a');
      const sum = through(sketch.node('Add', [first, conv(first, 'b')]), 'sum');
      const { operators } = await runtimeGraph(sketch.model({ y: [sum, 'float32'] }));
      return operators.filter((one) => one === 'QLinearConv').length;
    };
    expect(await convolutions('uint8')).toBe(2);
    expect((await convolutions('int8')) < 2).toBe(profile.unsignedActivations);
  });
});

describe('targets', () => {
  it.each([nodeCpuTarget(), wasmTarget(), webgpuTarget()])(
    '$name gives advice on every format, best first',
    (target) => {
      const order = ['fast', 'neutral', 'slow', 'unsupported'];
      const verdicts = target.profile.formats.map((one) => order.indexOf(one.verdict));
      expect(verdicts).toEqual([...verdicts].sort());
      expect(new Set(target.profile.formats.map((one) => one.format)).size).toBe(11);
      expect(target.profile.channelMultiple).toBeGreaterThanOrEqual(1);
    },
  );

  it('WebGPU computes nothing in integers', () => {
    expect(webgpuTarget().profile.fusesQdq(microModel('Conv').node)).toMatchObject({ ok: false });
  });

  it('a browser that was named and is not there is an error, not a reason to measure elsewhere', async () => {
    await expect(wasmTarget({ browser: '/no/such/chrome' }).open(createRunContext())).rejects.toSatisfy(
      (error) => isLitheError(error, 'BACKEND_UNAVAILABLE') && error.hint?.includes('CHROME_PATH') === true,
    );
  });

  it('node-cpu opens onnxruntime-node', async () => {
    await using backend = await nodeCpuTarget().open(createRunContext());
    expect(backend.name).toBe('onnxruntime-node');
  });
});
