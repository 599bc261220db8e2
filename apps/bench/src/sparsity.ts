/**
 * What zeros buy: accuracy of one-shot sparsity on a trained network, compressed size, and the speed of onnxruntime-node
 * with dense weights and with zeros, in turns. `node tools/ts.mjs apps/bench/src/sparsity.ts [accuracy|speed|training] [network]`,
 * `--only WORD` for some rows; training: `--epochs 2`, `--images 12800`, `--rate 0.001`, `--ratios 0.9,0.95,0.98`, `--end 0.25`.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { arrayDataset, type Backend, type Model, optimize, Tensor } from '@lithe/core';
import {
  gradualSparsity,
  holdZeros,
  type SparsifyOptions,
  sparsifiableWeights,
  sparsify,
} from '@lithe/pruning';
import { adamW, cosineSchedule, crossEntropy, fit, type Optimizer, sampleTable } from '@lithe/training';
import { accuracyOn, fashionMnist, loadTrainedModel, type TrainedName } from '@lithe-internal/models';

const print = (line: string): void => void process.stdout.write(`${line}\n`);

const median = (values: readonly number[]): number =>
  values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] as number;

type Way = readonly ['l1' | 'lamp' | 'wanda' | 'sparse-gpt', 'global'?];
const ways: readonly Way[] = [['l1'], ['wanda'], ['sparse-gpt']];
const globalWays: readonly Way[] = [
  ['l1', 'global'],
  ['lamp', 'global'],
  ['sparse-gpt', 'global'],
];

async function accuracy(backend: Backend, network: TrainedName, only: RegExp | undefined): Promise<void> {
  const model = await loadTrainedModel(network);
  const { x } = await fashionMnist('train', 128);
  const input = model.graph.inputs[0]?.name as string;
  const data = arrayDataset({ inputs: { [input]: x } });
  const test = await fashionMnist('test');
  print(`${network}: dense ${(100 * (await accuracyOn(model, backend, test))).toFixed(2)} %`);
  const wanted: SparsifyOptions[] = [
    ...[0.5, 0.8, 0.9].map((ratio) => ({ ratio })),
    { pattern: '2:4' },
    { pattern: '1:4' },
  ];
  for (const options of wanted) {
    const title = options.pattern ?? `${100 * (options.ratio ?? 0)} %`;
    for (const [criterion, scope] of options.pattern === undefined ? [...ways, ...globalWays] : ways) {
      const row = `${title.padEnd(6)} ${`${criterion} ${scope ?? ''}`.padEnd(17)}`;
      if (only !== undefined && !only.test(row)) continue;
      const started = process.hrtime.bigint();
      const result = await optimize(model, [sparsify({ ...options, criterion, scope, batchSize: 32 })], {
        backend,
        data,
      });
      const seconds = Number(process.hrtime.bigint() - started) / 1e9;
      const { metrics } = result.report.steps[0] as (typeof result.report.steps)[number];
      const [before, after] = [
        metrics['compressed before']?.value ?? 0,
        metrics['compressed after']?.value ?? 0,
      ];
      const share = 100 * (await accuracyOn(result.model, backend, test));
      print(
        `${row} accuracy ${share.toFixed(2)} %  zeros ${(100 * (metrics['sparsity']?.value ?? 0)).toFixed(1)} %  deflate ${(after / before).toFixed(3)}x  ${seconds.toFixed(1)} s`,
      );
    }
  }
}

async function speed(backend: Backend, network: TrainedName, rounds = 31): Promise<void> {
  const dense = await loadTrainedModel(network);
  const { x } = await fashionMnist('test', 64);
  const input = dense.graph.inputs[0]?.name as string;
  const candidates: [string, Model][] = [['dense', dense]];
  for (const ratio of [0.5, 0.9])
    candidates.push([`${100 * ratio} % zeros`, (await optimize(dense, [sparsify({ ratio })])).model]);
  candidates.push(['2:4', (await optimize(dense, [sparsify({ pattern: '2:4' })])).model]);
  candidates.push(['dense again', dense.clone()]);
  const ready = await Promise.all(candidates.map(([, model]) => backend.compile(model)));
  const feeds = { [input]: Tensor.from('float32', x.shape, x.data) };
  const times = candidates.map((): number[] => []);
  for (let round = 0; round < rounds; round++)
    for (const [index, executable] of ready.entries())
      times[index]?.push(median([...(await executable.time(feeds, { runs: 3, warmup: 1 }))]));
  for (const executable of ready) await executable.dispose();
  for (const [index, [title]] of candidates.entries()) {
    const ratios = (times[index] as number[]).map((time, round) => time / (times[0] as number[])[round]!);
    print(
      `${network} batch 64, ${title}: ${median(ratios).toFixed(3)}x the time of dense (median of ${rounds} turns)`,
    );
  }
}

interface TrainingOptions {
  readonly epochs: number;
  readonly images: number;
  /** Largest learning rate. */
  readonly rate: number;
  readonly ratios: readonly number[];
  /** Share of the updates in which zeros grow in number. */
  readonly end: number;
  /** Which rows. */
  readonly only: RegExp | undefined;
}

