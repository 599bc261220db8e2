import type { Value } from '@lithe/core';
import fc from 'fast-check';
import { it } from 'vitest';
import { Net, simplified } from '../../test/net.ts';

/** One step of a random graph: picks values made so far and adds to them. All values are [1, 4, 5, 5]. */
type Step = readonly [kind: number, first: number, second: number, variant: number];

const CHANNELS = 4;

function constantFor(net: Net, variant: number): Value {
  const shapes = [[], [1], [CHANNELS, 1, 1], [1, CHANNELS, 1, 1], [5, 5], [1, 1, 1, 1]] as const;
  const numbers = [[0.5], [2], [0.6, 0.8, 1.25, 1.5], [1], [0], [3]] as const;
  return net.weight(
    shapes[variant % shapes.length] ?? [],
    numbers[Math.floor(variant / 6) % numbers.length] ?? [1],
  );
}

function convolution(net: Net, x: Value, variant: number): Value {
  const taps = variant % 2 === 0 ? 1 : 3;
  const pad = (taps - 1) / 2;
  const group = [1, 2, 4][variant % 3] ?? 1;
  const inputs = [
    x,
    net.weight([CHANNELS, CHANNELS / group, taps, taps]),
    variant % 5 < 3 ? net.weight([CHANNELS]) : null,
  ];
  return net.node('Conv', inputs, { group, pads: [pad, pad, pad, pad] });
}

function spelled(net: Net, x: Value, variant: number): Value {
  const shifted = net.node('Clip', [net.node('Add', [x, net.scalar(3)]), net.scalar(0), net.scalar(6)]);
  if (variant % 3 === 0) return net.node('Div', [shifted, net.scalar(6)]);
  return net.node('Div', [net.node('Mul', [x, shifted]), net.scalar(6)]);
}

function apply(net: Net, values: readonly Value[], [kind, first, second, variant]: Step): Value {
  const x = values[first % values.length] as Value;
  const y = values[second % values.length] as Value;
  const unary = ['Relu', 'Neg', 'Sigmoid', 'Identity', 'Tanh', 'Abs', 'HardSigmoid', 'Dropout'];
  const binary = ['Add', 'Mul', 'Sub', 'Div'];
  switch (kind % 11) {
    case 0:
      return net.node(unary[variant % unary.length] ?? 'Relu', [x]);
    case 1:
      return net.node(['Add', 'Mul', 'Sub', 'Max'][variant % 4] ?? 'Add', [x, y]);
    case 2:
      return net.node(binary[variant % 3] ?? 'Add', [constantFor(net, variant), x]);
    case 3:
      return net.node(binary[variant % 4] ?? 'Add', [
        x,
        constantFor(net, variant % 4 === 3 ? 12 + (variant % 12) : variant),
      ]);
    case 4:
      return convolution(net, x, variant);
    case 5:
      return net.batchNormalization(x, CHANNELS);
    case 6:
      return spelled(net, x, variant);
    case 7:
      return net.node('Transpose', [net.node('Tanh', [net.node('Transpose', [x], { perm: [0, 1, 3, 2] })])], {
        perm: [0, 1, 3, 2],
      });
    case 8:
      return net.node('Reshape', [net.node('Reshape', [x, net.ints(0, -1)]), net.ints(1, 4, 5, 5)]);
    case 9: {
      const padded = net.node('Pad', [x, net.ints(0, 0, 1, 1, 0, 0, 1, 1)]);
      return net.node('Conv', [padded, net.weight([CHANNELS, CHANNELS, 3, 3])]);
    }
    default: {
      const gate = net.node('Sigmoid', [net.node('ReduceMean', [x, net.ints(2, 3)])]);
      return net.node('Add', [x, net.node('Mul', [x, gate])]);
    }
  }
}

it('keeps the outputs of random graphs, is idempotent, and never adds a node', async () => {
  const step = fc.tuple(fc.nat(10), fc.nat(20), fc.nat(20), fc.nat(71)) as fc.Arbitrary<Step>;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), fc.nat(3), async (steps, extra) => {
      const net = new Net();
      const values: Value[] = [net.input([1, CHANNELS, 5, 5], 'float32', 'x')];
      for (const item of steps) values.push(apply(net, values, item));
      // The last value, and one in the middle that must keep its name and its readers.
      const outputs = new Set([values.at(-1) as Value, values[1 + (extra % (values.length - 1))] as Value]);
      await simplified(net.model(...outputs), {}, 1e-4);
    }),
    { seed: 20240607, numRuns: 150 },
  );
}, 60_000);
