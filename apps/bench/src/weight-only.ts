import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  Graph,
  lazyTensor,
  Model,
  optimize,
  type PassStep,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { loadOnnx, saveOnnx } from '@lithe/onnx/node';
import { float16Storage, foldableWeights, weightOnly } from '@lithe/quantization';

/** Side of each weight: 4096 by 4096 float32 are 64 MiB. */
const side = 4096;
const weightBytes = side * side * 4;

const formats: Readonly<Record<string, () => PassStep>> = {
  'nbits-4': () => weightOnly({ bits: 4 }),
  'nbits-8': () => weightOnly({ bits: 8 }),
  'nbits-4-hqq': () => weightOnly({ bits: 4, symmetric: false, algorithm: 'hqq' }),
  'foldable-8': () => foldableWeights({ bits: 8 }),
  'foldable-4': () => foldableWeights({ bits: 4 }),
  float16: () => float16Storage(),
};

/** What one size and format took. */
interface Row {
  readonly format: string;
  readonly megabytes: number;
  readonly seconds: number;
  /** Processor time, which other processes on the machine touch little. */
  readonly cpuSeconds: number;
  /** Megabytes of the float model per second of processor time. */
  readonly megabytesPerCpuSecond: number;
  /** Peak of resident memory, less what the process took before it read the model. */
  readonly peakMegabytes: number;
  readonly writtenMegabytes: number;
}

/** A chain of products whose weights are made when they are written. */
function chain(weights: number): Model {
  const graph = new Graph('chain');
  let x: Value = graph.addInput('x', tensorType('float32', ['tokens', side]));
  for (let layer = 0; layer < weights; layer++) {
    const source = lazyTensor('float32', [side, side], () => {
      const data = new Float32Array(side * side);
      let state = (layer + 1) * 0x9e3779b1;
      for (let index = 0; index < data.length; index++) {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        data[index] = state * 2 ** -36;
      }
      return Tensor.from('float32', [side, side], data);
    });
    x = graph.addNode({ opType: 'MatMul', inputs: [x, graph.addInitializer(`w${layer}`, source)] }).output();
  }
  x.type = tensorType('float32', ['tokens', side]);
  graph.setOutputs([x]);
  return new Model({ graph });
}

/** Runs in a process of its own, so that the peak of its memory is that of one job. */
async function job(file: string, format: string, out: string): Promise<Row> {
  const before = process.resourceUsage().maxRSS;
  const start = performance.now();
  const startCpu = process.cpuUsage();
  const model = await loadOnnx(file);
  const { model: small } = await optimize(model, [formats[format]!()]);
  const saved = await saveOnnx(small, out);
  const seconds = (performance.now() - start) / 1000;
  const cpu = process.cpuUsage(startCpu);
  const cpuSeconds = (cpu.user + cpu.system) / 1e6;
  const megabytes = ((await stat(`${file}_data`)).size + (await stat(file)).size) / 1e6;
  return {
    format,
    megabytes: Math.round(megabytes),
    seconds: Number(seconds.toFixed(2)),
    cpuSeconds: Number(cpuSeconds.toFixed(2)),
    megabytesPerCpuSecond: Math.round(megabytes / cpuSeconds),
    peakMegabytes: Math.round(((process.resourceUsage().maxRSS - before) * 1024) / 1e6),
    writtenMegabytes: Math.round(saved.bytes / 1e6),
  };
}

function inChild(args: readonly string[]): Row {
  const script = process.argv[1]!;
  const child = spawnSync(
    process.execPath,
    [...process.execArgv, script, fileURLToPath(import.meta.url), '--job', ...args],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1e7 },
  );
  if (child.status !== 0) throw new Error(`The job ${args.join(' ')} failed.`);
  return JSON.parse(child.stdout) as Row;
}

/**
 * Quantizes models of several sizes in external data, each in a process of its own, and prints speed and peak memory:
 * time must grow with the model, memory must not. `--sizes 250,1000,3000` in megabytes; `--formats nbits-4,…`;
 * `--folder` for the models; `--json`.
 */
export async function main(args: readonly string[]): Promise<number> {
  if (args[0] === '--job') {
    const [, file, format, out] = args as readonly [string, string, string, string];
    process.stdout.write(JSON.stringify(await job(file, format, out)));
    return 0;
  }
  const { values } = parseArgs({
    args: [...args],
    options: {
      sizes: { type: 'string', default: '270,540,1080,3220' },
      formats: { type: 'string', default: Object.keys(formats).join() },
      folder: { type: 'string', default: tmpdir() },
      json: { type: 'boolean', default: false },
    },
  });
  const folder = await mkdtemp(path.join(values.folder, 'lithe-bench-'));
  const rows: Row[] = [];
  try {
    for (const size of values.sizes.split(',').map(Number)) {
      const file = path.join(folder, `model-${size}.onnx`);
      await saveOnnx(chain(Math.max(1, Math.round((size * 1e6) / weightBytes))), file, {
        externalData: 'always',
      });
      for (const format of values.formats.split(',')) {
        if (formats[format] === undefined) throw new Error(`There is no format "${format}".`);
        rows.push(inChild([file, format, path.join(folder, 'out.onnx')]));
      }
      await rm(file);
      await rm(`${file}_data`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  if (values.json)
    process.stdout.write(
      `${JSON.stringify({ cpu: cpus()[0]?.model, node: process.version, rows }, null, 2)}\n`,
    );
  else console.table(rows);
  return 0;
}
