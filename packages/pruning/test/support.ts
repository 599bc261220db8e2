import { onnxruntimeNode } from '@lithe/backend-onnxruntime';
import {
  type Backend,
  createRng,
  type DType,
  elementsOf,
  type Feeds,
  type Model,
  type Rng,
  Tensor,
} from '@lithe/core';
import { writeOnnx } from '@lithe/onnx';
import * as ort from 'onnxruntime-node';
import { afterAll } from 'vitest';
import type { PruningGroup } from '../src/index.ts';

/** A backend for the tests of a file, which is given back after the last one. */
export async function nodeBackend(): Promise<Backend> {
  const backend = await onnxruntimeNode({ threads: 1 });
  afterAll(() => backend.dispose());
  return backend;
}

/** Normal numbers. */
export function normal(shape: readonly number[], seed: number, scale = 1): Tensor<'float32'> {
  const rng = createRng(seed);
  const data = new Float32Array(elementsOf(shape));
  for (let index = 0; index < data.length; index++) data[index] = rng.normal() * scale;
  return Tensor.from('float32', shape, data);
}

/** Whole numbers below a bound. */
export function tokens(shape: readonly number[], seed: number, bound: number): Tensor<'int64'> {
  const rng = createRng(seed);
  return Tensor.from(
    'int64',
    shape,
    BigInt64Array.from({ length: elementsOf(shape) }, () => BigInt(rng.integer(bound))),
  );
}

/** A model written as a file and loaded in onnxruntime. */
export interface Loaded {
  run(feeds: Feeds): Promise<Readonly<Record<string, Tensor>>>;
  release(): Promise<void>;
}

/** Writes a model and loads it in onnxruntime. */
export async function load(model: Model): Promise<Loaded> {
  const session = await ort.InferenceSession.create(await writeOnnx(model), {
    logSeverityLevel: 3,
    intraOpNumThreads: 1,
    graphOptimizationLevel: 'basic',
  });
  return {
    run: async (feeds) => {
      const inputs: Record<string, ort.Tensor> = {};
      for (const [name, tensor] of Object.entries(feeds))
        inputs[name] = new ort.Tensor(tensor.dtype as 'float32', tensor.data as Float32Array, tensor.shape);
      const outputs = await session.run(inputs);
      return Object.fromEntries(
        Object.entries(outputs).map(([name, value]) => [
          name,
          Tensor.from(value.type as DType, value.dims, value.data as never) as Tensor,
        ]),
      );
    },
    release: () => session.release(),
  };
}

/** Runs a model once in onnxruntime. */
export async function runModel(model: Model, feeds: Feeds): Promise<Readonly<Record<string, Tensor>>> {
  const loaded = await load(model);
  const outputs = await loaded.run(feeds);
  await loaded.release();
  return outputs;
}

/** Largest difference relative to the largest magnitude, over all outputs. */
export function drift(
  expected: Readonly<Record<string, Tensor>>,
  actual: Readonly<Record<string, Tensor>>,
): number {
  let worst = 0;
  for (const [name, tensor] of Object.entries(expected)) {
    const left = tensor.toFloat64Array();
    const right = (actual[name] as Tensor).toFloat64Array();
    if (right.length !== left.length) return Number.POSITIVE_INFINITY;
    let [magnitude, difference] = [1e-12, 0];
    for (let index = 0; index < left.length; index++) {
      magnitude = Math.max(magnitude, Math.abs(left[index]!));
      difference = Math.max(difference, Math.abs(left[index]! - right[index]!));
      if (Number.isNaN(right[index]!)) return Number.NaN;
    }
    worst = Math.max(worst, difference / magnitude);
  }
  return worst;
}

/** Sets all that makes or reads some units to zero, in place. */
export async function zeroUnits(
  model: Model,
  group: PruningGroup,
  units: ReadonlySet<number>,
): Promise<void> {
  const { graph } = model;
  for (const weight of group.weights) {
    if (weight.role !== 'weight' && weight.role !== 'bias') continue;
    const value = graph.value(weight.value);
    if (value === undefined) throw new Error(`${weight.value} is missing`);
    const source = value.initializer ?? value.producer?.constantSource();
    if (source === undefined) throw new Error(`${weight.value} is not constant`);
    const tensor = await source.load();
    const data = (tensor.data as Float32Array).slice();
    const inner = elementsOf(tensor.shape.slice(weight.axis + 1));
    const length = tensor.shape[weight.axis] as number;
    for (let element = 0; element < data.length; element++) {
      if (units.has(weight.units[Math.floor(element / inner) % length] as number)) data[element] = 0;
    }
    const zeroed = Tensor.from(tensor.dtype as 'float32', tensor.shape, data);
    if (value.producer === null) graph.setInitializer(value, zeroed);
    else graph.setAttribute(value.producer, 'value', { kind: 'tensor', value: zeroed });
  }
}

/** Some units of a group that may go: never all of a part, for groups of splits and slices. */
export function someUnits(group: PruningGroup, rng: Rng, share = 0.5): readonly number[] {
  const free = Array.from({ length: group.units }, (_, unit) => unit).filter(
    (unit) => !group.pinned.has(unit),
  );
  rng.shuffle(free);
  const most = group.pinned.size > 0 ? free.length : free.length - 1;
  const wanted = Math.max(1, Math.min(most, Math.floor(free.length * share)));
  const left = group.axes.map((axis) => {
    const counts = new Map<number, number>();
    for (const unit of axis.units) counts.set(unit, (counts.get(unit) ?? 0) + 1);
    return { counts, kept: axis.units.length };
  });
  const chosen: number[] = [];
  for (const unit of free) {
    if (chosen.length === wanted) break;
    if (left.some(({ counts, kept }) => kept - (counts.get(unit) ?? 0) < 1)) continue;
    for (const part of left) part.kept -= part.counts.get(unit) ?? 0;
    chosen.push(unit);
  }
  return chosen;
}
