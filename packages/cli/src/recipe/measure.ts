import {
  type Backend,
  concatRows,
  createDrift,
  type Dataset,
  type DriftOptions,
  type Executable,
  errors,
  type Feeds,
  inferShapes,
  isLitheError,
  type Model,
  modelCost,
  type RunContext,
  tensorType,
} from '@lithe/core';
import { loadOnnx } from '@lithe/onnx/node';
import { driftFigures, evaluateTop1, latencyChange } from '../compress/bench.ts';
import { outputTraits } from '../compress/output-traits.ts';
import type { DriftFigures } from '../compress/report.ts';
import type { BatchLatency } from '../report/run-report.ts';
import type { RecipeMetric } from './recipe.ts';
import type { Figures } from './run-folder.ts';
import { weightHistograms } from './weight-histograms.ts';

/** What everything is measured with. */
export interface Instruments {
  /** Runtime. */
  readonly backend: Backend;
  /** Messages and cancellation. */
  readonly context: RunContext;
  /** Rounds of a measurement of latency. */
  readonly rounds: number;
  /** Inputs by batch size. */
  readonly feeds: ReadonlyMap<number, Feeds>;
  /** Inputs that drift is taken on. */
  readonly drift: readonly Feeds[];
  /** Labelled samples for the metric. */
  readonly test: Dataset | undefined;
  /** What the metric compares, where the recipe says so. */
  readonly metric: RecipeMetric | undefined;
}

/** Samples that drift is taken on. */
const DRIFT_SAMPLES = 256;

/** Reads the inputs that are measured on. */
export async function prepareInstruments(
  backend: Backend,
  samples: { readonly measured: Dataset; readonly test: Dataset | undefined },
  plan: {
    readonly batches: readonly number[];
    readonly rounds: number;
    readonly metric: RecipeMetric | undefined;
  },
  context: RunContext,
): Promise<Instruments> {
  const { signal } = context;
  const feeds = new Map<number, Feeds>();
  for (const batch of plan.batches) feeds.set(batch, await feedsOf(samples.measured, batch, signal));
  const drift: Feeds[] = [];
  for await (const batch of samples.measured.batches({ signal, limit: DRIFT_SAMPLES }))
    drift.push(batch.inputs);
  return { backend, context, rounds: plan.rounds, feeds, drift, test: samples.test, metric: plan.metric };
}

/** As many samples at once as asked for; where there are fewer, they are repeated. */
async function feedsOf(data: Dataset, size: number, signal: AbortSignal): Promise<Feeds> {
  const parts: Feeds[] = [];
  let rows = 0;
  while (rows < size) {
    const before = rows;
    for await (const batch of data.batches({ signal, batchSize: size - rows, limit: size - rows })) {
      parts.push(batch.inputs);
      rows += batch.size;
      if (rows >= size) break;
    }
    if (rows === before) throw errors.dataInvalid(data.description, 'it holds no samples.');
  }
  const [only, another] = parts;
  // Not every input has samples along its first axis: a scalar has none.
  if (only !== undefined && another === undefined) return only;
  const names = Object.keys(only ?? {});
  return Object.fromEntries(
    names.map((name) => [name, concatRows(parts.flatMap((part) => part[name] ?? []))]),
  );
}

/** A model on disk that is measured. */
export interface MeasuredModel {
  /** Path. */
  readonly path: string;
  /** Bytes of its files. */
  readonly bytes: number;
}

/**
 * Takes all figures of a model: reads its file again, runs it in the target, beside the original in turn, and compares
 * its outputs with those of the model that it was made from. What cannot be run is said in `failure`.
 *
 * @param beside the original, and the model it was made from
 */
export async function measureModel(
  model: MeasuredModel,
  beside: { readonly original: MeasuredModel; readonly parent: MeasuredModel },
  instruments: Instruments,
): Promise<Figures> {
  const { backend, context } = instruments;
  const { signal } = context;
  const loaded = await loadOnnx(model.path, { signal });
  const known = { bytes: model.bytes, ...(await staticFigures(loaded, instruments)) };
  try {
    await using executable = await backend.compile({ kind: 'onnx', file: model.path }, { signal });
    const metric = await metricOf(executable, instruments);
    const drift = await driftOf(beside.parent, executable, outputTraits(loaded), instruments);
    const latency = await latencyBeside(beside.original, executable, instruments);
    return {
      ...known,
      ...(metric === undefined ? {} : { metric }),
      latency,
      ...(drift === undefined ? {} : { drift }),
    };
  } catch (error) {
    if (signal.aborted) throw error;
    const failure = `${backend.name} could not run it: ${error instanceof Error ? error.message : String(error)}`;
    return { ...known, latency: [], failure };
  }
}

