import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { nodeCpuTarget, onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { type Backend, type Dataset, type Model, optimize, type PassStep } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import {
  awq,
  dynamicInt8,
  foldableWeights,
  gptq,
  hqq,
  roundToNearest,
  type WeightOnlyOptions,
  weightOnly,
} from '@lithe/quantization';
import { simplify } from '@lithe/simplify';
import { loadMails, type Mail } from './encoder/mails.ts';
import { howToGetMiniLm, loadMiniLm } from './encoder/minilm.ts';
import {
  type Embeddings,
  embedMails,
  mailDataset,
  meanCosine,
  nearestBodies,
  probeAccuracy,
  trainProbe,
} from './encoder/quality.ts';

const int4 = (options: WeightOnlyOptions): PassStep => weightOnly({ bits: 4, blockSize: 32, ...options });

/** What is made of the encoder, by name. */
const variants: Readonly<Record<string, () => readonly PassStep[]>> = {
  float: () => [],
  'int8 rtn': () => [weightOnly({ bits: 8 })],
  'int4 rtn': () => [int4({})],
  'int4 rtn asym': () => [int4({ symmetric: false })],
  'int4 search asym': () => [int4({ algorithm: roundToNearest({ scales: 'search' }), symmetric: false })],
  'int4 hqq': () => [int4({ algorithm: hqq() })],
  'int4 hqq asym': () => [int4({ algorithm: hqq(), symmetric: false })],
  'int4 gptq': () => [int4({ algorithm: gptq() })],
  'int4 gptq asym': () => [int4({ algorithm: gptq(), symmetric: false })],
  'int4 gptq stored': () => [int4({ algorithm: gptq({ order: 'stored', scales: 'range' }) })],
  'int4 gptq sequential': () => [int4({ algorithm: gptq({ sequential: true }) })],
  'int4 awq': () => [int4({ algorithm: awq() })],
  'int4 awq gptq': () => [int4({ algorithm: awq({ rounding: gptq() }) })],
  'int4 gptq + tables int8': () => [int4({ algorithm: gptq(), embeddings: 'int8' })],
  'int4 gptq + tables int4': () => [int4({ algorithm: gptq(), embeddings: 'int4' })],
  'int4 b128 rtn': () => [int4({ blockSize: 128 })],
  'int4 b128 gptq': () => [int4({ blockSize: 128, algorithm: gptq() })],
  'foldable int8': () => [foldableWeights({ bits: 8 })],
  'foldable int4': () => [foldableWeights({ bits: 4 })],
  'dynamic int8': () => [dynamicInt8()],
};

/** One variant beside the float encoder. */
interface Row {
  readonly variant: string;
  readonly megabytes: number;
  /** Percent of subjects whose own body is the nearest. */
  readonly retrieval: number;
  /** Percent of subjects whose nearest body is that of the float encoder. */
  readonly agreement: number;
  /** Percent of bodies told right by a probe trained on the float encoder's vectors. */
  readonly probe: number;
  /** Percent told right by a probe trained on the variant's own vectors. */
  readonly ownProbe: number;
  readonly cosine: number;
  readonly makeSeconds: number;
  readonly embedSeconds: number;
}

interface Setting {
  readonly backend: Backend;
  readonly calibration: Dataset;
  readonly model: Model;
}

async function make(steps: readonly PassStep[], setting: Setting): Promise<Uint8Array> {
  const { backend, calibration: data, model } = setting;
  const { model: small } = await optimize(model, steps, {
    backend,
    data,
    target: nodeCpuTarget(),
    check: 'off',
  });
  return writeOnnx(small);
}

function share(right: (index: number) => boolean, count: number): number {
  let sum = 0;
  for (let index = 0; index < count; index++) if (right(index)) sum++;
  return percent(sum / count);
}

const percent = (value: number): number => Number((100 * value).toFixed(2));

function rowOf(
  variant: string,
  results: { readonly found: Embeddings; readonly float: Embeddings },
  mails: readonly Mail[],
): Omit<Row, 'megabytes' | 'makeSeconds'> {
  const { found, float } = results;
  const half = mails.length >> 1;
  const labels = mails.map(({ spam }) => spam);
  const nearest = nearestBodies(found);
  const floatNearest = nearestBodies(float);
  const test = found.bodies.slice(half);
  const accuracy = (from: Embeddings): number =>
    percent(
      probeAccuracy(trainProbe(from.bodies.slice(0, half), labels.slice(0, half)), test, labels.slice(half)),
    );
  return {
    variant,
    retrieval: share((index) => nearest[index] === index, mails.length),
    agreement: share((index) => nearest[index] === floatNearest[index], mails.length),
    probe: accuracy(float),
    ownProbe: accuracy(found),
    cosine: Number(meanCosine(found, float).toFixed(5)),
    embedSeconds: Number(found.seconds.toFixed(1)),
  };
}

/**
 * Quantizes all-MiniLM-L6-v2 in every way and measures it on real e-mails: whether a mail is found by its subject among
 * all of them, and whether a linear probe tells spam. Needs `--minilm FOLDER` (how to get it is printed when it is
 * missing). `--only LIST` limits the variants, by names with
 * commas between; `--mails N` (1000), `--tokens N` (64), `--samples N` (128 for
 * calibration, other mails than those that are measured on); `--json`.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minilm: { type: 'string' },
      only: { type: 'string', default: Object.keys(variants).join() },
      mails: { type: 'string', default: '1000' },
      tokens: { type: 'string', default: '64' },
      samples: { type: 'string', default: '128' },
      json: { type: 'boolean', default: false },
    },
  });
  if (values.minilm === undefined) {
    process.stderr.write(`${howToGetMiniLm}\n`);
    return 1;
  }
  const [count, tokens, samples] = [Number(values.mails), Number(values.tokens), Number(values.samples)];
  const encoder = await loadMiniLm(values.minilm);
  const all = await loadMails(count + samples, 1);
  const mails = all.slice(samples);
  const backend = await onnxruntimeNode({ threads: 1 });
  const rows: Row[] = [];
  try {
    const { model } = await optimize(encoder.model, [simplify()], { check: 'off' });
    const setting = { backend, calibration: mailDataset(all.slice(0, samples), encoder, tokens), model };
    let float: Embeddings | undefined;
    const wanted = values.only.split(',');
    for (const [variant, steps] of Object.entries(variants)) {
      if (variant !== 'float' && !wanted.includes(variant)) continue;
      const start = performance.now();
      const file = await make(steps(), setting);
      const makeSeconds = Number(((performance.now() - start) / 1000).toFixed(1));
      const found = await embedMails(file, mails, { backend, encoder, tokens });
      float ??= found;
      const row = rowOf(variant, { found, float }, mails);
      rows.push({ ...row, megabytes: Number((file.length / 1e6).toFixed(1)), makeSeconds });
      process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`);
    }
  } finally {
    await backend.dispose();
  }
  const device = { cpu: cpus()[0]?.model, node: process.version, runtime: backend.version };
  if (values.json) process.stdout.write(`${JSON.stringify({ device, rows }, null, 2)}\n`);
  else console.table(rows);
  return 0;
}
