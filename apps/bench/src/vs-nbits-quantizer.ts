import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import { type Backend, constantOf, type Model, type Node, optimize, type Tensor } from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { gptq, hqq, type WeightOnlyOptions, weightOnly } from '@lithe/quantization';
import { simplify } from '@lithe/simplify';
import { loadMails } from './encoder/mails.ts';
import { howToGetMiniLm, loadMiniLm } from './encoder/minilm.ts';
import { feedsOf, mailDataset } from './encoder/quality.ts';

const block = 32;

/** What both sides make, by name. */
const ours: Readonly<Record<string, WeightOnlyOptions>> = {
  rtn: {},
  'rtn asym': { symmetric: false },
  'hqq asym': { symmetric: false, algorithm: hqq() },
  gptq: { algorithm: gptq({ order: 'stored', scales: 'range' }) },
  'gptq asym': { symmetric: false, algorithm: gptq({ order: 'stored', scales: 'range' }) },
  'gptq asym energy': { symmetric: false, algorithm: gptq({ scales: 'range' }) },
  'gptq asym energy search': { symmetric: false, algorithm: gptq() },
};

/** A weight `[N, K]` with its packed parts. */
interface Packed {
  readonly packed: Uint8Array;
  readonly scales: Float32Array;
  readonly values: Float32Array;
}

async function load(node: Node, index: number): Promise<Tensor | undefined> {
  return constantOf(node.input(index))?.load();
}

function attribute(node: Node, name: string): number {
  const found = node.attributes.get(name);
  return found?.kind === 'int' ? Number(found.value) : 0;
}

/** The weights of a file, expanded as the specification words it, in the order of their operators. */
async function weightsOf(model: Model): Promise<readonly Packed[]> {
  const found: Packed[] = [];
  for (const node of model.graph.nodes()) {
    if (node.op !== 'com.microsoft.MatMulNBits') continue;
    const [k, n] = [attribute(node, 'K'), attribute(node, 'N')];
    const packed = (await load(node, 1))?.data as Uint8Array;
    const scales = (await load(node, 2))?.data as Float32Array;
    const zeros = await load(node, 3);
    const blocks = Math.ceil(k / block);
    const nibble = (bytes: Uint8Array, at: number): number => (bytes[at >> 1]! >> ((at & 1) * 4)) & 15;
    const zeroOf = (row: number, at: number): number => {
      if (zeros === undefined) return 8;
      if (zeros.dtype !== 'uint8') return (zeros.data as Float32Array)[row * blocks + at]!;
      return nibble((zeros.data as Uint8Array).subarray(row * Math.ceil(blocks / 2)), at);
    };
    const values = new Float32Array(n * k);
    for (let row = 0; row < n; row++)
      for (let at = 0; at < k; at++) {
        const group = Math.floor(at / block);
        const level = nibble(packed, row * blocks * block + at);
        values[row * k + at] = (level - zeroOf(row, group)) * scales[row * blocks + group]!;
      }
    found.push({ packed, scales, values });
  }
  return found;
}

/** The float weights of the same operators, `[N, K]`. */
async function floatWeights(model: Model): Promise<readonly Float32Array[]> {
  const found: Float32Array[] = [];
  for (const node of model.graph.nodes()) {
    const source = node.is('MatMul') ? constantOf(node.input(1)) : undefined;
    if (source === undefined) continue;
    const [k, n] = source.shape as readonly [number, number];
    const data = (await source.load()).data as Float32Array;
    found.push(Float32Array.from({ length: n * k }, (_, at) => data[(at % k) * n + Math.floor(at / k)]!));
  }
  return found;
}

function errorIn(norm: number, weights: readonly Packed[], float: readonly Float32Array[]): number {
  let sum = 0;
  let size = 0;
  for (const [index, { values }] of weights.entries()) {
    const expected = float[index] as Float32Array;
    for (let at = 0; at < values.length; at++) {
      sum += Math.abs(values[at]! - expected[at]!) ** norm;
      size += Math.abs(expected[at]!) ** norm;
    }
  }
  return Number(((100 * sum) / size).toFixed(3));
}

/** One side's file. */
interface Row {
  readonly by: string;
  readonly algorithm: string;
  /** Squared error of the weights, percent of their squares. */
  readonly squared: number;
  /** The same in the 0.7 norm that HQQ works in. */
  readonly norm07: number;
  /** Signal to noise of the last hidden states on mails that were not calibrated on. */
  readonly sqnrDb: number;
  readonly seconds: number;
  /** Integers and scales that are not bit by bit those of the other side, of how many. */
  readonly differing: string;
}

async function quality(file: Uint8Array, backend: Backend, texts: readonly (readonly number[])[]) {
  const executable = await backend.compile({ kind: 'onnx', file });
  const outputs: Float32Array[] = [];
  for (const ids of texts)
    outputs.push((Object.values(await executable.run(feedsOf(ids)))[0] as Tensor<'float32'>).data);
  await executable.dispose();
  return outputs;
}

function sqnr(expected: readonly Float32Array[], actual: readonly Float32Array[]): number {
  let signal = 0;
  let noise = 0;
  for (const [index, left] of expected.entries()) {
    const right = actual[index] as Float32Array;
    for (let at = 0; at < left.length; at++) {
      signal += left[at]! ** 2;
      noise += (left[at]! - right[at]!) ** 2;
    }
  }
  return Number((10 * Math.log10(signal / noise)).toFixed(2));
}

