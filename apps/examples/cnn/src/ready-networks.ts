import { parseArgs } from 'node:util';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { type Backend, type Model, Tensor, topKAccuracy } from '@lithe/core';
import {
  adamW,
  type CheckpointingOptions,
  cnn,
  crossEntropy,
  fit,
  type MixedPrecisionOptions,
  mobileNetV2,
  oneCycleSchedule,
  resnet56,
  type StepRecord,
  sampleTable,
  transformerEncoder,
} from '@lithe/training';
import { type ImageSplit, type LabelledImages, loadImages, PIXELS, tensorsOf } from './images.ts';

/** The networks that `@lithe/training` has ready, of a size for images of 28 pixels. */
export const readyNetworks: Readonly<Record<ReadyName, ReadyNetwork>> = {
  cnn: { make: (seed) => cnn({ image: [1, 28, 28], seed }), learningRate: 0.002 },
  mobilenet: { make: (seed) => mobileNetV2({ image: [1, 28, 28], width: 0.25, seed }), learningRate: 0.005 },
  resnet56: { make: (seed) => resnet56({ image: [1, 28, 28], seed }), learningRate: 0.005 },
  transformer: {
    make: (seed) => transformerEncoder({ vocabulary: LEVELS, length: TOKENS, depth: 2, width: 64, seed }),
    learningRate: 0.002,
    tokens: true,
  },
};

/** Their names. */
export type ReadyName = 'cnn' | 'mobilenet' | 'resnet56' | 'transformer';

/** One of them. */
export interface ReadyNetwork {
  /** Makes it. */
  make(seed: number): Promise<Model>;
  /** Largest learning rate. */
  readonly learningRate: number;
  /** Whether it reads an image as 49 tokens, the grey of squares of 4 pixels. */
  readonly tokens?: boolean;
}

/** Tokens per image: 7 rows of 7 squares. */
const TOKENS = 49;

/** Shades of grey. */
const LEVELS = 32;

/** How a network is trained. */
export interface ReadyOptions {
  /** Which. */
  readonly name: ReadyName;
  /** Runs the training. */
  readonly backend: Backend;
  /** Images to train on, from the first. */
  readonly count: number;
  /** Images to measure on. */
  readonly testCount: number;
  /** Passes over the images; 1 by default. */
  readonly epochs?: number | undefined;
  /** Images per step; 64 by default. */
  readonly batchSize?: number | undefined;
  /** Seed of weights and order; 0 by default. */
  readonly seed?: number | undefined;
  /** See `FitOptions`. */
  readonly mixedPrecision?: boolean | MixedPrecisionOptions | undefined;
  /** See `FitOptions`. */
  readonly checkpointing?: boolean | CheckpointingOptions | undefined;
  /** Told after each step. */
  readonly onStep?: ((record: StepRecord) => void) | undefined;
}

/** What came out. */
export interface ReadyResult {
  /** Loss of each step. */
  readonly losses: readonly number[];
  /** Share of the held-out images whose class is right. */
  readonly accuracy: number;
  /** Steps that were skipped because a gradient was not finite. */
  readonly skipped: number;
}

/** Trains one of the networks on real images. */
export async function trainReady(images: ImageSplit, options: ReadyOptions): Promise<ReadyResult> {
  const { name, backend, epochs = 1, batchSize = 64, seed = 0 } = options;
  const { make, learningRate, tokens = false } = readyNetworks[name];
  const { label } = tensorsOf(images.train, options.count);
  const inputs = inputsOf(images.train, options.count, tokens);
  const losses: number[] = [];
  let skipped = 0;
  const { model } = await fit(await make(seed), sampleTable({ inputs, targets: { label } }), {
    backend,
    loss: crossEntropy({ logits: 'logits' }),
    optimizer: adamW(),
    learningRate,
    schedule: oneCycleSchedule(),
    clipNorm: 1,
    epochs,
    batchSize,
    seed,
    mixedPrecision: options.mixedPrecision,
    checkpointing: options.checkpointing,
    onStep: (record) => {
      losses.push(record.loss);
      if (record.skipped === true) skipped++;
      options.onStep?.(record);
    },
  });
  return {
    losses,
    skipped,
    accuracy: await accuracyOn(model, backend, { images: images.test, count: options.testCount, tokens }),
  };
}

