import { arch, cpus, platform } from 'node:os';
import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  type Backend,
  compareOutputs,
  createRng,
  type Executable,
  type Feeds,
  type Model,
  measureLatency,
  optimize,
  type PassStep,
  Tensor,
} from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import { dynamicInt8, float16Storage, foldableWeights, staticInt8, weightOnly } from '@lithe/quantization';
import { simplify } from '@lithe/simplify';
import { resnet18 } from './models/resnet18.ts';
import { transformerStack } from './models/transformer.ts';

interface Subject {
  readonly name: string;
  readonly model: Model;
  readonly shape: readonly number[];
  readonly steps: Readonly<Record<string, PassStep>>;
}

/** One format beside the float model. */
interface Row {
  readonly model: string;
  readonly format: string;
  readonly bytes: number;
  readonly medianMs: number;
  readonly speedup: number;
  readonly interval: string;
  readonly sqnrDb: number;
}

function normal(shape: readonly number[], seed: number): Tensor<'float32'> {
  const rng = createRng(seed);
  const data = new Float32Array(shape.reduce((left, right) => left * right, 1));
  for (let index = 0; index < data.length; index++) data[index] = rng.normal();
  return Tensor.from('float32', shape, data);
}

async function subjects(): Promise<readonly Subject[]> {
  const common = {
    foldable8: foldableWeights(),
    foldable4: foldableWeights({ bits: 4 }),
    float16storage: float16Storage(),
  };
  return [
    {
      name: 'resnet18',
      model: await resnet18(),
      shape: [1, 3, 224, 224],
      steps: {
        static: staticInt8({ activations: 'uint8' }),
        'static signed': staticInt8({ activations: 'int8' }),
        ...common,
      },
    },
    {
      name: 'transformer 4x384',
      model: await transformerStack(),
      shape: [1, 128, 384],
      steps: {
        dynamic: dynamicInt8(),
        static: staticInt8({ activations: 'uint8' }),
        'nbits 4x32': weightOnly({ bits: 4 }),
        'nbits 4x128': weightOnly({ bits: 4, blockSize: 128 }),
        ...common,
      },
    },
  ];
}

async function measure(subject: Subject, backend: Backend): Promise<readonly Row[]> {
  const { name, shape, steps } = subject;
  const data = {
    size: 8,
    description: 'normal numbers',
    async *batches() {
      for (let sample = 0; sample < 8; sample++)
        yield { inputs: { x: normal(shape, 100 + sample) }, size: 1 };
    },
  };
  const feeds: Feeds = { x: normal(shape, 7) };
  const { model: float } = await optimize(subject.model, [simplify()]);
  const files = new Map<string, Uint8Array>([['float', await writeOnnx(float)]]);
  for (const [label, step] of Object.entries(steps)) {
    const { model } = await optimize(float, [step], { backend, data, check: 'off' });
    files.set(label, await writeOnnx(model));
  }
  const entries: { readonly name: string; readonly executable: Executable }[] = [];
  for (const [label, file] of files)
    entries.push({ name: label, executable: await backend.compile({ kind: 'onnx', file }) });
  const report = await measureLatency(entries, feeds, { rounds: 15, minMilliseconds: 60 });
  const rows: Row[] = [];
  const expected = await entries[0]!.executable.run(feeds);
  for (const [index, { name: format, executable }] of entries.entries()) {
    const comparison = report.comparisons[index - 1];
    rows.push({
      model: name,
      format,
      bytes: files.get(format)!.length,
      medianMs: Number(report.entries[index]!.medianMs.toFixed(3)),
      speedup: Number((comparison?.speedup ?? 1).toFixed(3)),
      interval:
        comparison === undefined
          ? ''
          : `${comparison.interval.low.toFixed(2)}-${comparison.interval.high.toFixed(2)}`,
      sqnrDb: Number(compareOutputs(expected, await executable.run(feeds)).sqnrDb.toFixed(1)),
    });
    await executable.dispose();
  }
  return rows;
}

/**
 * Measures every format on ResNet-18 and a transformer stack in onnxruntime-node, one thread, interleaved with the
 * simplified float model. `--json` prints one object instead of a table; a word limits it to models of that name.
 */
export async function main(args: readonly string[]): Promise<number> {
  const wanted = args.find((argument) => !argument.startsWith('--'));
  const backend = await onnxruntimeNode({ threads: 1 });
  const rows: Row[] = [];
  for (const subject of await subjects()) {
    if (wanted === undefined || subject.name.includes(wanted))
      rows.push(...(await measure(subject, backend)));
  }
  const device = `${platform()} ${arch()}, ${cpus()[0]?.model ?? 'unknown'}, 1 thread`;
  if (args.includes('--json'))
    process.stdout.write(`${JSON.stringify({ device, runtime: backend.version, rows }, null, 2)}\n`);
  else console.table(rows);
  await backend.dispose();
  return 0;
}
