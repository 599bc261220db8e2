import { createReadStream } from 'node:fs';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { createRunContext, type Dataset, type Executable, errors, type Model, optimize } from '@lithe/core';
import { saveOnnx } from '@lithe/onnx/node';
import { simplify } from '@lithe/simplify';
import { latencyChange, openBench } from '../compress/bench.ts';
import { temporaryFolder } from '../compress/build.ts';
import { writeResult } from '../compress/output.ts';
import { outputTraits } from '../compress/output-traits.ts';
import type { LatencyChange } from '../compress/report.ts';
import { type Evaluation, openEvaluation, openInputs } from '../inputs.ts';
import { type ModelFile, openModel } from '../model-file.ts';
import { createTarget } from '../targets.ts';
import type { CommandIO, Progress } from '../terminal/io.ts';
import { checkChannels, looksAtWeightsAlone, planChannels } from './channels.ts';
import { methodOf, type PruneMethod } from './methods.ts';
import { planBlocks, planRanks, planZeros, zeroStep } from './other-methods.ts';
import type { PruneArguments } from './prune-arguments.ts';
import { recover } from './recover.ts';
import type { PruneResult } from './result.ts';
import { costs, type Planned, type PruneRun, symbolSizes } from './run.ts';

/** Rules that fold normalization into weights: a pruned model is trained on, and the normalization with it. */
const foldingRules = ['fold-affine-after', 'fold-affine-before', 'fold-scale-through-bias'];

const plans: Readonly<Record<PruneMethod, (model: Model, run: PruneRun) => Promise<Planned>>> = {
  channels: planChannels,
  zeros: planZeros,
  'low-rank': planRanks,
  blocks: planBlocks,
};

/** Whether a dry run can do without inputs. */
function needsNoInputs(method: PruneMethod, options: PruneArguments): boolean {
  if (options.calibrate !== undefined) return false;
  return method !== 'channels' || looksAtWeightsAlone(options);
}

/**
 * Prunes a model file, or with an output of `null` says what would be removed.
 *
 * @throws {UsageError} when the options make no sense together
 */
export async function pruneFile(
  path: string,
  output: string | null,
  tools: { readonly options: PruneArguments; readonly io: CommandIO; readonly progress: Progress },
): Promise<PruneResult> {
  const { options, io, progress } = tools;
  const method = methodOf(options);
  if (method === 'channels') checkChannels(options);
  // The pass checks its options.
  if (method === 'zeros') zeroStep(options);
  const run = {
    seed: options.seed,
    signal: io.signal,
    onProgress: progress.onProgress,
    log: { warn: progress.warn },
  };
  const context = createRunContext(run);
  const file = await openModel(path, io.signal);
  const inputs =
    output === null && needsNoInputs(method, options)
      ? undefined
      : await openInputs(file.model, options.calibrate, options);
  const evaluate = await openEvaluation(file.model, options);
  const target = await createTarget(options.target);
  const backend = await target.open(context, { threads: options.threads });
  try {
    progress.phase('reading the graph');
    const steps = options.simplify ? [simplify({ skip: foldingRules })] : [];
    const { model } = await optimize(file.model, steps, { signal: io.signal });
    const dims = symbolSizes(file.model, options.shape);
    const pruneRun: PruneRun = { options, dims, run, context, progress, target, backend, inputs };
    const planned = await plans[method](model, pruneRun);
    const base: PruneResult = {
      model: path,
      output,
      method,
      target: { name: target.name, runtime: `${backend.name} ${backend.version}`, threads: options.threads },
      criterion: null,
      ratio: null,
      met: true,
      size: null,
      compressed: null,
      latency: null,
      pruningLatency: null,
      trials: [],
      drift: null,
      accuracy: null,
      data: { source: inputs?.data.description ?? 'none', random: inputs?.random ?? false },
      groups: [],
      zeros: [],
      ranks: [],
      blocks: [],
      recovery: null,
      ...planned.found,
    };
    if (output === null) return base;
    if (inputs === undefined) throw errors.internal('there are no inputs to measure a pruned model on');
    const { model: result, recovery } = await recover(await planned.make(), model, pruneRun);
    const plain = options.simplify ? model : undefined;
    const samples = { data: inputs.data, evaluate };
    const results = { pruned: result, plain, samples, zeros: method === 'zeros' };
    const figures = await writePruned(file, results, output, pruneRun);
    // A refit gives layers biases that had none.
    const now = recovery === null ? {} : await costs(model, result, pruneRun);
    return { ...base, ...now, ...figures, recovery };
  } finally {
    progress.stop();
    await backend.dispose();
  }
}

