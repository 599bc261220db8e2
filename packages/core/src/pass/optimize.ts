import { BACKEND_CONTRACT, type Backend } from '../backend/backend.ts';
import { createRunContext, type RunContext, type RunOptions } from '../context/run-context.ts';
import type { Feeds } from '../data/dataset.ts';
import { errors } from '../errors/catalogue.ts';
import type { Model } from '../ir/model.ts';
import { verify } from '../verify/verify.ts';
import { type CheckOutputs, compareCheck, driftViolation, readCheckInputs, runCheck } from './drift-check.ts';
import type { Invariant, PassContext, PassNeed, PassStep } from './pass.ts';
import { type PassResources, passContextIn } from './pass-context.ts';
import type { DriftCheck, OptimizeReport, PassReport, StepReport } from './report.ts';

/**
 * What {@link optimize} works with, beside the model and the passes. Of `models`, `original` is the one given to
 * `optimize` unless it is there.
 */
export interface OptimizeOptions extends PassResources, RunOptions {
  /**
   * Whether the outputs before and after each pass are compared on real inputs: `when-possible` (default) when
   * both `backend` and `data` are given; `required` makes their absence an error; `off` never.
   */
  readonly check?: 'when-possible' | 'required' | 'off' | undefined;
  /** Batches of `data` that the check runs; 2 by default. */
  readonly checkBatches?: number | undefined;
}

/** What {@link optimize} gives. */
export interface OptimizeResult {
  /** The new model. The one that was given is as it was. */
  readonly model: Model;
  /** What each pass did. */
  readonly report: OptimizeReport;
}

/** Steps as they may be listed: nested, with falsy entries left out. */
export type StepList = readonly (PassStep | StepList | false | null | undefined)[];

function flatten(steps: StepList): PassStep[] {
  return steps.flatMap((step): PassStep[] => {
    if (step === false || step === null || step === undefined) return [];
    return Array.isArray(step) ? flatten(step as StepList) : [step as PassStep];
  });
}

/**
 * Runs passes over a model, one after the other. Each works on a private copy of the structure (weights are
 * shared); after it the model is verified and, where inputs and a backend are given, its outputs are compared with
 * those before. The model that was given is never changed; when a pass fails nothing is.
 *
 * @param model the model to improve
 * @param steps passes with their options, such as `[simplify(), staticInt8()]`; nested lists and falsy entries are allowed
 * @param options backend, data, seed, cancellation, progress
 * @throws {LitheError} PASS_NEEDS when a pass needs what the options do not hold, before anything runs;
 *   PASS_PRECONDITION when the model does not meet what a pass requires; PASS_FAILED with the cause when a pass
 *   throws or leaves a graph that does not verify; PASS_DRIFT when it changes results more than it declares
 */
export async function optimize(
  model: Model,
  steps: StepList,
  options: OptimizeOptions = {},
): Promise<OptimizeResult> {
  const context = createRunContext(options);
  const list = flatten(steps);
  checkNeeds(list, options);
  const checker = await createChecker(model, options, context);
  const reports: StepReport[] = [];
  let current = model;
  for (const [index, step] of list.entries()) {
    context.signal.throwIfAborted();
    context.progress({ task: 'optimize', done: index, total: list.length, label: step.name });
    const started = context.now();
    const draft = current.clone();
    const report = await runStep(step, index, draft, passContext(step, model, options, context));
    const checked = report.changed
      ? await checker.check(step, draft)
      : { check: undefined, unchecked: 'the pass changed nothing' };
    reports.push({
      ...report,
      pass: step.name,
      version: step.version,
      options: step.options,
      milliseconds: context.now() - started,
      ...checked,
    });
    // An unchanged draft is dropped, so that a model that no pass changed keeps its identity (and its bytes).
    if (report.changed) current = draft;
  }
  context.progress({ task: 'optimize', done: list.length, total: list.length });
  return { model: current, report: { steps: reports } };
}

function checkNeeds(steps: readonly PassStep[], options: OptimizeOptions): void {
  if (options.backend !== undefined && options.backend.contract !== BACKEND_CONTRACT) {
    throw errors.contractMismatch(
      `Backend "${options.backend.name}"`,
      BACKEND_CONTRACT,
      options.backend.contract,
    );
  }
  if (options.check === 'required' && (options.backend === undefined || options.data === undefined)) {
    throw errors.optionsInvalid('optimize', [
      '"check" is "required", which takes both "backend" and "data".',
    ]);
  }
  const present: Readonly<Record<PassNeed, boolean>> = {
    backend: options.backend !== undefined,
    data: options.data !== undefined,
    target: options.target !== undefined,
    'training-data': options.trainingData !== undefined,
  };
  for (const step of steps) {
    const missing = step.needs.filter((need) => !present[need]);
    if (missing.length > 0) throw errors.passNeeds(step.name, missing);
  }
}

function passContext(
  step: PassStep,
  original: Model,
  options: OptimizeOptions,
  context: RunContext,
): PassContext {
  const own: RunContext = {
    ...context,
    rng: context.rng.fork(step.name),
    progress: (event) => {
      context.progress({ ...event, task: step.name });
    },
  };
  return passContextIn(own, { ...options, models: { original, ...options.models } });
}

function problemsOf(invariants: readonly Invariant[], model: Model): string[] {
  return invariants.flatMap((invariant) =>
    invariant.check(model).map((problem) => `[${invariant.name}] ${problem}`),
  );
}

async function runStep(
  step: PassStep,
  index: number,
  draft: Model,
  context: PassContext,
): Promise<PassReport> {
  const before = problemsOf(step.requires, draft);
  if (before.length > 0) throw errors.passPrecondition(step.name, before);
  const revision = draft.graph.revision.count;
  try {
    const report = await step.run(draft, context);
    const after = [...verify(draft, { opset: context.opset }), ...problemsOf(step.ensures, draft)];
    if (after.length > 0) throw errors.modelInvalid(after, `after pass "${step.name}"`);
    if (!report.changed && draft.graph.revision.count !== revision) {
      throw errors.internal(`pass "${step.name}" edited the graph and reported no change`);
    }
    return report;
  } catch (error) {
    if (context.signal.aborted) throw error;
    throw errors.passFailed(step.name, index + 1, error);
  }
}

interface Checker {
  check(
    step: PassStep,
    after: Model,
  ): Promise<{ readonly check: DriftCheck | undefined; readonly unchecked: string | undefined }>;
}

async function createChecker(model: Model, options: OptimizeOptions, context: RunContext): Promise<Checker> {
  const { backend, data } = options;
  if (options.check === 'off') return skipChecks('checks are off');
  if (backend === undefined || data === undefined) return skipChecks('no backend and data to check with');
  const inputs = await readCheckInputs(data, options.checkBatches ?? 2, context.signal);
  if (inputs.length === 0) return skipChecks('the data holds no samples');
  return numericChecker(model, inputs, backend, context);
}

function skipChecks(reason: string): Checker {
  return { check: () => Promise.resolve({ check: undefined, unchecked: reason }) };
}

function numericChecker(
  model: Model,
  inputs: readonly Feeds[],
  backend: Backend,
  context: RunContext,
): Checker {
  let before: CheckOutputs | undefined;
  return {
    check: async (step, after) => {
      before ??= await runCheck(model, inputs, backend, context.signal);
      const outputs = await runCheck(after, inputs, backend, context.signal);
      const check = compareCheck(before, outputs);
      const violation = driftViolation(check, step.preserves);
      if (violation !== undefined) throw errors.passDrift(step.name, ...violation);
      before = outputs;
      return { check, unchecked: undefined };
    },
  };
}
