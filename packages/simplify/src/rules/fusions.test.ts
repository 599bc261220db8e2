import type { Value } from '@lithe/core';
import { describe, expect, it } from 'vitest';
import { Net, simplified } from '../../test/net.ts';

type Build = (net: Net, x: Value) => Value;

const clip: Build = (net, x) => net.node('Clip', [x, net.scalar(0), net.scalar(6)]);
const minMax: Build = (net, x) => net.node('Min', [net.node('Max', [net.scalar(0), x]), net.scalar(6)]);
const relu6: Build = (net, x) => net.node('Min', [net.node('Relu', [x]), net.scalar(6, 1)]);

async function opsOf(
  build: Build,
  options: Parameters<typeof simplified>[1] = {},
): Promise<readonly string[]> {
  const net = new Net();
  const x = net.node('Tanh', [net.node('Mul', [net.input(['N', 3, 4]), net.input([1])])]);
  return (await simplified(net.model(net.node('Neg', [build(net, x)])), options)).ops.slice(2, -1);
}

describe('hard-swish', () => {
  const middle = [clip, minMax, relu6];
  const spellings: Readonly<Record<string, (inner: Build) => Build>> = {
    'x * clip / 6': (inner) => (net, x) =>
      net.node('Div', [net.node('Mul', [x, inner(net, net.node('Add', [x, net.scalar(3)]))]), net.scalar(6)]),
    'clip * x * (1/6)': (inner) => (net, x) =>
      net.node('Mul', [
        net.scalar(1 / 6),
        net.node('Mul', [inner(net, net.node('Add', [net.scalar(3), x])), x]),
      ]),
    'x * (clip / 6)': (inner) => (net, x) =>
      net.node('Mul', [x, net.node('Div', [inner(net, net.node('Add', [x, net.scalar(3)])), net.scalar(6)])]),
    '(x / 6) * clip': (inner) => (net, x) =>
      net.node('Mul', [net.node('Div', [x, net.scalar(6)]), inner(net, net.node('Add', [x, net.scalar(3)]))]),
  };
  for (const [name, spelling] of Object.entries(spellings)) {
    it(`is recognized as ${name}, with Clip, Min and Max, or Relu`, async () => {
      for (const inner of middle) expect(await opsOf(spelling(inner))).toEqual(['HardSwish']);
    });
  }

  it('is recognized as x * HardSigmoid(x), and only with its own constants', async () => {
    const by =
      (alpha: number): Build =>
      (net, x) =>
        net.node('Mul', [x, net.node('HardSigmoid', [x], { alpha: { float: alpha }, beta: { float: 0.5 } })]);
    expect(await opsOf(by(1 / 6))).toEqual(['HardSwish']);
    expect(await opsOf(by(0.2))).toEqual(['HardSigmoid', 'Mul']);
  });

  it('is left alone below opset 14, where HardSigmoid serves, and with other constants', async () => {
    const spelled = spellings['x * (clip / 6)']?.(clip) as Build;
    expect(await opsOf(spelled, { maxOpset: 13 })).toEqual(['Add', 'Clip', 'Div', 'Mul']);
    const other: Build = (net, x) =>
      net.node('Div', [net.node('Mul', [x, clip(net, net.node('Add', [x, net.scalar(2)]))]), net.scalar(6)]);
    expect(await opsOf(other)).toEqual(['Add', 'Clip', 'Mul', 'Div']);
  });

  it('keeps a middle value that is an output', async () => {
    const net = new Net();
    const x = net.input([4]);
    const inner = clip(net, net.node('Add', [x, net.scalar(3)]));
    const { ops } = await simplified(
      net.model(net.node('Div', [net.node('Mul', [x, inner]), net.scalar(6)]), inner),
    );
    expect(ops).toEqual(['Add', 'Clip', 'Mul', 'Div']);
  });
});

