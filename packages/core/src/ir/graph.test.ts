import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isLitheError } from '../errors/lithe-error.ts';
import { Tensor } from '../tensor/tensor.ts';
import { attribute } from './attribute.ts';
import { Graph } from './graph.ts';
import { metaKey } from './meta.ts';
import { Model } from './model.ts';
import type { Node } from './node.ts';
import { tensorType } from './types.ts';
import { constantOf, type Value } from './value.ts';

const invalid = expect.objectContaining({ code: 'GRAPH_EDIT_INVALID' });
const one = Tensor.from('float32', [1], new Float32Array([1]));
const names = (nodes: Iterable<Node>): string[] => Array.from(nodes, (node) => node.name);

function chain(...labels: string[]): { graph: Graph; x: Value; nodes: Node[] } {
  const graph = new Graph();
  const x = graph.addInput('x', tensorType('float32', ['N']));
  let value = x;
  const nodes = labels.map((name) => {
    const node = graph.addNode({ opType: 'Abs', inputs: [value], name }, [{ name: `${name}.y` }]);
    value = node.output();
    return node;
  });
  graph.setOutputs([value]);
  return { graph, x, nodes };
}

/** A node with a subgraph whose one node reads `captured`. */
function conditional(
  graph: Graph,
  captured: Value,
  name: string,
): { node: Node; branch: Graph; inner: Node } {
  const branch = new Graph(`${name}.branch`, graph);
  const inner = branch.addNode({ opType: 'Neg', inputs: [captured], name: `${name}.inner` });
  branch.setOutputs([inner.output()]);
  const node = graph.addNode({
    opType: 'If',
    inputs: [],
    name,
    attributes: { then_branch: attribute.graph(branch) },
  });
  return { node, branch, inner };
}

/** Every way in which the two ends of edges, names and outputs disagree, found by brute force. */
function disagreements(graph: Graph): string[] {
  const problems: string[] = [];
  const read = new Map<Value, string[]>();
  const handedOut = new Map<Value, Set<Graph>>();
  const all: Value[] = [];
  const visit = (one: Graph): void => {
    for (const value of one.values()) if (value.producer === null) all.push(value);
    for (const output of one.outputs) handedOut.set(output, (handedOut.get(output) ?? new Set()).add(one));
    for (const node of one.nodes()) {
      if (!node.isAttached || node.graph !== one) problems.push(`${node.name} is listed, but not attached`);
      all.push(...node.outputs);
      node.inputs.forEach((input, index) => {
        if (input !== null) read.set(input, [...(read.get(input) ?? []), `${node.name}:${index}`]);
      });
      for (const [, inner] of node.subgraphs) visit(inner);
    }
    for (const value of one.values())
      if (one.value(value.name) !== value) problems.push(`${value.name} is lost`);
    if ([...one.nodes()].length !== one.nodeCount) problems.push('nodeCount is wrong');
    if ([...one.nodesReversed()].reverse().join() !== [...one.nodes()].join())
      problems.push('the two walks differ');
  };
  visit(graph);
  for (const value of all) {
    const uses = value.uses.map(({ node, index }) => `${node.name}:${index}`);
    if (uses.sort().join() !== (read.get(value) ?? []).sort().join())
      problems.push(`${value.name} has other uses than it knows`);
    if (value.useCount !== uses.length) problems.push(`${value.name} miscounts its uses`);
    const listed = handedOut.get(value) ?? new Set();
    if (value.outputOf.length !== listed.size || value.outputOf.some((one) => !listed.has(one)))
      problems.push(`${value.name} is an output otherwise`);
  }
  return problems;
}

