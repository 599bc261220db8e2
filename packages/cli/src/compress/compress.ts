import { basename } from 'node:path';
import {
  type Backend,
  createRunContext,
  type Dataset,
  type Model,
  optimize,
  type RunContext,
  type RunOptions,
  type Target,
} from '@lithe/core';
import { simplify } from '@lithe/simplify';
import { type ModelFile, openModel } from '../model-file.ts';
import type { Objective } from '../options.ts';
import { type Bench, openBench, type Top1Names } from './bench.ts';
import { type BuiltCandidate, buildCandidate, temporaryFolder } from './build.ts';
import { type Candidate, planCandidates } from './candidates.ts';
import { writeResult } from './output.ts';
import { outputTraits } from './output-traits.ts';
import { onNativeCpu, saturates, saturationWarning } from './processors.ts';
import type { CandidateResult, CompressReport, Limits, PassSummary } from './report.ts';
import { mayBeSlower, rankCandidates, refusalOf } from './select.ts';

/** What {@link compressFile} is asked for. */
export interface CompressOptions extends RunOptions {
  /** Runtime to compress for. */
  readonly target: Target;
  /** Threads of that runtime; 1 by default. */
  readonly threads?: number | undefined;
  /** What counts. */
  readonly objective: Objective;
  /** How much the result may differ. */
  readonly limits: Limits;
  /** Inputs for calibration, drift and latency. */
  readonly data: Dataset;
  /** Whether `data` is random because none was given. */
  readonly random: boolean;
  /** Labelled inputs for the accuracy. */
  readonly evaluate?: Dataset | undefined;
  /** What the accuracy compares; the first output and the target `label` by default. */
  readonly metric?: Top1Names | undefined;
  /** Rounds of the measurement that confirms the choice; 31 by default. A first look takes a third of them. */
  readonly rounds?: number | undefined;
  /**
   * Whether the result must hold on x86 processors without VNNI too; off by default. Integer formats then have weights
   * of 7 bits where sums of 8 would leave 16 bits there.
   */
  readonly portable?: boolean | undefined;
  /** Samples that drift is taken on; 32 by default. */
  readonly driftSamples?: number | undefined;
  /** Path to write the result to. */
  readonly output: string;
  /** Told when a new phase begins. */
  readonly onPhase?: ((text: string) => void) | undefined;
}

/** Rounds of the measurement that confirms the choice. */
const DEFAULT_ROUNDS = 31;

/** Rounds of the first look at a candidate. */
function firstRounds({ rounds = DEFAULT_ROUNDS }: CompressOptions): number {
  return Math.max(6, Math.ceil(rounds / 3));
}

interface Work {
  readonly file: ModelFile;
  readonly options: CompressOptions;
  readonly context: RunContext;
  readonly backend: Backend;
  readonly bench: Bench;
  readonly folder: string;
}

/**
 * Compresses a model file: simplifies it, builds the candidates that make sense for model and target, measures
 * each in the target against the original, and writes the best one inside the limits. Under `latency` and
 * `balanced` nothing slower than the original is written; when nothing qualifies, the original is copied.
 *
 * @throws {LitheError} BACKEND_UNAVAILABLE when the target's runtime is missing; BACKEND_FAILED when it refuses the original
 */
export async function compressFile(file: ModelFile, options: CompressOptions): Promise<CompressReport> {
  const context = createRunContext(options);
  const temporary = await temporaryFolder();
  const backend = await options.target.open(context, { threads: options.threads ?? 1 });
  try {
    options.onPhase?.(`measuring the original in ${backend.name} ${backend.version}`);
    const { data, driftSamples = 32, metric = {} } = options;
    const evaluate = options.evaluate === undefined ? undefined : { data: options.evaluate, names: metric };
    const bench = await openBench(
      backend,
      file.encoded,
      { data, evaluate, driftSamples, outputs: outputTraits(file.model) },
      context,
    );
    try {
      return await search({ file, options, context, backend, bench, folder: temporary.path });
    } finally {
      await bench.dispose();
    }
  } finally {
    await backend.dispose();
    await temporary.remove();
  }
}

async function search(work: Work): Promise<CompressReport> {
  const { file, options } = work;
  options.onPhase?.('simplifying');
  const simplified = await optimize(file.model, [simplify()], { ...options, check: 'off' });
  const { target, portable = false } = options;
  const processors = { portable, saturates: await saturates(work.backend, target.profile, work.context) };
  const plan = planCandidates(simplified.model, target, !options.random, processors);
  const built = new Map<string, BuiltCandidate>();
  const results: CandidateResult[] = [];
  for (const [index, candidate] of plan.candidates.entries()) {
    work.context.signal.throwIfAborted();
    options.onPhase?.(
      `trying ${candidate.name} (${index + 1} of ${plan.candidates.length}): ${candidate.summary}`,
    );
    results.push(await tryCandidate(work, simplified.model, candidate, built));
  }
  const chosen = await confirm(work, results, built);
  const files = chosen === undefined ? file.files : (built.get(chosen.name) as BuiltCandidate).files;
  await writeResult(files, options.output);
  const warnings = warningsOf(work, chosen, built.size);
  const made = plan.candidates.find(({ name }) => name === chosen?.name);
  // Where sums saturate at hand, that was measured; and noise would say little.
  if (made?.mayOverflow === true && onNativeCpu(target) && !processors.saturates && !options.random) {
    options.onPhase?.('trying what processors without VNNI make of it');
    const { model } = await openModel(files[0] as string, work.context.signal);
    const advice = '--portable gives layers whose sums do weights of 7 bits.';
    const warning = await saturationWarning(model, options.data, work.context, advice);
    if (warning !== undefined) warnings.push(warning);
  }
  return report(work, results, chosen, { notTried: plan.notTried, warnings });
}

