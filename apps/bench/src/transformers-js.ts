import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { env, pipeline } from '@huggingface/transformers';
import { nodeCpuTarget, wasmTarget, webgpuTarget } from '@lithe/backend-onnxruntime';
import { openModel, printSet, writeTransformersJsSet } from '@lithe/cli';
import type { Target } from '@lithe/core';
import { saveOnnx } from '@lithe/onnx/node';
import {
  type TransformersJsDType,
  type TransformersJsOptions,
  transformersJsDTypes,
} from '@lithe/quantization';
import { loadMails, type Mail } from './encoder/mails.ts';
import { howToGetMiniLm, loadMiniLm } from './encoder/minilm.ts';
import { type Embeddings, mailDataset, meanCosine, nearestBodies } from './encoder/quality.ts';

const targets: Readonly<Record<string, () => Target>> = {
  'node-cpu': nodeCpuTarget,
  wasm: wasmTarget,
  webgpu: webgpuTarget,
};

/** What transformers.js reads beside the model. */
const repositoryFiles = ['config.json', 'tokenizer.json', 'tokenizer_config.json'] as const;

/** Letters of a body that are embedded: about 64 tokens. */
const LETTERS = 300;

/** Vectors of subjects and bodies, as transformers.js makes them from local files. */
async function embed(name: string, dtype: TransformersJsDType, mails: readonly Mail[]): Promise<Embeddings> {
  // The union of all tasks and dtypes is beyond the compiler without a hint.
  const extract = await pipeline('feature-extraction', name, { dtype: dtype as 'fp32', device: 'cpu' });
  const start = performance.now();
  const one = async (text: string): Promise<Float32Array> => {
    const { data } = await extract(text, { pooling: 'mean', normalize: true });
    return Float32Array.from(data as Float32Array);
  };
  const subjects: Float32Array[] = [];
  const bodies: Float32Array[] = [];
  for (const { subject, body } of mails) {
    subjects.push(await one(subject));
    bodies.push(await one(body.slice(0, LETTERS)));
  }
  await extract.dispose();
  return { subjects, bodies, seconds: (performance.now() - start) / 1000 };
}

function found(embeddings: Embeddings): number {
  const nearest = nearestBodies(embeddings);
  return nearest.reduce((count, body, subject) => count + (body === subject ? 1 : 0), 0) / nearest.length;
}

/**
 * Makes the file set of all-MiniLM-L6-v2 for transformers.js, verified on real e-mails, loads every file by its dtype in
 * transformers.js from a local folder without network, and embeds other e-mails with it: how like the float model's the
 * vectors are, and how many mails are found by their subject. Needs `--minilm FOLDER`; `--mails N` (200), `--samples N`
 * (16), `--verify-in node-cpu,wasm`, `--rounds N`, `--algorithm rtn|hqq|gptq|awq`, `--embeddings int8|int4|float`,
 * `--dtypes q8,q4`, `--folder FOLDER` to keep the files, `--json`.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minilm: { type: 'string' },
      mails: { type: 'string', default: '200' },
      samples: { type: 'string', default: '16' },
      'verify-in': { type: 'string', default: 'node-cpu' },
      rounds: { type: 'string', default: '11' },
      algorithm: { type: 'string', default: 'rtn' },
      embeddings: { type: 'string', default: 'int8' },
      dtypes: { type: 'string', default: transformersJsDTypes.join(',') },
      folder: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  if (values.minilm === undefined) {
    process.stderr.write(`${howToGetMiniLm}\n`);
    return 1;
  }
  const [count, samples] = [Number(values.mails), Number(values.samples)];
  const root = values.folder ?? (await mkdtemp(path.join(tmpdir(), 'lithe-minilm-')));
  const repository = path.join(root, 'minilm');
  try {
    await mkdir(repository, { recursive: true });
    const encoder = await loadMiniLm(values.minilm);
    for (const file of repositoryFiles)
      await copyFile(path.join(values.minilm, file), path.join(repository, file));
    await saveOnnx(encoder.model, path.join(repository, 'model.onnx'));
    const all = await loadMails(count + samples, 1);
    const data = mailDataset(all.slice(0, samples), encoder, 64);
    const dtypes = values.dtypes.split(',') as TransformersJsDType[];
    const report = await writeTransformersJsSet(await openModel(path.join(repository, 'model.onnx')), {
      output: path.join(repository, 'onnx'),
      targets: values['verify-in'].split(',').map((name) => (targets[name] ?? nodeCpuTarget)()),
      data,
      random: false,
      samples,
      rounds: Number(values.rounds),
      preset: {
        dtypes: [...new Set<TransformersJsDType>(['fp32', ...dtypes])],
        algorithm: values.algorithm as 'rtn',
        embeddings: values.embeddings as NonNullable<TransformersJsOptions['embeddings']>,
      },
      onPhase: (text) => process.stderr.write(`${text}\n`),
    });
    if (!values.json) process.stdout.write(printSet(report));
    env.allowRemoteModels = false;
    env.localModelPath = root;
    env.useFSCache = false;
    const mails = all.slice(samples);
    const rows: Record<string, string | number>[] = [];
    let float: Embeddings | undefined;
    for (const { dtype, state, size } of report.files) {
      if (state === 'refused' || state === 'skipped') continue;
      const embeddings = await embed('minilm', dtype, mails);
      float ??= embeddings;
      rows.push({
        dtype,
        megabytes: Number(((size?.after ?? 0) / 1e6).toFixed(2)),
        cosine: Number(meanCosine(embeddings, float).toFixed(5)),
        'found by subject, %': Number((100 * found(embeddings)).toFixed(1)),
        seconds: Number(embeddings.seconds.toFixed(1)),
      });
      process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`);
    }
    const device = { cpu: cpus()[0]?.model, node: process.version };
    if (values.json) process.stdout.write(`${JSON.stringify({ device, report, rows }, null, 2)}\n`);
    else console.table(rows);
    return 0;
  } finally {
    if (values.folder === undefined) await rm(root, { recursive: true, force: true });
  }
}