describe('Graph', () => {
  it('keeps both ends of every edge, names and outputs true through random edits', () => {
    const edit = fc.record({ what: fc.nat(11), a: fc.nat(), b: fc.nat(), c: fc.nat(3) });
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 40 }), (edits) => {
        const { graph } = chain('a', 'b');
        conditional(graph, graph.value('x') as Value, 'c');
        let fresh = 0;
        for (const { what, a, b, c } of edits) {
          const nodes = [...graph.nodesDeep()];
          const values = nodes
            .flatMap((node) => node.outputs)
            .concat([...graph.inputs], [...graph.initializers]);
          const node = nodes[a % nodes.length] as Node;
          const value = values[b % values.length] as Value;
          const other = values[a % values.length] as Value;
          try {
            if (what === 0)
              graph.addNode(
                { opType: 'Add', inputs: [value, c === 0 ? null : other], name: `n${fresh++}` },
                (c % 3) + 1,
              );
            else if (what === 1) node.graph.setInput(node, c, value);
            else if (what === 2) node.graph.setInputsOf(node, [value, other].slice(0, c));
            else if (what === 3) graph.replaceAllUses(other, value);
            else if (what === 4) node.graph.remove(node);
            else if (what === 5)
              node.graph.move(node, { [c % 2 === 0 ? 'before' : 'after']: nodes[b % nodes.length] });
            else if (what === 6) value.graph.rename(value, `v${c}`);
            else if (what === 7) graph.setOutputs([value, other].slice(0, c));
            else if (what === 8) conditional(node.graph, value, `s${fresh++}`);
            else if (what === 9) node.graph.setAttribute(node, 'then_branch', undefined);
            else if (what === 10) graph.addInitializer(`w${fresh++}`, one);
            else graph.removeValue(value);
          } catch (error) {
            // Refused edits must leave everything as it was.
            if (!isLitheError(error, 'GRAPH_EDIT_INVALID')) throw error;
          }
          expect(disagreements(graph)).toEqual([]);
          expect(disagreements(new Model({ graph }).clone().graph)).toEqual([]);
        }
      }),
      { seed: 11, numRuns: 100 },
    );
  });

  it('refuses a node whose output name is taken, and is then as it was', () => {
    const { graph, x } = chain('a');
    const before = graph.revision.count;
    for (const outputs of [
      [{ name: 'fresh' }, { name: 'x' }],
      [{ name: 'twin' }, { name: 'twin' }],
    ]) {
      expect(() => graph.addNode({ opType: 'Split', inputs: [x] }, outputs)).toThrow(invalid);
    }
    expect([graph.value('fresh'), graph.value('twin'), graph.nodeCount, x.useCount]).toEqual([
      undefined,
      undefined,
      1,
      1,
    ]);
    expect(graph.revision.count).toBe(before);
  });

  it('refuses values and subgraphs of other graphs', () => {
    const { graph, nodes } = chain('a');
    const foreign = new Graph().addInput('f');
    expect(() => graph.addNode({ opType: 'Abs', inputs: [foreign] })).toThrow(invalid);
    expect(() => graph.setInput(nodes[0] as Node, 0, foreign)).toThrow(invalid);
    expect(() => graph.setOutputs([foreign])).toThrow(invalid);
    expect(() => graph.rename(foreign, 'g')).toThrow(invalid);
    const stray = attribute.graph(new Graph('stray'));
    expect(() => graph.addNode({ opType: 'If', inputs: [], attributes: { then_branch: stray } })).toThrow(
      invalid,
    );
    expect(() => graph.setAttribute(nodes[0] as Node, 'body', stray)).toThrow(invalid);
    expect(() =>
      graph.addNode({ opType: 'Abs', inputs: [] }, 1, {
        after: new Graph().addNode({ opType: 'Abs', inputs: [] }),
      }),
    ).toThrow(invalid);
  });

  it('refuses edits of a removed node', () => {
    const { graph, x, nodes } = chain('a');
    const [a] = nodes as [Node];
    graph.setOutputs([]);
    graph.remove(a);
    graph.remove(a);
    expect(x.isUnused).toBe(true);
    for (const edit of [
      () => graph.setInput(a, 0, x),
      () => graph.setInputsOf(a, [x]),
      () => graph.setAttribute(a, 'k', attribute.int(1)),
      () => graph.addOutputOf(a),
      () => graph.move(a, {}),
    ]) {
      expect(edit).toThrow(invalid);
    }
    expect(x.useCount).toBe(0);
  });

  it('refuses to remove what is still used', () => {
    const { graph, x, nodes } = chain('a', 'b');
    expect(() => graph.remove(nodes[0] as Node)).toThrow(invalid);
    expect(() => graph.remove(nodes[1] as Node)).toThrow(invalid);
    expect(() => graph.removeValue(x)).toThrow(invalid);
    expect(() => graph.removeValue((nodes[0] as Node).output())).toThrow(invalid);
  });

  it('places nodes before, after, at the end, and leaves one that is placed beside itself', () => {
    const { graph, nodes } = chain('a', 'b');
    const [a, b] = nodes as [Node, Node];
    graph.addNode({ opType: 'Abs', inputs: [], name: 'first' }, 1, { before: a });
    graph.addNode({ opType: 'Abs', inputs: [], name: 'middle' }, 1, { after: a });
    graph.addNode({ opType: 'Abs', inputs: [], name: 'last' });
    expect(names(graph.nodes())).toEqual(['first', 'a', 'middle', 'b', 'last']);
    graph.move(b, { before: b });
    graph.move(b, { after: b });
    graph.move(a, {});
    expect(names(graph.nodes())).toEqual(['first', 'middle', 'b', 'last', 'a']);
    expect(names(graph.nodesReversed())).toEqual(['a', 'last', 'b', 'middle', 'first']);
    expect(() => graph.move(a, { before: b, after: b })).toThrow(invalid);
  });

  it('finds names that nothing here or around has', () => {
    const { graph } = chain('a');
    graph.addInput('y');
    graph.addInput('y_1');
    expect(graph.uniqueName('y')).toBe('y_2');
    expect(graph.uniqueName('free')).toBe('free');
    const inner = new Graph('inner', graph);
    expect(inner.uniqueName('y_1')).toBe('y_1_1');
    expect(inner.value('y')).toBeUndefined();
    expect(inner.value('y', { outer: true })).toBe(graph.value('y'));
  });

  it('sets inputs: order, constants that can be overridden, and removal of those that nobody reads', () => {
    const { graph, x } = chain('a');
    const w = graph.addInitializer('w', one);
    const unread = graph.addInput('unread');
    expect(constantOf(w)).toBe(one);
    graph.setInputs([w, x]);
    expect(graph.inputs).toEqual([w, x]);
    expect(graph.value('unread')).toBeUndefined();
    // An input with an initializer is a default, not a constant.
    expect([constantOf(w), w.isGraphInput]).toEqual([undefined, true]);
    graph.setInputs([x]);
    expect([constantOf(w), graph.value('w')]).toEqual([one, w]);
    expect(() => graph.setInputs([])).toThrow(invalid);
    expect(() => graph.setInputs([x, x])).toThrow(invalid);
    expect(() => graph.setInputs([x, unread])).toThrow(invalid);
    expect(() => graph.setInputs([x, graph.outputs[0] as Value])).toThrow(invalid);
    expect(graph.inputs).toEqual([x]);
  });

  it('takes very long lists of outputs', () => {
    const { graph, x } = chain('a');
    graph.setOutputs(Array<Value>(300_000).fill(x));
    expect([graph.outputs.length, x.outputOf]).toEqual([300_000, [graph]]);
  });
});

