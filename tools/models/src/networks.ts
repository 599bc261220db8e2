import { GraphBuilder, type Model, type Value } from '@lithe/core';
import { cnn, type Layers, layers, resnet20 } from '@lithe/training';

/** The trained networks. Each takes `x` float32 `[N, 1, 28, 28]` and gives `logits` `[N, 10]`. */
export type TrainedName = 'fashion-cnn' | 'fashion-mobilenet-v2' | 'fashion-resnet';

/** Untrained networks by name. */
export const networks: Readonly<Record<TrainedName, (seed: number) => Promise<Model>>> = {
  'fashion-cnn': (seed) => cnn({ image: [1, 28, 28], seed }),
  'fashion-mobilenet-v2': smallMobileNetV2,
  'fashion-resnet': (seed) => resnet20({ image: [1, 28, 28], seed }),
};

/** Expansion, filters, stride of each inverted residual block. */
const blocks = [
  [1, 16, 1],
  [4, 24, 2],
  [4, 24, 1],
  [4, 40, 2],
  [4, 40, 1],
  [4, 64, 1],
] as const;

/**
 * Inverted residuals with linear bottlenecks (Sandler et al., "MobileNetV2", 2018, section 3), for images of 28
 * pixels: the blocks and the ReLU6 of the paper with fewer of them, and smaller strides.
 */
async function smallMobileNetV2(seed: number): Promise<Model> {
  const builder = new GraphBuilder('fashion-mobilenet-v2');
  const net = layers(builder, seed);
  let x = builder.input('x', 'float32', ['N', 1, 28, 28]);
  x = net.relu6(net.batchNorm2d(net.conv2d(x, 16, { kernel: 3, stride: 2, padding: 1, bias: false })));
  let channels = 16;
  for (const [expansion, filters, stride] of blocks) {
    x = invertedResidual(net, x, { channels, expansion, filters, stride });
    channels = filters;
  }
  x = net.relu6(net.batchNorm2d(net.conv2d(x, 256, { kernel: 1, padding: 0, bias: false })));
  builder.output('logits', net.linear(net.globalAveragePool(x), 10, { name: 'classifier' }));
  return await builder.build();
}

function invertedResidual(
  net: Layers,
  x: Value,
  form: {
    readonly channels: number;
    readonly expansion: number;
    readonly filters: number;
    readonly stride: number;
  },
): Value {
  const { channels, expansion, filters, stride } = form;
  const hidden = channels * expansion;
  const pointwise = { kernel: 1, padding: 0, bias: false };
  let y = expansion === 1 ? x : net.relu6(net.batchNorm2d(net.conv2d(x, hidden, pointwise)));
  y = net.relu6(
    net.batchNorm2d(net.conv2d(y, hidden, { kernel: 3, stride, padding: 1, groups: hidden, bias: false })),
  );
  y = net.batchNorm2d(net.conv2d(y, filters, pointwise));
  return stride === 1 && channels === filters ? net.add(x, y) : y;
}
