import { describe, expect, test } from 'vitest';
import { type Attribute, attribute } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import { Model, type ModelFunction } from '../ir/model.ts';
import { type Dim, formatType, tensorType } from '../ir/types.ts';
import type { Value } from '../ir/value.ts';
import { attr } from '../op/attributes.ts';
import { defineOp } from '../op/op-def.ts';
import { standardOps } from '../ops/standard-ops.ts';
import { lazyTensor, Tensor } from '../tensor/tensor.ts';
import { inferShapes } from './infer-shapes.ts';

const int64 = (values: readonly (number | bigint)[], shape: readonly number[] = [values.length]): Tensor =>
  Tensor.from('int64', shape, BigInt64Array.from(values, BigInt));
const flag = (value: boolean): Tensor => Tensor.from('bool', [], Uint8Array.of(Number(value)));

/** A graph under construction, and short ways to add to it. */
class Draft {
  readonly graph: Graph;
  #constants = 0;

  constructor(graph: Graph = new Graph()) {
    this.graph = graph;
  }

  input(name: string, shape: readonly Dim[], dtype: 'float32' | 'int64' | 'bool' = 'float32'): Value {
    return this.graph.addInput(name, tensorType(dtype, shape));
  }

  ints(values: readonly (number | bigint)[], shape?: readonly number[]): Value {
    return this.graph.addInitializer(`ints${this.#constants++}`, int64(values, shape ?? [values.length]));
  }

  add(
    opType: string,
    inputs: readonly (Value | null)[],
    attributes: Record<string, Attribute> = {},
    outputs = 1,
  ): readonly Value[] {
    return this.graph.addNode({ opType, inputs, attributes }, outputs).outputs;
  }

  one(opType: string, inputs: readonly (Value | null)[], attributes: Record<string, Attribute> = {}): Value {
    return this.add(opType, inputs, attributes)[0] as Value;
  }

  model(functions: readonly ModelFunction[] = []): Model {
    return new Model({ graph: this.graph, functions });
  }
}

const typeOf = (value: Value | undefined): string => formatType(value?.type);

