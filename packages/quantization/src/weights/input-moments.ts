import {
  type Backend,
  type Dataset,
  type Executable,
  errors,
  type Feeds,
  type Model,
  type RunContext,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import type { InputMoments } from '../weight-algorithms/weight-algorithm.ts';

/** What a group of products reads: usually one value, several where they share a weight. */
export interface MomentsInput {
  /** Names the group: the values' names. */
  readonly key: string;
  /** Values of the main graph, `[..., K]` each. */
  readonly names: readonly string[];
  /** Length of the sums. */
  readonly k: number;
}

/** How moments are collected. */
export interface MomentsOptions {
  /** Runs the model. */
  readonly backend: Backend;
  /** Calibration inputs. */
  readonly data: Dataset;
  /** Samples at most. */
  readonly samples: number;
  /** Progress and cancellation. */
  readonly context: RunContext;
}

/** Bytes that one input takes while it is collected: sums in float64, and one result in float32. */
export function momentBytes({ k }: MomentsInput): number {
  return 12 * k * k;
}

/** Splits inputs, in order, into runs of at most `budget` bytes; one that is larger is a run of its own. */
export function momentChunks(
  inputs: readonly MomentsInput[],
  budget: number,
): readonly (readonly MomentsInput[])[] {
  const chunks: MomentsInput[][] = [];
  let room = 0;
  for (const input of inputs) {
    const bytes = momentBytes(input);
    if (chunks.length === 0 || bytes > room) {
      chunks.push([]);
      room = budget;
    }
    chunks[chunks.length - 1]!.push(input);
    room -= bytes;
  }
  return chunks;
}

interface Outputs {
  readonly gram: string;
  readonly magnitudes: string;
  readonly shape: string;
}

/** A model that multiplies the inputs out by itself, so that the runtime does the work and no activation leaves it. */
function probe(model: Model, inputs: readonly MomentsInput[]): { model: Model; outputs: readonly Outputs[] } {
  const draft = model.clone();
  const { graph } = draft;
  const integers = (...values: readonly number[]): Value =>
    graph.addInitializer(
      graph.uniqueName('moments_constant'),
      Tensor.from('int64', [values.length], BigInt64Array.from(values, BigInt)),
    );
  const add = (opType: string, from: readonly Value[], attributes = {}): Value =>
    graph.addNode({ opType, inputs: from, attributes }).output();
  const results: Value[] = [];
  const outputs = inputs.map(({ names, k }): Outputs => {
    const parts = names.map((name) => add('Reshape', [graph.value(name) as Value, integers(-1, k)]));
    const rows =
      parts.length === 1 ? (parts[0] as Value) : add('Concat', parts, { axis: { kind: 'int', value: 0n } });
    const gram = add('MatMul', [add('Transpose', [rows]), rows]);
    const keep = { keepdims: { kind: 'int', value: 0n } };
    const magnitudes = add('ReduceSum', [add('Abs', [rows]), integers(0)], keep);
    const shape = add('Shape', [rows]);
    gram.type = tensorType('float32', [k, k]);
    magnitudes.type = tensorType('float32', [k]);
    shape.type = tensorType('int64', [2]);
    results.push(gram, magnitudes, shape);
    return { gram: gram.name, magnitudes: magnitudes.name, shape: shape.name };
  });
  graph.setOutputs(results);
  return { model: draft, outputs };
}

interface Sums {
  rows: number;
  readonly gram: Float64Array;
  readonly magnitudes: Float64Array;
}

function addTo(sum: Float64Array, part: Tensor): void {
  const data = part.data as Float32Array;
  for (let index = 0; index < sum.length; index++) sum[index]! += data[index]!;
}

function finished({ k, key }: MomentsInput, sums: Sums): InputMoments {
  const { gram: hessian, magnitudes, rows } = sums;
  for (let channel = 0; channel < k; channel++) {
    const energy = hessian[channel * (k + 1)]!;
    if (!Number.isFinite(energy))
      throw errors.valueOutOfRange(`The sum of squares of activation "${key}"`, energy, 'the finite numbers');
  }
  const count = Math.max(1, rows);
  for (let index = 0; index < hessian.length; index++) hessian[index]! *= 2 / count;
  return { inputs: k, rows, hessian, meanMagnitude: magnitudes.map((sum) => sum / count) };
}

function feedsOf(inputs: Feeds, executable: Executable): Feeds {
  return Object.fromEntries(Object.entries(inputs).filter(([name]) => executable.inputNames.includes(name)));
}

/**
 * Runs a model on real inputs and sums up what its products are fed, `sum x x'` for each input, batch by batch. The
 * products are computed by the runtime, so a batch hands out `K^2` numbers an input however many rows it has.
 *
 * @param model is not changed
 * @throws {LitheError} DATA_INVALID when the dataset is empty; VALUE_OUT_OF_RANGE when activations are not finite
 */
export async function collectMoments(
  model: Model,
  inputs: readonly MomentsInput[],
  options: MomentsOptions,
): Promise<ReadonlyMap<string, InputMoments>> {
  const { backend, data, samples: limit, context } = options;
  const { signal } = context;
  const found = probe(model, inputs);
  const sums = inputs.map(
    ({ k }): Sums => ({ rows: 0, gram: new Float64Array(k * k), magnitudes: new Float64Array(k) }),
  );
  const executable = await backend.compile(found.model, { signal });
  let samples = 0;
  try {
    for await (const batch of data.batches({ limit, signal })) {
      signal.throwIfAborted();
      const results = await executable.run(feedsOf(batch.inputs, executable), { signal });
      for (const [index, names] of found.outputs.entries()) {
        const sum = sums[index] as Sums;
        addTo(sum.gram, results[names.gram] as Tensor);
        addTo(sum.magnitudes, results[names.magnitudes] as Tensor);
        sum.rows += Number((results[names.shape] as Tensor<'int64'>).data[0]);
      }
      samples += batch.size;
      context.progress({ task: 'calibrate', done: samples, total: Math.min(limit, data.size ?? limit) });
    }
  } finally {
    await executable.dispose();
  }
  if (samples === 0) throw errors.dataInvalid(data.description, 'it holds no samples to calibrate with.');
  return new Map(inputs.map((input, index) => [input.key, finished(input, sums[index] as Sums)]));
}
