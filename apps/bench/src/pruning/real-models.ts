import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { type Backend, type Model, measureLatency, optimize } from '@lithe/core';
import { distillation, logitDistillation, teacherModel } from '@lithe/distillation';
import { loadOnnx, saveOnnx } from '@lithe/onnx/node';
import { batchNormReestimation, depthPruning, leastSquaresRefit, lowRank, prune } from '@lithe/pruning';
import { simplify } from '@lithe/simplify';
import { adamW, cosineSchedule, fit, sampleTable } from '@lithe/training';
import { fileCheckpoints } from '@lithe/training/node';
import {
  allOf,
  cnn,
  detector,
  encoder,
  mobileNet,
  type PrunedSubject,
  recognizer,
  resNet,
  type SubjectSizes,
} from './real-subjects.ts';
import { costOf, runsAlone } from './shipped.ts';

const subjects: Readonly<Record<string, (sizes: SubjectSizes) => Promise<PrunedSubject | undefined>>> = {
  detector,
  recognizer,
  mobilenet: mobileNet,
  resnet: resNet,
  cnn,
  encoder,
};

/** Rules of simplification that fold normalization into weights, which recovery wants to see. */
const folding = ['fold-affine-after', 'fold-affine-before', 'fold-scale-through-bias'];

interface Row {
  readonly model: string;
  readonly trial: string;
  readonly score: number;
  /** Multiplications, as a share of the original's. */
  readonly macs: number;
  readonly parameters: number;
  readonly speedup?: readonly [median: number, low: number, high: number] | undefined;
}

class RealModels {
  readonly rows: Row[] = [];
  readonly #backend: Backend;
  readonly #subject: PrunedSubject;
  readonly #original: Model;
  readonly #rounds: number;
  readonly #cache: string;

  constructor(
    subject: PrunedSubject,
    original: Model,
    run: { readonly backend: Backend; readonly rounds: number; readonly cache: string },
  ) {
    this.#subject = subject;
    this.#original = original;
    this.#backend = run.backend;
    this.#rounds = run.rounds;
    this.#cache = run.cache;
  }

