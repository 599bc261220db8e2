import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { nodeCpuTarget, onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  arrayDataset,
  type Backend,
  createRng,
  type Dataset,
  type Model,
  type Node,
  optimize,
  type PassStep,
  sliceRows,
  sqnrDb,
  Tensor,
  topKAccuracy,
  type Value,
} from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import {
  crossLayerEqualization,
  foldableWeights,
  type RecoveryOptions,
  type StaticInt8Options,
  staticInt8,
  withRecovery,
} from '@lithe/quantization';
import { simplify } from '@lithe/simplify';
import { type FashionPart, fashionMnist, loadTrainedModel, type TrainedName } from '@lithe-internal/models';

interface Trial {
  readonly name: string;
  /** The model that it starts from. */
  readonly from: 'float' | 'unbalanced';
  steps(): readonly PassStep[];
}

interface Row {
  readonly name: string;
  readonly accuracy: number;
  readonly sqnrDb: number;
  readonly kilobytes: number;
  readonly seconds: number;
}

interface Setup {
  readonly backend: Backend;
  readonly data: Dataset;
  readonly test: FashionPart;
}

/** Rows of a batch when accuracy is measured. */
const BATCH = 500;

async function logitsOf(model: Model, { backend, test }: Setup): Promise<Tensor<'float32'>> {
  const executable = await backend.compile({ kind: 'onnx', file: await writeOnnx(model) });
  const count = test.x.shape[0] ?? 0;
  const all = new Float32Array(count * 10);
  try {
    for (let start = 0; start < count; start += BATCH) {
      const end = Math.min(count, start + BATCH);
      const results = await executable.run({ x: sliceRows(test.x, start, end) });
      all.set((results['logits'] as Tensor<'float32'>).data, start * 10);
    }
  } finally {
    await executable.dispose();
  }
  return Tensor.from('float32', [count, 10], all);
}

async function constant(node: Node, index: number): Promise<Tensor<'float32'> | undefined> {
  return (await node.input(index)?.initializer?.load()) as Tensor<'float32'> | undefined;
}

function replace(
  node: Node,
  index: number,
  tensor: Tensor<'float32'>,
  data: Float32Array<ArrayBuffer>,
): void {
  const { graph } = node;
  const value = node.input(index) as Value;
  const made = Tensor.from('float32', tensor.shape, data);
  graph.setInput(node, index, graph.addInitializer(graph.uniqueName(value.name), made));
  if (value.isUnused) graph.removeValue(value);
}

/**
 * The same function with badly conditioned channels, as the MobileNets of the papers have them: where a convolution goes
 * through `Relu` into another one, each channel is multiplied by a random factor between `e^-spread` and `e^spread` and
 * divided by it again. Results change by float rounding only.
 */
async function unbalance(model: Model, spread: number): Promise<Model> {
  const draft = model.clone();
  const rng = createRng(11);
  for (const node of draft.graph.nodes()) {
    const relu = node.output().uses[0]?.node;
    const next = relu?.output().uses[0]?.node;
    const chain = relu?.is('Relu') === true && next?.is('Conv') === true && node.is('Conv');
    if (!chain || node.output().useCount > 1 || relu.output().useCount > 1) continue;
    const [weight, bias, after] = [await constant(node, 1), await constant(node, 2), await constant(next, 1)];
    if (weight === undefined || after === undefined) continue;
    const channels = weight.shape[0] ?? 0;
    const factors = Array.from({ length: channels }, () => Math.exp(spread * (2 * rng.next() - 1)));
    const size = weight.size / channels;
    replace(
      node,
      1,
      weight,
      weight.data.map((item, at) => item * (factors[Math.floor(at / size)] as number)),
    );
    if (bias !== undefined)
      replace(
        node,
        2,
        bias,
        bias.data.map((item, at) => item * (factors[at] as number)),
      );
    const depthwise = after.shape[1] === 1 && after.shape[0] === channels;
    const taps = after.size / ((after.shape[0] ?? 1) * (after.shape[1] ?? 1));
    const channelOf = (at: number): number =>
      depthwise ? Math.floor(at / taps) : Math.floor(at / taps) % channels;
    replace(
      next,
      1,
      after,
      after.data.map((item, at) => item / (factors[channelOf(at)] as number)),
    );
  }
  return draft;
}

/** Every operator that has an integer form, whatever that does to speed: the hardest case for accuracy. */
const everything: StaticInt8Options = { depthwise: true, conversionCost: 0, minimumElements: 1 };

const recoveries: readonly (readonly [string, RecoveryOptions | undefined])[] = [
  ['', undefined],
  [' + fast bias correction', { biasCorrection: 'fast' }],
  [' + empirical bias correction', { biasCorrection: 'empirical' }],
  [' + mean and variance', { biasCorrection: 'empirical', matchVariance: true }],
  [' + AdaRound', { biasCorrection: 'none', adaRound: true }],
  [' + AdaRound + fast bias correction', { biasCorrection: 'fast', adaRound: true }],
];

function staticTrials(
  title: string,
  from: Trial['from'],
  options: StaticInt8Options,
  before: () => readonly PassStep[] = () => [],
): readonly Trial[] {
  return recoveries.map(([name, recovery]) => ({
    name: `${title}${name}`,
    from,
    steps: () => [...before(), staticInt8({ ...everything, ...options, recovery })],
  }));
}

