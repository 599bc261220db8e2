import { describe, expect, it } from 'vitest';
import { attribute } from '../ir/attribute.ts';
import { Graph } from '../ir/graph.ts';
import { Model, WORKING_OPSET } from '../ir/model.ts';
import { type NodeLinks, nodeLinks } from '../ir/node.ts';
import { tensorType } from '../ir/types.ts';
import { links, type Value, type ValueLinks } from '../ir/value.ts';
import { attr } from '../op/attributes.ts';
import { defineOp, floatDTypes } from '../op/op-def.ts';
import { OpSet } from '../op/op-set.ts';
import { Tensor } from '../tensor/tensor.ts';
import { assertValid, verify } from './verify.ts';

const T = { dtypes: floatDTypes, variable: 'T' };
const opset = new OpSet([
  defineOp({
    type: 'Conv',
    since: 11,
    inputs: [
      { name: 'X', ...T },
      { name: 'W', ...T },
      { name: 'B', ...T, optional: true },
    ],
    outputs: [{ name: 'Y', ...T }],
    attributes: {
      strides: attr.optionalInts(),
      auto_pad: attr.oneOf(['NOTSET', 'VALID'], 'NOTSET'),
      kernel: attr.int(1),
    },
    infer: () => undefined,
  }),
  defineOp({
    type: 'Concat',
    since: 13,
    inputs: [{ name: 'inputs', dtypes: [], variable: 'T', variadic: 'same' }],
    outputs: [{ name: 'concat_result', dtypes: [], variable: 'T' }],
    attributes: { axis: attr.requiredInt() },
    infer: () => undefined,
  }),
]);

/** x -> Conv(x, w) -> Relu -> y, and an If whose branches capture x. */
function sound(): {
  model: Model;
  graph: Graph;
  x: Value;
  conv: ReturnType<Graph['addNode']>;
  branch: Graph;
} {
  const graph = new Graph();
  const x = graph.addInput('x', tensorType('float32', ['N', 3, 8, 8]));
  const condition = graph.addInput('condition', tensorType('bool', []));
  const w = graph.addInitializer('w', Tensor.from('float32', [4, 3, 1, 1], new Float32Array(12)));
  const conv = graph.addNode(
    { opType: 'Conv', inputs: [x, w], name: 'conv', attributes: { strides: attribute.ints([1, 1]) } },
    [{ name: 'c', type: tensorType('float32', ['N', 4, 8, 8]) }],
  );
  const branches = ['then', 'else'].map((name) => {
    const branch = new Graph(name, graph);
    branch.setOutputs([branch.addNode({ opType: 'Abs', inputs: [conv.output()] }, [{ name: 'r' }]).output()]);
    return branch;
  }) as [Graph, Graph];
  const choice = graph.addNode(
    {
      opType: 'If',
      inputs: [condition],
      name: 'choice',
      attributes: { then_branch: attribute.graph(branches[0]), else_branch: attribute.graph(branches[1]) },
    },
    [{ name: 'y' }],
  );
  graph.setOutputs([choice.output(), conv.output()]);
  return { model: new Model({ graph }), graph, x, conv, branch: branches[0] };
}

const linksOf = (value: Value): ValueLinks => links.get(value) as ValueLinks;

