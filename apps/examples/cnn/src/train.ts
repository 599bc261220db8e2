import { type Backend, type Model, Tensor, topKAccuracy } from '@lithe/core';
import {
  adamW,
  type CheckpointStore,
  cnn,
  crossEntropy,
  type FitResult,
  fit,
  flip,
  oneCycleSchedule,
  type StepRecord,
  sampleTable,
} from '@lithe/training';
import { type ImageSplit, PIXELS, tensorsOf } from './images.ts';

/** How the CNN is trained. */
export interface TrainImagesOptions {
  /** Runs the training. */
  readonly backend: Backend;
  /** Passes over the images. */
  readonly epochs: number;
  /** Whether images are mirrored at random: clothes may be, digits may not. */
  readonly mirror: boolean;
  /** Images to train on; all by default. */
  readonly count?: number | undefined;
  /** Images to measure on; all by default. */
  readonly testCount?: number | undefined;
  /** Seed of weights and order; 0 by default. */
  readonly seed?: number | undefined;
  /** Where checkpoints go. */
  readonly checkpoint?: CheckpointStore | undefined;
  /** Told after each step. */
  readonly onStep?: ((record: StepRecord) => void) | undefined;
  /** Told after each epoch: a line of text. */
  readonly onLine?: ((line: string) => void) | undefined;
}

/** Trains the CNN. The held-out images are only watched: the weights of the last epoch count, not the best ones. */
export async function trainImages(images: ImageSplit, options: TrainImagesOptions): Promise<FitResult> {
  const { backend, epochs, mirror, seed = 0 } = options;
  const { x, label } = tensorsOf(images.train, options.count);
  const held = tensorsOf(images.test, options.testCount);
  const model = await cnn({ image: [1, 28, 28], seed });
  return await fit(model, sampleTable({ inputs: { x }, targets: { label } }), {
    backend,
    loss: crossEntropy({ logits: 'logits' }),
    optimizer: adamW(),
    learningRate: 0.002,
    schedule: oneCycleSchedule(),
    augment: mirror ? [flip()] : [],
    epochs,
    batchSize: 128,
    seed,
    checkpoint: options.checkpoint,
    checkpointEvery: 100,
    keepBest: false,
    evaluate: (trained) => accuracyOf(trained, backend, held),
    onStep: options.onStep,
    onEpoch: ({ epoch, loss, metric = 0, milliseconds }) =>
      options.onLine?.(
        `epoch ${epoch}: loss ${loss.toFixed(4)}, accuracy ${(metric * 100).toFixed(2)} %, ${(milliseconds / 1000).toFixed(1)} s`,
      ),
  });
}

/** Share of images whose class a model gets right. */
export async function accuracyOf(
  model: Model,
  backend: Backend,
  { x, label }: { readonly x: Tensor<'float32'>; readonly label: Tensor<'int64'> },
): Promise<number> {
  await using executable = await backend.compile(model);
  const count = label.size;
  let right = 0;
  for (let start = 0; start < count; start += 500) {
    const end = Math.min(start + 500, count);
    const batch = Tensor.from(
      'float32',
      [end - start, 1, 28, 28],
      x.data.subarray(start * PIXELS, end * PIXELS),
    );
    const labels = Tensor.from('int64', [end - start], label.data.slice(start, end));
    const { logits } = await executable.run({ x: batch });
    right += topKAccuracy(logits as Tensor, labels) * (end - start);
  }
  return right / count;
}
