import { describe, expect, it } from 'vitest';
import { isLitheError } from '../errors/lithe-error.ts';
import { type Attribute, attribute } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import { lazyTensor, Tensor } from '../tensor/tensor.ts';
import { type EvaluateNodeOptions, evaluateNode } from './evaluate-node.ts';

const f32 = (shape: readonly number[], values: readonly number[]): Tensor =>
  Tensor.from('float32', shape, new Float32Array(values));
const i64 = (shape: readonly number[], values: readonly number[]): Tensor =>
  Tensor.from('int64', shape, BigInt64Array.from(values, BigInt));

function run(
  opType: string,
  inputs: readonly (Tensor | null)[],
  extra: {
    attributes?: Record<string, Attribute>;
    outputs?: number;
    domain?: string;
    options?: EvaluateNodeOptions;
  } = {},
): readonly Tensor[] | undefined {
  const graph = new Graph();
  const values = inputs.map((input, index) => (input === null ? null : graph.addInput(`in${index}`)));
  const node = graph.addNode(
    { opType, domain: extra.domain, inputs: values, attributes: extra.attributes },
    extra.outputs ?? 1,
  );
  return evaluateNode(node, inputs, extra.options);
}

const codeOf = (action: () => unknown): string | undefined => {
  try {
    action();
  } catch (error) {
    return isLitheError(error) ? error.code : String(error);
  }
  return undefined;
};

describe('evaluateNode', () => {
  it('computes 64-bit integers exactly', () => {
    const big = Tensor.from('int64', [2], new BigInt64Array([2n ** 53n + 1n, -(2n ** 62n)]));
    expect(run('Add', [big, i64([1], [1])])?.[0]?.data).toEqual(
      new BigInt64Array([2n ** 53n + 2n, -(2n ** 62n) + 1n]),
    );
  });

  it('wraps 32-bit integer products as two’s complement does', () => {
    const left = Tensor.from('int32', [1], new Int32Array([0x7fffffff]));
    expect(run('Mul', [left, left])?.[0]?.data).toEqual(new Int32Array([1]));
  });

  it('slices backwards to the front with INT64_MIN as end', () => {
    const end = Tensor.from('int64', [1], new BigInt64Array([-(2n ** 63n)]));
    const out = run('Slice', [f32([4], [1, 2, 3, 4]), i64([1], [-1]), end, i64([1], [0]), i64([1], [-2])]);
    expect(out?.[0]?.data).toEqual(new Float32Array([4, 2]));
  });

  it('gives undefined where there is no kernel or a lazy attribute', () => {
    expect(run('NoSuchOperator', [f32([], [1])])).toBeUndefined();
    const lazy = lazyTensor('float32', [1], () => f32([1], [7]));
    expect(
      run('ConstantOfShape', [i64([1], [2])], { attributes: { value: attribute.tensor(lazy) } }),
    ).toBeUndefined();
    const options = { attributeTensors: new Map([[lazy, f32([1], [7])]]) };
    expect(
      run('ConstantOfShape', [i64([1], [2])], { attributes: { value: attribute.tensor(lazy) }, options })?.[0]
        ?.data,
    ).toEqual(new Float32Array([7, 7]));
  });

  it('takes kernels of third parties', () => {
    const kernels = { 'com.example.Seven': () => [f32([], [7])] };
    expect(run('Seven', [], { domain: 'com.example', options: { kernels } })?.[0]?.data).toEqual(
      new Float32Array([7]),
    );
  });

  it('refuses an output above the limit before allocating it', () => {
    expect(codeOf(() => run('ConstantOfShape', [i64([2], [1e6, 1e6])]))).toBe('LIMIT_EXCEEDED');
    expect(codeOf(() => run('Tile', [f32([1], [1]), i64([1], [1e10])]))).toBe('LIMIT_EXCEEDED');
    expect(codeOf(() => run('Range', [f32([], [0]), f32([], [1e12]), f32([], [1])]))).toBe('LIMIT_EXCEEDED');
  });

  it('names what does not fit', () => {
    expect(codeOf(() => run('Add', [f32([2], [1, 2]), f32([3], [1, 2, 3])]))).toBe('SHAPE_MISMATCH');
    expect(codeOf(() => run('Add', [f32([1], [1]), i64([1], [1])]))).toBe('SHAPE_MISMATCH');
    expect(codeOf(() => run('Div', [i64([1], [1]), i64([1], [0])]))).toBe('SHAPE_MISMATCH');
    expect(codeOf(() => run('Not', [f32([1], [1])]))).toBe('DTYPE_UNSUPPORTED');
    expect(codeOf(() => run('Concat', [f32([1], [1])]))).toBe('ATTRIBUTE_INVALID');
    expect(codeOf(() => run('Gather', [f32([2], [1, 2]), i64([1], [2])]))).toBe('SHAPE_MISMATCH');
  });

  it('moves strings, complex numbers and nibbles', () => {
    const words = Tensor.from('string', [2], ['a', 'b']);
    expect(run('Concat', [words, words], { attributes: { axis: attribute.int(0) } })?.[0]?.data).toEqual([
      'a',
      'b',
      'a',
      'b',
    ]);
    const complex = Tensor.from('complex64', [2], new Float32Array([1, 2, 3, 4]));
    expect(run('Gather', [complex, i64([1], [-1])])?.[0]?.data).toEqual(new Float32Array([3, 4]));
    const nibbles = Tensor.from('int4', [3], new Uint8Array([0xf1, 0x08]));
    expect(
      run('Concat', [nibbles, nibbles], { attributes: { axis: attribute.int(0) } })?.[0]?.toFloat64Array(),
    ).toEqual(new Float64Array([1, -1, -8, 1, -1, -8]));
  });
});
