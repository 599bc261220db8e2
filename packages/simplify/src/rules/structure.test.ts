import { attribute, Graph, type Model, Tensor, type Value } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { Net, type PlainAttributes, simplified } from '../../test/net.ts';

/** Operators left of `build(relu(x))` followed by a Softsign, without those two. */
async function left(
  build: (net: Net, x: Value) => Value,
  shape: readonly (number | string)[] = ['N', 3, 4],
): Promise<readonly string[]> {
  const net = new Net();
  const x = net.node('Relu', [net.input(shape)]);
  const { ops } = await simplified(net.model(net.node('Softsign', [build(net, x)])));
  expect([ops[0], ops.at(-1)]).toEqual(['Relu', 'Softsign']);
  return ops.slice(1, -1);
}

describe('operators without effect', () => {
  const gone: Readonly<Record<string, (net: Net, x: Value) => Value>> = {
    Identity: (net, x) => net.node('Identity', [x]),
    'Dropout in inference': (net, x) => net.node('Dropout', [x]),
    'Cast to the same dtype': (net, x) => net.node('Cast', [x], { to: 1 }),
    'Reshape to the same shape': (net, x) => net.node('Reshape', [x, net.ints(0, 3, 4)]),
    'Reshape by zeros': (net, x) => net.node('Reshape', [x, net.ints(0, 0, 0)]),
    'Transpose in order': (net, x) => net.node('Transpose', [x], { perm: [0, 1, 2] }),
    'Pad by nothing': (net, x) => net.node('Pad', [x, net.ints(0, 0, 0, 0, 0, 0)]),
    'Slice of all': (net, x) => net.node('Slice', [x, net.ints(0), net.ints(2 ** 53), net.ints(1)]),
    'Expand to itself': (net, x) => net.node('Expand', [x, net.ints(1, 3, 4)]),
    'Tile once': (net, x) => net.node('Tile', [x, net.ints(1, 1, 1)]),
    'Concat of one': (net, x) => net.node('Concat', [x], { axis: 1 }),
    'Mul by 1, from either side': (net, x) =>
      net.node('Mul', [net.weight([1, 3, 1], [1]), net.node('Mul', [x, net.scalar(1)])]),
    'Div by 1': (net, x) => net.node('Div', [x, net.scalar(1, 1)]),
    'Add of 0 and Sub of 0': (net, x) =>
      net.node('Sub', [net.node('Add', [net.scalar(0), x]), net.weight([4], [0])]),
    'Pow by 1': (net, x) => net.node('Pow', [x, net.scalar(1)]),
    'Clip without bounds': (net, x) => net.node('Clip', [x]),
    'Resize by 1': (net, x) =>
      net.node('Resize', [x, null, net.weight([3], [1])], {
        mode: 'nearest',
        coordinate_transformation_mode: 'asymmetric',
        nearest_mode: 'floor',
      }),
    'Neg of Neg': (net, x) => net.node('Neg', [net.node('Neg', [net.node('Neg', [net.node('Neg', [x])])])]),
    'Relu of Relu': (net, x) => net.node('Relu', [x]),
    'Split into one': (net, x) => net.node('Split', [x], { axis: 0, num_outputs: 1 }),
  };
  for (const [name, build] of Object.entries(gone))
    it(`go: ${name}`, async () => expect(await left(build)).toEqual([]));

  const stay: Readonly<Record<string, (net: Net, x: Value) => Value>> = {
    'Sub from 0': (net, x) => net.node('Sub', [net.scalar(0), x]),
    'Div of 1': (net, x) => net.node('Div', [net.scalar(1), x]),
    'Mul by ones that broadcast': (net, x) => net.node('Mul', [x, net.weight([2, 1, 1, 1], [1])]),
    'Slice backwards': (net, x) =>
      net.node('Slice', [x, net.ints(2), net.ints(-4), net.ints(1), net.ints(-1)]),
    'Tile twice': (net, x) => net.node('Tile', [x, net.ints(1, 2, 1)]),
    'Cast to another dtype': (net, x) => net.node('Cast', [x], { to: 11 }),
    'Mul by 0, which keeps NaN': (net, x) => net.node('Mul', [x, net.scalar(0)]),
  };
  for (const [name, build] of Object.entries(stay))
    it(`stay: ${name}`, async () => expect((await left(build)).length).toBe(1));

  it('stay where a graph output would lose its name', async () => {
    const net = new Net();
    const x = net.input([2]);
    expect((await simplified(net.model(net.node('Identity', [x])))).ops).toEqual(['Identity']);
    const twice = new Net();
    const y = twice.node('Relu', [twice.input([2])]);
    expect((await simplified(twice.model(y, twice.node('Identity', [y])))).ops).toEqual(['Relu', 'Identity']);
  });

  it('stay when the training mode of Dropout is an input', async () => {
    const net = new Net();
    const x = net.node('Relu', [net.input([2])]);
    const mode = net.input([], 'bool');
    net.graph.setInitializer(mode, Tensor.from('bool', [], new Uint8Array([0])));
    const ratio = net.scalar(0.5);
    expect(
      (await simplified(net.model(net.node('Neg', [net.node('Dropout', [x, ratio, mode])])))).ops,
    ).toContain('Dropout');
  });
});