describe('walks over nodes', () => {
  const visited = (graph: Graph, visit: (node: Node) => void): string[] => {
    const seen: string[] = [];
    for (const node of graph.nodes()) {
      seen.push(node.name);
      if (seen.length > 20) break;
      visit(node);
    }
    return seen;
  };
  const loose = (graph: Graph, name: string, after: Node): Node =>
    graph.addNode({ opType: 'Abs', inputs: [], name }, 1, { after });
  const free = (...labels: string[]): { graph: Graph; at: Record<string, Node> } => {
    const graph = new Graph();
    const at = Object.fromEntries(
      labels.map((name) => [name, graph.addNode({ opType: 'Abs', inputs: [], name })]),
    );
    return { graph, at };
  };

  it('pass over nodes that were removed ahead, and go on from one that was removed under them', () => {
    const { graph, at } = free('a', 'b', 'c', 'd');
    const seen = visited(graph, (node) => {
      if (node.name !== 'a') return;
      for (const name of ['a', 'b', 'c']) graph.remove(at[name] as Node);
    });
    expect(seen).toEqual(['a', 'd']);
  });

  it('visit a node inserted behind the current one, also when that one is then removed', () => {
    const { graph, at } = free('a', 'b');
    const seen = visited(graph, (node) => {
      if (node.name !== 'a') return;
      loose(graph, 'x', node);
      graph.remove(at['a'] as Node);
    });
    expect(seen).toEqual(['a', 'x', 'b']);
  });

  it('go on from where a node was that is moved under them', () => {
    const { graph } = free('a', 'b', 'c');
    let moved = false;
    const seen = visited(graph, (node) => {
      if (node.name === 'a' && !moved) {
        moved = true;
        graph.move(node, {});
      }
    });
    expect(seen).toEqual(['a', 'b', 'c', 'a']);
  });

  it('enter subgraphs behind the node that holds them', () => {
    const { graph, x } = chain('a');
    conditional(graph, x, 'c');
    loose(graph, 'b', [...graph.nodes()].at(-1) as Node);
    expect(names(graph.nodesDeep())).toEqual(['a', 'c', 'c.inner', 'b']);
  });
});

