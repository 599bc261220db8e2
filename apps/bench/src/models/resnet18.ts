import { GraphBuilder, type Model, type Value } from '@lithe/core';
import { seededWeights, type Weights } from './weights.ts';

interface Convolution {
  readonly from: number;
  readonly to: number;
  readonly kernel: number;
  readonly stride: number;
}

function convolution(b: GraphBuilder, weights: Weights, x: Value, sizes: Convolution): Value {
  const { from, to, kernel, stride } = sizes;
  const pad = (kernel - 1) / 2;
  const weight = weights.normal([to, from, kernel, kernel], Math.sqrt(2 / (from * kernel * kernel)));
  return b.op.Conv([x, weight, weights.fill(to, 0.01)], {
    kernel_shape: [kernel, kernel],
    strides: [stride, stride],
    pads: [pad, pad, pad, pad],
  });
}

function block(
  b: GraphBuilder,
  weights: Weights,
  x: Value,
  sizes: { readonly from: number; readonly to: number; readonly stride: number },
): Value {
  const { from, to, stride } = sizes;
  const first = b.op.Relu([convolution(b, weights, x, { from, to, kernel: 3, stride })]);
  const second = convolution(b, weights, first, { from: to, to, kernel: 3, stride: 1 });
  const side = from === to ? x : convolution(b, weights, x, { from, to, kernel: 1, stride });
  return b.op.Relu([b.op.Add([second, side])]);
}

/**
 * ResNet-18 for inference, batch norms folded (He et al., "Deep Residual Learning for Image Recognition", 2016, table
 * 1), with random weights of He's variance: input `x` `[1, 3, 224, 224]`, output `[1, 1000]`.
 */
export async function resnet18(seed = 1): Promise<Model> {
  const b = new GraphBuilder('resnet18');
  const weights = seededWeights(b, seed);
  let x = b.input('x', 'float32', [1, 3, 224, 224]);
  x = b.op.Relu([convolution(b, weights, x, { from: 3, to: 64, kernel: 7, stride: 2 })]);
  x = b.op.MaxPool([x], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] });
  let from = 64;
  for (const to of [64, 128, 256, 512]) {
    x = block(b, weights, x, { from, to, stride: to === 64 ? 1 : 2 });
    x = block(b, weights, x, { from: to, to, stride: 1 });
    from = to;
  }
  const features = b.op.Flatten([b.op.GlobalAveragePool([x])]);
  const classifier = weights.normal([1000, 512], Math.sqrt(1 / 512));
  b.output('scores', b.op.Gemm([features, classifier, weights.fill(1000, 0)], { transB: true }));
  return b.build();
}