describe('sizes', () => {
  test('are followed through Shape, Gather, Concat and Reshape with a symbolic batch', async () => {
    const draft = new Draft();
    const data = draft.input('data', ['N', 12, 4, 4]);
    const batch = draft.one('Gather', [draft.one('Shape', [data]), draft.ints([0])]);
    const target = draft.one('Concat', [batch, draft.ints([3, -1])], { axis: attribute.int(0) });
    const reshaped = draft.one('Reshape', [data, target]);
    const report = await inferShapes(draft.model());
    expect(typeOf(reshaped)).toBe('float32[N, 3, 64]');
    expect(report).toMatchObject({ values: 4, typed: 4, fixed: 3, unknown: [], problems: [], conflicts: [] });
  });

  test('are followed through the arithmetic of an upsampling branch that is added back', async () => {
    const draft = new Draft();
    const data = draft.input('data', ['N', 8, 'H', 'W']);
    const conv = draft.graph.addInitializer('w', Tensor.from('float32', [8, 8, 3, 3], new Float32Array(576)));
    const down = draft.one('Conv', [data, conv], {
      strides: attribute.ints([2, 2]),
      pads: attribute.ints([1, 1, 1, 1]),
    });
    const spatial = draft.one('Slice', [draft.one('Shape', [data]), draft.ints([2]), draft.ints([4])]);
    const front = draft.one('Slice', [draft.one('Shape', [down]), draft.ints([0]), draft.ints([2])]);
    const sizes = draft.one('Concat', [front, spatial], { axis: attribute.int(0) });
    const up = draft.one('Resize', [down, null, null, sizes]);
    const sum = draft.one('Add', [up, data]);
    await inferShapes(draft.model());
    expect(typeOf(down)).toBe('float32[N, 8, floor((H + 1)/2), floor((W + 1)/2)]');
    expect(typeOf(sum)).toBe('float32[N, 8, H, W]');
  });

  test('come back when heads are split off and joined again', async () => {
    const draft = new Draft();
    const data = draft.input('data', ['B', 'S', 64]);
    const split = draft.one('Reshape', [data, draft.ints([0, 0, 4, 16])]);
    const heads = draft.one('Transpose', [split], { perm: attribute.ints([0, 2, 1, 3]) });
    const scores = draft.one('MatMul', [
      heads,
      draft.one('Transpose', [heads], { perm: attribute.ints([0, 1, 3, 2]) }),
    ]);
    const mixed = draft.one('MatMul', [draft.one('Softmax', [scores]), heads]);
    const back = draft.one('Transpose', [mixed], { perm: attribute.ints([0, 2, 1, 3]) });
    const joined = draft.one('Reshape', [back, draft.ints([0, -1, 64])]);
    await inferShapes(draft.model());
    expect(typeOf(scores)).toBe('float32[B, 4, S, S]');
    expect(typeOf(joined)).toBe('float32[B, S, 64]');
  });

  test('are exact for the padding that torch computes with matrices of sizes', async () => {
    const draft = new Draft();
    const data = draft.input('data', ['N', 'L']);
    // [0, 32] as pairs, reversed, transposed and flattened: the order of torch turned into that of ONNX.
    const pairs = draft.one('Reshape', [draft.ints([32, 32, 0, 0]), draft.ints([-1, 2])]);
    const reversed = draft.one('Slice', [
      pairs,
      draft.ints([-1]),
      draft.ints([-(2n ** 63n)]),
      draft.ints([0]),
      draft.ints([-1]),
    ]);
    const order = draft.one('Reshape', [draft.one('Transpose', [reversed]), draft.ints([-1])]);
    const padded = draft.one('Pad', [data, order], { mode: attribute.string('reflect') });
    await inferShapes(draft.model());
    expect(typeOf(padded)).toBe('float32[N, L + 64]');
  });

  test.each([
    [0, 2n ** 63n - 1n, 1, 'float32[S]'],
    [1, 2n ** 63n - 1n, 1, 'float32[max(0, S - 1)]'],
    [0, -1, 1, 'float32[max(0, S - 1)]'],
    [-3, 2n ** 63n - 1n, 1, 'float32[min(3, S)]'],
    [0, 2n ** 63n - 1n, 2, 'float32[floor((S + 1)/2)]'],
    [-1, -(2n ** 63n), -1, 'float32[S]'],
    [0, 4, 1, 'float32[min(4, S)]'],
  ])('of a slice from %s to %s by %s are %s', async (start, end, step, expected) => {
    const draft = new Draft();
    const data = draft.input('data', ['S']);
    const cut = draft.one('Slice', [
      data,
      draft.ints([start]),
      draft.ints([end]),
      draft.ints([0]),
      draft.ints([step]),
    ]);
    await inferShapes(draft.model());
    expect(typeOf(cut)).toBe(expected);
  });

  test('that depend on data get a symbol that equals only itself', async () => {
    const draft = new Draft();
    const data = draft.input('data', ['N', 4]);
    const first = draft.one('NonZero', [data]);
    const second = draft.one('NonZero', [data]);
    const selected = draft.one('GatherND', [data, draft.one('Transpose', [first])]);
    const sum = draft.one('Add', [selected, draft.one('Relu', [selected])]);
    const other = draft.one('Concat', [first, second], { axis: attribute.int(1) });
    await inferShapes(draft.model());
    expect([typeOf(first), typeOf(second)]).toEqual(['int64[2, nonzero_0]', 'int64[2, nonzero_1]']);
    expect(typeOf(sum)).toBe('float32[nonzero_0]');
    expect(typeOf(other)).toBe('int64[2, nonzero_0 + nonzero_1]');
  });
});