describe('moves in a row', () => {
  it('merge: Reshapes, Transposes, Casts that lose nothing, Slices along other axes', async () => {
    expect(
      await left((net, x) =>
        net.node('Reshape', [net.node('Reshape', [x, net.ints(0, 12)]), net.ints(-1, 6)]),
      ),
    ).toEqual(['Reshape']);
    expect(
      await left((net, x) => net.node('Reshape', [net.node('Unsqueeze', [x, net.ints(0)]), net.ints(-1, 6)])),
    ).toEqual(['Reshape']);
    const turn = (net: Net, x: Value, perm: number[]): Value => net.node('Transpose', [x], { perm });
    expect(await left((net, x) => turn(net, turn(net, x, [1, 2, 0]), [0, 2, 1]))).toEqual(['Transpose']);
    expect(await left((net, x) => turn(net, turn(net, x, [1, 2, 0]), [2, 0, 1]))).toEqual([]);
    expect(await left((net, x) => net.node('Cast', [net.node('Cast', [x], { to: 11 })], { to: 1 }))).toEqual(
      [],
    );
    expect(
      (await left((net, x) => net.node('Cast', [net.node('Cast', [x], { to: 6 })], { to: 1 }))).length,
    ).toBe(2);
    const slice = (net: Net, x: Value, axis: number): Value =>
      net.node('Slice', [x, net.ints(1), net.ints(3), net.ints(axis)]);
    expect(await left((net, x) => slice(net, slice(net, x, 1), 2))).toEqual(['Slice']);
    expect((await left((net, x) => slice(net, slice(net, x, 2), 2))).length).toBe(2);
  });

  it('leave a Reshape whose target copies dims of the one before', async () => {
    expect(
      (
        await left((net, x) =>
          net.node('Reshape', [net.node('Reshape', [x, net.ints(-1, 6)]), net.ints(0, 2, 3)]),
        )
      ).length,
    ).toBe(2);
  });

  it('cancel Transposes across element-wise operators, and only across those', async () => {
    const around = (work: (net: Net, x: Value) => Value) => (net: Net, x: Value) =>
      net.node('Transpose', [work(net, net.node('Transpose', [x], { perm: [0, 2, 1] }))], {
        perm: [0, 2, 1],
      });
    const chain = around((net, x) =>
      net.node('Sigmoid', [net.node('Mul', [net.scalar(2, 1), net.node('Tanh', [x])])]),
    );
    expect(await left(chain)).toEqual(['Tanh', 'Mul', 'Sigmoid']);
    expect(await left(around((net, x) => net.node('Softmax', [x])))).toEqual([
      'Transpose',
      'Softmax',
      'Transpose',
    ]);
    expect(await left(around((net, x) => net.node('Mul', [x, net.weight([3])])))).toEqual([
      'Transpose',
      'Mul',
      'Transpose',
    ]);
  });

  it('sink two equal Transposes below an addition', async () => {
    const both = (perm: number[]) => (net: Net, x: Value) =>
      net.node('Add', [
        net.node('Transpose', [x], { perm: [0, 2, 1] }),
        net.node('Transpose', [net.node('Exp', [x])], { perm }),
      ]);
    expect(await left(both([0, 2, 1]))).toEqual(['Exp', 'Add', 'Transpose']);
    expect((await left(both([1, 2, 0]), [4, 4, 4])).length).toBe(4);
  });
});

