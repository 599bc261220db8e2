import {
  attr,
  attribute,
  defineOp,
  floatDTypes,
  type Graph,
  GraphBuilder,
  isLitheError,
  type LitheError,
  type Node,
  OpSet,
  standardOps,
  Tensor,
  type Value,
} from '@lithe/core';
import { cnn } from '@lithe/training';
import { describe, expect, it } from 'vitest';
import {
  axisFlow,
  inputAxis,
  outputAxis,
  type PruningGroup,
  pruningGroups,
  removeAll,
  removeUnits,
  standardAxisRules,
  tie,
} from '../src/index.ts';
import { normal } from './support.ts';

const ints = (...values: readonly number[]): Tensor<'int64'> =>
  Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt));
const conv = (b: GraphBuilder, x: Value, from: number, to: number, name?: string): Value =>
  b.op.Conv([x, normal([to, from, 1, 1], to)], {}, name === undefined ? {} : { name });

async function groupsOf(build: (b: GraphBuilder, x: Value) => Value): Promise<readonly PruningGroup[]> {
  const b = new GraphBuilder('net');
  const x = b.input('x', 'float32', [1, 3, 4, 4]);
  b.output('y', build(b, x));
  return pruningGroups(await b.build());
}

const codes = (group: PruningGroup | undefined): readonly string[] =>
  (group?.obstacles ?? []).map(({ code }) => code);

