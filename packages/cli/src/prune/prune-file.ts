import {
  type Backend,
  createRunContext,
  type Model,
  optimize,
  passContextIn,
  type RunContext,
  type Skip,
  type Target,
} from '@lithe/core';
import { saveOnnx } from '@lithe/onnx/node';
import {
  type GroupChange,
  type PlannedPruning,
  type PruningPlan,
  planPruning,
  removeAll,
} from '@lithe/pruning';
import { simplify } from '@lithe/simplify';
import { openBench } from '../compress/bench.ts';
import { outputTraits } from '../compress/output-traits.ts';
import type { AccuracyChange, DriftFigures, LatencyChange } from '../compress/report.ts';
import { type Inputs, openInputs, openLabelled } from '../inputs.ts';
import { type ModelFile, openModel } from '../model-file.ts';
import { createTarget } from '../targets.ts';
import type { CommandIO, Progress } from '../terminal/io.ts';
import { fileJournal } from './file-journal.ts';
import { type PruneArguments, pruneOptions } from './prune-arguments.ts';

/** Rules that fold normalization into weights: a pruned model is trained on, and the normalization with it. */
const foldingRules = ['fold-affine-after', 'fold-affine-before', 'fold-scale-through-bias'];

/** A figure before and after. */
export interface Change {
  /** Before. */
  readonly before: number;
  /** After. */
  readonly after: number;
}

/** What `prune --json` prints. */
export interface PruneResult {
  /** Path of the model. */
  readonly model: string;
  /** Path of the result; `null` for a dry run. */
  readonly output: string | null;
  /** Runtime the figures were taken in. */
  readonly target: { readonly name: string; readonly runtime: string; readonly threads: number };
  /** What told how much a unit matters. */
  readonly criterion: string;
  /** Share of units that was removed. */
  readonly ratio: number;
  /** Whether the budget is met; `true` without one. */
  readonly met: boolean;
  /** Bytes of the files; `null` for a dry run. */
  readonly size: Change | null;
  /** Elements of constants. */
  readonly parameters: Change;
  /** Bytes of constants. */
  readonly weightBytes: Change;
  /** Multiply-accumulates of one run. */
  readonly macs: Change;
  /** Measured latency; `null` for a dry run. */
  readonly latency: LatencyChange | null;
  /** Candidates whose latency was measured to meet a budget: share of the original's by ratio. */
  readonly trials: PlannedPruning['trials'];
  /** Drift on the inputs; `null` for a dry run. */
  readonly drift: DriftFigures | null;
  /** Accuracy, with `--evaluate`; `null` without. */
  readonly accuracy: AccuracyChange | null;
  /** Inputs the figures were taken on. */
  readonly data: { readonly source: string; readonly random: boolean };
  /** Every group that can be pruned, with its units before and after. */
  readonly groups: readonly GroupChange[];
  /** What was left alone, and why. */
  readonly skipped: readonly Skip[];
}

/** What the parts of a run share. */
interface Tools {
  readonly options: PruneArguments;
  readonly io: CommandIO;
  readonly progress: Progress;
}

/** Prunes a model file, or with an output of `null` says what would be removed. */
export async function pruneFile(path: string, output: string | null, tools: Tools): Promise<PruneResult> {
  const { options, io, progress } = tools;
  const context = createRunContext({
    seed: options.seed,
    signal: io.signal,
    onProgress: progress.onProgress,
    log: { warn: progress.warn },
  });
  const file = await openModel(path, io.signal);
  const inputs =
    output === null && looksAtWeightsAlone(options)
      ? undefined
      : await openInputs(file.model, options.calibrate, options);
  const target = await createTarget(options.target);
  const backend = await target.open(context, { threads: options.threads });
  try {
    progress.phase('finding what hangs together');
    const steps = options.simplify ? [simplify({ skip: foldingRules })] : [];
    const { model } = await optimize(file.model, steps, { signal: io.signal });
    const journal = options.journal === undefined ? undefined : await fileJournal(options.journal);
    progress.phase(options.targetLatency === undefined ? 'choosing what goes' : 'measuring candidates');
    const pass = passContextIn(context, { backend, data: inputs?.data, target });
    const planned = await planPruning(model, { ...pruneOptions(options, model), journal }, pass);
    const base = describe(path, planned, { options, target, backend, inputs });
    if (output === null || inputs === undefined) return base;
    const written = await writePruned(file, model, planned.plan, { output, inputs, backend, context, tools });
    return { ...base, ...written, output };
  } finally {
    progress.stop();
    await backend.dispose();
  }
}

/** Criteria that need no inputs. */
const weightCriteria: ReadonlySet<string> = new Set([
  'l1',
  'l2',
  'lamp',
  'batch-norm-scale',
  'geometric-median',
  'random',
]);

/** Whether what is to go can be told without running the model. */
function looksAtWeightsAlone({ criterion, targetLatency, calibrate }: PruneArguments): boolean {
  return targetLatency === undefined && calibrate === undefined && weightCriteria.has(criterion);
}

function describe(
  path: string,
  planned: PlannedPruning,
  run: {
    readonly options: PruneArguments;
    readonly target: Target;
    readonly backend: Backend;
    readonly inputs: Inputs | undefined;
  },
): PruneResult {
  const { options, target, backend, inputs } = run;
  const { before, after, changes } = planned.plan;
  return {
    model: path,
    output: null,
    target: { name: target.name, runtime: `${backend.name} ${backend.version}`, threads: options.threads },
    criterion: options.criterion,
    ratio: planned.ratio,
    met: planned.met,
    size: null,
    parameters: { before: before.parameters, after: after.parameters },
    weightBytes: { before: before.bytes, after: after.bytes },
    macs: { before: before.macs, after: after.macs },
    latency: null,
    trials: planned.trials,
    drift: null,
    accuracy: null,
    data: { source: inputs?.data.description ?? 'none', random: inputs?.random ?? false },
    groups: changes,
    skipped: planned.skipped,
  };
}

async function writePruned(
  file: ModelFile,
  model: Model,
  plan: PruningPlan,
  run: {
    readonly output: string;
    readonly inputs: Inputs;
    readonly backend: Backend;
    readonly context: RunContext;
    readonly tools: Tools;
  },
): Promise<Pick<PruneResult, 'size' | 'latency' | 'drift' | 'accuracy'>> {
  const { output, inputs, backend, context, tools } = run;
  const { options, progress } = tools;
  const smaller = model.clone();
  await removeAll(smaller, plan.removals, { signal: context.signal });
  progress.phase('writing');
  const saved = await saveOnnx(smaller, output, { signal: context.signal });
  const evaluate =
    options.evaluate === undefined ? undefined : await openLabelled(file.model, options.evaluate, options);
  progress.phase('measuring the result');
  const bench = await openBench(
    backend,
    file.encoded,
    { data: inputs.data, evaluate, outputs: outputTraits(file.model), driftSamples: options.samples },
    context,
  );
  try {
    const candidate = await bench.compile({ kind: 'onnx', file: output });
    try {
      return {
        size: { before: file.bytes, after: saved.bytes },
        latency: await bench.latency(candidate, options.rounds),
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
