/**
 * What zeros buy: accuracy of one-shot sparsity on a trained network, compressed size, and the speed of onnxruntime-node
 * with dense weights and with zeros, in turns. `node tools/ts.mjs apps/bench/src/sparsity.ts [accuracy|speed|training] [network]`.
 */
import process from 'node:process';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { arrayDataset, type Backend, type Model, optimize, Tensor } from '@lithe/core';
import {
  gradualSparsity,
  holdZeros,
  type SparsifyOptions,
  sparsifiableWeights,
  sparsify,
} from '@lithe/pruning';
import { adamW, cosineSchedule, crossEntropy, fit, sampleTable } from '@lithe/training';
import { accuracyOn, fashionMnist, loadTrainedModel, type TrainedName } from '@lithe-internal/models';

const print = (line: string): void => void process.stdout.write(`${line}\n`);

const median = (values: readonly number[]): number =>
  values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] as number;

type Way = readonly ['l1' | 'wanda' | 'sparse-gpt', 'global'?];
const ways: readonly Way[] = [['l1'], ['wanda'], ['sparse-gpt']];
const globalWays: readonly Way[] = [
  ['l1', 'global'],
  ['sparse-gpt', 'global'],
];

async function accuracy(backend: Backend, network: TrainedName): Promise<void> {
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
        `${title.padEnd(6)} ${`${criterion} ${scope ?? ''}`.padEnd(17)} accuracy ${share.toFixed(2)} %  zeros ${(100 * (metrics['sparsity']?.value ?? 0)).toFixed(1)} %  deflate ${(after / before).toFixed(3)}x  ${seconds.toFixed(1)} s`,
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

/** The same updates for zeros chosen at once and held, and for zeros that grow in number. */
async function training(backend: Backend, network: TrainedName): Promise<void> {
  const model = await loadTrainedModel(network);
  const part = await fashionMnist('train', 12_800);
  const [input, output] = [model.graph.inputs[0]?.name as string, model.graph.outputs[0]?.name as string];
  const data = sampleTable({ inputs: { [input]: part.x }, targets: { label: part.label } });
  const test = await fashionMnist('test');
  const weights = sparsifiableWeights(model);
  const options = {
    loss: crossEntropy({ logits: output }),
    learningRate: 5e-4,
    schedule: cosineSchedule(),
    epochs: 2,
    batchSize: 64,
    seed: 1,
    backend,
  };
  const show = async (title: string, found: Model): Promise<void> => {
    let [zeros, elements] = [0, 0];
    for (const name of weights) {
      const tensor = await found.graph.value(name)?.initializer?.load();
      for (const value of tensor?.toFloat64Array() ?? []) zeros += value === 0 ? 1 : 0;
      elements += tensor?.size ?? 0;
    }
    const share = (100 * (await accuracyOn(found, backend, test))).toFixed(2);
    print(`${title}: accuracy ${share} %, zeros ${((100 * zeros) / elements).toFixed(2)} %`);
  };
  await show('400 updates, dense', (await fit(model, data, { ...options, optimizer: adamW() })).model);
  for (const ratio of [0.9, 0.95]) {
    const title = `400 updates, ${100 * ratio} %`;
    for (const scope of ['local', 'global'] as const) {
      const { model: cut } = await optimize(model, [sparsify({ ratio, scope })]);
      const { model: held } = await fit(cut, data, {
        ...options,
        optimizer: holdZeros(adamW(), { weights }),
      });
      await show(`${title}, at once (${scope}) and held`, held);
    }
    for (const score of ['magnitude', 'movement'] as const) {
      const optimizer = gradualSparsity(adamW(), { weights, score, ratio, every: 15, times: 18 });
      await show(`${title}, gradual by ${score}`, (await fit(model, data, { ...options, optimizer })).model);
    }
  }
}

/** Runs the parts that are named. */
export async function main(args: readonly string[]): Promise<void> {
  const [part = 'all', network = 'fashion-cnn'] = args;
  const backend = await onnxruntimeNode({ threads: 1 });
  try {
    if (part === 'all' || part === 'accuracy') await accuracy(backend, network as TrainedName);
    if (part === 'all' || part === 'speed') await speed(backend, network as TrainedName);
    if (part === 'all' || part === 'training') await training(backend, network as TrainedName);
  } finally {
    await backend.dispose();
  }
}
