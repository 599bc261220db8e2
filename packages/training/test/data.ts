import { type Backend, createRng, GraphBuilder, type Model, Tensor } from '@lithe/core';
import {
  adamW,
  crossEntropy,
  type FitOptions,
  fit,
  layers,
  oneCycleSchedule,
  type SampleTable,
  sampleTable,
} from '@lithe/training';

/** A tiny CNN with everything that training treats apart: BatchNormalization, Dropout, pooling, a shared shape. */
export async function tinyModel(): Promise<Model> {
  const builder = new GraphBuilder('tiny');
  const net = layers(builder, 1);
  let x = builder.input('x', 'float32', ['N', 1, 8, 8]);
  x = net.maxPool(net.relu(net.batchNorm2d(net.conv2d(x, 4, { padding: 1, bias: false }))), 2);
  x = net.relu(net.batchNorm2d(net.conv2d(x, 8, { padding: 1, stride: 2 })));
  x = net.dropout(net.flatten(x), 0.25);
  builder.output('logits', net.linear(x, 4));
  return await builder.build();
}

/**
 * The tiny CNN with convolutions of few channels, of many, depthwise and with strides between, whose weight gradients
 * have forms of their own: for runtimes that are to train all of them.
 */
export async function convolutionsModel(): Promise<Model> {
  const builder = new GraphBuilder('convolutions');
  const net = layers(builder, 1);
  let x = builder.input('x', 'float32', ['N', 1, 8, 8]);
  x = net.maxPool(net.relu(net.batchNorm2d(net.conv2d(x, 4, { padding: 1, bias: false }))), 2);
  x = net.relu(net.conv2d(x, 8, { padding: 1 }));
  x = net.relu(net.conv2d(x, 12, { padding: 1 }));
  x = net.relu(net.conv2d(x, 12, { padding: 1, groups: 12 }));
  x = net.relu(net.batchNorm2d(net.conv2d(x, 16, { padding: 1, stride: 2 })));
  x = net.dropout(net.flatten(x), 0.25);
  builder.output('logits', net.linear(x, 4));
  return await builder.build();
}

/** Noisy images of 8x8 with one bright quarter, the class. */
export function tinyData(count: number): SampleTable {
  const rng = createRng(7);
  const pixels = new Float32Array(count * 64);
  const labels = new BigInt64Array(count);
  for (let image = 0; image < count; image++) {
    const quarter = rng.integer(4);
    labels[image] = BigInt(quarter);
    for (let at = 0; at < 64; at++) {
      const own = (at >> 5) * 2 + ((at >> 2) & 1);
      pixels[image * 64 + at] = rng.normal() + (own === quarter ? 1 : 0);
    }
  }
  return sampleTable({
    inputs: { x: Tensor.from('float32', [count, 1, 8, 8], pixels) },
    targets: { label: Tensor.from('int64', [count], labels) },
  });
}

/** How the tests train it. */
export function tinyOptions(): Omit<FitOptions, 'backend'> {
  return {
    loss: crossEntropy({ logits: 'logits' }),
    optimizer: adamW(),
    learningRate: 0.02,
    schedule: oneCycleSchedule(),
    epochs: 2,
    batchSize: 16,
    seed: 3,
    clipNorm: 1,
  };
}

/** The loss of each step of training a model, the tiny one by default, on some images. */
export async function tinyLosses(
  backend: Backend,
  images: number,
  { model = tinyModel, ...options }: Partial<FitOptions> & { readonly model?: () => Promise<Model> } = {},
): Promise<readonly number[]> {
  const found: number[] = [];
  await fit(await model(), tinyData(images), {
    ...tinyOptions(),
    ...options,
    backend,
    onStep: ({ loss }) => found.push(loss),
  });
  return found;
}

/** All weights of a model as one list of bytes, by name. */
export async function weightBytes(model: Model): Promise<Readonly<Record<string, readonly number[]>>> {
  const bytes: Record<string, readonly number[]> = {};
  for (const { name, initializer } of model.graph.initializers) {
    if (initializer !== undefined) bytes[name] = [...(await initializer.load()).bytes];
  }
  return bytes;
}
