import { GraphBuilder, type Model, type Value } from '@lithe/core';
import { kaimingNormal, truncatedNormal } from './initializer.ts';
import { int64s, knownDim } from './layer-scope.ts';
import { type Layers, layers } from './layers.ts';

/** What every ready network takes. */
export interface NetworkOptions {
  /** Number of classes; 10 by default. */
  readonly classes?: number | undefined;
  /** Seed of the weights; 0 by default. */
  readonly seed?: number | undefined;
}

/** Options of networks that look at images. */
export interface ImageNetworkOptions extends NetworkOptions {
  /** Channels, height and width of an image; `[3, 32, 32]` by default. */
  readonly image?: readonly [channels: number, height: number, width: number] | undefined;
}

async function imageNetwork(
  name: string,
  options: ImageNetworkOptions,
  body: (net: Layers, x: Value) => Value,
): Promise<Model> {
  const { classes = 10, image = [3, 32, 32], seed = 0 } = options;
  const builder = new GraphBuilder(name);
  const net = layers(builder, seed);
  const x = builder.input('x', 'float32', ['N', ...image]);
  builder.output('logits', net.linear(body(net, x), classes, { name: 'classifier' }));
  return await builder.build();
}

/**
 * The small CNN: conv 32, pool, conv 64, pool, linear 128, linear to the classes, ReLU between them. Input `x`
 * `[N, …image]`, output `logits` `[N, classes]`.
 */
export function cnn(options: ImageNetworkOptions = {}): Promise<Model> {
  return imageNetwork('cnn', options, (net, x) => {
    const block = (value: Value, filters: number): Value =>
      net.maxPool(net.relu(net.conv2d(value, filters, { padding: 1 })), 2);
    return net.relu(net.linear(net.flatten(block(block(x, 32), 64)), 128));
  });
}

/** A basic residual block: two 3x3 convolutions beside a shortcut. */
function residual(net: Layers, x: Value, filters: number, stride: number): Value {
  const convolution = { padding: 1, bias: false };
  let y = net.relu(net.batchNorm2d(net.conv2d(x, filters, { ...convolution, stride })));
  y = net.batchNorm2d(net.conv2d(y, filters, convolution));
  const same = stride === 1 && knownDim(x, 1, 'residual') === filters;
  const shortcut = same ? x : net.batchNorm2d(net.conv2d(x, filters, { kernel: 1, stride, bias: false }));
  return net.relu(net.add(y, shortcut));
}

/** The residual networks for small images (He et al., "Deep Residual Learning", 2016, section 4.2), shortcuts by projection where sizes change. */
function resnet(depth: 20 | 56, options: ImageNetworkOptions): Promise<Model> {
  return imageNetwork(`resnet${depth}`, options, (net, input) => {
    let x = net.relu(net.batchNorm2d(net.conv2d(input, 16, { padding: 1, bias: false })));
    for (const [stage, filters] of [16, 32, 64].entries()) {
      for (let block = 0; block < (depth - 2) / 6; block++)
        x = residual(net, x, filters, stage > 0 && block === 0 ? 2 : 1);
    }
    return net.globalAveragePool(x);
  });
}

/** ResNet-20 for small images: input `x` `[N, …image]`, output `logits` `[N, classes]`, 0.27 million weights. */
export function resnet20(options: ImageNetworkOptions = {}): Promise<Model> {
  return resnet(20, options);
}

/** ResNet-56 for small images: input `x` `[N, …image]`, output `logits` `[N, classes]`, 0.86 million weights. */
export function resnet56(options: ImageNetworkOptions = {}): Promise<Model> {
  return resnet(56, options);
}

/** Options of {@link mobileNetV2}. */
export interface MobileNetOptions extends ImageNetworkOptions {
  /** Factor on the channels of every layer, rounded to multiples of 8; 1 by default. */
  readonly width?: number | undefined;
  /** Share of features dropped before the classifier; 0.2 by default. */
  readonly dropout?: number | undefined;
}

/** Expansion, filters, blocks, stride of each stage (table 2 of the paper). */
const mobileStages = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

/**
 * MobileNetV2 (Sandler et al., "Inverted Residuals and Linear Bottlenecks", 2018). Input `x` `[N, …image]`, images of
 * 224 pixels by default; output `logits` `[N, classes]`.
 */