  /** Measures a model as it would be shipped: simplified, written, and run by onnxruntime alone. */
  async tell(trial: string, model: Model, options: { readonly timed: boolean }): Promise<void> {
    const { name, timed, evaluate, measure } = this.#subject;
    const score = await evaluate(model, this.#backend);
    const [before, after] = [await costOf(this.#original), await costOf(model)];
    const { model: shipped } = await optimize(model, [simplify()]);
    await runsAlone(shipped, timed);
    const row = {
      model: name,
      trial,
      score,
      macs: after.macs / before.macs,
      parameters: after.parameters / before.parameters,
      speedup: options.timed && this.#rounds > 0 ? await this.#speedup(shipped) : undefined,
    };
    this.rows.push(row);
    const speed =
      row.speedup === undefined
        ? ''
        : `  ${row.speedup.map((value) => value.toFixed(2)).join(' / ')}x as fast`;
    process.stdout.write(
      `${name.padEnd(22)} ${trial.padEnd(34)} ${(100 * score).toFixed(2)} % ${measure}  MACs ${row.macs.toFixed(3)}  parameters ${row.parameters.toFixed(3)}${speed}\n`,
    );
  }

  async #speedup(shipped: Model): Promise<readonly [number, number, number]> {
    const models = [(await optimize(this.#original, [simplify()])).model, shipped];
    const entries = await Promise.all(
      models.map(async (model, index) => ({
        name: String(index),
        executable: await this.#backend.compile(model),
      })),
    );
    try {
      const { comparisons } = await measureLatency(entries, this.#subject.timed, { rounds: this.#rounds });
      const [first] = comparisons;
      return [
        first?.speedup ?? Number.NaN,
        first?.interval.low ?? Number.NaN,
        first?.interval.high ?? Number.NaN,
      ];
    } finally {
      for (const { executable } of entries) await executable.dispose();
    }
  }

  /** Channels, neurons and heads. */
  async channels(ratio: number, distil: DistilOptions | undefined): Promise<void> {
    const { data, protect } = this.#subject;
    const backend = this.#backend;
    const title = `${Math.round(100 * ratio)} %`;
    const context = { backend, data, check: 'off' as const };
    const { model: pruned } = await optimize(
      this.#original,
      [prune({ ratio, protect, roundTo: 8 })],
      context,
    );
    await this.tell(`${title} of the channels`, pruned, { timed: true });
    const refitted = await this.#refitted(pruned, title);
    await this.tell(`${title}, refit`, refitted, { timed: false });
    if ([...pruned.graph.nodes()].some((node) => node.is('BatchNormalization')))
      for (const [trial, model] of [
        ['statistics', pruned],
        ['refit, statistics', refitted],
      ] as const) {
        const measured = await optimize(model, [batchNormReestimation()], context);
        await this.tell(`${title}, ${trial}`, measured.model, { timed: false });
      }
    if (distil === undefined) return;
    const trained = await this.#distil(refitted, distil, title);
    await this.tell(`${title}, refit, ${distil.steps} updates`, trained, { timed: false });
  }

  /** A refit takes minutes: it is kept, for runs that are stopped. */
  async #refitted(pruned: Model, title: string): Promise<Model> {
    const { data, name } = this.#subject;
    const file = path.join(this.#cache, `refit-${name}-${title}-${data.size}.onnx`.replaceAll(/[ %]/gu, ''));
    if ((await readFile(file).catch(() => undefined)) !== undefined) return await loadOnnx(file);
    const step = leastSquaresRefit({ original: this.#original });
    const { model } = await optimize(pruned, [step], { backend: this.#backend, data, check: 'off' });
    await mkdir(this.#cache, { recursive: true });
    await saveOnnx(model, `${file}.tmp.onnx`);
    await rename(`${file}.tmp.onnx`, file);
    return model;
  }

  async depth(blocks: number): Promise<void> {
    const context = { backend: this.#backend, data: this.#subject.data, check: 'off' as const };
    const { model } = await optimize(this.#original, [depthPruning({ blocks })], context);
    await this.tell(`${blocks} blocks dropped`, model, { timed: true });
    const refit = leastSquaresRefit({ original: this.#original });
    await this.tell(`${blocks} blocks, refit`, (await optimize(model, [refit], context)).model, {
      timed: false,
    });
  }

  async ranks(energy: number): Promise<void> {
    const context = { backend: this.#backend, data: this.#subject.data, check: 'off' as const };
    const { model } = await optimize(this.#original, [lowRank({ energy })]);
    await this.tell(`low rank, energy ${energy}`, model, { timed: true });
    const refit = leastSquaresRefit({ original: this.#original });
    await this.tell(`low rank ${energy}, refit`, (await optimize(model, [refit], context)).model, {
      timed: false,
    });
  }

  /** Trains a pruned model to say what the original says, without labels. */
  async #distil(
    pruned: Model,
    { steps, batchSize, folder, rate }: DistilOptions,
    key: string,
  ): Promise<Model> {
    const inputs = await allOf(this.#subject.data);
    const samples = sampleTable({ inputs });
    const perEpoch = Math.floor(samples.size / batchSize);
    // Scores before the softmax that the model ends with.
    const student = this.#original.graph.outputs[0]?.producer?.input(0)?.name ?? '';
    await mkdir(folder, { recursive: true });
    const { model } = await fit(pruned, samples, {
      backend: this.#backend,
      loss: distillation({
        teacher: await teacherModel((await optimize(this.#original, [simplify()])).model),
        terms: [{ loss: logitDistillation({ student, axis: 2, temperature: 1 }) }],
      }),
      optimizer: adamW(),
      learningRate: rate,
      schedule: cosineSchedule(),
      // Drawn lines have other statistics than what these models were trained on.
      frozenStatistics: true,
      clipNorm: 1,
      inputShapes: Object.fromEntries(
        Object.entries(inputs).map(([name, tensor]) => [name, ['N', ...tensor.shape.slice(1)]]),
      ),
      epochs: Math.max(1, Math.round(steps / perEpoch)),
      batchSize,
      seed: 1,
      checkpoint: fileCheckpoints(path.join(folder, `${key}.safetensors`)),
      checkpointEvery: 50,
      onStep: ({ step, loss }) => {
        if (step === 1 || step % 25 === 0)
          process.stderr.write(`${key}: update ${step}, loss ${loss.toFixed(4)}\n`);
      },
    });
    return model;
  }
}

interface DistilOptions {
  readonly steps: number;
  readonly batchSize: number;
  readonly rate: number;
  /** Where a run that is stopped goes on from. */
  readonly folder: string;
}

/**
 * Real models pruned, refitted and run by onnxruntime alone: what they are worth before and after, and how fast they are.
 * Names of models (`detector`, `recognizer`, `mobilenet`, `resnet`, `cnn`, `encoder`, which needs `--minilm FOLDER`); `--ratios 0.1,0.2,0.3`,
 * `--energies 0.95,0.9` (low rank), `--blocks 1,2` (whole residual blocks), `--steps 300` of training to say what the
 * original says (recognizer; 0: none), `--batch 4`, `--rate 0.00002`, `--calibration 64`, `--held 64`, `--rounds 15`,
 * `--cache FOLDER` for drawn lines and checkpoints, `--json FILE`.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      ratios: { type: 'string', default: '0.1,0.2,0.3' },
      energies: { type: 'string', default: '' },
      blocks: { type: 'string', default: '' },
      steps: { type: 'string', default: '0' },
      batch: { type: 'string', default: '4' },
      rate: { type: 'string', default: '0.00002' },
      calibration: { type: 'string', default: '64' },
      held: { type: 'string', default: '64' },
      rounds: { type: 'string', default: '15' },
      minilm: { type: 'string' },
      cache: { type: 'string', default: path.join(tmpdir(), 'lithe-bench-cache') },
      json: { type: 'string' },
    },
  });
  const numbers = (text: string): readonly number[] => (text === '' ? [] : text.split(',').map(Number));
  const sizes = {
    calibration: Number(values.calibration),
    held: Number(values.held),
    cache: values.cache,
    minilm: values.minilm,
  };
  const steps = Number(values.steps);
  const distil =
    steps === 0
      ? undefined
      : {
          steps,
          batchSize: Number(values.batch),
          rate: Number(values.rate),
          folder: path.join(values.cache, `pruning-${steps}-${values.rate}-${values.calibration}`),
        };
  const backend = await onnxruntimeNode({ threads: 1 });
  await using _backend = { [Symbol.asyncDispose]: () => backend.dispose() };
  const rows: Row[] = [];
  for (const name of positionals.length > 0 ? positionals : Object.keys(subjects)) {
    const subject = await subjects[name]?.(sizes);
    if (subject === undefined) {
      process.stderr.write(`${name}: left out; the encoder needs --minilm FOLDER.\n`);
      continue;
    }
    const { model: original } = await optimize(subject.model, [simplify({ skip: folding })]);
    const run = new RealModels(subject, original, {
      backend,
      rounds: Number(values.rounds),
      cache: values.cache,
    });
    await run.tell('original', original, { timed: false });
    for (const ratio of numbers(values.ratios))
      await run.channels(ratio, name === 'recognizer' ? distil : undefined);
    for (const count of numbers(values.blocks)) await run.depth(count);
    for (const energy of numbers(values.energies)) await run.ranks(energy);
    rows.push(...run.rows);
  }
  if (values.json !== undefined) {
    const earlier = JSON.parse(await readFile(values.json, 'utf8').catch(() => '[]')) as unknown[];
    await writeFile(values.json, `${JSON.stringify([...earlier, { command: args, rows }], null, 2)}\n`);
  }
  return 0;
}