interface PeerReport {
  readonly seconds: Readonly<Record<string, number>>;
  readonly failures: Readonly<Record<string, string>>;
  readonly onnxruntime: string;
}

async function theirs(
  float: Uint8Array,
  texts: readonly (readonly number[])[],
  run: { readonly python: string; readonly folder: string },
): Promise<{ readonly report: PeerReport; readonly files: ReadonlyMap<string, Uint8Array> }> {
  const { python, folder } = run;
  const model = path.join(folder, 'float.onnx');
  await writeFile(model, float);
  const outputs = Object.fromEntries(
    Object.keys(ours).map((name) => [name, path.join(folder, `${name.replaceAll(' ', '-')}.onnx`)]),
  );
  const job = path.join(folder, 'job.json');
  const said = path.join(folder, 'report.json');
  await writeFile(job, JSON.stringify({ model, block, texts, outputs, report: said }));
  const script = fileURLToPath(new URL('./nbits-quantizer.py', import.meta.url));
  const child = spawnSync(python, [script, job], { encoding: 'utf8', maxBuffer: 1e8 });
  if (child.status !== 0) throw new Error(`Python failed:\n${child.stderr.slice(-2000)}`);
  const report = JSON.parse(await readFile(said, 'utf8')) as PeerReport;
  const files = new Map<string, Uint8Array>();
  for (const [name, file] of Object.entries(outputs)) {
    const failure = report.failures[name];
    if (failure === undefined) files.set(name, new Uint8Array(await readFile(file)));
    else process.stderr.write(`onnxruntime ${name} failed: ${failure}\n`);
  }
  return { report, files };
}

function differing(left: readonly Packed[], right: readonly Packed[] | undefined): string {
  if (right === undefined) return '';
  const counts = [0, 0, 0, 0];
  for (const [index, { packed, scales }] of left.entries()) {
    const other = right[index] as Packed;
    counts[0]! += packed.reduce((sum, byte, at) => sum + (byte === other.packed[at] ? 0 : 1), 0);
    counts[1]! += packed.length;
    counts[2]! += scales.reduce((sum, scale, at) => sum + (Object.is(scale, other.scales[at]) ? 0 : 1), 0);
    counts[3]! += scales.length;
  }
  return `${counts[0]} of ${counts[1]} bytes, ${counts[2]} of ${counts[3]} scales`;
}

/**
 * Stores the weights of all-MiniLM-L6-v2 in 4 bits by Lithe and by onnxruntime's `MatMulNBitsQuantizer`, with the same
 * calibration texts: errors of the weights, and of the last hidden states on texts that neither saw. Needs
 * `--minilm FOLDER` and a Python with onnxruntime, onnx and torch: `--python FILE` (default `python3`). `--layers N`
 * (6), `--samples N` (64), `--json`.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minilm: { type: 'string' },
      python: { type: 'string', default: 'python3' },
      layers: { type: 'string', default: '6' },
      samples: { type: 'string', default: '64' },
      json: { type: 'boolean', default: false },
    },
  });
  if (values.minilm === undefined) {
    process.stderr.write(`${howToGetMiniLm}\n`);
    return 1;
  }
  const samples = Number(values.samples);
  const encoder = await loadMiniLm(values.minilm, Number(values.layers));
  const mails = await loadMails(samples + 32, 1);
  const tokens = (from: number, to: number) =>
    mails.slice(from, to).map(({ body }) => encoder.tokenizer.encode(body, 64));
  const { model } = await optimize(encoder.model, [simplify()], { check: 'off' });
  const file = await writeOnnx(model);
  const backend = await onnxruntimeNode({ threads: 1 });
  const folder = await mkdtemp(path.join(tmpdir(), 'lithe-bench-'));
  const rows: Row[] = [];
  let peer = '';
  try {
    const unseen = tokens(samples, samples + 32);
    const expected = await quality(file, backend, unseen);
    const { report, files } = await theirs(file, tokens(0, samples), { python: values.python, folder });
    peer = report.onnxruntime;
    const float = await floatWeights(model);
    const data = mailDataset(mails.slice(0, samples), encoder, 64);
    for (const [algorithm, options] of Object.entries(ours)) {
      const start = performance.now();
      const step = weightOnly({ blockSize: block, accuracyLevel: 0, ...options });
      const { model: small } = await optimize(model, [step], { backend, data, check: 'off' });
      const made = await writeOnnx(small);
      const seconds = (performance.now() - start) / 1000;
      const own = await weightsOf(await readOnnx(made));
      const other = files.get(algorithm);
      const peers = other === undefined ? undefined : await weightsOf(await readOnnx(other));
      const row = async (by: string, weights: readonly Packed[], bytes: Uint8Array, took: number) =>
        rows.push({
          by,
          algorithm,
          squared: errorIn(2, weights, float),
          norm07: errorIn(0.7, weights, float),
          sqnrDb: sqnr(expected, await quality(bytes, backend, unseen)),
          seconds: Number(took.toFixed(1)),
          differing: by === 'lithe' ? differing(own, peers) : '',
        });
      await row('lithe', own, made, seconds);
      if (other !== undefined && peers !== undefined)
        await row('onnxruntime', peers, other, report.seconds[algorithm] ?? Number.NaN);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
    await backend.dispose();
  }
  const device = { cpu: cpus()[0]?.model, node: process.version, runtime: backend.version, quantizer: peer };
  if (values.json) process.stdout.write(`${JSON.stringify({ device, rows }, null, 2)}\n`);
  else console.table(rows);
  return 0;
}