/** Bytes that files take after gzip. */
async function gzipped(files: readonly string[]): Promise<number> {
  let total = 0;
  for (const file of files)
    await pipeline(createReadStream(file), createGzip(), async (parts: AsyncIterable<Buffer>) => {
      for await (const part of parts) total += part.length;
    });
  return total;
}

/** What is written and measured. */
interface Results {
  /** The result. */
  readonly pruned: Model;
  /** The original, simplified as the result is; `undefined` where nothing was simplified. */
  readonly plain: Model | undefined;
  /** What it is measured on. */
  readonly samples: { readonly data: Dataset; readonly evaluate: Evaluation | undefined };
  /** Whether it has zeros, which files lose where they are compressed. */
  readonly zeros: boolean;
}

type Figures = Pick<PruneResult, 'size' | 'latency' | 'pruningLatency' | 'drift' | 'accuracy'>;

/** Measures the result as a file, and then puts it where it was asked for: what no runtime loads is not written. */
async function writePruned(
  file: ModelFile,
  results: Results,
  output: string,
  run: PruneRun,
): Promise<Figures & Partial<PruneResult>> {
  const { context, progress } = run;
  progress.phase('writing');
  const folder = await temporaryFolder();
  try {
    const path = join(folder.path, basename(output));
    const saved = await saveOnnx(results.pruned, path, { signal: context.signal });
    progress.phase('measuring the result');
    const figures = await measured(file, results, path, run);
    const compressed = results.zeros
      ? { compressed: { before: await gzipped(file.files), after: await gzipped(saved.files) } }
      : {};
    context.signal.throwIfAborted();
    await writeResult(saved.files, output);
    return { ...figures, ...compressed, size: { before: file.bytes, after: saved.bytes } };
  } finally {
    await folder.remove();
  }
}

async function measured(
  file: ModelFile,
  { plain, samples }: Results,
  path: string,
  run: PruneRun,
): Promise<Omit<Figures, 'size'>> {
  const { options, backend, context } = run;
  const outputs = outputTraits(file.model);
  const bench = await openBench(
    backend,
    file.encoded,
    { ...samples, outputs, driftSamples: options.samples },
    context,
  );
  try {
    const candidate = await bench.compile({ kind: 'onnx', file: path });
    try {
      const latency = await bench.latency(candidate, options.rounds);
      return {
        latency,
        pruningLatency: plain === undefined ? latency : await against(plain, candidate, samples.data, run),
        drift: await bench.drift(candidate),
        accuracy: (await bench.accuracy(candidate)) ?? null,
      };
    } finally {
      await candidate.dispose();
    }
  } finally {
    await bench.dispose();
  }
}

/** Measures the result beside the original simplified as it was: what pruning itself gained. */
async function against(
  plain: Model,
  candidate: Executable,
  data: Dataset,
  { backend, context, options }: PruneRun,
): Promise<LatencyChange> {
  const original = await backend.compile(plain, { signal: context.signal });
  try {
    for await (const { inputs } of data.batches({ limit: 1, signal: context.signal }))
      return await latencyChange(original, candidate, inputs, options.rounds, context);
    throw errors.dataInvalid(data.description, 'it holds no samples.');
  } finally {
    await original.dispose();
  }
}
