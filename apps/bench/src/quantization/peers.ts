import { spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Feeds, isLitheError, type Model } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import type { Subject } from './subject.ts';

/** A file that somebody made of the model. */
export interface MadeFile {
  /** Who made it and how. */
  readonly name: string;
  /** The file, or why there is none. */
  readonly file: Uint8Array | string;
  /** Time it took to make. */
  readonly seconds: number;
}

interface Variant {
  readonly name: string;
  /** Python that has the tool. */
  readonly tool: 'onnxruntime' | 'onnxsim' | 'neural-compressor';
  /** Function of `peers.py`. */
  readonly way: string;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly kinds: readonly Subject['kind'][];
}

const both = ['convolutional', 'transformer'] as const;
const convolutional = ['convolutional'] as const;
const transformer = ['transformer'] as const;

/** What the tools of others are asked for: their defaults, and each technique that ours is compared with. */
const variants: readonly Variant[] = [
  {
    name: 'onnxruntime static, defaults',
    tool: 'onnxruntime',
    way: 'onnxruntime-static',
    options: { defaults: true },
    kinds: both,
  },
  ...(['minmax', 'entropy', 'percentile'] as const).map(
    (method): Variant => ({
      name: `onnxruntime static U8S8 per channel, ${method}`,
      tool: 'onnxruntime',
      way: 'onnxruntime-static',
      options: { method },
      kinds: convolutional,
    }),
  ),
  {
    name: 'onnxruntime static U8S8 per channel, moving average',
    tool: 'onnxruntime',
    way: 'onnxruntime-static',
    options: { extra: { CalibMovingAverage: true } },
    kinds: convolutional,
  },
  {
    name: 'onnxruntime static U8S8 per tensor, minmax',
    tool: 'onnxruntime',
    way: 'onnxruntime-static',
    options: { per_channel: false },
    kinds: convolutional,
  },
  {
    name: 'onnxruntime static U8S8 per channel, 7-bit weights',
    tool: 'onnxruntime',
    way: 'onnxruntime-static',
    options: { reduce_range: true },
    kinds: convolutional,
  },
  {
    name: 'onnxruntime dynamic',
    tool: 'onnxruntime',
    way: 'onnxruntime-dynamic',
    kinds: transformer,
  },
  ...(['rtn', 'hqq', 'gptq', 'k-quant'] as const).map(
    (method): Variant => ({
      name: `onnxruntime int4 b32 ${method}`,
      tool: 'onnxruntime',
      way: 'onnxruntime-nbits',
      options: { method },
      kinds: transformer,
    }),
  ),
  ...(['minmax', 'entropy', 'mse', 'percentile'] as const).map(
    (method): Variant => ({
      name: `onnxsim static, ${method}`,
      tool: 'onnxsim',
      way: 'onnxsim-static',
      options: { method },
      kinds: convolutional,
    }),
  ),
  {
    name: 'onnxsim static, whole graph, minmax',
    tool: 'onnxsim',
    way: 'onnxsim-static',
    options: { full_graph: true },
    kinds: convolutional,
  },
  ...[{}, { gptq: true }, { awq: true }].map(
    (options): Variant => ({
      name: `onnxsim int4 b32 ${Object.keys(options)[0] ?? 'rtn'}`,
      tool: 'onnxsim',
      way: 'onnxsim-int4',
      options,
      kinds: both,
    }),
  ),
  {
    name: 'neural-compressor static',
    tool: 'neural-compressor',
    way: 'neural-compressor-static',
    kinds: both,
  },
  {
    name: 'neural-compressor static, SmoothQuant',
    tool: 'neural-compressor',
    way: 'neural-compressor-static',
    options: { recipes: { smooth_quant: true } },
    kinds: transformer,
  },
  ...(['RTN', 'GPTQ', 'AWQ'] as const).map(
    (algorithm): Variant => ({
      name: `neural-compressor int4 b32 ${algorithm}`,
      tool: 'neural-compressor',
      way: 'neural-compressor-weights',
      options: { algorithm },
      kinds: transformer,
    }),
  ),
];