function inputsOf(images: LabelledImages, count: number, tokens: boolean): Readonly<Record<string, Tensor>> {
  return tokens ? { tokens: tokensOf(images, count) } : { x: tensorsOf(images, count).x };
}

/** Images as tokens, int64 `[count, 49]`: the mean of each square of 4 pixels, in 32 shades. */
function tokensOf({ pixels }: LabelledImages, count: number): Tensor<'int64'> {
  const numbers = new BigInt64Array(count * TOKENS);
  for (let token = 0; token < numbers.length; token++) {
    const square = token % TOKENS;
    const corner = Math.floor(token / TOKENS) * PIXELS + Math.floor(square / 7) * 4 * 28 + (square % 7) * 4;
    let sum = 0;
    for (let at = 0; at < 16; at++) sum += pixels[corner + Math.floor(at / 4) * 28 + (at % 4)] ?? 0;
    numbers[token] = BigInt(Math.floor((sum / 16 / 256) * LEVELS));
  }
  return Tensor.from('int64', [count, TOKENS], numbers);
}

async function accuracyOn(
  model: Model,
  backend: Backend,
  {
    images,
    count,
    tokens,
  }: { readonly images: LabelledImages; readonly count: number; readonly tokens: boolean },
): Promise<number> {
  await using executable = await backend.compile(model);
  let right = 0;
  for (let start = 0; start < count; start += 500) {
    const size = Math.min(500, count - start);
    const part = {
      pixels: images.pixels.subarray(start * PIXELS),
      labels: images.labels.subarray(start, start + size),
    };
    const { logits } = await executable.run(inputsOf(part, size, tokens));
    right += topKAccuracy(logits as Tensor, tensorsOf(part, size).label) * size;
  }
  return right / count;
}

/**
 * Trains the ready networks on real images for a short while and prints losses and accuracy. Words pick networks (`cnn`,
 * `mobilenet`, `resnet56`, `transformer`); `--set fashion|mnist`, `--count 20000`, `--epochs 1`, `--batch 64`, `--threads
 * 2`, `--test 10000`, `--seed 0`, `--mixed` for mixed precision, `--checkpointing`.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      set: { type: 'string', default: 'fashion' },
      count: { type: 'string', default: '20000' },
      test: { type: 'string', default: '10000' },
      epochs: { type: 'string', default: '1' },
      batch: { type: 'string', default: '64' },
      threads: { type: 'string', default: '2' },
      seed: { type: 'string', default: '0' },
      mixed: { type: 'boolean', default: false },
      checkpointing: { type: 'boolean', default: false },
    },
  });
  const images = await loadImages(values.set === 'mnist' ? 'mnist' : 'fashion');
  await using backend = await onnxruntimeNode({ threads: Number(values.threads) });
  for (const name of Object.keys(readyNetworks) as ReadyName[]) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    const { losses, accuracy, skipped } = await trainReady(images, {
      name,
      backend,
      count: Number(values.count),
      testCount: Number(values.test),
      epochs: Number(values.epochs),
      batchSize: Number(values.batch),
      seed: Number(values.seed),
      mixedPrecision: values.mixed,
      checkpointing: values.checkpointing,
      onStep: ({ step, steps, loss, lossScale, skipped: lost }) => {
        if (step % 50 !== 0 && lost !== true) return;
        const scale =
          lossScale === undefined ? '' : `, loss scale ${lossScale}${lost === true ? ', skipped' : ''}`;
        process.stderr.write(`${name}: step ${step} of ${steps}, loss ${loss.toFixed(3)}${scale}\n`);
      },
    });
    const mean = (part: readonly number[]): string =>
      (part.reduce((sum, loss) => sum + loss, 0) / part.length).toFixed(3);
    process.stdout.write(
      `${name} on ${values.set}: loss ${mean(losses.slice(0, 10))} in the first ten steps, ${mean(losses.slice(-10))} in the last ten of ${losses.length}; accuracy ${(accuracy * 100).toFixed(2)} % on ${values.test} held-out images${skipped > 0 ? `; ${skipped} steps skipped` : ''}\n`,
    );
  }
  return 0;
}