describe('declared types', () => {
  test('are completed and completed by what is inferred, without conflict', async () => {
    const draft = new Draft();
    const relu = draft.one('Relu', [draft.input('data', ['N', 3])]);
    relu.type = tensorType('float32', ['batch', 3]);
    const mystery = draft.graph
      .addNode({ opType: 'Mystery', domain: 'com.example', inputs: [relu] }, [
        { name: 'out', type: tensorType('float32', ['K', 2]) },
      ])
      .output();
    const after = draft.one('Relu', [mystery]);
    const report = await inferShapes(draft.model());
    expect(typeOf(relu)).toBe('float32[N, 3]');
    expect(typeOf(after)).toBe('float32[K, 2]');
    expect(report.unknown).toEqual([{ op: 'com.example.Mystery', nodes: [mystery.producer?.name] }]);
    expect(report.conflicts).toEqual([]);
  });

  test('that are contradicted are reported, and dropped with overwrite', async () => {
    const draft = new Draft();
    const relu = draft.one('Relu', [draft.input('data', [2, 3])]);
    relu.type = tensorType('float32', [2, 4]);
    const { conflicts } = await inferShapes(draft.model());
    expect(conflicts).toEqual([
      { value: relu.name, node: relu.producer?.name, declared: 'float32[2, 4]', inferred: 'float32[2, 3]' },
    ]);
    relu.type = tensorType('float32', [7, 7]);
    expect((await inferShapes(draft.model(), { overwrite: true })).conflicts).toEqual([]);
    expect(typeOf(relu)).toBe('float32[2, 3]');
  });

  test('keep the symbols that inference makes up clear of their names, and a second run changes nothing', async () => {
    const draft = new Draft();
    const data = draft.input('data', ['nonzero_0']);
    const found = draft.one('NonZero', [data]);
    await inferShapes(draft.model());
    expect(typeOf(found)).toBe('int64[1, nonzero_1]');
    await inferShapes(draft.model());
    expect(typeOf(found)).toBe('int64[1, nonzero_1]');
  });
});

describe('nodes that contradict their operator', () => {
  test.each<[string, (draft: Draft) => void, RegExp]>([
    [
      'shapes that do not broadcast',
      (d) => d.one('Add', [d.input('a', [2, 3]), d.input('b', [2, 4])]),
      /Add: shapes \[2, 3\] and \[2, 4\]/,
    ],
    [
      'inner sizes',
      (d) => d.one('MatMul', [d.input('a', [2, 3]), d.input('b', [4, 5])]),
      /inner sizes .* 3 and 4/,
    ],
    ['a dtype', (d) => d.one('Relu', [d.input('a', [2], 'bool')]), /must not be bool/],
    [
      'two dtypes of one variable',
      (d) => d.one('Add', [d.input('a', [2]), d.input('b', [2], 'int64')]),
      /must be float32 .* not int64/,
    ],
    ['a missing input', (d) => d.one('Gather', [d.input('a', [2])]), /needs input 1/],
    [
      'an attribute of an older opset',
      (d) => d.one('Squeeze', [d.input('a', [1])], { axes: attribute.ints([0]) }),
      /"axes" is not one/,
    ],
    [
      'an axis',
      (d) => d.one('Concat', [d.input('a', [2])], { axis: attribute.int(4) }),
      /axis must lie between -1 and 0/,
    ],
    ['elements that are lost', (d) => d.one('Reshape', [d.input('a', [2, 3]), d.ints([4])]), /6 elements/],
    [
      'a window that does not fit',
      (d) => d.one('MaxPool', [d.input('a', [1, 1, 2, 2])], { kernel_shape: attribute.ints([5, 5]) }),
      /does not fit into 2/,
    ],
  ])('throw with what was expected and what is there: %s', async (_, build, message) => {
    const draft = new Draft();
    build(draft);
    await expect(inferShapes(draft.model())).rejects.toThrow(message);
    await expect(inferShapes(draft.model())).rejects.toMatchObject({ code: 'SHAPE_MISMATCH' });
    const report = await inferShapes(draft.model(), { strict: false });
    expect(report.problems).toHaveLength(1);
    expect(report.problems[0]).toMatch(message);
  });

  test('throw ATTRIBUTE_INVALID when an attribute is missing', async () => {
    const draft = new Draft();
    draft.one('Concat', [draft.input('a', [2])]);
    await expect(inferShapes(draft.model())).rejects.toMatchObject({ code: 'ATTRIBUTE_INVALID' });
  });

  test('are barriers when the graph is written for an older opset', async () => {
    const draft = new Draft();
    draft.one('Squeeze', [draft.input('a', [1])], { axes: attribute.ints([0]) });
    const model = new Model({ graph: draft.graph, opsetImports: new Map([['', 11]]) });
    expect((await inferShapes(model)).unknown.map((item) => item.op)).toEqual(['Squeeze']);
  });
});

