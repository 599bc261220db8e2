import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  assertValid,
  createPassContext,
  createRng,
  type Dataset,
  type DType,
  type Feeds,
  type Model,
  type PassContext,
  type PassReport,
  type PassStep,
  Tensor,
} from '@lithe/core';
import { readOnnx, writeOnnx } from '@lithe/onnx';
import * as ort from 'onnxruntime-node';
import * as web from 'onnxruntime-web';

/** Engines that written files are checked in. */
export type Engine = 'node' | 'wasm';

type Session = Pick<ort.InferenceSession, 'run' | 'release' | 'inputNames'>;

/** Loads a file in onnxruntime. */
export async function load(
  bytes: Uint8Array,
  engine: Engine = 'node',
  options: ort.InferenceSession.SessionOptions = {},
): Promise<Session> {
  const quiet = { logSeverityLevel: 3, intraOpNumThreads: 1, ...options } as const;
  if (engine === 'node') return ort.InferenceSession.create(bytes, quiet);
  web.env.wasm.numThreads = 1;
  return (await web.InferenceSession.create(bytes, quiet)) as unknown as Session;
}

/** Runs a loaded file. */
export async function runSession(
  session: Session,
  feeds: Feeds,
  engine: Engine = 'node',
): Promise<Record<string, Tensor>> {
  const Maker = (engine === 'node' ? ort.Tensor : web.Tensor) as typeof ort.Tensor;
  const inputs: Record<string, ort.Tensor> = {};
  for (const [name, tensor] of Object.entries(feeds)) {
    if (session.inputNames.includes(name))
      inputs[name] = new Maker(tensor.dtype as 'float32', tensor.data as Float32Array, tensor.shape);
  }
  const outputs = await session.run(inputs);
  return Object.fromEntries(
    Object.entries(outputs).map(([name, value]) => [
      name,
      Tensor.from(value.type as DType, value.dims, value.data as never) as Tensor,
    ]),
  );
}

/** Writes a model, loads it in onnxruntime and runs it once. */
export async function runModel(
  model: Model,
  feeds: Feeds,
  engine: Engine = 'node',
): Promise<Record<string, Tensor>> {
  const session = await load(await writeOnnx(model), engine);
  const outputs = await runSession(session, feeds, engine);
  await session.release();
  return outputs;
}

/** Signal to noise in decibels over all float outputs together. */
export function sqnr(
  expected: Readonly<Record<string, Tensor>>,
  actual: Readonly<Record<string, Tensor>>,
): number {
  let signal = 0;
  let noise = 0;
  for (const [name, tensor] of Object.entries(expected)) {
    const left = tensor.toFloat64Array();
    const right = (actual[name] as Tensor).toFloat64Array();
    if (right.length !== left.length) throw new Error(`${name} has another size`);
    for (let index = 0; index < left.length; index++) {
      signal += left[index]! ** 2;
      noise += (left[index]! - right[index]!) ** 2;
    }
  }
  return noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(signal / noise);
}

/** Normal numbers. */
export function normal(shape: readonly number[], seed: number, scale = 1): Tensor<'float32'> {
  const rng = createRng(seed);
  const data = new Float32Array(shape.reduce((left, right) => left * right, 1));
  for (let index = 0; index < data.length; index++) data[index] = rng.normal() * scale;
  return Tensor.from('float32', shape, data);
}

/** A pass context without backend, data or target. */
export function contextOf(parts: Partial<PassContext> = {}): PassContext {
  return {
    ...createPassContext(),
    ...parts,
  };
}

/** Runs a pass on a copy, checks that the result is sound, and gives it with the report. */
export async function apply(
  model: Model,
  step: PassStep,
  context: PassContext = contextOf(),
): Promise<{ readonly model: Model; readonly report: PassReport }> {
  const draft = model.clone();
  const report = await step.run(draft, context);
  assertValid(draft);
  return { model: draft, report };
}

/** The model that onnxruntime makes of a file when it loads it, as it is before anything runs. */
export async function optimizedModel(model: Model): Promise<Model> {
  const folder = mkdtempSync(path.join(tmpdir(), 'lithe-'));
  try {
    const file = path.join(folder, 'optimized.onnx');
    const session = await load(await writeOnnx(model), 'node', { optimizedModelFilePath: file });
    await session.release();
    return await readOnnx(new Uint8Array(readFileSync(file)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A dataset of given feeds, one sample each. */
export function fixedData(samples: readonly Feeds[]): Dataset {
  return {
    size: samples.length,
    description: 'fixed samples',
    async *batches(options = {}) {
      for (const inputs of samples.slice(0, options.limit ?? samples.length)) yield { inputs, size: 1 };
    },
  };
}
