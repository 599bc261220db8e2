import { describe, expect, expectTypeOf, it } from 'vitest';
import { formatType, tensorType } from '../ir/types.ts';
import type { Value } from '../ir/value.ts';
import { attr } from '../op/attributes.ts';
import { defineOp, floatDTypes } from '../op/op-def.ts';
import { standardOpDefs, standardOps } from '../ops/standard-ops.ts';
import { Tensor } from '../tensor/tensor.ts';
import { verify } from '../verify/verify.ts';
import { GraphBuilder } from './graph-builder.ts';

const f32 = (...shape: number[]): Tensor =>
  Tensor.from('float32', shape, new Float32Array(shape.reduce((left, right) => left * right, 1)));
const types = (values: readonly Value[]): string[] => values.map((value) => formatType(value.type));

describe('GraphBuilder', () => {
  it('builds a valid model with inferred shapes', async () => {
    const b = new GraphBuilder('net');
    const x = b.input('x', 'float32', ['N', 3, 32, 32]);
    const w = b.constant('w', f32(8, 3, 3, 3));
    const y = b.op.Conv([x, w, null], { strides: [2, 2], pads: [1, 1, 1, 1], group: 1 }, { name: 'conv1' });
    const flat = b.op.Flatten([b.op.GlobalAveragePool([b.op.Relu([y])])]);
    // A tensor among the inputs becomes an initializer.
    b.output('y', b.op.Gemm([flat, f32(8, 10), f32(10)]));
    const model = await b.build();
    expect(verify(model, { opset: standardOps })).toEqual([]);
    expect(model.opset).toBe(21);
    expect(types(model.graph.outputs)).toEqual(['float32[N, 10]']);
    expect(formatType(y.type)).toBe('float32[N, 8, 16, 16]');
    expect(y.producer?.name).toBe('conv1');
    expect([...model.graph.initializers].map((value) => value.name)).toEqual([
      'w',
      'Gemm_constant',
      'Gemm_constant_1',
    ]);
  });

  it('gives a value for one required output, lists for several, and as many as asked for', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N', 6, 4, 4]);
    const pooled = b.op.MaxPool([x], { kernel_shape: [2, 2] });
    expectTypeOf(pooled).toEqualTypeOf<Value>();
    const both = b.op.MaxPool([x], { kernel_shape: [2, 2] }, { outputs: 2 });
    expectTypeOf(both).toEqualTypeOf<readonly Value[]>();
    expect(both.length).toBe(2);
    const top = b.op.TopK([x, Tensor.from('int64', [1], new BigInt64Array([2n]))], { axis: 1 });
    expectTypeOf(top).toEqualTypeOf<readonly Value[]>();
    expect(top.length).toBe(2);
    const parts = b.op.Split([x], { axis: 1, num_outputs: 3 });
    expect(parts.length).toBe(3);
    const sequence = b.input('sequence', 'float32', [5, 'N', 7]);
    const recurrent = b.op.GRU([sequence, f32(1, 12, 7), f32(1, 12, 4)], { hidden_size: 4 });
    expect(recurrent.length).toBe(2);
    for (const [index, value] of [pooled, ...both, ...top, ...parts, ...recurrent].entries())
      b.output(`y${index}`, value);
    const model = await b.build();
    expect(types(model.graph.outputs)).toEqual([
      'float32[N, 6, 3, 3]',
      'float32[N, 6, 3, 3]',
      'int64[N, 6, 3, 3]',
      'float32[N, 2, 4, 4]',
      'int64[N, 2, 4, 4]',
      ...Array<string>(3).fill('float32[N, 2, 4, 4]'),
      'float32[5, 1, N, 4]',
      'float32[1, N, 4]',
    ]);
    expect(() => b.op.Split([x], { axis: 1 })).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID' }));
  });

  it('takes subgraphs as functions that may use values from around them', async () => {
    const b = new GraphBuilder('loops');
    const x = b.input('x', 'float32', ['N', 4]);
    const count = b.input('count', 'int64', []);
    const go = b.constant('go', Tensor.from('bool', [], new Uint8Array([1])));
    const [last, all] = b.op.Loop([count, go, x], {
      body: (body) => {
        body.input('i', 'int64', []);
        const condition = body.input('condition', 'bool', []);
        const state = body.input('state', 'float32', ['N', 4]);
        const next = body.op.Add([state, x]);
        return [body.op.Identity([condition]), next, body.op.Identity([next])];
      },
    }) as [Value, Value];
    const [sums] = b.op.Scan([f32(4), x], {
      num_scan_inputs: 1,
      body: (body) => {
        const sum = body.input('sum', 'float32', [4]);
        const next = body.op.Add([sum, body.input('row', 'float32', [4])]);
        return [next, body.op.Identity([next])];
      },
    });
    b.output('last', last);
    b.output('all', all);
    b.output('sums', sums as Value);
    const model = await b.build();
    expect(types(model.graph.outputs)).toEqual([
      'float32[N, 4]',
      expect.stringMatching(/^float32\[.+, N, 4\]$/),
      'float32[4]',
    ]);
    await expect(new GraphBuilder('inner', b).build()).rejects.toThrow(
      expect.objectContaining({ code: 'GRAPH_EDIT_INVALID' }),
    );
  });

  it('puts an Identity before outputs that cannot be renamed', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2]);
    const y = b.op.Relu([x]);
    for (const [name, value] of Object.entries({ y, again: y, x2: x, w: b.constant('c', f32(2)) }))
      b.output(name, value);
    const { graph } = await b.build();
    expect(graph.outputs.map((value) => value.name)).toEqual(['y', 'again', 'x2', 'w']);
    expect([...graph.nodes()].map((node) => node.opType)).toEqual([
      'Relu',
      'Identity',
      'Identity',
      'Identity',
    ]);
    expect(() => b.output('x', b.op.Abs([y]))).toThrow(
      expect.objectContaining({ code: 'GRAPH_EDIT_INVALID' }),
    );
  });

  it('calls operators of third parties and of com.microsoft, and imports their domains', async () => {
    const scaled = defineOp({
      domain: 'com.example',
      type: 'ScaledTanh',
      since: 3,
      inputs: [{ name: 'X', dtypes: floatDTypes, variable: 'T' }],
      outputs: [{ name: 'Y', dtypes: floatDTypes, variable: 'T' }],
      attributes: { scale: attr.float(1) },
      infer: (context) => context.output(0, context.dtype(0), context.shape(0)),
    });
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N', 64]);
    const [y] = b.call(scaled, [x], { scale: 0.5 });
    const packed = Tensor.from('uint8', [8, 2, 16], new Uint8Array(256));
    const z = b.microsoft.MatMulNBits([y as Value, packed, f32(16)], {
      K: 64,
      N: 8,
      bits: 4,
      block_size: 32,
    });
    b.output('z', z);
    const model = await b.build();
    expect([...model.opsetImports]).toEqual([
      ['', 21],
      ['com.example', 3],
      ['com.microsoft', 1],
    ]);
    expect(types(model.graph.outputs)).toEqual(['float32[N, 8]']);
    // @ts-expect-error The operator has no such attribute.
    expect(() => b.call(scaled, [x], { size: 2 })).toThrow(
      expect.objectContaining({ code: 'ATTRIBUTE_INVALID' }),
    );
  });

  it('refuses wrong attributes when it compiles and when it runs', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [1, 2, 4, 4]);
    const w = f32(2, 2, 1, 1);
    const invalid = expect.objectContaining({ code: 'ATTRIBUTE_INVALID' });
    // @ts-expect-error A wrong name.
    expect(() => b.op.Conv([x, w], { stride: [1, 1] })).toThrow(invalid);
    // @ts-expect-error A number where a list is due.
    expect(() => b.op.Conv([x, w], { strides: 1 })).toThrow(invalid);
    // @ts-expect-error A text that is not one of the set; what is wrong with it shows at build().
    b.op.Conv([x, w], { auto_pad: 'SAME' });
    // @ts-expect-error Relu has no attributes.
    expect(() => b.op.Relu([x], { alpha: 1 })).toThrow(invalid);
    // @ts-expect-error Concat must have an axis.
    b.op.Concat([x, x]);
    // @ts-expect-error There is no such operator.
    expect(b.op.Convolution).toBeUndefined();
    expect(() => b.op.Softmax([x], { axis: 1.5 })).toThrow(invalid);
  });

  it('lists every problem when the model is not valid', async () => {
    const b = new GraphBuilder('broken');
    const x = b.input('x', 'int32', [2]);
    b.output('y', b.op.Conv([x]));
    await expect(b.build()).rejects.toThrow(
      expect.objectContaining({
        code: 'MODEL_INVALID',
        details: {
          problems: [
            expect.stringContaining('lacks input 1 ("W")'),
            expect.stringContaining('of dtype int32; the operator takes'),
          ],
        },
      }),
    );
    const c = new GraphBuilder('contradiction');
    c.output('y', c.op.MatMul([c.input('a', 'float32', [2, 3]), c.input('b', 'float32', [4, 5])]));
    await expect(c.build()).rejects.toThrow(expect.objectContaining({ code: 'SHAPE_MISMATCH' }));
  });

  it('has a method for every standard operator', () => {
    const b = new GraphBuilder();
    expect(Object.keys(b.op)).toEqual(Object.keys(standardOpDefs));
    const pair = b.op.SequenceConstruct([b.input('x', 'float32', [1])]);
    expectTypeOf(pair).toEqualTypeOf<Value>();
    b.inputOf('s', { kind: 'sequence', element: tensorType('float32') });
    expect(b.graph.inputs.map((value) => formatType(value.type))).toEqual(['float32[1]', 'seq(float32[…])']);
  });
});