/** The model in the lowest opset that holds its operators and what the tools need (17, for scales per channel). */
async function forPeers(model: Model): Promise<Uint8Array> {
  for (const opset of [17, 20]) {
    try {
      return await writeOnnx(model, { opset });
    } catch (error) {
      if (!isLitheError(error, 'OPSET_UNSUPPORTED')) throw error;
    }
  }
  return writeOnnx(model, { opset: 21 });
}

const numpyTypes: Readonly<Record<string, string>> = { float32: 'float32', int64: 'int64' };

async function writeSamples(samples: readonly Feeds[], folder: string): Promise<readonly unknown[]> {
  await mkdir(folder, { recursive: true });
  const list: unknown[] = [];
  for (const [index, feeds] of samples.entries()) {
    const sample: Record<string, unknown> = {};
    for (const [name, tensor] of Object.entries(feeds)) {
      const file = path.join(folder, `${index}-${name}.bin`);
      await writeFile(file, tensor.bytes);
      sample[name] = { file, dtype: numpyTypes[tensor.dtype], shape: tensor.shape };
    }
    list.push(sample);
  }
  return list;
}

interface Output {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, or for `seconds` at most. */
function runProgram(command: string, args: readonly string[], seconds: number): Promise<Output> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { timeout: seconds * 1000 });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-4000);
    });
    child.on('error', (error) => resolve({ status: null, stdout, stderr: error.message }));
    child.on('close', (status) => resolve({ status, stdout, stderr }));
  });
}

interface PeerReport {
  readonly seconds: Readonly<Record<string, number>>;
  readonly failures: Readonly<Record<string, string>>;
  readonly versions: Readonly<Record<string, string>>;
}

/** Where the tools are found. */
export interface PeerSettings {
  /** Pythons by tool; tools without one are left out. */
  readonly pythons: Readonly<Partial<Record<Variant['tool'], string>>>;
  /** Folder for files on the way. */
  readonly folder: string;
  /** Only variants whose names hold this. */
  readonly only: string;
  /** Seconds that one tool may take for all its variants of one model. */
  readonly seconds: number;
  /** Receives what the tools say of their versions. */
  readonly versions: Record<string, string>;
}

/** Has the tools of others quantize a model, with the same samples. */
export async function* peerFiles(subject: Subject, settings: PeerSettings): AsyncGenerator<MadeFile> {
  const model = path.join(settings.folder, 'float.onnx');
  await mkdir(settings.folder, { recursive: true });
  await writeFile(model, await forPeers(subject.model));
  const samples = await writeSamples(subject.calibration, path.join(settings.folder, 'samples'));
  for (const [tool, python] of Object.entries(settings.pythons)) {
    const asked = variants
      .filter((item) => item.tool === tool && item.kinds.includes(subject.kind))
      .filter(({ name }) => name.includes(settings.only))
      .map((item, index) => ({ ...item, out: path.join(settings.folder, `${tool}-${index}.onnx`) }));
    // Each in a process of its own: what brings one down leaves the others.
    for (const item of asked) {
      const job = path.join(settings.folder, 'job.json');
      await writeFile(job, JSON.stringify({ model, samples, variants: [item] }));
      const script = fileURLToPath(new URL('./peers.py', import.meta.url));
      const started = performance.now();
      const result = await runProgram(python, [script, job], settings.seconds);
      const last = result.stdout.trim().split('\n').at(-1) ?? '';
      const report = last.startsWith('{') ? (JSON.parse(last) as PeerReport) : undefined;
      const seconds = report?.seconds[item.name] ?? (performance.now() - started) / 1000;
      Object.assign(settings.versions, report?.versions);
      const failure =
        report === undefined
          ? `ended with status ${result.status ?? 'none'}: ${result.stderr.trim().split('\n').at(-1) ?? ''}`
          : report.failures[item.name];
      const file = failure ?? (await readFile(item.out).then((bytes) => new Uint8Array(bytes), String));
      yield { name: item.name, file, seconds };
    }
  }
}
