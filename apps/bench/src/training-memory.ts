import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRng, type Feeds, type Model, Tensor } from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import {
  type CheckpointingResult,
  crossEntropy,
  mobileNetV2,
  resnet20,
  resnet56,
  sgd,
  trainingStep,
  transformerEncoder,
} from '@lithe/training';

const models: Readonly<Record<string, () => Promise<Model>>> = {
  resnet20: () => resnet20(),
  resnet56: () => resnet56(),
  mobilenet: () => mobileNetV2({ image: [3, 32, 32], dropout: 0 }),
  transformer: () => transformerEncoder({ width: 256, depth: 12 }),
};

/** One measured process. */
interface Row {
  readonly model: string;
  readonly batch: number;
  readonly runtime: string;
  readonly segments: number;
  /** Peak resident memory of the whole process. */
  readonly peakMB: number;
  /** The same, less what was resident before the session was made. */
  readonly stepMB: number;
  /** Activations alone, by the estimate of the pass, for this batch. */
  readonly estimatedMB: number;
  /** Fastest of the steps after the first. */
  readonly stepMs: number;
  /** Loss after the last step: it must be that of the unchanged graph. */
  readonly loss: number;
}

/** What one process measures. */
export interface MemoryRequest {
  /** A training step as an ONNX file. */
  readonly file: string;
  /** What it is fed, one tensor behind the other. */
  readonly feeds: string;
  /** The inputs, in the order of that file. */
  readonly inputs: readonly {
    readonly name: string;
    readonly dtype: string;
    readonly shape: readonly number[];
  }[];
  /** State: which output replaces which input. */
  readonly state: readonly { readonly input: string; readonly output: string }[];
  /** Where it runs. */
  readonly runtime: 'node' | 'node-arena' | 'wasm';
  /** Steps. */
  readonly steps: number;
  /** Threads. */
  readonly threads: number;
}

/** What it found. */
interface MemoryResult {
  /** Resident bytes before the session was made. */
  readonly beforeBytes: number;
  /** Peak of resident bytes. */
  readonly peakBytes: number;
  /** Fastest step after the first. */
  readonly milliseconds: number;
  /** Loss of the last step. */
  readonly loss: number;
}

async function measure(request: MemoryRequest): Promise<MemoryResult> {
  const child = fileURLToPath(new URL('training-memory-child.mjs', import.meta.url));
  // Not as an argument: a long one leaves the native stack of the process too short for a deep graph.
  const file = `${request.feeds}.json`;
  await writeFile(file, JSON.stringify(request));
  const running = spawn(process.execPath, [child, file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  running.stdout.on('data', (data: Buffer) => {
    text += data.toString();
  });
  return await new Promise((resolve, reject) => {
    running.on('error', reject);
    running.on('exit', (code, signal) => {
      if (code === 0) resolve(JSON.parse(text) as MemoryResult);
      else reject(new Error(`The measuring process ended with ${code ?? signal}.`));
    });
  });
}

const megabytes = (bytes: number): number => Math.round(bytes / 1e6);

function batchOf(model: string, batch: number): Feeds {
  const rng = createRng(1);
  const ints = (shape: readonly number[], below: number): Tensor => {
    const size = shape.reduce((left, right) => left * right, 1);
    return Tensor.from(
      'int64',
      shape,
      BigInt64Array.from({ length: size }, () => BigInt(rng.integer(below))),
    );
  };
  const label = ints([batch], 10);
  if (model === 'transformer') return { tokens: ints([batch, 64], 1000), label };
  const pixels = Float32Array.from({ length: batch * 3072 }, () => rng.normal());
  return { x: Tensor.from('float32', [batch, 3, 32, 32], pixels), label };
}

/**
 * Peak memory of training steps with and without activation checkpointing, each in a process of its own. The first word
 * is a model (`resnet20`, `resnet56`, `mobilenet`, `transformer`); `--batch 128`, `--steps 3`, `--threads 1`, `--runtime
 * node|node-arena|wasm` (`node` without onnxruntime's memory arena, which keeps what it once took; `node-arena` with it),
 * `--json`.
 */
export async function main(args: readonly string[]): Promise<number> {
  const option = (name: string, fallback: string): string => {
    const at = args.indexOf(`--${name}`);
    return at < 0 ? fallback : (args[at + 1] ?? fallback);
  };
  const batch = Number(option('batch', '128'));
  const runtimes = option('runtime', 'node').split(',') as readonly MemoryRequest['runtime'][];
  const name = args[0] !== undefined && args[0] in models ? args[0] : 'resnet56';
  const folder = await mkdtemp(path.join(tmpdir(), 'lithe-memory-'));
  const rows: Row[] = [];
  try {
    for (const checkpointing of [false, true]) {
      const model = await models[name]?.();
      if (model === undefined) throw new Error(`There is no model "${name}".`);
      const step = await trainingStep(model, {
        loss: crossEntropy({ logits: 'logits' }),
        optimizer: sgd({ momentum: 0.9 }),
        checkpointing,
      });
      const result: CheckpointingResult | undefined = step.checkpointing;
      const file = path.join(folder, `${name}-${checkpointing}.onnx`);
      await writeFile(file, await writeOnnx(step.model));
      const feeds: Feeds = {
        ...batchOf(name, batch),
        [step.learningRate]: Tensor.from('float32', [], Float32Array.of(0.01)),
        ...Object.fromEntries(step.state.map(({ input, initial }) => [input, initial])),
      };
      const feedFile = path.join(folder, 'feeds.bin');
      await writeFile(feedFile, Buffer.concat(Object.values(feeds).map(({ bytes }) => bytes)));
      const request = {
        file,
        feeds: feedFile,
        inputs: Object.entries(feeds).map(([input, { dtype, shape }]) => ({ name: input, dtype, shape })),
        state: step.state.map(({ input, output }) => ({ input, output })),
      };
      for (const runtime of runtimes) {
        const found = await measure({
          ...request,
          runtime,
          steps: Number(option('steps', '3')),
          threads: Number(option('threads', '1')),
        });
        rows.push({
          model: name,
          batch,
          runtime,
          segments: result?.segments ?? 1,
          peakMB: megabytes(found.peakBytes),
          stepMB: megabytes(found.peakBytes - found.beforeBytes),
          estimatedMB: megabytes(((result?.bytesAfter ?? 0) * batch) / 32),
          stepMs: Math.round(found.milliseconds),
          loss: found.loss,
        });
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  if (args.includes('--json'))
    process.stdout.write(`${JSON.stringify({ device: cpus()[0]?.model, rows }, null, 2)}\n`);
  else console.table(rows);
  return 0;
}