describe('replaceAllUses', () => {
  it('moves readers in subgraphs, and outputs that subgraphs hand on', () => {
    const { graph, x, nodes } = chain('a');
    const { branch, inner } = conditional(graph, x, 'c');
    branch.setOutputs([x, inner.output()]);
    const y = graph.addNode({ opType: 'Exp', inputs: [], name: 'y' }, 1, { before: nodes[0] }).output();
    graph.replaceAllUses(x, y);
    expect(inner.input(0)).toBe(y);
    expect((nodes[0] as Node).input(0)).toBe(y);
    expect(branch.outputs).toEqual([y, inner.output()]);
    expect([x.isUnused, y.useCount, y.outputOf]).toEqual([true, 2, [branch]]);
  });

  it('keeps the name of a graph output, and its type where the new value has none', () => {
    const { graph, nodes } = chain('a', 'b');
    const [a, b] = nodes as [Node, Node];
    b.output().type = tensorType('float32', ['N']);
    graph.replaceAllUses(b.output(), a.output());
    expect(graph.outputs).toEqual([a.output()]);
    expect([a.output().name, b.output().name]).toEqual(['b.y', 'a.y']);
    expect(graph.value('b.y')).toBe(a.output());
    expect(a.output().dtype).toBe('float32');
    graph.remove(b);
    expect(graph.value('a.y')).toBeUndefined();
  });

  it('replaces an output that is listed twice, and one by a value without a name', () => {
    const { graph, nodes } = chain('a');
    const a = (nodes[0] as Node).output();
    graph.setOutputs([a, a]);
    const other = graph.addNode({ opType: 'Split', inputs: [] }, [{ name: 's' }, { name: '' }]);
    graph.replaceAllUses(a, other.output(1));
    expect(graph.outputs).toEqual([other.output(1), other.output(1)]);
    expect([other.output(1).name, a.name, graph.value(''), graph.value('a.y')]).toEqual([
      'a.y',
      '',
      undefined,
      other.output(1),
    ]);
  });

  it('refuses what cannot stand in for a graph output, changing nothing', () => {
    const { graph, x, nodes } = chain('a', 'b');
    const [a, b] = nodes as [Node, Node];
    const w = graph.addInitializer('w', one);
    for (const value of [x, w]) expect(() => graph.replaceAllUses(b.output(), value)).toThrow(invalid);
    graph.setOutputs([a.output(), b.output()]);
    expect(() => graph.replaceAllUses(b.output(), a.output())).toThrow(invalid);
    expect(graph.outputs).toEqual([a.output(), b.output()]);
  });

  it('refuses a value that some reader cannot see, changing nothing', () => {
    const { graph, x } = chain('a');
    const { branch, inner } = conditional(graph, x, 'c');
    const hidden = branch.addNode({ opType: 'Exp', inputs: [] }).output();
    expect(() => graph.replaceAllUses(x, hidden)).toThrow(invalid);
    expect([inner.input(0), x.useCount, hidden.useCount]).toEqual([x, 2, 0]);
  });
});

describe('subgraphs', () => {
  it('let go of captured values when their node is removed, or their attribute', () => {
    for (const drop of [
      (graph: Graph, node: Node) => graph.remove(node),
      (graph: Graph, node: Node) => graph.setAttribute(node, 'then_branch', undefined),
      (graph: Graph, node: Node) =>
        graph.setAttribute(node, 'then_branch', attribute.graph(new Graph('other', graph))),
    ]) {
      const { graph, x } = chain('a');
      const { node, branch } = conditional(graph, x, 'c');
      const nested = conditional(branch, x, 'd');
      branch.setOutputs([x]);
      drop(graph, node);
      expect(x.uses.map((use) => use.node.name)).toEqual(['a']);
      expect(x.outputOf).toEqual([]);
      expect([nested.inner.isAttached, branch.nodeCount]).toEqual([false, 0]);
    }
  });

  it('stay whole when they were handed on to another node before', () => {
    const { graph, x } = chain('a');
    const { node, branch, inner } = conditional(graph, x, 'c');
    const heir = graph.addNode({ opType: 'If', inputs: [], attributes: node.attributes });
    graph.remove(node);
    expect([inner.isAttached, branch.outputs.length, x.useCount]).toEqual([true, 1, 2]);
    graph.remove(heir);
    expect(x.useCount).toBe(1);
  });
});