async function tryCandidate(
  work: Work,
  model: Model,
  candidate: Candidate,
  built: Map<string, BuiltCandidate>,
): Promise<CandidateResult> {
  const { options, bench, file } = work;
  const { name, summary } = candidate;
  try {
    const { target, data, output } = options;
    const build = { backend: work.backend, data, target, fileName: basename(output), run: options };
    const result = await buildCandidate(model, candidate, work.folder, build);
    const { passes } = result;
    if (!result.changed) return { name, summary, passes, chosen: false, failure: nothingToDo(passes) };
    built.set(name, result);
    const executable = await bench.compile(result.encoded);
    try {
      const size = { before: file.bytes, after: result.bytes, ratio: file.bytes / result.bytes };
      const drift = await bench.drift(executable);
      const accuracy = await bench.accuracy(executable);
      const latency = await bench.latency(executable, firstRounds(options));
      return {
        name,
        summary,
        passes,
        size,
        drift,
        latency,
        chosen: false,
        ...(accuracy === undefined ? {} : { accuracy }),
      };
    } finally {
      await executable.dispose();
    }
  } catch (error) {
    if (work.context.signal.aborted) throw error;
    const failure = `it failed: ${error instanceof Error ? error.message : String(error)}`;
    return { name, summary, passes: [], chosen: false, failure };
  }
}

/** Why a candidate's own pass changed nothing, as a clause. */
function nothingToDo(passes: readonly PassSummary[]): string {
  const skip = passes[0]?.skipped[0];
  if (skip === undefined) return 'the model has nothing that it applies to';
  return `the model has nothing that it applies to: ${skip.target}, ${skip.reason}`;
}

/**
 * Measures the best candidates again, longer, from the first down, and gives the first that is still not slower
 * than the original. Replaces its latency by the confirmed one.
 */
async function confirm(
  work: Work,
  results: CandidateResult[],
  built: ReadonlyMap<string, BuiltCandidate>,
): Promise<CandidateResult | undefined> {
  const { options, bench } = work;
  for (const best of rankCandidates(results, options.objective, options.limits)) {
    options.onPhase?.(`confirming ${best.name}`);
    const executable = await bench.compile((built.get(best.name) as BuiltCandidate).encoded);
    try {
      const latency = await bench.latency(executable, options.rounds ?? DEFAULT_ROUNDS);
      const index = results.indexOf(best);
      const confirmed: CandidateResult = { ...best, latency };
      results[index] = confirmed;
      if (options.objective === 'size' || !mayBeSlower(latency)) return confirmed;
    } finally {
      await executable.dispose();
    }
  }
  return undefined;
}

function report(
  work: Work,
  results: readonly CandidateResult[],
  chosen: CandidateResult | undefined,
  rest: Pick<CompressReport, 'notTried' | 'warnings'>,
): CompressReport {
  const { file, options, backend, bench } = work;
  const { objective, limits, random, data, target, threads = 1 } = options;
  const original = results.find((result) => result.latency !== undefined)?.latency?.beforeMs ?? Number.NaN;
  const same = {
    size: { before: file.bytes, after: file.bytes, ratio: 1 },
    latency: { beforeMs: original, afterMs: original, speedup: 1, interval: [1, 1] as const },
    drift: { sqnrDb: 200, cosine: 1, maxAbs: 0 },
  };
  const {
    size = same.size,
    latency = same.latency,
    drift = same.drift,
    accuracy,
  } = chosen ?? (same as Partial<CandidateResult>);
  return {
    model: file.path,
    output: options.output,
    chosen: chosen?.name ?? 'original',
    target: { name: target.name, runtime: `${backend.name} ${backend.version}`, threads },
    objective,
    limits,
    data: { source: data.description, samples: bench.samples, random },
    size,
    latency,
    drift,
    ...(accuracy === undefined ? {} : { accuracy }),
    candidates: results.map((result) => explain(result, chosen, objective, limits)),
    ...rest,
  };
}

function explain(
  result: CandidateResult,
  chosen: CandidateResult | undefined,
  objective: Objective,
  limits: Limits,
): CandidateResult {
  if (result === chosen) return { ...result, chosen: true };
  const refusal = refusalOf(result, objective, limits);
  return { ...result, reason: refusal ?? `${chosen?.name ?? 'the original'} is better for "${objective}"` };
}

function warningsOf(work: Work, chosen: CandidateResult | undefined, built: number): string[] {
  const { random, objective } = work.options;
  const warnings: string[] = [];
  if (random) {
    warnings.push(
      'No data was given: drift and latency were taken on random input, which can mislead (some models answer almost nothing to noise). Give real inputs with --calibrate.',
    );
  }
  if (chosen === undefined) {
    warnings.push(
      `None of ${built} candidates stayed inside the limits${objective === 'size' ? '' : ' without being slower'}: the original was copied.`,
    );
  } else if (chosen.name === 'simplified' && built > 1) {
    warnings.push(
      'No quantized candidate stayed inside the limits and paid: the simplified model was written.',
    );
  }
  return warnings;
}