function trialsOf(curve: readonly number[]): readonly Trial[] {
  const perTensor = { weightScales: 'per-tensor' } as const;
  const cle = (): readonly PassStep[] => [crossLayerEqualization()];
  const absorbed = (): readonly PassStep[] => [crossLayerEqualization({ absorbHighBias: true })];
  const four = (recovery: RecoveryOptions | undefined): readonly PassStep[] =>
    recovery === undefined
      ? [foldableWeights({ bits: 4 })]
      : [withRecovery((exclude) => foldableWeights({ bits: 4, exclude }), recovery)];
  const int4: readonly Trial[] = recoveries.map(([name, recovery]) => ({
    name: `int4 blocks of 32${name}`,
    from: 'float',
    steps: () => four(recovery),
  }));
  return [
    { name: 'ReLU6 made ReLU, float', from: 'float', steps: () => [crossLayerEqualization()] },
    ...staticTrials('int8 per channel', 'float', {}),
    ...staticTrials('int8 per tensor', 'float', perTensor),
    ...staticTrials('int8 per tensor + equalization', 'float', perTensor, cle),
    { name: 'unbalanced, float', from: 'unbalanced', steps: () => [] },
    ...staticTrials('unbalanced, int8 per channel', 'unbalanced', {}),
    ...staticTrials('unbalanced, int8 per channel + equalization', 'unbalanced', {}, cle),
    ...staticTrials('unbalanced, int8 per tensor', 'unbalanced', perTensor),
    ...staticTrials('unbalanced, int8 per tensor + equalization', 'unbalanced', perTensor, cle),
    ...staticTrials(
      'unbalanced, int8 per tensor + equalization + absorption',
      'unbalanced',
      perTensor,
      absorbed,
    ),
    ...int4,
    ...staticTrials('int4 per channel, activations int8', 'float', { weightBits: 4 }),
    ...curve.map(
      (iterations): Trial => ({
        name: `int4 per channel, activations int8, AdaRound of ${iterations} steps`,
        from: 'float',
        steps: () => [
          staticInt8({
            ...everything,
            weightBits: 4,
            recovery: { biasCorrection: 'fast', adaRound: { iterations } },
          }),
        ],
      }),
    ),
  ];
}

function line({ name, accuracy, sqnrDb: decibels, kilobytes, seconds }: Row): string {
  const cells = [name, accuracy.toFixed(2), decibels.toFixed(1), kilobytes.toFixed(0), seconds.toFixed(1)];
  return `| ${cells.join(' | ')} |`;
}

/**
 * What each technique of recovery wins back on a network trained on Fashion-MNIST, quantized per channel, per tensor and
 * in 4 bits; and on the same network with badly conditioned channels. Accuracy on held-out images.
 *
 * `--model fashion-mobilenet-v2`, `--images 10000`, `--samples 1024` for calibration, `--only WORD`,
 * `--without WORD`, `--spread 3`,
 * `--curve 500,2000,10000` steps of AdaRound, `--threads 1`, `--json FILE`.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      model: { type: 'string', default: 'fashion-mobilenet-v2' },
      images: { type: 'string', default: '10000' },
      samples: { type: 'string', default: '1024' },
      only: { type: 'string', default: '' },
      without: { type: 'string', default: 'nothing' },
      spread: { type: 'string', default: '3' },
      curve: { type: 'string', default: '500,2000,10000' },
      threads: { type: 'string', default: '1' },
      json: { type: 'string' },
    },
  });
  const backend = await onnxruntimeNode({ threads: Number(values.threads) });
  const test = await fashionMnist('test', Number(values.images));
  const train = await fashionMnist('train', Number(values.samples));
  const data = arrayDataset({ inputs: { x: train.x } }, { batchSize: 32, description: 'training images' });
  const setup: Setup = { backend, data, test };
  const rows: Row[] = [];
  try {
    const { model: float } = await optimize(
      await loadTrainedModel(values.model as TrainedName),
      [simplify()],
      {
        check: 'off',
      },
    );
    // The factors pass a Relu, not the upper bound of a ReLU6.
    const { model: rectified } = await optimize(float, [crossLayerEqualization()], { check: 'off' });
    const models = { float, unbalanced: await unbalance(rectified, Number(values.spread)) };
    const expected = await logitsOf(float, setup);
    const measure = async (name: string, model: Model, seconds: number): Promise<void> => {
      const logits = await logitsOf(model, setup);
      const accuracy = 100 * topKAccuracy(logits, test.label);
      const kilobytes = (await writeOnnx(model)).length / 1000;
      rows.push({ name, accuracy, sqnrDb: sqnrDb(expected, logits), kilobytes, seconds });
      process.stderr.write(`${line(rows.at(-1) as Row)}\n`);
    };
    await measure('float', float, 0);
    for (const { name, from, steps } of trialsOf(values.curve.split(',').map(Number))) {
      if (!name.includes(values.only) || name.includes(values.without)) continue;
      const started = performance.now();
      try {
        const { model } = await optimize(models[from], steps(), {
          backend,
          data,
          target: nodeCpuTarget(),
          check: 'off',
          seed: 1,
        });
        await measure(name, model, (performance.now() - started) / 1000);
      } catch (error) {
        process.stderr.write(`| ${name} | failed: ${String(error)} |\n`);
      }
    }
  } finally {
    await backend.dispose();
  }
  const title = `| ${values.model} | accuracy % | SQNR dB | kB | seconds |\n| --- | --- | --- | --- | --- |`;
  process.stdout.write(`${title}\n${rows.map(line).join('\n')}\n`);
  if (values.json !== undefined)
    await writeFile(values.json, `${JSON.stringify({ device: cpus()[0]?.model, values, rows }, null, 2)}\n`);
  return 0;
}