/** Adds a subgraph with these outputs to a node that is made afterwards. */
function subgraph(parent: Graph, build: (draft: Draft) => readonly Value[]): Attribute {
  const draft = new Draft(new Graph('body', parent));
  draft.graph.setOutputs(build(draft));
  return attribute.graph(draft.graph);
}

describe('subgraphs', () => {
  const branches = (draft: Draft, condition: Value, data: Value): Value =>
    draft.one('If', [condition], {
      then_branch: subgraph(draft.graph, (inner) => [inner.one('Relu', [data])]),
      else_branch: subgraph(draft.graph, (inner) => [
        inner.one('Concat', [data, data], { axis: attribute.int(0) }),
      ]),
    });

  test('of an If give what both branches agree on', async () => {
    const draft = new Draft();
    const result = branches(draft, draft.input('condition', [], 'bool'), draft.input('data', ['N', 3]));
    await inferShapes(draft.model());
    expect(typeOf(result)).toBe('float32[dim_0, 3]');
  });

  test('of an If give what the branch gives that is taken', async () => {
    const draft = new Draft();
    const result = branches(
      draft,
      draft.graph.addInitializer('no', flag(false)),
      draft.input('data', ['N', 3]),
    );
    await inferShapes(draft.model());
    expect(typeOf(result)).toBe('float32[2*N, 3]');
  });

  test('of an If that can not be run with these sizes are reported, and the other branch counts', async () => {
    const draft = new Draft();
    const data = draft.input('data', [4, 3]);
    const result = draft.one('If', [draft.input('condition', [], 'bool')], {
      then_branch: subgraph(draft.graph, (inner) => [inner.one('Relu', [data])]),
      else_branch: subgraph(draft.graph, (inner) => [inner.one('Squeeze', [data, inner.ints([0])])]),
    });
    const report = await inferShapes(draft.model());
    expect(typeOf(result)).toBe('float32[4, 3]');
    expect(report.problems).toHaveLength(1);
  });

  test('of a Loop keep the sizes that no iteration changes', async () => {
    const draft = new Draft();
    const count = draft.graph.addInitializer('count', int64([5], []));
    const kept = draft.input('kept', ['N', 4]);
    const grown = draft.input('grown', ['M', 4]);
    const body = subgraph(draft.graph, (inner) => {
      const [, more, state, list] = [
        inner.input('i', [], 'int64'),
        inner.input('more', [], 'bool'),
        inner.graph.addInput('state'),
        inner.graph.addInput('list'),
      ] as const;
      const next = inner.one('Relu', [state]);
      const longer = inner.one('Concat', [list, state], { axis: attribute.int(0) });
      return [inner.one('Identity', [more]), next, longer, inner.one('Relu', [next])];
    });
    const [state, list, scanned] = draft.add('Loop', [count, null, kept, grown], { body }, 3);
    await inferShapes(draft.model());
    expect(typeOf(state)).toBe('float32[N, 4]');
    expect(typeOf(list)).toMatch(/^float32\[dim_\d+, 4\]$/);
    expect(typeOf(scanned)).toBe('float32[5, N, 4]');
  });

  test.each([
    [true, 'float32[5, N]'],
    [false, 'float32[iterations_0, N]'],
  ])('of a Loop with a condition run to the end when it is handed on: %s', async (isHandedOn, expected) => {
    const draft = new Draft();
    const [count, yes] = [
      draft.graph.addInitializer('count', int64([5], [])),
      draft.graph.addInitializer('yes', flag(true)),
    ];
    const data = draft.input('data', ['N']);
    const body = subgraph(draft.graph, (inner) => {
      inner.input('i', [], 'int64');
      const more = inner.input('more', [], 'bool');
      return [inner.one(isHandedOn ? 'Identity' : 'Not', [more]), inner.one('Relu', [data])];
    });
    const scanned = draft.one('Loop', [count, yes], { body });
    await inferShapes(draft.model());
    expect(typeOf(scanned)).toBe(expected);
  });

  test('of a Scan see one slice and stack their results along the axes asked for', async () => {
    const draft = new Draft();
    const initial = draft.input('initial', ['N']);
    const data = draft.input('data', ['N', 'T']);
    const body = subgraph(draft.graph, (inner) => {
      const state = inner.graph.addInput('state');
      const sum = inner.one('Add', [state, inner.graph.addInput('slice')]);
      return [sum, inner.one('Neg', [sum])];
    });
    const [last, all] = draft.add(
      'Scan',
      [initial, data],
      {
        body,
        num_scan_inputs: attribute.int(1),
        scan_input_axes: attribute.ints([1]),
        scan_output_axes: attribute.ints([-1]),
      },
      2,
    );
    await inferShapes(draft.model());
    expect([typeOf(last), typeOf(all)]).toEqual(['float32[N]', 'float32[N, T]']);
  });
});