describe('verify', () => {
  it('finds nothing wrong with a sound model, its subgraphs, and a clone of it', () => {
    const { model } = sound();
    expect(verify(model, { opset })).toEqual([]);
    expect(verify(model.clone(), { opset })).toEqual([]);
  });

  it('reports a node that comes before what it reads', () => {
    const { model, graph, conv } = sound();
    graph.move(conv, {});
    // Both branches read it, and the If node that holds them comes first.
    expect(verify(model)).toEqual([
      'Node "Abs_0" (Abs) reads value "c" as input 0, which is made by node "conv", which comes later.',
      'Node "Abs_0" (Abs) reads value "c" as input 0, which is made by node "conv", which comes later.',
    ]);
  });

  it('reports a use that only one end knows', () => {
    const { model, x, conv } = sound();
    linksOf(x).uses.get(conv)?.clear();
    expect(verify(model)).toEqual(['Value "x" is read by 1 input slots, but knows of 0 of them.']);
  });

  it('reports a use that the node does not have', () => {
    const { model, x, conv } = sound();
    linksOf(x).uses.get(conv)?.add(1);
    expect(verify(model)).toEqual([
      'Value "x" lists a use as input 1 of node "conv", which reads something else there.',
    ]);
  });

  it('reports a use by a node that is not in the model', () => {
    const { model, x } = sound();
    const stranger = new Graph().addNode({ opType: 'Abs', inputs: [], name: 'stranger' });
    linksOf(x).uses.set(stranger, new Set([0]));
    expect(verify(model)).toEqual(['Value "x" lists a use by node "stranger", which is not in the model.']);
  });

  it('reports outputs that only one end knows', () => {
    const { model, graph, x, conv } = sound();
    linksOf(x).outputOf.add(graph);
    linksOf(conv.output()).outputOf.clear();
    expect(verify(model)).toEqual([
      'Value "x" says it is an output of graph "main", which does not list it.',
      'Graph "main" gives value "c" as an output, but the value does not know it.',
    ]);
  });

  it('reports a value that two nodes make', () => {
    const { model, graph, conv } = sound();
    const other = graph.addNode({ opType: 'Abs', inputs: [], name: 'other' }, 0);
    (nodeLinks.get(other) as NodeLinks).outputs.push(conv.output());
    expect(verify(model)).toEqual([
      'Node "other" (Abs) lists value "c" as its output 0, but the value says that output 0 of node "conv" makes it.',
      'Value "c" is made twice; the second time by node "other".',
    ]);
  });

  it('reports a value of a branch that is read outside it', () => {
    const { model, graph, branch } = sound();
    const inner = branch.outputs[0] as Value;
    const reader = graph.addNode({ opType: 'Abs', inputs: [], name: 'reader' });
    (nodeLinks.get(reader) as NodeLinks).inputs.push(inner);
    linksOf(inner).uses.set(reader, new Set([0]));
    expect(verify(model)).toEqual([
      'Node "reader" (Abs) reads value "r" as input 0, which belongs to graph "then", which is neither its own graph nor one around it.',
    ]);
  });

  it('reports a name that two values bear', () => {
    const { model, x } = sound();
    linksOf(x).name = 'c';
    expect(verify(model)[0]).toBe(
      'The name "c" of graph "main" does not lead to the value that bears it; names must be unique.',
    );
  });

  it('reports a captured value that a nearer one of the same name hides', () => {
    const { model, branch } = sound();
    branch.rename(branch.outputs[0] as Value, 'c');
    expect(verify(model)).toEqual([
      'Node "Abs_0" (Abs) reads value "c" of graph "main", but graph "then" in between has a value of the same name.',
    ]);
  });

  it('reports an input that lost its constant and was never fed', () => {
    const { model, graph } = sound();
    graph.setInitializer(graph.value('w') as Value, undefined);
    expect(verify(model)).toEqual([
      'Node "conv" (Conv) reads value "w" as input 1, which is neither an input nor an initializer, and no node makes it.',
    ]);
  });

  it('reports a subgraph that hangs on another graph', () => {
    const { model, conv } = sound();
    const stray = new Graph('stray', new Graph());
    (nodeLinks.get(conv) as NodeLinks).attributes.set('body', attribute.graph(stray));
    expect(verify(model)).toEqual([
      'Subgraph "body" of node "conv" has another graph as its parent than the one that holds the node.',
    ]);
  });

  it('reports declared types that a constant contradicts', () => {
    const { model, graph } = sound();
    (graph.value('w') as Value).type = tensorType('float32', [4, 3, 3, 'K']);
    expect(verify(model)).toEqual([
      'Value "w" is declared as float32[4, 3, 3, K], but holds a constant float32[4, 3, 1, 1].',
    ]);
  });

  it('reports dims that are no sizes', () => {
    const { model, x } = sound();
    x.type = tensorType('float32', [-1, 3, 8, 8]);
    expect(verify(model)).toEqual([
      'Value "x" has a dim -1 in its shape; dims are whole numbers from 0 or symbols.',
    ]);
  });

  it('reports a domain that is not imported, unless a function defines the operator', () => {
    const graph = new Graph();
    const x = graph.addInput('x');
    graph.setOutputs([
      graph.addNode({ opType: 'Twice', domain: 'local', inputs: [x], name: 'call' }).output(),
    ]);
    const body = new Graph('Twice');
    const a = body.addInput('a');
    body.setOutputs([body.addNode({ opType: 'Add', inputs: [a, a] }).output()]);
    const call = {
      domain: 'local',
      name: 'Twice',
      overload: '',
      graph: body,
      attributes: [],
      attributeDefaults: new Map(),
      docString: undefined,
      props: new Map(),
    };
    expect(verify(new Model({ graph }))).toEqual([
      'Node "call" (local.Twice) is of domain "local", which the model does not import.',
    ]);
    const imports = new Map([['', WORKING_OPSET]]);
    expect(verify(new Model({ graph, functions: [{ ...call, opsetImports: imports }] }))).toEqual([]);
    // The body's own imports count, not the model's.
    expect(verify(new Model({ graph, functions: [{ ...call, opsetImports: new Map() }] }))).toEqual([
      'Node "Add_0" (Add) is of domain "ai.onnx", which the model does not import.',
    ]);
  });

  it('throws MODEL_INVALID with every problem', () => {
    const { model, graph, conv } = sound();
    graph.move(conv, {});
    expect(() => assertValid(model, {}, 'after pass "a/b"')).toThrow(
      expect.objectContaining({ code: 'MODEL_INVALID', details: { problems: verify(model) } }),
    );
    expect(() => assertValid(sound().model, { opset })).not.toThrow();
  });

  it('stays linear on a value with very many uses', () => {
    const graph = new Graph();
    const x = graph.addInput('x');
    const outputs = Array.from({ length: 20_000 }, () =>
      graph.addNode({ opType: 'Abs', inputs: [x, x] }).output(),
    );
    graph.setOutputs(outputs);
    expect(verify(new Model({ graph }))).toEqual([]);
  });
});

