import { describe, expect, it } from 'vitest';
import {
  attribute,
  choice,
  constant,
  defineRule,
  Graph,
  isLitheError,
  lazyTensor,
  matchAt,
  type Node,
  op,
  type RewriteRule,
  rewrite,
  scalar,
  Tensor,
  tensorType,
  type Value,
  value,
} from '../index.ts';

const number = (graph: Graph, item: number): Value =>
  graph.addInitializer(graph.uniqueName('c'), Tensor.from('float32', [], new Float32Array([item])));
const add = (graph: Graph, opType: string, ...inputs: (Value | null)[]): Value =>
  graph.addNode({ opType, inputs }).output();
const ops = (graph: Graph): string[] => [...graph.nodesDeep()].map((node) => node.op);
const graphWithInput = (): { graph: Graph; x: Value } => {
  const graph = new Graph();
  return { graph, x: graph.addInput('x', tensorType('float32', [4])) };
};

const removeIdentity: RewriteRule = {
  name: 'test/identity',
  summary: 'Takes out Identity.',
  anchors: ['Identity'],
  depth: 0,
  apply(node, context) {
    const input = node.input(0);
    if (input === null) return undefined;
    if (!context.canReplace(node.output(), input))
      return { skip: { code: 'output', reason: 'the output keeps its name' } };
    context.replace(node.output(), input);
    return 'remove Identity';
  },
};

describe('patterns', () => {
  it('match commutative operands in either order and demand the same value for the same name', () => {
    const { graph, x } = graphWithInput();
    const pattern = op('Mul', [value('x'), op('Add', [value('x'), scalar(3)])]);
    const swapped = add(graph, 'Mul', add(graph, 'Add', number(graph, 3), x), x).producer as Node;
    expect(matchAt(pattern, swapped)?.value('x')).toBe(x);
    const other = add(graph, 'Mul', add(graph, 'Add', number(graph, 3), x), swapped.output())
      .producer as Node;
    expect(matchAt(pattern, other)).toBeUndefined();
  });

  it('do not swap the operands of an operator that is not commutative', () => {
    const { graph, x } = graphWithInput();
    const node = add(graph, 'Sub', number(graph, 3), x).producer as Node;
    expect(matchAt(op('Sub', [value('x'), scalar(3)]), node)).toBeUndefined();
  });

  it('compare scalars within a tolerance, whatever their rank', () => {
    const { graph, x } = graphWithInput();
    const six = graph.addInitializer('six', Tensor.from('float32', [1, 1], new Float32Array([6.000001])));
    const node = add(graph, 'Div', x, six).producer as Node;
    expect(matchAt(op('Div', [value('x'), scalar(6)]), node)).toBeDefined();
    expect(matchAt(op('Div', [value('x'), scalar(6, { tolerance: 1e-9 })]), node)).toBeUndefined();
    expect(
      matchAt(op('Div', [value('x'), constant('c', (source) => source.shape.length === 2)]), node)?.value(
        'c',
      ),
    ).toBe(six);
  });

  it('refuse a match when an inner node has readers outside it, or is an output', () => {
    const { graph, x } = graphWithInput();
    const inner = add(graph, 'Add', x, number(graph, 3));
    const root = add(graph, 'Relu', inner).producer as Node;
    const strict = op('Relu', [op('Add', [value('x'), scalar(3)])]);
    const loose = op('Relu', [op('Add', [value('x'), scalar(3)], { uses: 'any' })]);
    graph.setOutputs([root.output()]);
    expect(matchAt(strict, root)).toBeDefined();
    graph.setOutputs([root.output(), inner]);
    expect(matchAt(strict, root)).toBeUndefined();
    graph.setOutputs([root.output()]);
    add(graph, 'Sigmoid', inner);
    expect(matchAt(strict, root)).toBeUndefined();
    expect(matchAt(loose, root)).toBeDefined();
  });

  it('take an inner node that the match reads twice as one node', () => {
    const { graph, x } = graphWithInput();
    const centred = op('Sub', [value('x'), value('mean')], { as: 'centred' });
    const pattern = op('Div', [centred, op('Sqrt', [op('Pow', [centred, scalar(2)])])]);
    const shared = add(graph, 'Sub', x, x);
    const root = add(graph, 'Div', shared, add(graph, 'Sqrt', add(graph, 'Pow', shared, number(graph, 2))))
      .producer as Node;
    expect(matchAt(pattern, root)?.node('centred')).toBe(shared.producer);
    const twin = add(graph, 'Sub', x, x);
    const apart = add(graph, 'Div', shared, add(graph, 'Sqrt', add(graph, 'Pow', twin, number(graph, 2))))
      .producer as Node;
    expect(matchAt(pattern, apart)).toBeUndefined();
  });

  it('try alternatives and backtrack over captures', () => {
    const { graph, x } = graphWithInput();
    const y = graph.addInput('y', tensorType('float32', [4]));
    // The first order binds a to x, fails deeper, and must be undone.
    const pattern = op('Add', [
      value('a'),
      choice(op('Mul', [value('a'), scalar(2)]), op('Relu', [value('a')])),
    ]);
    const root = add(graph, 'Add', add(graph, 'Relu', y), y).producer as Node;
    expect(matchAt(pattern, root)?.value('a')).toBe(y);
    const mixed = add(graph, 'Add', add(graph, 'Relu', y), x).producer as Node;
    expect(matchAt(pattern, mixed)).toBeUndefined();
  });

  it('never take an overridable initializer for a constant', () => {
    const { graph, x } = graphWithInput();
    const weight = graph.addInput('w', tensorType('float32', []));
    graph.setInitializer(weight, Tensor.from('float32', [], new Float32Array([3])));
    const root = add(graph, 'Add', x, weight).producer as Node;
    expect(matchAt(op('Add', [value('x'), scalar(3)]), root)).toBeUndefined();
    expect(matchAt(op('Add', [value('x'), constant('c')]), root)).toBeUndefined();
  });
});