export function mobileNetV2(options: MobileNetOptions = {}): Promise<Model> {
  const { width = 1, dropout = 0.2, image = [3, 224, 224] } = options;
  const rounded = (filters: number): number => Math.max(8, Math.round((filters * width) / 8) * 8);
  return imageNetwork('mobilenet-v2', { ...options, image }, (net, input) => {
    const initializer = kaimingNormal({ fan: 'out' });
    const step = (
      x: Value,
      filters: number,
      rest: { kernel: number; stride?: number; groups?: number },
    ): Value =>
      net.batchNorm2d(
        net.conv2d(x, filters, { ...rest, padding: (rest.kernel - 1) / 2, bias: false, initializer }),
      );
    let x = net.relu6(step(input, rounded(32), { kernel: 3, stride: 2 }));
    for (const [expansion, base, blocks, firstStride] of mobileStages) {
      const filters = rounded(base);
      for (let block = 0; block < blocks; block++) {
        const channels = knownDim(x, 1, 'mobileNetV2');
        const stride = block === 0 ? firstStride : 1;
        const hidden = channels * expansion;
        let y = expansion === 1 ? x : net.relu6(step(x, hidden, { kernel: 1 }));
        y = net.relu6(step(y, hidden, { kernel: 3, stride, groups: hidden }));
        y = step(y, filters, { kernel: 1 });
        x = stride === 1 && channels === filters ? net.add(x, y) : y;
      }
    }
    x = net.relu6(step(x, Math.max(1280, rounded(1280)), { kernel: 1 }));
    return net.dropout(net.globalAveragePool(x), dropout);
  });
}

/** Options of {@link mlp}. */
export interface MlpOptions extends NetworkOptions {
  /** Numbers per sample; 784 by default. */
  readonly inputs?: number | undefined;
  /** Sizes of the hidden layers; `[512, 512]` by default. */
  readonly hidden?: readonly number[] | undefined;
}

/** Linear layers with ReLU between them. Input `x` `[N, inputs]`, output `logits` `[N, classes]`. */
export async function mlp(options: MlpOptions = {}): Promise<Model> {
  const { inputs = 784, hidden = [512, 512], classes = 10, seed = 0 } = options;
  const builder = new GraphBuilder('mlp');
  const net = layers(builder, seed);
  let x = builder.input('x', 'float32', ['N', inputs]);
  for (const features of hidden) x = net.relu(net.linear(x, features));
  builder.output('logits', net.linear(x, classes, { name: 'classifier' }));
  return await builder.build();
}

/** Options of {@link transformerEncoder}. */
export interface TransformerOptions extends NetworkOptions {
  /** Number of different tokens; 1000 by default. */
  readonly vocabulary?: number | undefined;
  /** Tokens per sample; 64 by default. */
  readonly length?: number | undefined;
  /** Blocks; 4 by default. */
  readonly depth?: number | undefined;
  /** Features per token; 128 by default. */
  readonly width?: number | undefined;
  /** Heads of attention; 4 by default. */
  readonly heads?: number | undefined;
  /** Share of each branch's output dropped while training; 0 by default. */
  readonly dropout?: number | undefined;
}

/**
 * A transformer encoder with normalization before each branch (Xiong et al., "On Layer Normalization in the
 * Transformer Architecture", 2020), learned positions, and a classifier over the mean of the tokens. Input `tokens`
 * int64 `[N, length]`, output `logits` `[N, classes]`.
 */
export async function transformerEncoder(options: TransformerOptions = {}): Promise<Model> {
  const {
    vocabulary = 1000,
    length = 64,
    depth = 4,
    width = 128,
    heads = 4,
    dropout = 0,
    classes = 10,
    seed = 0,
  } = options;
  const builder = new GraphBuilder('transformer-encoder');
  const net = layers(builder, seed);
  const initializer = truncatedNormal();
  const tokens = builder.input('tokens', 'int64', ['N', length]);
  const every = builder.constant('every', int64s(Array.from({ length }, (_, index) => index)));
  let x = net.add(
    net.embedding(tokens, vocabulary, width),
    net.embedding(every, length, width, { name: 'position' }),
  );
  for (let block = 0; block < depth; block++) {
    x = net.add(x, net.dropout(net.multiHeadAttention(net.layerNorm(x), heads), dropout));
    const hidden = net.gelu(net.linear(net.layerNorm(x), 4 * width, { initializer }));
    x = net.add(x, net.dropout(net.linear(hidden, width, { initializer }), dropout));
  }
  const mean = builder.op.ReduceMean([net.layerNorm(x), int64s([1])], { keepdims: false });
  builder.output('logits', net.linear(mean, classes, { name: 'classifier', initializer }));
  return await builder.build();
}
