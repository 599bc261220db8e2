import { Tensor } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { Net, simplified } from '../../test/net.ts';

const codes = (report: { readonly skipped: readonly { readonly code: string }[] }): string[] =>
  report.skipped.map((skip) => skip.code);

describe('folding behind a product', () => {
  it('folds BatchNormalization, Mul, Add, Sub and Div into Conv, grouped and not', async () => {
    for (const group of [1, 2, 4]) {
      const net = new Net();
      const x = net.input(['N', 4, 5, 5]);
      let last = net.node('Conv', [x, net.weight([8, 4 / group, 3, 3]), net.weight([8])], {
        group,
        pads: [1, 1, 1, 1],
      });
      last = net.batchNormalization(last, 8);
      last = net.node('Mul', [net.scalar(0.7, 1), last]);
      last = net.node('Add', [last, net.weight([8, 1, 1])]);
      last = net.node('Sub', [last, net.weight([1, 8, 1, 1])]);
      last = net.node('Div', [last, net.weight([8, 1, 1], [2, 3, 5])]);
      last = net.node('Sub', [net.scalar(1), last]);
      const { ops } = await simplified(net.model(net.node('Relu', [last])));
      expect(ops).toEqual(['Conv', 'Relu']);
    }
  });

  it('folds into ConvTranspose, grouped and not', async () => {
    for (const group of [1, 2]) {
      const net = new Net();
      const x = net.input(['N', 4, 3, 3]);
      const made = net.node('ConvTranspose', [x, net.weight([4, 6 / group, 2, 2])], {
        group,
        strides: [2, 2],
      });
      const last = net.batchNormalization(net.node('Add', [made, net.weight([1, 6, 1, 1])]), 6);
      expect((await simplified(net.model(last))).ops).toEqual(['ConvTranspose']);
    }
  });

  it('folds into Gemm with either layout of the weight', async () => {
    for (const transB of [0, 1]) {
      const net = new Net();
      const x = net.input(['N', 3]);
      const last = net.node('Gemm', [x, net.weight(transB === 1 ? [5, 3] : [3, 5]), net.weight([5])], {
        transB,
      });
      const scaled = net.node('Add', [net.node('Mul', [last, net.weight([5])]), net.weight([1, 5])]);
      expect((await simplified(net.model(net.batchNormalization(scaled, 5)))).ops).toEqual(['Gemm']);
    }
  });

  it('folds a factor into MatMul, also through its bias, and leaves the bias of a stack of matrices', async () => {
    const net = new Net();
    const x = net.input(['N', 4, 3]);
    const biased = net.node('Add', [net.node('MatMul', [x, net.weight([3, 5])]), net.weight([5])]);
    expect((await simplified(net.model(net.node('Mul', [biased, net.scalar(0.25)])))).ops).toEqual([
      'MatMul',
      'Add',
    ]);
  });

  it('leaves a result with other readers, and one that is an output', async () => {
    const net = new Net();
    const x = net.input([1, 2, 4, 4]);
    const made = net.node('Conv', [x, net.weight([2, 2, 1, 1])]);
    const last = net.node('Mul', [made, net.scalar(3)]);
    const { ops, report } = await simplified(net.model(last, made));
    expect(ops).toEqual(['Conv', 'Mul']);
    expect(codes(report)).toContain('fold-affine-after:shared');
  });

  it('is left out by the options skip and only, which know no other names', async () => {
    const build = (): Net => {
      const net = new Net();
      const made = net.node('Conv', [net.input([1, 2, 4, 4]), net.weight([2, 2, 1, 1])]);
      net.model(net.node('Identity', [net.node('Mul', [net.batchNormalization(made, 2), net.scalar(2)])]));
      return net;
    };
    const run = async (options: Parameters<typeof simplified>[1]): Promise<readonly string[]> => {
      const net = build();
      return (await simplified(net.model(...net.graph.outputs), options)).ops;
    };
    expect(await run({})).toEqual(['Conv']);
    expect(await run({ skip: ['fold-affine-after'] })).toEqual(['Conv', 'BatchNormalization', 'Mul']);
    expect(await run({ only: ['fold-affine-after'] })).toEqual(['Conv', 'Identity']);
    expect(await run({ only: [] })).toEqual(['Conv', 'BatchNormalization', 'Mul', 'Identity']);
    await expect(run({ skip: ['fold-afine-after'] })).rejects.toThrow('skip');
  });

  it('leaves a weight that another node reads', async () => {
    const net = new Net();
    const [x, weight] = [net.input([1, 2, 4, 4]), net.weight([2, 2, 1, 1])];
    const left = net.node('Mul', [net.node('Conv', [x, weight]), net.scalar(3)]);
    const right = net.node('Conv', [net.node('Relu', [x]), weight]);
    const { ops } = await simplified(net.model(left, right));
    expect(ops.filter((op) => op === 'Mul')).toEqual(['Mul']);
  });

  it('leaves constants that vary over height and width, that raise the rank, or that an input overrides', async () => {
    const net = new Net();
    const x = net.input([1, 2, 3, 3]);
    const conv = (): ReturnType<Net['node']> => net.node('Conv', [x, net.weight([2, 2, 1, 1])]);
    const overridable = net.input([2, 1, 1]);
    net.graph.setInitializer(overridable, Tensor.from('float32', [2, 1, 1], new Float32Array([2, 3])));
    const outputs = [
      net.node('Mul', [conv(), net.weight([3, 3])]),
      net.node('Mul', [conv(), net.weight([1, 1, 1, 1, 1])]),
      net.node('Mul', [conv(), overridable]),
      net.node('Mul', [conv(), net.input([2, 1, 1])]),
    ];
    const { ops } = await simplified(net.model(...outputs));
    expect(ops.filter((op) => op === 'Mul').length).toBe(4);
  });

  it('leaves factors that are not finite, and divisions by zero', async () => {
    const net = new Net();
    const x = net.input([1, 1, 2, 2]);
    const conv = (): ReturnType<Net['node']> => net.node('Conv', [x, net.weight([1, 1, 1, 1])]);
    const outputs = [
      net.node('Div', [conv(), net.scalar(0)]),
      net.node('Mul', [conv(), net.scalar(Number.POSITIVE_INFINITY)]),
    ];
    expect((await simplified(net.model(...outputs))).ops.filter((op) => op !== 'Conv')).toEqual([
      'Div',
      'Mul',
    ]);
  });
});