describe('clone', () => {
  it('shares tensors and nothing else', () => {
    const { graph, x, nodes } = chain('a');
    const key = metaKey<string>('note');
    const w = graph.addInitializer('w', one);
    const { branch } = conditional(graph, x, 'c');
    branch.setOutputs([x]);
    (nodes[0] as Node).meta.set(key, 'kept');
    w.props.set('p', '1');
    const model = new Model({ graph });
    model.producerName = 'someone';
    const copy = model.clone();
    expect(copy.graph.value('w')?.initializer).toBe(one);
    expect(copy.graph.value('w')?.props.get('p')).toBe('1');
    const [a, c] = [...copy.graph.nodes()] as [Node, Node];
    expect([a.meta.get(key), copy.producerName]).toEqual(['kept', 'someone']);
    // The copy of the branch hands on the copy of x.
    const inner = c.subgraphs[0]?.[1] as Graph;
    expect([inner.parent, inner.outputs[0]]).toEqual([copy.graph, copy.graph.value('x')]);
    copy.graph.rename(copy.graph.value('x') as Value, 'renamed');
    copy.graph.setAttribute(a, 'k', attribute.int(1));
    copy.graph.setOutputs([]);
    a.meta.set(key, 'changed');
    expect([
      x.name,
      (nodes[0] as Node).attributes.size,
      graph.outputs.length,
      (nodes[0] as Node).meta.get(key),
    ]).toEqual(['x', 0, 1, 'kept']);
  });

  it('knows that nothing was edited since the model was read', () => {
    const { graph, nodes } = chain('a');
    const model = new Model({ graph, origin: { revision: graph.revision.count, opset: 21, irVersion: 10 } });
    const copy = model.clone();
    expect([model.isUnchanged, copy.isUnchanged]).toEqual([true, true]);
    copy.graph.setAttribute([...copy.graph.nodes()][0] as Node, 'k', attribute.int(1));
    expect([model.isUnchanged, copy.isUnchanged]).toEqual([true, false]);
    const { inner, branch } = conditional(graph, graph.inputs[0] as Value, 'c');
    const before = graph.revision.count;
    branch.setInput(inner, 0, (nodes[0] as Node).output());
    expect(graph.revision.count).toBeGreaterThan(before);
  });

  it('keeps a clone of a large graph linear, and its optional outputs unnamed', () => {
    const graph = new Graph();
    let value = graph.addInput('x');
    for (let index = 0; index < 5000; index++) {
      value = graph
        .addNode({ opType: 'Dropout', inputs: [value, null] }, [{ name: `v${index}` }, { name: '' }])
        .output();
    }
    graph.setOutputs([value]);
    const copy = new Model({ graph }).clone().graph;
    expect([copy.nodeCount, [...copy.nodes()][7]?.outputs.map((output) => output.name)]).toEqual([
      5000,
      ['v7', ''],
    ]);
    expect([...copy.nodes()][7]?.inputs[1]).toBeNull();
  });
});

describe('constants', () => {
  it('are read from every form of a Constant node', () => {
    const graph = new Graph();
    const made = (name: string, value: Parameters<Graph['setAttribute']>[2]): unknown => {
      const source = constantOf(
        graph.addNode({ opType: 'Constant', inputs: [], attributes: { [name]: value as never } }).output(),
      );
      return source === undefined
        ? undefined
        : [source.dtype, source.shape, [...((source as Tensor).data as Iterable<unknown>)]];
    };
    expect(made('value', attribute.tensor(one))).toEqual(['float32', [1], [1]]);
    expect(made('value_float', attribute.float(0.5))).toEqual(['float32', [], [0.5]]);
    expect(made('value_floats', attribute.floats([1, 2]))).toEqual(['float32', [2], [1, 2]]);
    expect(made('value_int', attribute.int(2n ** 62n))).toEqual(['int64', [], [2n ** 62n]]);
    expect(made('value_ints', attribute.ints([1]))).toEqual(['int64', [1], [1n]]);
    expect(made('value_string', attribute.string('a'))).toEqual(['string', [], ['a']]);
    expect(made('value_strings', attribute.strings(['a', 'b']))).toEqual(['string', [2], ['a', 'b']]);
    expect(made('sparse_value', { kind: 'opaque', proto: new Uint8Array() })).toBeUndefined();
    expect(
      constantOf(graph.addNode({ opType: 'Constant', domain: 'other', inputs: [] }).output()),
    ).toBeUndefined();
    expect(constantOf(null)).toBeUndefined();
  });
});

describe('names across a nest of graphs', () => {
  it('keeps new names clear of those in subgraphs, and frees them with the subgraph', () => {
    const graph = new Graph();
    const condition = graph.addInput('condition');
    const inner = new Graph('then', graph);
    inner.setOutputs([
      inner.addNode({ opType: 'Constant', inputs: [] }, [{ name: 'Mul_0_output' }]).output(),
    ]);
    const branch = graph.addNode({
      opType: 'If',
      inputs: [condition],
      attributes: { then_branch: attribute.graph(inner) },
    });
    expect(graph.uniqueName('Mul_0_output')).toBe('Mul_0_output_1');
    graph.remove(branch);
    expect(graph.uniqueName('Mul_0_output')).toBe('Mul_0_output');
  });
});
