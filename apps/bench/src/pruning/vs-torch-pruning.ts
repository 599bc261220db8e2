import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
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
  type PassStep,
} from '@lithe/core';
import { loadOnnx, saveOnnx } from '@lithe/onnx/node';
import {
  batchNormReestimation,
  type Criterion,
  type CriterionName,
  leastSquaresRefit,
  prune,
  type Scope,
  taylorScore,
} from '@lithe/pruning';
import { crossEntropy } from '@lithe/training';
import {
  accuracyOn,
  type FashionPart,
  fashionMnist,
  loadTrainedModel,
  type TrainedName,
} from '@lithe-internal/models';
import { runPython } from '../python-peer.ts';
import { train } from './recover.ts';

/** What Torch-Pruning is asked for. */
interface Variant {
  readonly importance: string;
  readonly scope: Scope;
  readonly ratio: number;
  readonly out: string;
}

/** A pruned network and where it came from. */
interface Row {
  readonly model: string;
  readonly variant: string;
  readonly by: string;
  readonly macs: number;
  readonly accuracy: number;
}

interface Setup {
  readonly name: TrainedName;
  readonly original: Model;
  readonly backend: Backend;
  readonly samples: FashionPart;
  readonly data: Dataset;
  readonly held: FashionPart;
  readonly tune: { readonly epochs: number; readonly seeds: number };
  readonly report: (row: Row) => void;
}

async function macsOf(model: Model): Promise<number> {
  const copy = model.clone();
  await inferShapes(copy);
  return modelCost(copy, { dims: { N: 1 } }).macs;
}

/** Whether two models hold the same numbers under the same names. */
async function sameWeights(left: Model, right: Model): Promise<boolean> {
  for (const value of left.graph.initializers) {
    const other = right.graph.value(value.name)?.initializer;
    if (value.initializer?.dtype !== 'float32') continue;
    if (other === undefined) return false;
    const [a, b] = [await value.initializer.load(), await other.load()];
    if (a.shape.join() !== b.shape.join() || Buffer.compare(a.bytes, b.bytes) !== 0) return false;
  }
  return true;
}

/** Runs Torch-Pruning in a process of its own. */
async function theirs(
  python: string,
  folder: string,
  setup: Setup,
  variants: readonly Variant[],
): Promise<Readonly<Record<string, string>>> {
  const file = (name: string): string => path.join(folder, name);
  await saveOnnx(setup.original, file('original.onnx'));
  await writeFile(file('images'), setup.samples.x.bytes);
  await writeFile(file('labels'), setup.samples.label.bytes);
  const job = {
    model: file('original.onnx'),
    image: setup.samples.x.shape.slice(1),
    images: file('images'),
    labels: file('labels'),
    variants,
  };
  await writeFile(file('job.json'), JSON.stringify(job));
  const { versions, failures } = runPython<{
    readonly versions: Readonly<Record<string, string>>;
    readonly failures: Readonly<Record<string, string>>;
  }>({
    python,
    script: 'pruning/torch_pruning_peer.py',
    arguments: [file('job.json')],
    needs: 'torch, torch-pruning and onnx',
  });
  for (const [name, reason] of Object.entries(failures)) process.stderr.write(`${name}: ${reason}\n`);
  return versions;
}

/** The same criterion on both sides; gradients are those of one batch of all samples. */
function criterionOf(importance: string, samples: number): CriterionName | Criterion {
  if (importance === 'fpgm') return 'geometric-median';
  if (importance !== 'taylor') return importance as CriterionName;
  return taylorScore({ loss: crossEntropy({ logits: 'logits' }), samples, batchSize: samples });
}

