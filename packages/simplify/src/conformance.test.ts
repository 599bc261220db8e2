import type { Model } from '@lithe/core';
import { passConformance } from '@lithe/testkit';
import { describe, it } from 'vitest';
import { feedsFor, Net } from '../test/net.ts';
import { simplify } from './index.ts';

/** A small network with something for most rules: normalization, a written-out hard-swish, a gate, a head. */
function network(): Model {
  const net = new Net();
  const x = net.input(['N', 3, 8, 8], 'float32', 'x');
  let last = net.node('Conv', [x, net.weight([8, 3, 3, 3])], { pads: [1, 1, 1, 1] });
  last = net.batchNormalization(last, 8);
  const clipped = net.node('Clip', [net.node('Add', [last, net.scalar(3)]), net.scalar(0), net.scalar(6)]);
  last = net.node('Div', [net.node('Mul', [last, clipped]), net.scalar(6)]);
  last = net.node('Add', [net.node('Mul', [last, net.scalar(0.5, 1)]), net.scalar(0.1, 1)]);
  const gate = net.node('Sigmoid', [net.node('ReduceMean', [last, net.ints(2, 3)])]);
  last = net.node('Add', [last, net.node('Mul', [last, gate])]);
  last = net.node('Conv', [last, net.weight([4, 8, 1, 1])]);
  const pooled = net.node('GlobalAveragePool', [last]);
  const batch = net.node('Slice', [net.node('Shape', [pooled]), net.ints(0), net.ints(1), net.ints(0)]);
  const flat = net.node('Reshape', [pooled, net.node('Concat', [batch, net.ints(-1)], { axis: 0 })]);
  const head = net.node('MatMul', [flat, net.weight([4, 5])]);
  return net.model(net.node('Add', [head, net.weight([5])]));
}

function plain(): Model {
  const net = new Net();
  return net.model(net.node('Relu', [net.input(['N', 3], 'float32', 'x')]));
}

passConformance(
  () => simplify(),
  [
    { name: 'a small network', model: network, feeds: feedsFor(network()) },
    { name: 'a model with nothing to do', model: plain, feeds: feedsFor(plain()) },
  ],
  { describe, it },
);
