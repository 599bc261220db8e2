import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  arrayDataset,
  type Backend,
  type Dataset,
  inferShapes,
  type Model,
  modelCost,
  optimize,
} from '@lithe/core';
import { batchNormReestimation, leastSquaresRefit, lowRank, prune } from '@lithe/pruning';
import {
  accuracyOn,
  type FashionPart,
  fashionMnist,
  loadTrainedModel,
  type TrainedName,
} from '@lithe-internal/models';

interface Row {
  readonly model: string;
  readonly trial: string;
  readonly accuracy: number;
  readonly macs: number;
}

interface Setup {
  readonly name: TrainedName;
  readonly model: Model;
  readonly backend: Backend;
  readonly data: Dataset;
  readonly test: FashionPart;
  readonly samples: number;
  readonly report: (row: Row) => void;
}

const macsOf = (model: Model): number => modelCost(model, { dims: { N: 1 } }).macs;

async function tell(setup: Setup, trial: string, model: Model): Promise<void> {
  const accuracy = await accuracyOn(model, setup.backend, setup.test);
  setup.report({ model: setup.name, trial, accuracy, macs: macsOf(model) / macsOf(setup.model) });
}

/** Accuracy without any training: as pruned, with statistics measured anew, refitted, and both. */
async function recoveries(setup: Setup, ratio: number): Promise<void> {
  const { model: original, backend, data, samples } = setup;
  const context = { backend, data, check: 'off' as const };
  const { model: pruned } = await optimize(original, [prune({ ratio })], context);
  const share = `${Math.round(100 * ratio)} % of channels cut`;
  await tell(setup, share, pruned);
  const statistics = batchNormReestimation({ samples });
  const fitted = leastSquaresRefit({ original, samples });
  const trials = { statistics: [statistics], refit: [fitted], 'refit, statistics': [fitted, statistics] };
  for (const [name, steps] of Object.entries(trials))
    await tell(setup, `${share}, ${name}`, (await optimize(pruned, steps, context)).model);
}

async function ranks(setup: Setup, energy: number): Promise<void> {
  const { model: original, backend, data, samples } = setup;
  const { model } = await optimize(original, [lowRank({ energy })]);
  await tell(setup, `low rank, energy ${energy}`, model);
  const context = { backend, data, check: 'off' as const };
  const fitted = await optimize(model, [leastSquaresRefit({ original, samples })], context);
  await tell(setup, `low rank, energy ${energy}, refit`, fitted.model);
}

/** Accuracy of pruned and of factorized networks on Fashion-MNIST before any training. */
export async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      images: { type: 'string', default: '10000' },
      samples: { type: 'string', default: '1024' },
      ratios: { type: 'string', default: '0.25,0.5' },
      energies: { type: 'string', default: '0.999,0.99,0.95,0.9,0.8' },
      json: { type: 'string' },
    },
  });
  const names =
    positionals.length > 0 ? positionals : ['fashion-cnn', 'fashion-resnet', 'fashion-mobilenet-v2'];
  const numbers = (text: string): readonly number[] => (text === '' ? [] : text.split(',').map(Number));
  const samples = Number(values.samples);
  const calibration = await fashionMnist('train', samples);
  const test = await fashionMnist('test', Number(values.images));
  const data = arrayDataset({ inputs: { x: calibration.x } });
  await using backend = await onnxruntimeNode({ threads: 1 });
  const rows: Row[] = [];
  const report = (row: Row): void => {
    rows.push(row);
    const figures = `${(100 * row.accuracy).toFixed(2)} %  ${row.macs.toFixed(3)} of the multiplications`;
    process.stdout.write(`${row.model.padEnd(22)} ${row.trial.padEnd(44)} ${figures}\n`);
  };
  for (const name of names as TrainedName[]) {
    const model = await loadTrainedModel(name);
    await inferShapes(model);
    const setup: Setup = { name, model, backend, data, test, samples, report };
    await tell(setup, 'as trained', model);
    for (const ratio of numbers(values.ratios)) await recoveries(setup, ratio);
    for (const energy of numbers(values.energies)) await ranks(setup, energy);
  }
  if (values.json !== undefined)
    await writeFile(values.json, `${JSON.stringify({ command: args, rows }, null, 2)}\n`);
  return 0;
}