/** One variant of Torch-Pruning, and ours with at most as many multiplications. */
async function compare(setup: Setup, variant: Variant): Promise<void> {
  const { name, original, backend, data, held, samples } = setup;
  const peer = await loadOnnx(variant.out).catch(() => undefined);
  if (peer === undefined) return;
  const whole = await macsOf(original);
  const text = `${variant.importance}, ${variant.scope}, ${variant.ratio}`;
  const tell = async (by: string, model: Model): Promise<void> => {
    const accuracy = await accuracyOn(model, backend, held);
    setup.report({ model: name, variant: text, by, macs: (await macsOf(model)) / whole, accuracy });
  };
  const context = { backend, data, check: 'off' as const };
  const apply = async (model: Model, steps: readonly PassStep[]): Promise<Model> =>
    (await optimize(model, steps, context)).model;
  await tell('Torch-Pruning', peer);
  const ours = await apply(original, [
    prune({
      criterion: criterionOf(variant.importance, samples.label.size),
      scope: variant.scope,
      budget: { macs: await macsOf(peer) },
      largestRatio: 0.99,
    }),
  ]);
  const same = await sameWeights(ours, peer);
  await tell(same ? 'Lithe (the same weights)' : 'Lithe', ours);
  const fitted = await apply(ours, [leastSquaresRefit({ original })]);
  await tell('Lithe, refit', fitted);
  const normalized = [...original.graph.nodes()].some((node) => node.is('BatchNormalization'));
  if (normalized) {
    await tell('Torch-Pruning, statistics', await apply(peer, [batchNormReestimation()]));
    await tell('Lithe, statistics', await apply(ours, [batchNormReestimation()]));
    await tell('Lithe, refit, statistics', await apply(fitted, [batchNormReestimation()]));
  }
  const { epochs, seeds } = setup.tune;
  const images = epochs > 0 ? await fashionMnist('train') : undefined;
  for (let seed = 0; images !== undefined && seed < seeds; seed++) {
    const log = (line: string): boolean => process.stderr.write(`${name}, ${text}, seed ${seed}: ${line}\n`);
    const request = { backend, images, epochs, learningRate: 0.001, seed, log };
    // The same weights, trained alike, give the same network.
    const trained: Readonly<Record<string, Model>> = same
      ? { 'Torch-Pruning and Lithe': peer, 'Lithe, refit': fitted }
      : { 'Torch-Pruning': peer, Lithe: ours, 'Lithe, refit': fitted };
    for (const [by, model] of Object.entries(trained))
      await tell(`${by}, ${epochs} epochs, seed ${seed}`, await train(model, request));
  }
}

/**
 * Prunes trained networks with Torch-Pruning and with Lithe: the same weights, criterion, scope and multiplications.
 * `--python FILE` names an interpreter with torch, torch-pruning and onnx. Names of networks; `--ratios 0.2,0.3,0.5`,
 * `--importances l2` (`l1`, `taylor`, `lamp`, `fpgm`), `--scopes local,global,isomorphic`, `--samples 1024` to calibrate
 * on, `--images 10000` to measure on, `--tune 4` epochs on all training images, `--seeds 1`, `--json FILE`.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      python: { type: 'string', default: 'python3' },
      ratios: { type: 'string', default: '0.2,0.3,0.5' },
      importances: { type: 'string', default: 'l2' },
      scopes: { type: 'string', default: 'local,global,isomorphic' },
      samples: { type: 'string', default: '1024' },
      images: { type: 'string', default: '10000' },
      tune: { type: 'string', default: '0' },
      seeds: { type: 'string', default: '1' },
      threads: { type: 'string', default: '1' },
      json: { type: 'string' },
    },
  });
  const names = positionals.length > 0 ? positionals : ['fashion-cnn', 'fashion-resnet'];
  await using backend = await onnxruntimeNode({ threads: Number(values.threads) });
  const samples = await fashionMnist('train', Number(values.samples));
  const held = await fashionMnist('test', Number(values.images));
  const rows: Row[] = [];
  const report = (row: Row): void => {
    rows.push(row);
    process.stdout.write(
      `${row.model.padEnd(16)}${row.variant.padEnd(24)}${row.by.padEnd(38)}${row.macs.toFixed(4).padStart(8)}${(100 * row.accuracy).toFixed(2).padStart(9)} %\n`,
    );
  };
  let versions: Readonly<Record<string, string>> = {};
  process.stdout.write(
    `${'network'.padEnd(16)}${'variant'.padEnd(24)}${'by'.padEnd(38)}${'MACs'.padStart(8)}${'accuracy'.padStart(11)}\n`,
  );
  for (const name of names as TrainedName[]) {
    const folder = await mkdtemp(path.join(tmpdir(), 'torch-pruning-'));
    try {
      const setup: Setup = {
        name,
        original: await loadTrainedModel(name),
        backend,
        samples,
        data: arrayDataset({ inputs: { x: samples.x }, targets: { label: samples.label } }),
        held,
        tune: { epochs: Number(values.tune), seeds: Number(values.seeds) },
        report,
      };
      const accuracy = await accuracyOn(setup.original, backend, held);
      report({ model: name, variant: 'original', by: '', macs: 1, accuracy });
      const variants: Variant[] = [];
      for (const ratio of values.ratios.split(',').map(Number))
        for (const importance of values.importances.split(','))
          for (const scope of values.scopes.split(',') as Scope[])
            variants.push({ importance, scope, ratio, out: path.join(folder, `${variants.length}.onnx`) });
      versions = await theirs(values.python, folder, setup, variants);
      for (const variant of variants) await compare(setup, variant);
    } finally {
      await rm(folder, { recursive: true });
    }
  }
  process.stdout.write(`${JSON.stringify(versions)}\n`);
  if (values.json !== undefined)
    await writeFile(values.json, JSON.stringify({ arguments: args, versions, rows }, null, 2));
  return 0;
}