describe('rewrite', () => {
  it('applies rules until none applies, and drops constants that lose their last reader', async () => {
    const { graph, x } = graphWithInput();
    const foldAdds = defineRule({
      name: 'test/fold-adds',
      summary: 'x + a + b is x + (a + b).',
      pattern: op('Add', [
        op('Add', [value('x'), scalar(undefined, { as: 'a' })]),
        scalar(undefined, { as: 'b' }),
      ]),
      apply(match, context) {
        const sum =
          (context.small(match.value('a'))?.data[0] as number) +
          (context.small(match.value('b'))?.data[0] as number);
        const both = context.addConstant('sum', Tensor.from('float32', [], new Float32Array([sum])));
        const node = context.insert(match.root, { opType: 'Add', inputs: [match.value('x'), both] });
        context.replace(match.root.output(), node.output());
        return 'fold two additions';
      },
    });
    let last = x;
    for (let index = 1; index <= 5; index++) last = add(graph, 'Add', last, number(graph, index));
    graph.setOutputs([last]);
    const name = last.name;
    const report = await rewrite(graph, [foldAdds]);
    expect(report.applied.length).toBe(4);
    expect(graph.nodeCount).toBe(1);
    expect(graph.outputs[0]?.name).toBe(name);
    expect([...graph.initializers].map((item) => (item.initializer as Tensor).data[0])).toEqual([15]);
    expect((await rewrite(graph, [foldAdds])).applied).toEqual([]);
  });

  it('keeps an Identity that gives a graph output its name, and says why', async () => {
    const { graph, x } = graphWithInput();
    graph.setOutputs([add(graph, 'Identity', x)]);
    const report = await rewrite(graph, [removeIdentity]);
    expect(graph.nodeCount).toBe(1);
    expect(report.skipped).toEqual([
      { rule: 'test/identity', node: 'Identity_0', code: 'output', reason: 'the output keeps its name' },
    ]);
  });

  it('works inside subgraphs and frees what they read from around', async () => {
    const { graph, x } = graphWithInput();
    const condition = graph.addInput('flag', tensorType('bool', []));
    const outer = add(graph, 'Relu', x);
    const branch = new Graph('then', graph);
    branch.setOutputs([add(branch, 'Neg', add(branch, 'Identity', outer))]);
    const other = new Graph('else', graph);
    other.setOutputs([add(other, 'Neg', x)]);
    const node = graph.addNode({
      opType: 'If',
      inputs: [condition],
      attributes: { then_branch: attribute.graph(branch), else_branch: attribute.graph(other) },
    });
    graph.setOutputs([node.output()]);
    expect((await rewrite(graph, [removeIdentity], { subgraphs: false })).applied).toEqual([]);
    await rewrite(graph, [removeIdentity]);
    expect(ops(graph)).toEqual(['Relu', 'If', 'Neg', 'Neg']);
    expect([...branch.nodes()][0]?.input(0)).toBe(outer);
  });

  it('loads small lazy constants for patterns', async () => {
    const { graph, x } = graphWithInput();
    const lazy = graph.addInitializer(
      'l',
      lazyTensor('float32', [1], () => Tensor.from('float32', [1], new Float32Array([1]))),
    );
    graph.setOutputs([add(graph, 'Relu', add(graph, 'Mul', x, lazy))]);
    const byOne = defineRule({
      name: 'test/by-one',
      summary: 'x * 1 is x.',
      pattern: op('Mul', [value('x'), scalar(1)]),
      apply(match, context) {
        context.replace(match.root.output(), match.value('x'));
        return 'remove';
      },
    });
    await rewrite(graph, [byOne]);
    expect(ops(graph)).toEqual(['Relu']);
    expect(graph.initializers.size).toBe(0);
  });

  it('stops with an error when rules undo each other', async () => {
    const { graph, x } = graphWithInput();
    graph.setOutputs([add(graph, 'Relu', add(graph, 'Neg', x))]);
    const swap = (from: string, to: string): RewriteRule => ({
      name: `test/${to}`,
      summary: 'Swaps an operator.',
      anchors: [from],
      depth: 0,
      apply(node, context) {
        const made = context.insert(node, { opType: to, inputs: node.inputs });
        context.replace(node.output(), made.output());
        return 'swap';
      },
    });
    const error = await rewrite(graph, [swap('Neg', 'Abs'), swap('Abs', 'Neg')], {
      maxApplications: 50,
    }).catch((item: unknown) => item);
    expect(isLitheError(error, 'LIMIT_EXCEEDED')).toBe(true);
  });

  it('blames a rule that claims a change and made none', async () => {
    const { graph, x } = graphWithInput();
    graph.setOutputs([add(graph, 'Relu', x)]);
    const liar: RewriteRule = {
      name: 'test/liar',
      summary: 'Lies.',
      anchors: ['*'],
      depth: 0,
      apply: () => 'done',
    };
    await expect(rewrite(graph, [liar])).rejects.toThrow('changed nothing');
  });

  it('blames a rule that changes the graph and does not say so', async () => {
    const { graph, x } = graphWithInput();
    graph.setOutputs([add(graph, 'Relu', x)]);
    const silent: RewriteRule = {
      name: 'test/silent',
      summary: 'Edits and says nothing.',
      anchors: ['Relu'],
      depth: 0,
      apply(_node, context) {
        context.addConstant('left', Tensor.from('float32', [], new Float32Array([1])));
        return undefined;
      },
    };
    await expect(rewrite(graph, [silent])).rejects.toThrow('does not say');
  });

  it('obeys cancellation', async () => {
    const { graph, x } = graphWithInput();
    graph.setOutputs([add(graph, 'Relu', x)]);
    await expect(
      rewrite(graph, [removeIdentity], { signal: AbortSignal.abort(new Error('stop')) }),
    ).rejects.toThrow('stop');
  });

  it('visits a number of nodes linear in the size of the graph', async () => {
    const visitsOf = async (length: number): Promise<number> => {
      const { graph, x } = graphWithInput();
      let last = x;
      for (let index = 0; index < length; index++) last = add(graph, 'Identity', add(graph, 'Relu', last));
      for (let index = 0; index < length; index++) add(graph, 'Identity', x);
      graph.setOutputs([add(graph, 'Relu', last)]);
      const report = await rewrite(graph, [removeIdentity]);
      expect(report.applied.length).toBe(2 * length);
      return report.visits;
    };
    const small = await visitsOf(100);
    expect(await visitsOf(1000)).toBeLessThanOrEqual(10 * small + 50);
    expect(small).toBeLessThanOrEqual(900);
  });
});
