import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { nodeCpuTarget, onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { arrayDataset, type Backend, type Dataset, type Model, optimize, type PassStep } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import {
  type AwareTrainingOptions,
  quantizationAware,
  quantizationAwareTraining,
  type StaticInt8Options,
  staticInt8,
} from '@lithe/quantization';
import { simplify } from '@lithe/simplify';
import { fileCheckpoints } from '@lithe/training/node';
import {
  accuracyOn,
  type FashionPart,
  fashionMnist,
  loadTrainedModel,
  type TrainedName,
} from '@lithe-internal/models';
import { compareWithTorch } from './quantization-aware-torch.ts';

interface Setup {
  readonly backend: Backend;
  readonly float: Model;
  readonly training: Dataset;
  readonly calibration: Dataset;
  readonly test: FashionPart;
  /** Where trainings leave their checkpoints. */
  readonly folder: string | undefined;
  readonly common: Pick<AwareTrainingOptions, 'epochs' | 'batchSize'>;
}

interface Row {
  readonly name: string;
  readonly accuracy: number;
  readonly kilobytes: number;
  readonly seconds: number;
}

interface Trial {
  readonly name: string;
  make(setup: Setup): Promise<Model>;
}

/** Every operator that has an integer form, whatever that does to speed: the hardest case for accuracy. */
const everything = { depthwise: true, conversionCost: 0, minimumElements: 1 } as const;

async function apply(model: Model, steps: readonly PassStep[], setup: Setup, name: string): Promise<Model> {
  const { backend, calibration, training, folder } = setup;
  const file = (of: string): string =>
    path.join(folder ?? '', `${name.replaceAll(/[^a-z0-9]+/gi, '-')}-${of}.safetensors`);
  const { model: made } = await optimize(model, steps, {
    backend,
    data: calibration,
    trainingData: training,
    target: nodeCpuTarget(),
    check: 'off',
    seed: 1,
    ...(folder === undefined ? {} : { store: (of: string) => fileCheckpoints(file(of)) }),
    onProgress: ({ done, total, label = '' }) => {
      if (label.startsWith('epoch') && done % 50 === 0)
        process.stderr.write(`${name}: ${done} of ${total}, ${label}\n`);
    },
  });
  return made;
}

function afterTraining(name: string, options: StaticInt8Options): Trial {
  return {
    name: `after training, ${name}`,
    make: async (setup) => {
      const folded = await apply(setup.float, [simplify()], setup, name);
      return await apply(folded, [staticInt8({ ...everything, samples: 512, ...options })], setup, name);
    },
  };
}

type Aware = Omit<AwareTrainingOptions, 'epochs' | 'learningRate'> & { readonly learningRate?: number };

function whileTraining(name: string, options: Aware): Trial {
  return {
    name: `while training, ${name}`,
    make: (setup) => {
      const step = quantizationAwareTraining({
        ...everything,
        learningRate: 0.001,
        augment: ['flip'],
        calibrationSamples: 512,
        checkpointEvery: 10,
        ...setup.common,
        ...options,
      });
      return apply(setup.float, [step], setup, name);
    },
  };
}

const four = { weightBits: 4, activationBits: 4 } as const;

const trials: readonly Trial[] = [
  afterTraining('int8', {}),
  whileTraining('int8, moving averages', { learningRate: 0.0005 }),
  whileTraining('int8, learned steps', { ranges: 'lsq', learningRate: 0.0005 }),
  afterTraining('int4 weights per tensor', { weightBits: 4, weightScales: 'per-tensor' }),
  whileTraining('int4 weights per tensor, moving averages', {
    weightBits: 4,
    weightScales: 'per-tensor',
    eightBits: 'none',
  }),
  whileTraining('int4 weights per tensor, learned steps', {
    weightBits: 4,
    weightScales: 'per-tensor',
    eightBits: 'none',
    ranges: 'lsq',
  }),
  afterTraining('int4 weights per channel', { weightBits: 4 }),
  whileTraining('int4 weights per channel, moving averages', { weightBits: 4, eightBits: 'none' }),
  whileTraining('int4 weights per channel, learned steps', {
    weightBits: 4,
    eightBits: 'none',
    ranges: 'lsq',
  }),
  whileTraining('int4 weights per channel, moving averages, taught by the float model', {
    weightBits: 4,
    eightBits: 'none',
    teacher: 'original',
  }),
  {
    name: 'after training, int4 weights and activations',
    make: async ({ float, calibration, backend }) => {
      const aware = await quantizationAware(float, {
        ...everything,
        ...four,
        data: calibration,
        calibrationSamples: 512,
        backend,
      });
      return await aware.finish(aware.model);
    },
  },
  whileTraining('int4 weights and activations, moving averages', four),
  whileTraining('int4 weights and activations, learned steps', { ...four, ranges: 'lsq' }),
  whileTraining('int4 weights and activations, learned steps, taught by the float model', {
    ...four,
    ranges: 'lsq',
    teacher: 'original',
  }),
];

const line = ({ name, accuracy, kilobytes, seconds }: Row): string =>
  `| ${[name, accuracy.toFixed(2), kilobytes.toFixed(0), seconds.toFixed(0)].join(' | ')} |`;

/**
 * Networks trained on Fashion-MNIST, quantized after training and while training, in 8 and 4 bits: accuracy on held-out
 * images. All layers and the operators between them are quantized.
 *
 * `--model fashion-cnn`, `--only WORD`, `--train 60000` images to train on, `--images 10000` held out, `--epochs 2`,
 * `--batch 128`, `--threads 1`, `--folder FOLDER` for checkpoints (a run that was stopped goes on), `--json FILE`;
 * `--python FILE` (a Python with torch) compares the gradients of learned steps and of moving ranges with PyTorch's.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      model: { type: 'string', default: 'fashion-cnn' },
      only: { type: 'string', default: '' },
      train: { type: 'string', default: '60000' },
      images: { type: 'string', default: '10000' },
      epochs: { type: 'string', default: '2' },
      batch: { type: 'string', default: '128' },
      threads: { type: 'string', default: '1' },
      folder: { type: 'string' },
      json: { type: 'string' },
      python: { type: 'string' },
    },
  });
  if (values.python !== undefined) return await compareWithTorch(values.python);
  const test = await fashionMnist('test', Number(values.images));
  const { x, label } = await fashionMnist('train', Number(values.train));
  const training = arrayDataset({ inputs: { x }, targets: { label } }, { description: 'training images' });
  const calibration = arrayDataset({ inputs: { x } }, { batchSize: 64, description: 'training images' });
  await using backend = await onnxruntimeNode({ threads: Number(values.threads) });
  const setup: Setup = {
    backend,
    float: await loadTrainedModel(values.model as TrainedName),
    training,
    calibration,
    test,
    folder: values.folder,
    common: { epochs: Number(values.epochs), batchSize: Number(values.batch) },
  };
  const rows: Row[] = [];
  const measure = async (name: string, make: () => Promise<Model>): Promise<void> => {
    const started = performance.now();
    const model = await make();
    const seconds = (performance.now() - started) / 1000;
    const accuracy = 100 * (await accuracyOn(model, backend, test));
    rows.push({ name, accuracy, kilobytes: (await writeOnnx(model)).length / 1000, seconds });
    process.stderr.write(`${line(rows.at(-1) as Row)}\n`);
  };
  await measure('float', () => Promise.resolve(setup.float));
  for (const { name, make } of trials) if (name.includes(values.only)) await measure(name, () => make(setup));
  const title = `| ${values.model} | accuracy % | kB | seconds |\n| --- | --- | --- | --- |`;
  process.stdout.write(`${title}\n${rows.map(line).join('\n')}\n`);
  if (values.json !== undefined)
    await writeFile(values.json, `${JSON.stringify({ device: cpus()[0]?.model, values, rows }, null, 2)}\n`);
  return 0;
}
