import {
  type Backend,
  createDrift,
  type Dataset,
  type DriftOptions,
  type EncodedModel,
  type Executable,
  errors,
  type Feeds,
  type LatencyComparison,
  type LatencyStats,
  measureLatency,
  type RunContext,
  topKAccuracy,
} from '@lithe/core';
import type { AccuracyChange, DriftFigures, LatencyChange } from './report.ts';

/** Equal outputs have an infinite signal to noise ratio, which JSON cannot hold; this stands for it. */
export const EQUAL_SQNR_DB = 200;

/** How a bench measures. */
export interface BenchOptions {
  /** Inputs that drift and latency are taken on. */
  readonly data: Dataset;
  /** Labelled inputs, for the accuracy, and what it compares. */
  readonly evaluate: { readonly data: Dataset; readonly names: Top1Names } | undefined;
  /** What is known about the outputs. */
  readonly outputs: DriftOptions;
  /** Samples of `data` that drift is taken on. */
  readonly driftSamples: number;
}

/** The original in its target runtime, against which candidates are measured. */
export interface Bench {
  /** Samples that drift is taken on. */
  readonly samples: number;
  /** Prepares a model in the target. */
  compile(model: EncodedModel): Promise<Executable>;
  /** Compares outputs with the original's. */
  drift(candidate: Executable): Promise<DriftFigures>;
  /** Accuracy of the original and the candidate; `undefined` without labelled data. */
  accuracy(candidate: Executable): Promise<AccuracyChange | undefined>;
  /** Measures original and candidate in turn. */
  latency(candidate: Executable, rounds: number): Promise<LatencyChange>;
  /** Frees the original. The backend is the caller's. */
  dispose(): Promise<void>;
}

/** Opens the original in the target and takes its outputs. */
export async function openBench(
  backend: Backend,
  original: EncodedModel,
  options: BenchOptions,
  context: RunContext,
): Promise<Bench> {
  const { signal } = context;
  const executable = await backend.compile(original, { signal });
  const inputs: Feeds[] = [];
  let samples = 0;
  for await (const batch of options.data.batches({ signal, limit: options.driftSamples })) {
    inputs.push(batch.inputs);
    samples += batch.size;
  }
  const expected: Feeds[] = [];
  for (const feeds of inputs) expected.push(await executable.run(feeds, { signal }));
  const first = inputs[0] as Feeds;
  const { evaluate } = options;
  const top1 = async (one: Executable): Promise<number | undefined> =>
    evaluate === undefined ? undefined : evaluateTop1(one, evaluate.data, context, evaluate.names);
  const before = await top1(executable);
  return {
    samples,
    compile: (model) => backend.compile(model, { signal }),
    drift: async (candidate) => {
      const drift = createDrift(options.outputs);
      for (const [index, feeds] of inputs.entries()) {
        context.progress({ task: 'drift', done: index, total: inputs.length });
        drift.add(expected[index] as Feeds, await candidate.run(feeds, { signal }));
      }
      return driftFigures(drift.result());
    },
    accuracy: async (candidate) => {
      const after = await top1(candidate);
      if (before === undefined || after === undefined) return undefined;
      return { metric: 'top-1 accuracy', before, after };
    },
    latency: async (candidate, rounds) => {
      // A session gets faster over its first thousands of runs: the original that has been in use all along would
      // look up to a fifth faster than a new candidate with the same graph.
      const fresh = await backend.compile(original, { signal });
      try {
        return await latencyChange(fresh, candidate, first, rounds, context);
      } finally {
        await fresh.dispose();
      }
    },
    dispose: () => executable.dispose(),
  };
}

/** Drift as reports hold it. */
export function driftFigures(drift: {
  readonly sqnrDb: number;
  readonly cosine: number;
  readonly maxAbs: number;
  readonly top1Agreement?: number | undefined;
  readonly rows?: number | undefined;
}): DriftFigures {
  const { sqnrDb, cosine, maxAbs, top1Agreement, rows } = drift;
  return {
    sqnrDb: Math.min(sqnrDb, EQUAL_SQNR_DB),
    cosine,
    maxAbs,
    ...(top1Agreement === undefined ? {} : { top1Agreement, rows }),
  };
}

/** Measures two executables in turn on the same input. */
export async function latencyChange(
  before: Executable,
  after: Executable,
  feeds: Feeds,
  rounds: number,
  context: RunContext,
): Promise<LatencyChange> {
  const entries = [
    { name: 'original', executable: before },
    { name: 'candidate', executable: after },
  ] as const;
  const report = await measureLatency(entries, feeds, {
    rounds,
    minMilliseconds: 20,
    signal: context.signal,
    onRound: (done, total) => {
      context.progress({ task: 'latency', done, total });
    },
  });
  const [original, candidate] = report.entries as [LatencyStats, LatencyStats];
  const [{ speedup, interval }] = report.comparisons as [LatencyComparison];
  return {
    beforeMs: original.medianMs,
    afterMs: candidate.medianMs,
    speedup,
    interval: [interval.low, interval.high],
  };
}

/** What an accuracy compares. */
export interface Top1Names {
  /** Output with the scores; the first by default. */
  readonly output?: string | undefined;
  /** Target with the class numbers; `label` by default. */
  readonly label?: string | undefined;
}

/**
 * Share of labelled samples whose best class is the label.
 *
 * @throws {LitheError} SHAPE_MISMATCH when the model has no such output
 */
export async function evaluateTop1(
  executable: Executable,
  data: Dataset,
  context: RunContext,
  { output = executable.outputNames[0], label = 'label' }: Top1Names = {},
): Promise<number> {
  const { signal } = context;
  let right = 0;
  let total = 0;
  for await (const batch of data.batches({ signal })) {
    context.progress({ task: 'accuracy', done: total, total: data.size ?? 0 });
    const outputs = await executable.run(batch.inputs, { signal });
    const scores = output === undefined ? undefined : outputs[output];
    if (scores === undefined) throw errors.outputMismatch(output ?? 'scores', 'is no output of the model');
    const labels = batch.targets?.[label];
    if (labels === undefined) continue;
    right += topKAccuracy(scores, labels, 1) * batch.size;
    total += batch.size;
  }
  return total === 0 ? Number.NaN : right / total;
}
