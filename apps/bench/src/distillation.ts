import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { type Backend, inferShapes, type Model, modelCost, optimize, Tensor } from '@lithe/core';
import {
  correlationDistillation,
  type DistillationTerm,
  decoupledDistillation,
  distillation,
  logitDistillation,
  recordTeacher,
} from '@lithe/distillation';
import { loadOnnx, saveOnnx } from '@lithe/onnx/node';
import { prune } from '@lithe/pruning';
import {
  adamW,
  cnn,
  crossEntropy,
  fit,
  type Loss,
  oneCycleSchedule,
  type SampleTable,
  sampleTable,
} from '@lithe/training';
import { accuracyOn, type FashionPart, fashionMnist, loadTrainedModel } from '@lithe-internal/models';
import { fresh } from './pruning/recover.ts';

/** A term beside labels, and the factor of the loss on labels. */
interface Arm extends DistillationTerm {
  readonly taskWeight: number;
}

/**
 * What a student learns from beside labels. Not here: `alone`, from labels and nothing else, and `scratch`, the same from
 * fresh weights whatever the others begin with. Factors are those of the papers' code.
 */
const arms: Readonly<Record<string, (temperature: number) => Arm>> = {
  kd: (temperature) => ({ loss: logitDistillation({ temperature }), weight: 0.9, taskWeight: 0.1 }),
  dkd: (temperature) => ({ loss: decoupledDistillation({ temperature, beta: 2 }), taskWeight: 1 }),
  dist: () => ({ loss: correlationDistillation(), taskWeight: 1 }),
  'logit-std': () => ({
    loss: logitDistillation({ temperature: 2, standardize: true }),
    weight: 9,
    taskWeight: 1,
  }),
};

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
const points = (difference: number): string => `${difference < 0 ? '' : '+'}${(100 * difference).toFixed(2)}`;
const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Of a sample: n - 1 below the line. */
function deviationOf(values: readonly number[]): number {
  const mean = meanOf(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}

/** Images `start` to `end`. */
function part({ x, label }: FashionPart, start: number, end: number): FashionPart {
  const size = x.size / label.size;
  return {
    x: Tensor.from('float32', [end - start, ...x.shape.slice(1)], x.data.subarray(start * size, end * size)),
    label: Tensor.from('int64', [end - start], label.data.slice(start, end)),
  };
}

/** All images, and all of them once more turned left to right: what a teacher says of both can be recorded. */
function withMirrorImages(images: FashionPart): SampleTable {
  const table = sampleTable({ inputs: { x: images.x }, targets: { label: images.label } });
  return {
    size: 2 * table.size,
    description: `${table.description} and their mirror images`,
    gather: async (indices, signal) => {
      const batch = await table.gather(
        indices.map((index) => index % table.size),
        signal,
      );
      const x = batch.inputs['x'] as Tensor<'float32'>;
      const [width, size] = [x.shape.at(-1) as number, x.size / indices.length];
      const data = x.data.slice();
      for (const [row, index] of indices.entries()) {
        if (index < table.size) continue;
        for (let at = row * size; at < (row + 1) * size; at += width) data.subarray(at, at + width).reverse();
      }
      return { ...batch, inputs: { x: Tensor.from('float32', x.shape, data) } };
    },
  };
}

interface Settings {
  readonly backend: Backend;
  readonly images: FashionPart;
  readonly held: FashionPart;
  readonly folder: string;
  readonly epochs: number;
  readonly rate: number;
  readonly temperature: number;
  readonly weights: 'fresh' | 'pruned';
}

interface TrainSettings extends Pick<Settings, 'backend' | 'epochs' | 'rate'> {
  readonly seed: number;
  readonly loss: Loss;
  readonly name: string;
}

/** Every arm is trained like this; an epoch sees as many images as there are, half of them mirrored. */
async function train(model: Model, table: SampleTable, settings: TrainSettings): Promise<Model> {
  const { backend, epochs, rate, seed, loss, name } = settings;
  const result = await fit(model, table, {
    backend,
    loss,
    optimizer: adamW(),
    learningRate: rate,
    schedule: oneCycleSchedule(),
    epochs: epochs / 2,
    batchSize: 128,
    seed,
    onEpoch: ({ epoch, loss: mean, milliseconds }) =>
      process.stderr.write(
        `${name}, seed ${seed}: epoch ${2 * epoch} of ${epochs}, loss ${mean.toFixed(4)}, ${(milliseconds / 1000).toFixed(0)} s\n`,
      ),
  });
  return result.model;
}

/** A teacher that has not seen the images to validate on: the CNN of `@lithe-internal/models`, trained as that one was. */
async function validationTeacher(folder: string, backend: Backend, table: SampleTable): Promise<Model> {
  const file = path.join(folder, `teacher-${table.size}.onnx`);
  if ((await readFile(file).catch(() => undefined)) !== undefined) return await loadOnnx(file);
  const model = await train(await cnn({ image: [1, 28, 28], seed: 0 }), table, {
    backend,
    epochs: 8,
    rate: 0.002,
    seed: 0,
    loss: crossEntropy({ logits: 'logits' }),
    name: 'teacher',
  });
  await saveOnnx(model, `${file}.tmp.onnx`);
  await rename(`${file}.tmp.onnx`, file);
  return model;
}

/** Students of one teacher: each arm and seed is trained once, and its accuracy kept. */
class Students {
  readonly #settings: Settings;
  readonly #teacher: Model;
  readonly #student: Model;
  readonly #table: SampleTable;
  #recorded: Awaited<ReturnType<typeof recordTeacher>> | undefined;

  constructor(teacher: Model, student: Model, table: SampleTable, settings: Settings) {
    this.#teacher = teacher;
    this.#student = student;
    this.#table = table;
    this.#settings = settings;
  }

  async accuracy(arm: string, seed: number): Promise<number> {
    const { folder, epochs, rate, temperature, weights, images, held, backend } = this.#settings;
    const begin = arm === 'scratch' ? 'fresh' : weights;
    const key = [
      arm === 'scratch' ? 'alone' : arm,
      begin,
      epochs,
      rate,
      temperature,
      images.label.size,
      held.label.size,
      seed,
    ].join('-');
    const file = path.join(folder, `${key}.json`);
    const known = await readFile(file, 'utf8').catch(() => undefined);
    if (known !== undefined) return (JSON.parse(known) as { readonly accuracy: number }).accuracy;
    const start = begin === 'fresh' ? await fresh(this.#student, seed) : this.#student;
    const { loss, table } = await this.#lesson(arm);
    const model = await train(start, table, { backend, epochs, rate, seed, loss, name: arm });
    const accuracy = await accuracyOn(model, backend, held);
    await saveOnnx(model, path.join(folder, `${key}.onnx`));
    await writeFile(`${file}.tmp`, JSON.stringify({ accuracy }));
    await rename(`${file}.tmp`, file);
    return accuracy;
  }

  async #lesson(arm: string): Promise<{ readonly loss: Loss; readonly table: SampleTable }> {
    const task = crossEntropy({ logits: 'logits' });
    if (arm === 'alone' || arm === 'scratch') return { loss: task, table: this.#table };
    const make = arms[arm];
    if (make === undefined)
      throw new Error(`"${arm}" is none of alone, scratch, ${Object.keys(arms).join(', ')}.`);
    const { backend, temperature } = this.#settings;
    this.#recorded ??= await recordTeacher(this.#teacher, this.#table, { backend, batchSize: 500 });
    const { teacher, table } = this.#recorded;
    const { taskWeight, ...term } = make(temperature);
    return { loss: distillation({ teacher, terms: [term], task, taskWeight }), table };
  }
}

function tableOf(seeds: readonly number[], found: ReadonlyMap<string, readonly number[]>): string {
  const alone = found.get('alone') ?? [];
  const lines = [...found].map(([arm, values]) => {
    const gains = values.map((value, seed) => value - (alone[seed] ?? Number.NaN));
    const spread = (list: readonly number[]): string =>
      list.length > 1 ? (100 * deviationOf(list)).toFixed(2) : '-';
    const gain =
      arm === 'alone' ? '' : `${points(meanOf(gains))} +- ${spread(gains)}   ${gains.map(points).join(' ')}`;
    return `${arm.padEnd(12)}${values
      .map(percent)
      .join('  ')
      .padEnd(9 * seeds.length + 3)}${percent(meanOf(values))}  ${spread(values)}   ${gain}`;
  });
  const header = `${'student'.padEnd(12)}${'by seed'.padEnd(9 * seeds.length + 3)}mean     sd     against alone, by pairs of one seed`;
  return [header, ...lines, ''].join('\n');
}

/**
 * A student of a quarter of the teacher's multiplications (the small CNN, pruned), trained alone and with distillation:
 * same images, mirror images, batches, epochs, rate and initial weights. `--arms alone,kd,dkd,dist,logit-std,scratch`,
 * `--weights pruned` (or `fresh`), `--images 6000` of the 60,000 to train on, `--epochs 20`, `--rate`, `--temperature`,
 * `--seeds 3`, `--threads`, `--out .out/distillation` (a run that was stopped goes on). `--validate` trains on 55,000 of
 * the training images, teacher included, and measures on the other 5,000: settings were chosen by it.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      arms: { type: 'string', default: 'alone,kd,dkd,scratch' },
      weights: { type: 'string', default: 'pruned' },
      epochs: { type: 'string', default: '20' },
      rate: { type: 'string', default: '0.002' },
      temperature: { type: 'string', default: '4' },
      images: { type: 'string', default: '6000' },
      seeds: { type: 'string', default: '3' },
      validate: { type: 'boolean', default: false },
      threads: { type: 'string', default: '1' },
      out: { type: 'string', default: '.out/distillation' },
    },
  });
  await using backend = await onnxruntimeNode({ threads: Number(values.threads) });
  await mkdir(values.out, { recursive: true });
  const all = await fashionMnist('train');
  const whole = values.validate ? part(all, 0, 55_000) : all;
  const held = values.validate ? part(all, 55_000, 60_000) : await fashionMnist('test');
  const images = part(whole, 0, Math.min(Number(values.images), whole.label.size));
  const teacher = values.validate
    ? await validationTeacher(values.out, backend, withMirrorImages(whole))
    : await loadTrainedModel('fashion-cnn');
  const { model: student } = await optimize(teacher, [prune({ criterion: 'l2', budget: { macs: 0.25 } })]);
  const students = new Students(teacher, student, withMirrorImages(images), {
    backend,
    images,
    held,
    folder: values.out,
    epochs: Number(values.epochs),
    rate: Number(values.rate),
    temperature: Number(values.temperature),
    weights: values.weights === 'pruned' ? 'pruned' : 'fresh',
  });
  const seeds = Array.from({ length: Number(values.seeds) }, (_, seed) => seed);
  const found = new Map<string, number[]>(values.arms.split(',').map((arm) => [arm, []]));
  for (const seed of seeds) for (const [arm, list] of found) list.push(await students.accuracy(arm, seed));
  const macs = async (model: Model): Promise<number> => {
    const copy = model.clone();
    await inferShapes(copy);
    return modelCost(copy, { dims: { N: 1 } }).macs;
  };
  process.stdout.write(
    `teacher ${percent(await accuracyOn(teacher, backend, held))} of ${held.label.size} held-out images; student ${percent((await macs(student)) / (await macs(teacher)))} of its multiplications, ${values.weights} weights, ${values.epochs} epochs of ${images.label.size} images at ${values.rate}, T ${values.temperature}\n${tableOf(seeds, found)}`,
  );
  return 0;
}