describe('pruningGroups', () => {
  it('never touches what the model takes and gives', async () => {
    const groups = await groupsOf((b, x) => b.op.Add([conv(b, conv(b, x, 3, 6, 'inner'), 6, 3, 'last'), x]));
    expect(groups.map((group) => [group.name, group.prunable])).toEqual([
      ['inner', true],
      ['last', false],
    ]);
    expect(new Set(codes(groups[1]))).toEqual(new Set(['graph-output', 'graph-input']));
  });

  it('follows only the channels that belong together through features that are joined on and on', async () => {
    const [layers, growth] = [12, 4];
    const groups = await groupsOf((b, x) => {
      let all = conv(b, x, 3, growth, 'layer0');
      for (let layer = 1; layer < layers; layer++) {
        const made = conv(b, b.op.Relu([all]), layer * growth, growth, `layer${layer}`);
        all = b.op.Concat([all, made], { axis: 1 });
      }
      return conv(b, all, layers * growth, 2, 'head');
    });
    expect(groups.map(({ name }) => name)).toEqual([
      ...Array.from({ length: layers }, (_, layer) => `layer${layer}`),
      'head',
    ]);
    for (const [layer, { axes, weights }] of groups.slice(0, layers).entries()) {
      // Where a feature is wide, four of its channels are what the layer makes, at the place where they were joined on.
      for (const { length, span, units } of axes) {
        const start = length === growth ? 0 : layer * growth;
        expect(span).toEqual({ start, units: Int32Array.of(0, 1, 2, 3) });
        const spelled = Array.from({ length }, (_, at) =>
          at >= start && at < start + growth ? at - start : -1,
        );
        expect([...units]).toEqual(spelled);
      }
      const reads = weights.filter(({ direction }) => direction === 'in');
      expect(reads).toHaveLength(layer === 0 ? layers : layers - layer);
    }
  });

  it('stops at an operator that nobody described, and says which', async () => {
    const mystery = defineOp({
      domain: 'com.example',
      type: 'Mystery',
      since: 1,
      inputs: [{ name: 'X', dtypes: floatDTypes, variable: 'T' }],
      outputs: [{ name: 'Y', dtypes: floatDTypes, variable: 'T' }],
      attributes: { scale: attr.float(1) },
      infer: (context) => context.output(0, context.dtype(0), context.shape(0)),
    });
    const opset = new OpSet([...standardOps, mystery]);
    const b = new GraphBuilder('net');
    const x = b.input('x', 'float32', [1, 3, 4, 4]);
    const [y] = b.call(mystery, [conv(b, x, 3, 6, 'first')]);
    b.output('y', conv(b, y as Value, 6, 2));
    const model = await b.build();
    const [unknown] = await pruningGroups(model, { opset });
    expect(unknown?.prunable).toBe(false);
    expect(unknown?.obstacles[0]).toMatchObject({ code: 'operator' });
    expect(unknown?.obstacles[0]?.reason).toContain('com.example.Mystery');
    const rules = standardAxisRules.with(
      axisFlow.of(mystery, { flow: () => ({ ties: [tie(inputAxis(0, 1), outputAxis(0, 1))] }) }),
    );
    const [known] = await pruningGroups(model, { opset, rules });
    expect([known?.prunable, known?.units]).toEqual([true, 6]);
    await removeAll(model, [{ group: known as PruningGroup, units: [0] }], { opset, rules });
    expect((y as Value).shape).toEqual([1, 5, 4, 4]);
  });

  it('keeps out of subgraphs', async () => {
    const groups = await groupsOf((b, x) => {
      const y = conv(b, x, 3, 6, 'first');
      const [z] = b.op.If([Tensor.from('bool', [], Uint8Array.of(1))], {
        then_branch: (body) => [body.op.Relu([y])],
        else_branch: (body) => [body.op.Neg([y])],
      });
      return conv(b, z as Value, 6, 2);
    });
    expect(codes(groups[0])).toContain('subgraph');
  });

  it('keeps classes together where they compete', async () => {
    const groups = await groupsOf((b, x) =>
      b.op.ReduceSum([b.op.Softmax([conv(b, x, 3, 6)], { axis: 1 }), ints(1)]),
    );
    expect(groups[0]?.prunable).toBe(false);
    expect(groups[0]?.obstacles[0]?.reason).toContain('weighed against each other');
  });

  it('knows what changes although it was zero', async () => {
    const groups = await groupsOf((b, x) => {
      const y = conv(b, x, 3, 6);
      return conv(b, b.op.Sub([y, b.op.ReduceMean([y, ints(1)])]), 6, 2);
    });
    expect([groups[0]?.prunable, groups[0]?.inexact]).toEqual([true, ['a mean is taken over it']]);
  });

  it('cannot split what can only go together', async () => {
    // Six channels that are added to one another in a circle.
    const groups = await groupsOf((b, x) => {
      const y = conv(b, x, 3, 6);
      const turned = b.op.Gather([y, ints(1, 2, 3, 4, 5, 0)], { axis: 1 });
      return conv(b, b.op.Add([y, turned]), 6, 2);
    });
    expect([groups[0]?.units, codes(groups[0])]).toEqual([1, ['single-unit']]);
  });

  it('protects what it is told to, and what is read by its number', async () => {
    const b = new GraphBuilder('net');
    const x = b.input('x', 'float32', [1, 3, 4, 4]);
    const y = conv(b, x, 3, 6, 'first');
    const third = b.op.Gather([y, Tensor.from('int64', [], BigInt64Array.of(2n))], { axis: 1 });
    b.output('third', b.op.Identity([third]));
    b.output('y', conv(b, y, 6, 2, 'second'));
    const model = await b.build();
    expect(codes((await pruningGroups(model, { protect: ['first'] }))[0])).toEqual(['protected']);
    const [group] = await pruningGroups(model);
    expect([...(group?.pinned.keys() ?? [])]).toEqual([2]);
    await expect(removeUnits(model, group as PruningGroup, [2])).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
    await removeUnits(model, group as PruningGroup, [0, 1, 4]);
    const gather = [...model.graph.nodes()].find((node) => node.is('Gather'));
    expect([...((await gather?.input(1)?.initializer?.load())?.toFloat64Array() ?? [])]).toEqual([0]);
  });

  it('does not tie layers by a vector that they happen to share', async () => {
    const b = new GraphBuilder('net');
    const x = b.input('x', 'float32', [1, 3, 4, 4]);
    const zeros = b.constant('zeros', Tensor.from('float32', [6], new Float32Array(6)));
    const one = b.op.Relu([b.op.Conv([x, normal([6, 3, 1, 1], 1), zeros])]);
    const two = b.op.Relu([b.op.Conv([one, normal([6, 6, 1, 1], 2), zeros])]);
    b.output('y', conv(b, two, 6, 2));
    const model = await b.build();
    const groups = await pruningGroups(model);
    expect(groups.map((group) => group.units)).toEqual([6, 6, 2]);
    expect(model.graph.value('zeros')?.useCount).toBe(2);
    await removeUnits(model, groups[0] as PruningGroup, [0, 1]);
    expect(two.shape).toEqual([1, 6, 4, 4]);
    expect(one.shape).toEqual([1, 4, 4, 4]);
  });

  it('tries out whether sizes that are computed follow a cut', async () => {
    // Height and width change places, and their sizes are not known: no constant can say it.
    const groupOf = async (channels: 'constant' | 'computed'): Promise<PruningGroup | undefined> => {
      const b = new GraphBuilder('net');
      const x = b.input('x', 'float32', ['N', 3, 'H', 'W']);
      const y = conv(b, x, 3, 6);
      const size = (axis: number): Value => b.op.Shape([y], { start: axis, end: axis + 1 });
      const count = channels === 'constant' ? ints(6) : size(1);
      const turned = b.op.Reshape([y, b.op.Concat([size(0), count, size(3), size(2)], { axis: 0 })]);
      b.output('y', conv(b, turned, 6, 2));
      return (await pruningGroups(await b.build()))[0];
    };
    expect((await groupOf('computed'))?.prunable).toBe(true);
    const stuck = await groupOf('constant');
    expect(stuck?.prunable).toBe(false);
    expect(stuck?.obstacles[0]?.reason).toContain('simplify the model first');
  });

  it('refuses to protect what is not there', async () => {
    await expect(pruningGroups(await cnn(), { protect: ['conv9'] })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    });
  });

  it('takes no memory for axes of absurd length', async () => {
    const b = new GraphBuilder('net');
    const x = b.input('x', 'float32', [1, 3, 2 ** 31, 2 ** 31]);
    b.output('y', conv(b, b.op.Relu([conv(b, x, 3, 6)]), 6, 2));
    expect((await pruningGroups(await b.build()))[0]?.prunable).toBe(true);
  });

  it('leaves the model as it was', async () => {
    const model = await cnn();
    const before = model.revision;
    await pruningGroups(model);
    expect(model.revision).toBe(before);
  });
});