describe('folding before a product', () => {
  it('folds a scale into a padded Conv, and a shift only into one without padding', async () => {
    for (const pads of [
      [0, 0, 0, 0],
      [1, 1, 1, 1],
    ]) {
      for (const group of [1, 2]) {
        const net = new Net();
        const relu = net.node('Relu', [net.input(['N', 4, 6, 6])]);
        const scaled = net.node('Mul', [relu, net.weight([4, 1, 1])]);
        const shifted = net.node(
          'Conv',
          [net.node('Add', [scaled, net.weight([4, 1, 1])]), net.weight([6, 4 / group, 3, 3])],
          { group, pads },
        );
        const { ops, report } = await simplified(net.model(shifted), {
          skip: ['affine-to-batch-normalization'],
        });
        if (pads[0] === 0) expect(ops).toEqual(['Relu', 'Conv']);
        else {
          expect(ops).toEqual(['Relu', 'Mul', 'Add', 'Conv']);
          expect(codes(report)).toContain('fold-affine-before:padded');
        }
      }
    }
  });

  it('folds a scale alone into a padded Conv and into ConvTranspose', async () => {
    const net = new Net();
    const relu = net.node('Relu', [net.input(['N', 2, 4, 4])]);
    const padded = net.node(
      'Conv',
      [net.node('Mul', [relu, net.weight([2, 1, 1])]), net.weight([3, 2, 3, 3])],
      { pads: [1, 1, 1, 1] },
    );
    const up = net.node('ConvTranspose', [
      net.node('Div', [padded, net.weight([3, 1, 1], [2, 4, 5])]),
      net.weight([3, 2, 2, 2]),
    ]);
    // The division goes into the Conv before it.
    expect((await simplified(net.model(up))).ops).toEqual(['Relu', 'Conv', 'ConvTranspose']);
  });

  it('folds only when every reader can take it in', async () => {
    const net = new Net();
    const relu = net.node('Relu', [net.input(['N', 2, 4, 4])]);
    const scaled = net.node('Mul', [relu, net.scalar(3)]);
    const conv = (): ReturnType<Net['node']> => net.node('Conv', [scaled, net.weight([2, 2, 1, 1])]);
    const alone = await simplified(net.model(conv(), conv()));
    expect(alone.ops).toEqual(['Relu', 'Conv', 'Conv']);
    const mixed = await simplified(net.model(conv(), net.node('Sigmoid', [scaled])));
    expect(mixed.ops).toContain('Mul');
  });

  it('leaves a constant that broadcasts one channel to many', async () => {
    const net = new Net();
    const relu = net.node('Relu', [net.input(['N', 1, 4, 4])]);
    const spread = net.node('Mul', [relu, net.weight([3, 1, 1])]);
    expect((await simplified(net.model(net.node('Conv', [spread, net.weight([2, 3, 1, 1])])))).ops).toEqual([
      'Relu',
      'Mul',
      'Conv',
    ]);
  });

  it('makes what is left between convolutions one BatchNormalization, when that does not make the model larger', async () => {
    const build = (spare: number): Net => {
      const net = new Net();
      const first = net.node('HardSwish', [
        net.node('Conv', [net.input(['N', 3, 8, 8]), net.weight([8, 3, 1, 1])]),
      ]);
      // Dead weight, so that there is room to grow again.
      net.node('Relu', [net.weight([spare])]);
      const shifted = net.node('Add', [net.node('Mul', [first, net.scalar(0.5, 1)]), net.scalar(-0.25, 1)]);
      net.model(net.node('Conv', [shifted, net.weight([8, 1, 3, 3])], { group: 8, pads: [1, 1, 1, 1] }));
      return net;
    };
    const roomy = build(800);
    expect((await simplified(roomy.model(...roomy.graph.outputs))).ops).toEqual([
      'Conv',
      'HardSwish',
      'BatchNormalization',
      'Conv',
    ]);
    const tight = build(1);
    const { ops, report } = await simplified(tight.model(...tight.graph.outputs));
    expect(ops).toEqual(['Conv', 'HardSwish', 'Mul', 'Add', 'Conv']);
    expect(codes(report)).toContain('affine-to-batch-normalization:larger');
  });
});
