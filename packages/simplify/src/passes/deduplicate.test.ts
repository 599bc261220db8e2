import { type OnnxRuntimeBackend, onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { attribute, constantOf, Graph, type Model, type Node, Tensor, type Value } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectClose, feedsFor, Net, simplified } from '../../test/net.ts';

let backend: OnnxRuntimeBackend;
beforeAll(async () => {
  backend = await onnxruntimeNode({ threads: 1 });
});
afterAll(async () => {
  await backend.dispose();
});

/** A model whose only node is an If by the input `yes`; each branch is made from what the graph around has. */
function choice(net: Net, ...branches: readonly ((inner: Net) => Value)[]): Model {
  const yes = net.input([], 'bool', 'yes');
  const [then, otherwise] = branches.map((build, index) => {
    const inner = new Net(new Graph(`branch_${index}`, net.graph));
    const result = build(inner);
    inner.graph.setOutputs([result]);
    return attribute.graph(inner.graph);
  }) as [ReturnType<typeof attribute.graph>, ReturnType<typeof attribute.graph>];
  const node = net.graph.addNode({
    opType: 'If',
    inputs: [yes],
    attributes: { then_branch: then, else_branch: otherwise },
  });
  return net.model(node.output());
}

/** Simplifies, and checks both branches in onnxruntime. */
async function checked(model: Model): Promise<Model> {
  const { model: simple } = await simplified(model);
  await using before = await backend.compile({ kind: 'onnx', file: await writeOnnx(model) });
  await using after = await backend.compile({ kind: 'onnx', file: await writeOnnx(simple) });
  for (const taken of [0, 1]) {
    const feeds = { ...feedsFor(model), yes: Tensor.from('bool', [], Uint8Array.of(taken)) };
    expectClose(await after.run(feeds), await before.run(feeds), 1e-6);
  }
  return simple;
}

/** Larger constants of a model with the name of the graph that holds each. */
function held(model: Model): string[] {
  const found: string[] = [];
  const note = (value: Value): void => {
    if ((constantOf(value)?.byteLength ?? 0) > 64) found.push(value.graph.name);
  };
  const visit = (graph: Graph): void => {
    for (const value of graph.initializers) note(value);
    for (const node of graph.nodes()) {
      if (node.is('Constant')) note(node.output());
      for (const [, inner] of node.subgraphs) visit(inner);
    }
  };
  visit(model.graph);
  return found;
}

/** The gates of a weight in another order, cut out and put together as exporters of LSTM layers do it. */
function reordered(net: Net, weight: Value): Value {
  const size = Number(weight.shape?.[0]) / 4;
  const cut = (from: number, to: number): Value =>
    net.node('Slice', [weight, net.ints(from * size), net.ints(to * size), net.ints(0)]);
  const gates = net.node('Concat', [cut(0, 1), cut(3, 4), cut(1, 3)], { axis: 0 });
  return net.node('Unsqueeze', [gates, net.ints(0)]);
}

describe('equal constants of branches', () => {
  it('are what two LSTM nodes rebuild from one weight: both read it as a constant, held once around them', async () => {
    const [hidden, size] = [8, 6];
    const net = new Net();
    const x = net.input([5, 1, size]);
    const inputWeight = net.weight([4 * hidden, size]);
    const recurrence = net.weight([4 * hidden, hidden]);
    const layer = (inner: Net, from: Value): Value => {
      const inputs = [from, reordered(inner, inputWeight), reordered(inner, recurrence)];
      return inner.node('LSTM', inputs, { hidden_size: hidden });
    };
    const model = choice(
      net,
      (inner) => layer(inner, x),
      (inner) => inner.node('Neg', [layer(inner, inner.node('Exp', [x]))]),
    );
    const simple = await checked(model);
    const nodes = [...simple.graph.nodesDeep()];
    expect(nodes.map((node) => node.op)).toEqual(['If', 'LSTM', 'Exp', 'LSTM', 'Neg']);
    const [one, two] = nodes.filter((node) => node.is('LSTM')) as [Node, Node];
    for (const index of [1, 2]) {
      expect(constantOf(one.input(index))?.shape).toEqual([1, 4 * hidden, index === 1 ? size : hidden]);
      expect(one.input(index)).toBe(two.input(index));
    }
    expect(held(simple)).toEqual(['main', 'main']);
  });

  it('leave different parts of a weight alone that together take more than it', async () => {
    const net = new Net();
    const x = net.input([1, 40]);
    const weight = net.weight([44, 40]);
    const cut = (inner: Net, from: number): Value =>
      inner.node('Slice', [weight, inner.ints(from), inner.ints(from + 40), inner.ints(0)]);
    const times = (from: number) => (inner: Net) =>
      inner.node('MatMul', [x, inner.node('Transpose', [cut(inner, from)], { perm: [1, 0] })]);
    const simple = await checked(choice(net, times(0), times(4)));
    expect([...simple.graph.nodesDeep()].filter((node) => node.is('Slice')).length).toBe(2);
    expect(held(simple)).toEqual(['main']);
  });

  it('become one in the nearest graph around them, or the one that is there already', async () => {
    const numbers = Array.from({ length: 20 }, (_, index) => index + 2);
    const scaled = (x: Value) => (inner: Net) => inner.node('Mul', [x, inner.weight([20], numbers)]);
    const siblings = new Net();
    const x = siblings.input([20]);
    expect(held(await checked(choice(siblings, scaled(x), scaled(x))))).toEqual(['main']);

    const above = new Net();
    const y = above.node('Max', [above.input([20]), above.weight([20], numbers)]);
    expect(held(await checked(choice(above, scaled(y), (inner) => inner.node('Neg', [y]))))).toEqual([
      'main',
    ]);

    const deep = new Net();
    const z = deep.input([20]);
    const nested = (inner: Net): Value => {
      const yes = deep.graph.inputs.find((input) => input.name === 'yes') as Value;
      const attributes = Object.fromEntries(
        ['then_branch', 'else_branch'].map((name, index) => {
          const innermost = new Net(new Graph(name, inner.graph));
          const product = scaled(z)(innermost);
          innermost.graph.setOutputs([index === 0 ? product : innermost.node('Neg', [product])]);
          return [name, attribute.graph(innermost.graph)];
        }),
      );
      return inner.graph.addNode({ opType: 'If', inputs: [yes], attributes }).output();
    };
    const simple = await checked(choice(deep, nested, (inner) => inner.node('Abs', [z])));
    expect(held(simple)).toEqual(['branch_0']);
  });

  it('stay where a branch hands them on as its result', async () => {
    const numbers = Array.from({ length: 20 }, (_, index) => index + 2);
    const constant = (inner: Net): Value =>
      inner.node('Constant', [], {
        value: attribute.tensor(Tensor.from('float32', [20], Float32Array.from(numbers))),
      });
    const net = new Net();
    const x = net.input([20]);
    const simple = await checked(
      choice(net, constant, (inner) => inner.node('Mul', [x, inner.weight([20], numbers)])),
    );
    expect(held(simple)).toEqual(['branch_0', 'branch_1']);
  });
});