describe('padding and pooling', () => {
  const pad = (net: Net, x: Value, fill?: number): Value =>
    net.node(
      'Pad',
      fill === undefined
        ? [x, net.ints(0, 0, 1, 0, 0, 0, 1, 2)]
        : [x, net.ints(0, 0, 1, 0, 0, 0, 1, 2), net.scalar(fill)],
    );
  const image = ['N', 2, 5, 5];

  it('folds a Pad into Conv, AveragePool, and MaxPool of what is never negative', async () => {
    const conv = (net: Net, x: Value): Value =>
      net.node('Conv', [pad(net, x), net.weight([3, 2, 3, 3])], { pads: [1, 0, 0, 1] });
    expect(await left(conv, image)).toEqual(['Conv']);
    const average = (net: Net, x: Value): Value =>
      net.node('AveragePool', [pad(net, x)], { kernel_shape: [3, 3] });
    expect(await left(average, image)).toEqual(['AveragePool']);
    const most = (net: Net, x: Value): Value => net.node('MaxPool', [pad(net, x)], { kernel_shape: [3, 3] });
    expect(await left(most, image)).toEqual(['MaxPool']);
    expect(
      await left(
        (net, x) =>
          net.node('MaxPool', [pad(net, net.node('Neg', [x]), -Infinity)], { kernel_shape: [3, 3] }),
        image,
      ),
    ).toEqual(['Neg', 'MaxPool']);
  });

  it('leaves a Pad by other values, of channels, by reflection, wider than the window, or before a negative maximum', async () => {
    const stays = async (build: (net: Net, x: Value) => Value): Promise<void> =>
      expect(await left(build, image)).toContain('Pad');
    await stays((net, x) => net.node('Conv', [pad(net, x, 1), net.weight([3, 2, 3, 3])]));
    await stays((net, x) =>
      net.node('Conv', [net.node('Pad', [x, net.ints(0, 1, 0, 0, 0, 0, 0, 0)]), net.weight([3, 3, 3, 3])]),
    );
    await stays((net, x) =>
      net.node('Conv', [
        net.node('Pad', [x, net.ints(0, 0, 1, 1, 0, 0, 1, 1)], { mode: 'reflect' }),
        net.weight([3, 2, 3, 3]),
      ]),
    );
    await stays((net, x) => net.node('MaxPool', [pad(net, net.node('Neg', [x]))], { kernel_shape: [3, 3] }));
    await stays((net, x) => net.node('AveragePool', [pad(net, x)], { kernel_shape: [2, 2] }));
    await stays((net, x) =>
      net.node('AveragePool', [pad(net, x)], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
    );
  });

  it('makes a mean over height and width a GlobalAveragePool, and no other mean', async () => {
    const mean =
      (axes: number[], plain: PlainAttributes = {}) =>
      (net: Net, x: Value) =>
        net.node('ReduceMean', [x, net.ints(...axes)], plain);
    expect(await left(mean([-1, 2]), image)).toEqual(['GlobalAveragePool']);
    expect(await left(mean([2, 3], { keepdims: 0 }), image)).toEqual(['ReduceMean']);
    expect(await left(mean([1, 2]), image)).toEqual(['ReduceMean']);
    expect(await left(mean([2]), ['N', 3, 4])).toEqual(['ReduceMean']);
  });
});

describe('products', () => {
  it('make MatMul and a vector one Gemm for matrices only', async () => {
    const biased = (net: Net, x: Value): Value =>
      net.node('Add', [net.weight([5]), net.node('MatMul', [x, net.weight([4, 5])])]);
    expect(await left(biased, ['N', 4])).toEqual(['Gemm']);
    expect(await left(biased, ['N', 3, 4])).toEqual(['MatMul', 'Add']);
    expect(
      await left(
        (net, x) => net.node('Add', [net.node('MatMul', [x, net.weight([4, 5])]), net.weight([2, 5])]),
        [2, 4],
      ),
    ).toEqual(['MatMul', 'Add']);
  });

  it('merge a 1x1 Conv into the Conv before it where that has fewer weights', async () => {
    const two = (middle: number, taps: number) => (net: Net, x: Value) =>
      net.node('Conv', [
        net.node('Conv', [x, net.weight([middle, 4, taps, taps]), net.weight([middle])], {
          pads: taps === 3 ? [1, 1, 1, 1] : [0, 0, 0, 0],
        }),
        net.weight([5, middle, 1, 1]),
        net.weight([5]),
      ]);
    expect(await left(two(8, 3), ['N', 4, 5, 5])).toEqual(['Conv']);
    expect(await left(two(8, 1), ['N', 4, 5, 5])).toEqual(['Conv']);
    expect(await left(two(2, 1), ['N', 4, 5, 5])).toEqual(['Conv', 'Conv']);
  });
});

describe('constants and sizes', () => {
  it('are computed, inside a size limit', async () => {
    const half = (net: Net): Value => net.node('Div', [net.node('Exp', [net.weight([4])]), net.scalar(2)]);
    expect(await left((net, x) => net.node('Mul', [x, half(net)]))).toEqual(['Mul']);
    const wide = (net: Net, x: Value): Value =>
      net.node('Add', [x, net.node('Expand', [net.weight([1, 1, 4]), net.ints(100, 3, 4)])]);
    expect(await left(wide, [100, 3, 4])).toEqual(['Expand', 'Add']);
  });

  it('keep weights that are stored small and expanded in the graph', async () => {
    const net = new Net();
    const codes = net.graph.addInitializer(
      'codes',
      Tensor.from('int8', [64, 64], new Int8Array(4096).fill(3)),
    );
    const weight = net.node('Mul', [net.node('Cast', [codes], { to: 1 }), net.scalar(0.1)]);
    const { ops, report } = await simplified(net.model(net.node('MatMul', [net.input(['N', 64]), weight])));
    expect(ops).toEqual(['Cast', 'Mul', 'MatMul']);
    expect(report.skipped.map((skip) => skip.code)).toContain('fold-constants:larger');
  });

  it('become outputs under their names', async () => {
    const net = new Net();
    const { model } = await simplified(
      net.model(net.node('Exp', [net.weight([2])]), net.node('Relu', [net.input([2])])),
    );
    expect([...model.graph.nodes()].map((node) => node.op).sort()).toEqual(['Constant', 'Relu']);
  });

  it('of shapes are folded where known, and targets of Reshape where all but one are', async () => {
    const flatten = (net: Net, x: Value): Value => {
      const shape = net.node('Shape', [x]);
      const batch = net.node('Slice', [shape, net.ints(0), net.ints(1), net.ints(0)]);
      return net.node('Reshape', [x, net.node('Concat', [batch, net.ints(-1)], { axis: 0 })]);
    };
    expect(await left(flatten, ['N', 3, 4])).toEqual(['Reshape']);
    expect(await left(flatten, ['N', 'C', 'H', 'W'])).toEqual(['Reshape']);
    const open = (net: Net, x: Value): Value => {
      const shape = net.node('Shape', [x]);
      const part = (from: number): Value =>
        net.node('Slice', [shape, net.ints(from), net.ints(from + 1), net.ints(0)]);
      return net.node('Reshape', [x, net.node('Concat', [part(2), part(1), part(0)], { axis: 0 })]);
    };
    expect((await left(open, ['N', 'C', 'H'])).at(-1)).toBe('Reshape');
    expect((await left(open, ['N', 'C', 'H'])).length).toBeGreaterThan(1);
  });

  it('of one index, sliced and squeezed, become a Gather only where the index is surely inside', async () => {
    const pick = (net: Net, x: Value): Value =>
      net.node('Squeeze', [net.node('Slice', [x, net.ints(1), net.ints(2), net.ints(1)]), net.ints(1)]);
    expect(await left(pick, ['N', 3, 4])).toEqual(['Gather']);
    expect(await left(pick, [3, 'N', 4])).toEqual(['Slice', 'Squeeze']);
  });
});

describe('the rest of the graph', () => {
  it('loses dead nodes, unused initializers and optional outputs, and duplicates', async () => {
    const net = new Net();
    const x = net.input(['N', 3]);
    net.weight([5]);
    net.node('Exp', [x]);
    const outputs = [net.node('Neg', [net.node('Relu', [x])]), net.node('Abs', [net.node('Relu', [x])])];
    const { ops, model } = await simplified(net.model(...outputs));
    expect(ops).toEqual(['Relu', 'Neg', 'Abs']);
    expect(model.graph.initializers.size).toBe(0);
  });

  it('keeps duplicates with other attributes, and random numbers', async () => {
    const net = new Net();
    const x = net.input(['N', 3]);
    const outputs = [
      net.node('LeakyRelu', [x], { alpha: { float: 0.1 } }),
      net.node('LeakyRelu', [x], { alpha: { float: 0.2 } }),
    ];
    expect((await simplified(net.model(...outputs))).ops.length).toBe(2);
  });

  it('shares equal constants of equal dtype and shape, but none that an input overrides, and no tiny ones', async () => {
    const net = new Net();
    const x = net.input([32]);
    const numbers = Array.from({ length: 32 }, (_, index) => index + 2);
    const one = net.weight([32], numbers);
    const two = net.weight([32], numbers);
    const other = net.weight([32], [...numbers.slice(1), 99]);
    const overridable = net.input([32]);
    net.graph.setInitializer(overridable, Tensor.from('float32', [32], Float32Array.from(numbers)));
    const products = [one, two, other, overridable].map((item) => net.node('Mul', [x, item]));
    const tiny = [net.scalar(3), net.scalar(3)].map((item) => net.node('Max', [x, item]));
    const { model, ops } = await simplified(
      net.model(...products, net.node('Sub', [tiny[0] as Value, net.node('Neg', [tiny[1] as Value])])),
    );
    expect(
      [...model.graph.initializers].filter((item) => !item.isGraphInput && item.shape?.[0] === 32).length,
    ).toBe(2);
    // Equal tiny constants are not merged, but count as the same where nodes are compared.
    expect(ops.filter((op) => op === 'Max').length).toBe(1);
  });

  it('simplifies the branches of an If, and frees what they captured', async () => {
    const build = (condition: (net: Net) => Value): Model => {
      const net = new Net();
      const x = net.node('Relu', [net.input(['N', 3])]);
      const branch = (name: string, ...ops: string[]): Graph => {
        const inner = new Graph(name, net.graph);
        let last = x;
        for (const opType of ops) last = inner.addNode({ opType, inputs: [last] }).output();
        inner.setOutputs([last]);
        return inner;
      };
      const node = net.graph.addNode({
        opType: 'If',
        inputs: [condition(net)],
        attributes: {
          then_branch: attribute.graph(branch('yes', 'Identity', 'Exp')),
          else_branch: attribute.graph(branch('no', 'Identity', 'Neg', 'Neg', 'Abs')),
        },
      });
      return net.model(node.output());
    };
    const open = await simplified(build((net) => net.input([], 'bool')));
    expect(open.ops).toEqual(['Relu', 'If', 'Exp', 'Abs']);
    const fixed = await simplified(
      build((net) => net.graph.addInitializer('yes', Tensor.from('bool', [], new Uint8Array([1])))),
    );
    expect(fixed.ops).toEqual(['Relu', 'Exp']);
  });

  it('takes the Flatten and Reshape off an old Softmax', async () => {
    const old = (net: Net, x: Value): Value => {
      const flat = net.node('Softmax', [net.node('Flatten', [x], { axis: 2 })]);
      return net.node('Reshape', [flat, net.node('Shape', [x])]);
    };
    expect(await left(old, ['N', 3, 4])).toEqual(['Softmax']);
  });
});