describe('verify against schemas', () => {
  const conv = (init: {
    inputs?: number;
    outputs?: number;
    attributes?: Record<string, ReturnType<typeof attribute.int>>;
  }): string[] => {
    const graph = new Graph();
    const inputs = Array.from({ length: init.inputs ?? 2 }, (_, index) =>
      graph.addInput(`i${index}`, tensorType('float32')),
    );
    graph.addNode(
      { opType: 'Conv', name: 'conv', inputs, attributes: init.attributes ?? {} },
      init.outputs ?? 1,
    );
    return verify(new Model({ graph }), { opset });
  };

  it('reports too many and missing inputs and outputs', () => {
    expect(conv({ inputs: 3 })).toEqual([]);
    expect(conv({ inputs: 4 })).toEqual(['Node "conv" (Conv) has 4 inputs; the operator takes at most 3.']);
    expect(conv({ inputs: 1 })).toEqual([
      'Node "conv" (Conv) lacks input 1 ("W"), which the operator requires.',
    ]);
    expect(conv({ outputs: 0 })).toEqual([
      'Node "conv" (Conv) lacks output 0 ("Y"), which the operator requires.',
    ]);
  });

  it('reports unknown, missing and ill-typed attributes', () => {
    expect(conv({ attributes: { stride: attribute.ints([1]) } })).toEqual([
      'Node "conv" (Conv) has an attribute "stride", which the operator does not know.',
    ]);
    expect(conv({ attributes: { strides: attribute.int(1) } })).toEqual([
      'Attribute "strides" of node "conv" is of kind "int", not "ints".',
    ]);
    expect(conv({ attributes: { auto_pad: attribute.string('SAME') } })[0]).toMatch(
      /^Attribute "auto_pad" of node "conv" is "SAME", not one of/,
    );
    expect(conv({ attributes: { kernel: { kind: 'reference', name: 'k', of: 'int' } } })).toEqual([
      'Node "conv" (Conv) refers to function attribute "k", but is not in a function.',
    ]);
    const graph = new Graph();
    graph.addNode({ opType: 'Concat', name: 'join', inputs: [graph.addInput('a'), graph.addInput('b')] });
    expect(verify(new Model({ graph }), { opset })).toEqual([
      'Node "join" (Concat) lacks the attribute "axis", which the operator requires.',
    ]);
  });

  it('reports dtypes that the operator or a type variable excludes', () => {
    const graph = new Graph();
    const x = graph.addInput('x', tensorType('float32'));
    const w = graph.addInput('w', tensorType('float16'));
    const b = graph.addInput('b', tensorType('int8'));
    graph.addNode({ opType: 'Conv', name: 'conv', inputs: [x, w, b] });
    expect(verify(new Model({ graph }), { opset })).toEqual([
      'Node "conv" (Conv) has input 1 ("W") of dtype float16, where type T is already float32.',
      'Node "conv" (Conv) has input 2 ("B") of dtype int8; the operator takes float32, float64, float16, bfloat16.',
    ]);
  });

  it('binds one dtype over all values of a variadic input', () => {
    const graph = new Graph();
    const inputs = (['int64', 'int64', 'int32'] as const).map((dtype, index) =>
      graph.addInput(`i${index}`, tensorType(dtype)),
    );
    graph.addNode({ opType: 'Concat', name: 'join', inputs, attributes: { axis: attribute.int(0) } });
    expect(verify(new Model({ graph }), { opset })).toEqual([
      'Node "join" (Concat) has input 2 ("inputs") of dtype int32, where type T is already int64.',
    ]);
  });

  it('judges no operator of another opset version, and none that it does not know', () => {
    const graph = new Graph();
    graph.addNode({ opType: 'Conv', inputs: [] });
    graph.addNode({ opType: 'NotKnown', inputs: [] });
    expect(verify(new Model({ graph, opsetImports: new Map([['', 9]]) }), { opset })).toEqual([]);
  });
});