/** The figures of the model that a recipe starts from. */
export async function measureOriginal(model: MeasuredModel, instruments: Instruments): Promise<Figures> {
  const { backend, context } = instruments;
  const loaded = await loadOnnx(model.path, { signal: context.signal });
  await using original = await backend.compile(
    { kind: 'onnx', file: model.path },
    { signal: context.signal },
  );
  const metric = await metricOf(original, instruments);
  const latency = await latencyBeside(model, original, instruments);
  return {
    bytes: model.bytes,
    ...(await staticFigures(loaded, instruments)),
    ...(metric === undefined ? {} : { metric }),
    latency: latency.map(({ batch, afterMs }) => ({
      batch,
      beforeMs: afterMs,
      afterMs,
      speedup: 1,
      interval: [1, 1],
    })),
  };
}

/** Latency at every batch size, in turn with a model that is compiled for it. */
async function latencyBeside(
  other: MeasuredModel,
  executable: Executable,
  { backend, context, feeds, rounds }: Instruments,
): Promise<readonly BatchLatency[]> {
  if (rounds === 0) return [];
  const { signal } = context;
  // As new as the model it is measured beside: a session gets faster over its first thousands of runs.
  await using original = await backend.compile({ kind: 'onnx', file: other.path }, { signal });
  const latency: BatchLatency[] = [];
  for (const [batch, inputs] of feeds)
    latency.push({ batch, ...(await latencyChange(original, executable, inputs, rounds, context)) });
  return latency;
}

/** What a model tells without being run: weights, multiplications for one sample, histograms. */
async function staticFigures(
  model: Model,
  { feeds, context }: Instruments,
): Promise<Pick<Figures, 'parameters' | 'macs' | 'uncounted' | 'weights'>> {
  const cost = await costOf(model, [...feeds.values()][0]);
  return { ...cost, weights: await weightHistograms(model, context.signal) };
}

/** Weights and multiplications for one sample; `feeds` say how large the dims are that the model leaves open. */
export async function costOf(
  model: Model,
  feeds: Feeds | undefined,
): Promise<Pick<Figures, 'parameters' | 'macs' | 'uncounted'>> {
  for (const input of model.graph.inputs) {
    const { shape } = input;
    const fed = feeds?.[input.name]?.shape;
    if (fed === undefined || shape?.includes(null) !== true || fed.length !== shape.length) continue;
    const known = shape.map((dim, axis) => dim ?? (axis === 0 ? 1 : (fed[axis] ?? null)));
    input.type = tensorType(input.dtype, known);
  }
  await inferShapes(model, { strict: false });
  const dims: Record<string, number> = {};
  for (const input of model.graph.inputs) {
    for (const [axis, dim] of (input.shape ?? []).entries()) {
      const size = axis === 0 ? 1 : feeds?.[input.name]?.shape[axis];
      if (typeof dim === 'string' && size !== undefined) dims[dim] ??= size;
    }
  }
  const { parameters, macs, unknown } = modelCost(model, { dims });
  return { parameters, macs, uncounted: unknown.length };
}

async function metricOf(
  executable: Executable,
  { test, context, metric }: Instruments,
): Promise<number | undefined> {
  return test === undefined ? undefined : await evaluateTop1(executable, test, context, metric);
}

/** Drift beside a model; nothing where that does not run, or gives outputs of other numbers or shapes. */
async function driftOf(
  parent: MeasuredModel,
  after: Executable,
  outputs: DriftOptions,
  { backend, drift: inputs, context }: Instruments,
): Promise<DriftFigures | undefined> {
  const { signal } = context;
  const drift = createDrift(outputs);
  // Its own failure is not that of the other model, and is not left aside below.
  if (inputs[0] !== undefined) await after.run(inputs[0], { signal });
  try {
    await using before = await backend.compile({ kind: 'onnx', file: parent.path }, { signal });
    for (const [index, feeds] of inputs.entries()) {
      context.progress({ task: 'drift', done: index, total: inputs.length });
      drift.add(await before.run(feeds, { signal }), await after.run(feeds, { signal }));
    }
  } catch (error) {
    // The failure of a model that does not run is said where that model is measured.
    const known = isLitheError(error, 'SHAPE_MISMATCH') || isLitheError(error, 'BACKEND_FAILED');
    if (signal.aborted || !known) throw error;
    return undefined;
  }
  return driftFigures(drift.result());
}
