import { float16Compute, foldableWeights, staticInt8, weightOnly } from '@lithe/quantization';
import { expect, it } from 'vitest';
import { net, operators } from './net.ts';
import { apply } from './support.ts';

/** Two products, and a third that reads the weight of the second. */
function products() {
  const n = net();
  const shared = n.weight([64, 64]);
  const first = n.add('MatMul', [n.input('x', [2, 64]), n.weight([64, 64])]);
  const second = n.add('MatMul', [first, shared]);
  return n.model(n.add('MatMul', [second, shared]));
}

it.each([
  ['foldable weights', foldableWeights, 'Cast', 1],
  ['blocks that DequantizeLinear expands', weightOnly, 'DequantizeLinear', 1],
  ['blocks of MatMulNBits', weightOnly, 'MatMulNBits', 2],
] as const)('%s leave the weights of excluded nodes as they are', async (_, pass, operator, left) => {
  const format = operator === 'DequantizeLinear' ? { format: 'dequantize-linear' as const } : {};
  const names = [...products().graph.nodes()].map((node) => node.name);
  const all = await apply(products(), pass({ ...format }));
  expect(operators(all.model)[operator]).toBe(operator === 'MatMulNBits' ? 3 : 2);
  const some = await apply(products(), pass({ ...format, exclude: [names[2] as string] }));
  expect(operators(some.model)[operator]).toBe(left);
  expect(some.report.skipped).toContainEqual(expect.objectContaining({ code: 'excluded' }));
  const none = await apply(products(), pass({ ...format, exclude: names }));
  expect(none.report.changed).toBe(false);
});

it.each([
  ['foldable weights', foldableWeights],
  ['blocks of weights', weightOnly],
  ['static quantization', staticInt8],
  ['computing in float16', float16Compute],
] as const)('%s report names that no node has', async (_, pass) => {
  const [name] = [...products().graph.nodes()].map((node) => node.name);
  const exclude = [name as string, 'no-such-node'];
  const stats = { version: 1, samples: 1, source: 'none', tensors: {} } as const;
  const step = pass === staticInt8 ? staticInt8({ exclude, stats }) : pass({ exclude });
  const { report } = await apply(products(), step);
  expect(report.skipped.filter(({ code }) => code === 'not-found')).toEqual([
    expect.objectContaining({ target: 'no-such-node', reason: expect.stringContaining('"exclude"') }),
  ]);
});
