import { attribute, type Model, type Value } from '@lithe/core';
import { type Author, author, window } from './author.ts';

function convolution(net: Author, x: Value, sizes: { from: number; to: number; kernel: number; stride: number }): Value {
  const { from, to, kernel, stride } = sizes;
  const weight = net.weight([to, from, kernel, kernel], Math.sqrt(2 / (from * kernel * kernel)));
  return net.add('Conv', [x, weight, net.fill(to, 0.01)], window(kernel, stride, (kernel - 1) / 2));
}

function block(net: Author, x: Value, sizes: { from: number; to: number; stride: number }): Value {
  const { from, to, stride } = sizes;
  const first = net.add('Relu', [convolution(net, x, { from, to, kernel: 3, stride })]);
  const second = convolution(net, first, { from: to, to, kernel: 3, stride: 1 });
  const side = from === to ? x : convolution(net, x, { from, to, kernel: 1, stride });
  return net.add('Relu', [net.add('Add', [second, side])]);
}

/**
 * ResNet-18 for inference, batch norms folded (He et al., "Deep Residual Learning for Image Recognition", 2016, table
 * 1), with random weights of He's variance: input `x` `[1, 3, 224, 224]`, output `[1, 1000]`.
 */
export function resnet18(seed = 1): Model {
  const net = author('resnet18', seed);
  let x = net.input('x', [1, 3, 224, 224]);
  x = net.add('Relu', [convolution(net, x, { from: 3, to: 64, kernel: 7, stride: 2 })]);
  x = net.add('MaxPool', [x], window(3, 2, 1));
  let from = 64;
  for (const to of [64, 128, 256, 512]) {
    x = block(net, x, { from, to, stride: to === 64 ? 1 : 2 });
    x = block(net, x, { from: to, to, stride: 1 });
    from = to;
  }
  x = net.add('Flatten', [net.add('GlobalAveragePool', [x])]);
  x = net.add('Gemm', [x, net.weight([1000, 512], Math.sqrt(1 / 512)), net.fill(1000, 0)], { transB: attribute.int(1) });
  return net.model([x]);
}