describe('other activations', () => {
  it('fuses HardSigmoid from its spellings', async () => {
    expect(
      await opsOf((net, x) =>
        net.node('Div', [clip(net, net.node('Add', [x, net.scalar(3)])), net.scalar(6)]),
      ),
    ).toEqual(['HardSigmoid']);
    const general: Build = (net, x) => {
      const line = net.node('Add', [net.node('Mul', [x, net.scalar(0.3)]), net.scalar(0.4)]);
      return net.node('Clip', [line, net.scalar(0), net.scalar(1)]);
    };
    expect(await opsOf(general)).toEqual(['HardSigmoid']);
  });

  it('fuses Clip from Min and Max, and not with crossing bounds', async () => {
    const by =
      (low: number, high: number): Build =>
      (net, x) =>
        net.node('Min', [net.node('Max', [x, net.scalar(low)]), net.scalar(high)]);
    expect(await opsOf(by(-0.5, 0.5))).toEqual(['Clip']);
    expect(await opsOf(by(0.5, -0.5))).toEqual(['Max', 'Min']);
    expect(await opsOf((net, x) => relu6(net, x))).toEqual(['Clip']);
  });

  it('fuses Gelu in several orders, by erf and by tanh, and not below opset 20', async () => {
    const phi: Build = (net, x) =>
      net.node('Add', [net.node('Erf', [net.node('Div', [x, net.scalar(Math.SQRT2)])]), net.scalar(1)]);
    const orders: Build[] = [
      (net, x) => net.node('Mul', [net.node('Mul', [x, phi(net, x)]), net.scalar(0.5)]),
      (net, x) => net.node('Mul', [net.node('Mul', [net.scalar(0.5), x]), phi(net, x)]),
      (net, x) => net.node('Mul', [x, net.node('Mul', [phi(net, x), net.scalar(0.5)])]),
    ];
    for (const order of orders) expect(await opsOf(order)).toEqual(['Gelu']);
    expect(await opsOf(orders[0] as Build, { maxOpset: 19 })).toEqual(['Div', 'Erf', 'Add', 'Mul', 'Mul']);
    const tanh: Build = (net, x) => {
      const cube = net.node('Pow', [x, net.scalar(3)]);
      const inner = net.node('Add', [x, net.node('Mul', [net.scalar(0.044715), cube])]);
      const outer = net.node('Add', [
        net.scalar(1),
        net.node('Tanh', [net.node('Mul', [net.scalar(Math.sqrt(2 / Math.PI)), inner])]),
      ]);
      return net.node('Mul', [net.node('Mul', [x, outer]), net.scalar(0.5)]);
    };
    expect(await opsOf(tanh)).toEqual(['Gelu']);
  });

  it('makes a residual of a small gate one multiplication, and leaves a gate that may be negative', async () => {
    for (const gate of ['Sigmoid', 'Tanh']) {
      const net = new Net();
      const x = net.node('Relu', [net.input(['N', 3, 4, 4])]);
      const g = net.node(gate, [net.node('GlobalAveragePool', [x])]);
      const { ops } = await simplified(net.model(net.node('Add', [x, net.node('Mul', [x, g])])));
      expect(ops.slice(3)).toEqual(gate === 'Sigmoid' ? ['Add', 'Mul'] : ['Mul', 'Add']);
    }
  });
});

describe('normalizations', () => {
  const layerNorm = (
    options: {
      readonly square?: 'Pow' | 'Mul';
      readonly axis?: number;
      readonly width?: number;
      readonly reciprocal?: boolean;
    } = {},
  ): Build => {
    const { square = 'Pow', axis = -1, width = 4, reciprocal = false } = options;
    return (net, x) => {
      const centred = net.node('Sub', [x, net.node('ReduceMean', [x, net.ints(axis)])]);
      const squared =
        square === 'Pow' ? net.node('Pow', [centred, net.scalar(2)]) : net.node('Mul', [centred, centred]);
      const deviation = net.node('Sqrt', [
        net.node('Add', [net.node('ReduceMean', [squared, net.ints(axis)]), net.scalar(1e-5)]),
      ]);
      const normal = reciprocal
        ? net.node('Mul', [centred, net.node('Reciprocal', [deviation])])
        : net.node('Div', [centred, deviation]);
      return net.node('Add', [net.node('Mul', [normal, net.weight([width])]), net.weight([width])]);
    };
  };

  it('fuses LayerNormalization in its spellings', async () => {
    for (const options of [{}, { square: 'Mul' }, { reciprocal: true }, { axis: 2 }] as const) {
      expect(await opsOf(layerNorm(options))).toEqual(['LayerNormalization']);
    }
  });

  it('fuses it without a bias too', async () => {
    const net = new Net();
    const x = net.input(['N', 3, 4]);
    const centred = net.node('Sub', [x, net.node('ReduceMean', [x, net.ints(-1)])]);
    const squares = net.node('ReduceMean', [net.node('Pow', [centred, net.scalar(2)]), net.ints(-1)]);
    const normal = net.node('Div', [
      centred,
      net.node('Sqrt', [net.node('Add', [squares, net.scalar(1e-5)])]),
    ]);
    expect((await simplified(net.model(net.node('Mul', [normal, net.weight([4])])))).ops).toEqual([
      'LayerNormalization',
    ]);
  });

  it('leaves other axes, scales of one element, and opsets below 17', async () => {
    expect(await opsOf(layerNorm({ axis: 1 }))).not.toContain('LayerNormalization');
    expect(await opsOf(layerNorm({ width: 1 }))).not.toContain('LayerNormalization');
    expect(await opsOf(layerNorm(), { maxOpset: 16 })).not.toContain('LayerNormalization');
  });

  it('fuses Softmax with its maximum taken off, over one axis only', async () => {
    const softmax =
      (first: number, second: number): Build =>
      (net, x) => {
        const powers = net.node('Exp', [net.node('Sub', [x, net.node('ReduceMax', [x, net.ints(first)])])]);
        return net.node('Div', [powers, net.node('ReduceSum', [powers, net.ints(second)])]);
      };
    expect(await opsOf(softmax(-1, 2))).toEqual(['Softmax']);
    expect(await opsOf(softmax(1, 1))).toEqual(['Softmax']);
    expect(await opsOf(softmax(1, 2))).not.toContain('Softmax');
  });
});