describe('removeAll', () => {
  const failure = async (work: Promise<unknown>): Promise<LitheError> => {
    const error: unknown = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!isLitheError(error)) throw new Error('it did not fail', { cause: error });
    return error;
  };

  it('refuses groups of another model, units that do not exist, and to leave nothing', async () => {
    const model = await cnn();
    const groups = await pruningGroups(model);
    const [first] = groups as readonly [PruningGroup];
    const last = groups.at(-1) as PruningGroup;
    const all = Array.from({ length: first.units }, (_, unit) => unit);
    for (const [group, units, message] of [
      [first, [99], 'units 0 to 31'],
      [last, [0], 'it is an output of the model'],
      [first, all, 'Nothing would be left'],
    ] as const) {
      const error = await failure(removeUnits(model.clone(), group, units));
      expect([error.code, error.message]).toEqual(['OPTIONS_INVALID', expect.stringContaining(message)]);
    }
    await removeUnits(model, first, [0]);
    const again = await failure(removeUnits(model, first, [0]));
    expect([again.code, again.message]).toEqual([
      'OPTIONS_INVALID',
      expect.stringContaining('another model'),
    ]);
  });

  it('finds a rule that lies about its operator', async () => {
    // A table in which a repeated axis is as long as before.
    const liar = {
      ...standardAxisRules,
      get: (node: Pick<Node, 'domain' | 'opType'>) =>
        node.opType === 'Tile'
          ? { flow: () => ({ ties: [tie(inputAxis(0, 1), outputAxis(0, 1))] }) }
          : standardAxisRules.get(node),
    };
    const b = new GraphBuilder('net');
    const x = b.input('x', 'float32', [1, 3, 4, 4]);
    const y = b.op.Tile([conv(b, x, 3, 6), ints(1, 2, 1, 1)]);
    b.output('y', b.op.ReduceSum([y, ints(1)]));
    const model = await b.build();
    const [group] = await pruningGroups(model, { rules: liar });
    const error = await failure(
      removeAll(model, [{ group: group as PruningGroup, units: [0] }], { rules: liar }),
    );
    expect([error.code, error.message]).toEqual(['MODEL_INVALID', expect.stringContaining('was to shrink')]);
  });

  it('cuts constants that a node holds, and drops what only served old sizes', async () => {
    const b = new GraphBuilder('net');
    const x = b.input('x', 'float32', ['N', 3, 4, 4]);
    const value = attribute.tensor(normal([6, 3, 1, 1], 1));
    const w = b.graph.addNode({ opType: 'Constant', inputs: [], attributes: { value } }).output();
    const y = b.op.Conv([x, w]);
    const target = b.op.Concat([b.op.Shape([x], { end: 1 }), ints(6), ints(-1)], { axis: 0 });
    b.output('y', b.op.MatMul([normal([2, 6], 3), b.op.Reshape([y, target])]));
    const model = await b.build();
    const [group] = await pruningGroups(model);
    await removeUnits(model, group as PruningGroup, [5]);
    const operators = (graph: Graph): readonly string[] => [...graph.nodes()].map((node) => node.opType);
    expect(operators(model.graph)).not.toContain('Shape');
    expect(y.shape).toEqual(['N', 5, 4, 4]);
    expect(w.shape).toEqual([5, 3, 1, 1]);
  });
});