describe('local functions', () => {
  /** A function that reduces its input along the axis that the caller names. */
  function reducer(name: string, build: (draft: Draft, input: Value) => Value): ModelFunction {
    const draft = new Draft();
    draft.graph.setOutputs([build(draft, draft.graph.addInput('x'))]);
    return {
      domain: 'local',
      name,
      overload: '',
      graph: draft.graph,
      attributes: ['axis'],
      attributeDefaults: new Map(),
      opsetImports: new Map([['', 21]]),
      docString: undefined,
      props: new Map(),
    };
  }
  const call = (draft: Draft, name: string, input: Value, axis: number): Value =>
    draft.graph
      .addNode({ opType: name, domain: 'local', inputs: [input], attributes: { axis: attribute.int(axis) } })
      .output();

  test('are walked with the types and attributes of each call', async () => {
    const best = reducer('Best', (inner, x) => {
      const reference: Attribute = { kind: 'reference', name: 'axis', of: 'int' };
      return inner.one('ArgMax', [x], { axis: reference, keepdims: attribute.int(0) });
    });
    const draft = new Draft();
    const data = draft.input('data', ['N', 3, 5]);
    const [first, second] = [call(draft, 'Best', data, 0), call(draft, 'Best', data, 2)];
    await inferShapes(draft.model([best]));
    expect([typeOf(first), typeOf(second)]).toEqual(['int64[3, 5]', 'int64[N, 3]']);
  });

  test('that call themselves are an error', async () => {
    const loop = reducer('Again', (inner, x) => call(inner, 'Again', x, 0));
    const draft = new Draft();
    call(draft, 'Again', draft.input('data', [2]), 0);
    await expect(inferShapes(draft.model([loop]))).rejects.toMatchObject({ code: 'MODEL_INVALID' });
  });

  test('that multiply with every call end at a limit', async () => {
    const functions = Array.from({ length: 40 }, (_, level) =>
      reducer(`F${level}`, (inner, x) => {
        if (level === 0) return inner.one('Relu', [x]);
        return inner.one('Add', [call(inner, `F${level - 1}`, x, 0), call(inner, `F${level - 1}`, x, 0)]);
      }),
    );
    const draft = new Draft();
    call(draft, 'F39', draft.input('data', [2]), 0);
    await expect(inferShapes(draft.model(functions))).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });
});