interface Recipe {
  readonly title: string;
  /** What it starts from. */
  readonly start: Model;
  readonly optimizer: Optimizer;
}

/** Zeros chosen at once and held, and zeros that grow in number until a share of the updates is done. */
async function recipesFor(model: Model, ratio: number, end: number): Promise<readonly Recipe[]> {
  const weights = sparsifiableWeights(model);
  const times = 20;
  const schedule = { weights, ratio, times, every: Math.max(1, Math.floor(end / times)) };
  const recipes: Recipe[] = [];
  for (const scope of ['local', 'global'] as const) {
    const { model: start } = await optimize(model, [sparsify({ ratio, scope, compressedSize: false })]);
    recipes.push({ title: `at once (${scope}) and held`, start, optimizer: holdZeros(adamW(), { weights }) });
  }
  for (const scope of ['local', 'global'] as const)
    for (const score of ['magnitude', 'movement'] as const)
      recipes.push({
        title: `gradual by ${score} (${scope})`,
        start: model,
        optimizer: gradualSparsity(adamW(), { ...schedule, score, scope }),
      });
  return recipes;
}

/** The same updates, learning rate and order of samples for zeros chosen at once and held, and for gradual ones. */
async function training(backend: Backend, network: TrainedName, options: TrainingOptions): Promise<void> {
  const model = await loadTrainedModel(network);
  const { epochs, images, only, rate } = options;
  const part = await fashionMnist('train', images);
  const [input, output] = [model.graph.inputs[0]?.name as string, model.graph.outputs[0]?.name as string];
  const data = sampleTable({ inputs: { [input]: part.x }, targets: { label: part.label } });
  const test = await fashionMnist('test');
  const updates = epochs * Math.floor(images / 64);
  const run = async ({ title, start, optimizer }: Recipe): Promise<void> => {
    if (only !== undefined && !only.test(title)) return;
    const { model: found } = await fit(start, data, {
      loss: crossEntropy({ logits: output }),
      optimizer,
      learningRate: rate,
      schedule: cosineSchedule(),
      epochs,
      batchSize: 64,
      seed: 1,
      backend,
      keepBest: false,
    });
    let [zeros, elements] = [0, 0];
    for (const name of sparsifiableWeights(model)) {
      const tensor = await found.graph.value(name)?.initializer?.load();
      for (const value of tensor?.toFloat64Array() ?? []) zeros += value === 0 ? 1 : 0;
      elements += tensor?.size ?? 0;
    }
    const share = (100 * (await accuracyOn(found, backend, test))).toFixed(2);
    print(
      `${updates} updates, ${title}: accuracy ${share} %, zeros ${((100 * zeros) / elements).toFixed(2)} %`,
    );
  };
  await run({ title: 'dense', start: model, optimizer: adamW() });
  for (const ratio of options.ratios)
    for (const recipe of await recipesFor(model, ratio, options.end * updates))
      await run({ ...recipe, title: `${100 * ratio} %, ${recipe.title}` });
}

/** Runs the parts that are named: see the table of benchmarks. */
export async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      epochs: { type: 'string', default: '2' },
      images: { type: 'string', default: '12800' },
      rate: { type: 'string', default: '0.001' },
      ratios: { type: 'string', default: '0.9,0.95,0.98' },
      end: { type: 'string', default: '0.25' },
      only: { type: 'string' },
    },
  });
  const [part = 'all', name = 'fashion-cnn'] = positionals;
  const network = name as TrainedName;
  const ratios = values.ratios.split(',').map(Number);
  const only = values.only === undefined ? undefined : new RegExp(values.only, 'u');
  const backend = await onnxruntimeNode({ threads: 1 });
  try {
    if (part === 'all' || part === 'accuracy') await accuracy(backend, network, only);
    if (part === 'all' || part === 'speed') await speed(backend, network);
    if (part === 'all' || part === 'training') {
      const [epochs, images, rate] = [Number(values.epochs), Number(values.images), Number(values.rate)];
      await training(backend, network, { epochs, images, rate, ratios, end: Number(values.end), only });
    }
  } finally {
    await backend.dispose();
  }
}