describe('hostile models', () => {
  test('do not make inference allocate what they ask for', async () => {
    const draft = new Draft();
    const huge = 2n ** 40n;
    const filled = draft.one('ConstantOfShape', [draft.ints([huge, 0])]);
    const joined = draft.one('Concat', [filled, filled], { axis: attribute.int(1) });
    const cut = draft.one('Slice', [joined, draft.ints([1]), draft.ints([huge])]);
    const [start, limit, delta] = [0, huge, 1].map((value) => draft.ints([value], [])) as [
      Value,
      Value,
      Value,
    ];
    const counted = draft.one('Range', [start, limit, delta]);
    const tiled = draft.one('Tile', [draft.ints([1, 2]), draft.ints([huge])]);
    const wide = draft.one('Expand', [draft.ints([1]), draft.ints([huge])]);
    await inferShapes(draft.model());
    expect([joined, cut, counted, tiled, wide].map(typeOf)).toEqual([
      `float32[${huge}, 0]`,
      `float32[${huge - 1n}, 0]`,
      `int64[${huge}]`,
      `int64[${huge * 2n}]`,
      `int64[${huge}]`,
    ]);
  });

  test('with sizes beyond the safe integers are refused', async () => {
    const draft = new Draft();
    draft.one('ConstantOfShape', [draft.ints([2n ** 62n])]);
    await expect(inferShapes(draft.model())).rejects.toMatchObject({ code: 'SHAPE_MISMATCH' });
  });

  test('with subgraphs nested without end are refused', async () => {
    const draft = new Draft();
    const condition = draft.input('condition', [], 'bool');
    const nest = (graph: Graph, depth: number): Value => {
      const inner = new Draft(graph);
      if (depth === 0) return inner.one('Not', [condition]);
      const branch = (): Attribute => {
        const body = new Graph('branch', graph);
        body.setOutputs([nest(body, depth - 1)]);
        return attribute.graph(body);
      };
      const other = new Graph('other', graph);
      other.setOutputs([condition]);
      return inner.one('If', [condition], { then_branch: branch(), else_branch: attribute.graph(other) });
    };
    nest(draft.graph, 140);
    await expect(inferShapes(draft.model())).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });
});

describe('inference', () => {
  test('loads small constants only', async () => {
    const draft = new Draft();
    const loaded: string[] = [];
    const lazy = (name: string, elements: number): Value =>
      draft.graph.addInitializer(
        name,
        lazyTensor('int64', [elements], () => {
          loaded.push(name);
          return int64(new Array<number>(elements).fill(1));
        }),
      );
    draft.one(
      'Add',
      [lazy('small', 8), lazy('large', 5000)].map((value) => draft.one('Shape', [value])),
    );
    await inferShapes(draft.model());
    expect(loaded).toEqual(['small']);
  });

  test('stops when it is told to', async () => {
    const draft = new Draft();
    draft.one('Relu', [draft.input('a', [2])]);
    await expect(inferShapes(draft.model(), { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    });
  });

  test('knows the operators that are handed to it', async () => {
    const repeat = defineOp({
      domain: 'com.example',
      type: 'Repeat',
      since: 1,
      inputs: [{ name: 'X', dtypes: ['float32'], variable: 'T' }],
      outputs: [{ name: 'Y', dtypes: ['float32'], variable: 'T' }],
      attributes: { times: attr.requiredInt() },
      infer: (context) => {
        const shape = context.shape(0);
        context.output(0, undefined, shape === undefined ? undefined : [context.attributes.times, ...shape]);
      },
    });
    const draft = new Draft();
    const node = draft.graph.addNode({
      opType: 'Repeat',
      domain: 'com.example',
      inputs: [draft.input('data', ['N'])],
      attributes: { times: attribute.int(3) },
    });
    const report = await inferShapes(draft.model(), { opset: standardOps.with(repeat) });
    expect(typeOf(node.output())).toBe('float32[3, N]');
    expect(report.unknown).toEqual([]);
  });
});
