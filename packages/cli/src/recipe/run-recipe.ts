import { join, relative } from 'node:path';
import {
  type Backend,
  createRunContext,
  type Dataset,
  errors,
  isLitheError,
  type RunContext,
  type RunOptions,
} from '@lithe/core';
import { writeResult } from '../compress/output.ts';
import { openModel } from '../model-file.ts';
import { htmlReport } from '../report/html/html-report.ts';
import type { RunReport, SeedResult, StepResult } from '../report/run-report.ts';
import { held } from './data-source.ts';
import { dataWarnings } from './data-warnings.ts';
import { identityOf } from './identity.ts';
import { checkLimits } from './limits.ts';
import { type Instruments, measureModel, measureOriginal, prepareInstruments } from './measure.ts';
import { type PlanOptions, planRecipe, type RecipePlan } from './plan.ts';
import { ORIGINAL, type PlannedStep } from './plan-steps.ts';
import { type RecipeFile, recipeName } from './read-recipe.ts';
import { type Figures, makeFolder, writeRecord, writeWhole } from './run-folder.ts';
import { lockFolder } from './run-lock.ts';
import { runStep, type SeedWork, type StoredModel, storeOriginal } from './run-step.ts';
import { dataIdentities, machineText, surroundingsOf } from './surroundings.ts';

/** How a recipe is run. */
export interface RunRecipeOptions extends Omit<PlanOptions, 'dryRun'>, Omit<RunOptions, 'seed' | 'signal'> {
  /** Whether everything is made anew, whatever is there from earlier runs. */
  readonly fresh?: boolean | undefined;
  /** Told when a new phase begins. */
  readonly onPhase?: ((text: string) => void) | undefined;
  /** Date of the report; that of the end of the run by default. */
  readonly date?: Date | undefined;
}

/** What the parts of a run share. */
interface Run {
  readonly plan: RecipePlan;
  readonly options: RunRecipeOptions;
  readonly context: RunContext;
  readonly backend: Backend;
  readonly instruments: Instruments;
  readonly data: Dataset | undefined;
  readonly surroundings: unknown;
  readonly measuring: unknown;
  /** Where it is measured. */
  readonly machine: string;
  /** What the user should know, each sentence once. */
  readonly warnings: Set<string>;
}

/**
 * Runs a recipe: for each seed its steps in order, each on the model that another one left; every model is saved,
 * read again, run and measured in the target. What an earlier run left for the same models, options, data and seed is
 * taken over, so that a run that was stopped goes on, in the middle of a training too where the pass keeps checkpoints.
 * `report.json` and `report.html` lie in the run folder afterwards.
 *
 * @param recipe a recipe that was read, or one that was planned
 * @returns everything that was found, also when limits are not met
 * @throws {LitheError} RECIPE_INVALID before anything runs; FOLDER_LOCKED when another run is at work in the run
 *   folder; RECIPE_FAILED when a step fails, with the cause; what the
 *   steps before it left is kept
 * @example
 * ```ts no-run
 * import { readRecipe, runRecipe } from '@lithe/cli';
 *
 * const report = await runRecipe(await readRecipe('recipe.yaml'), { onPhase: (text) => process.stderr.write(`${text}\n`) });
 * report.limits.every(({ met }) => met);
 * ```
 */
export async function runRecipe(
  recipe: RecipeFile | RecipePlan,
  options: RunRecipeOptions = {},
): Promise<RunReport> {
  const plan = 'steps' in recipe ? planned(recipe, options) : await planRecipe(recipe, options);
  const context = createRunContext({ ...options, seed: plan.seeds[0] });
  await using _lock = await lockFolder(plan.runFolder);
  const { target, data, file } = plan;
  const { metric } = file.recipe;
  const { threads, batches, rounds } = file.recipe.target;
  options.onPhase?.('reading the data');
  const { signal } = context;
  const measured = await held(data.measured, signal);
  const test =
    data.test === undefined
      ? undefined
      : data.measured.data === data.test.data
        ? measured
        : await held(data.test, signal);
  const calibration = data.calibration === undefined ? undefined : await held(data.calibration, signal);
  const identities = await dataIdentities(plan, signal);
  await using backend = await target.open(context, { threads });
  const runtime = `${backend.name} ${backend.version}`;
  const machine = machineText();
  const run: Run = {
    plan,
    options,
    context,
    backend,
    instruments: await prepareInstruments(backend, { measured, test }, { batches, rounds, metric }, context),
    data: calibration,
    surroundings: surroundingsOf(plan, identities),
    warnings: new Set(await dataWarnings(plan)),
    measuring: { target: target.name, threads, runtime, machine, batches, rounds, metric, ...identities },
    machine,
  };
  for (const warning of run.warnings) context.log.warn(warning);
  const seeds: SeedResult[] = [];
  for (const seed of plan.seeds) seeds.push(await runSeed(run, seed));
  const report = await conclude(run, seeds);
  await writeWhole(join(plan.runFolder, 'report.json'), `${JSON.stringify(report, null, 1)}\n`);
  await writeWhole(join(plan.runFolder, 'report.html'), await htmlReport(report));
  return report;
}

/** A plan as it is: options that only planning reads would be left aside without a word. */
function planned(plan: RecipePlan, { folder, seed, cwd }: RunRecipeOptions): RecipePlan {
  const late = Object.entries({ folder, seed, cwd }).filter(([, value]) => value !== undefined);
  if (late.length === 0) return plan;
  throw errors.optionsInvalid(
    'runRecipe()',
    late.map(([name]) => `"${name}" comes too late for a plan.`),
    'Give it to planRecipe().',
  );
}

async function runSeed(run: Run, seed: number): Promise<SeedResult> {
  const { plan, options, context } = run;
  const label = plan.seeds.length > 1 ? `seed ${seed}: ` : '';
  const phase = (text: string): void => options.onPhase?.(`${label}${text}`);
  const folder = join(plan.runFolder, `seed-${seed}`);
  await makeFolder(folder);
  const base = {
    seed,
    folder,
    surroundings: run.surroundings,
    context,
    backend: run.backend,
    target: plan.target,
    data: run.data,
    trainingData: plan.data.train?.data,
    fresh: options.fresh === true,
  };
  const model = seed === plan.seeds[0] ? plan.model : await plan.source.open(seed, context.signal);
  const first = await storeOriginal(base, model);
  const work: SeedWork = { ...base, done: new Map([[ORIGINAL, first]]) };
  const started = await measured(run, first, { contents: first.record.contents }, () => {
    phase('measuring the original');
    return measureOriginal({ path: first.path, bytes: first.record.bytes }, run.instruments);
  });
  const steps: StepResult[] = [];
  for (const [index, step] of plan.steps.entries()) {
    context.signal.throwIfAborted();
    phase(`${step.name} (${index + 1} of ${plan.steps.length}): ${step.step.summary}`);
    steps.push(await seedStep(run, work, { step, index, phase }));
  }
  const { failure: _failure, drift: _drift, ...figures } = started;
  return { seed, original: { file: relative(plan.runFolder, first.path), ...figures }, steps };
}

async function seedStep(
  run: Run,
  work: SeedWork,
  at: {
    readonly step: PlannedStep;
    readonly index: number;
    readonly phase: (text: string) => void;
  },
): Promise<StepResult> {
  const { plan } = run;
  const { step, index, phase } = at;
  const stored = await located(run, step, index, () => runStep(work, step, index));
  work.done.set(step.name, stored);
  const first = work.done.get(ORIGINAL);
  const parent = work.done.get(step.from ?? ORIGINAL);
  if (first === undefined || parent === undefined)
    throw errors.internal(`step "${step.name}" starts from nothing`);
  const contents = [stored, first, parent].map(({ record }) => record.contents);
  const figures = await measured(run, stored, contents, () => {
    phase(`measuring ${step.name}`);
    return measureModel(
      { path: stored.path, bytes: stored.record.bytes },
      {
        original: { path: first.path, bytes: first.record.bytes },
        parent: { path: parent.path, bytes: parent.record.bytes },
      },
      run.instruments,
    );
  });
  const { pass } = stored.record;
  if (pass === null) throw errors.internal(`the record of step "${step.name}" has no report`);
  return {
    name: step.name,
    use: step.use,
    from: step.from,
    control: step.control,
    pass,
    file: relative(plan.runFolder, stored.path),
    ...figures,
    resumed: stored.resumed,
  };
}

/** Figures of a model: those that were taken before with the same things, or new ones, which are kept. */
async function measured(
  run: Run,
  stored: StoredModel,
  of: unknown,
  take: () => Promise<Figures>,
): Promise<Omit<Figures, 'uncounted'>> {
  const identity = identityOf({ of, with: run.measuring });
  const known = stored.record.measured;
  let figures =
    known?.identity === identity && known.figures.failure === undefined ? known.figures : undefined;
  if (figures === undefined) {
    figures = await take();
    await writeRecord(stored.recordPath, { ...stored.record, measured: { identity, figures } });
  }
  const { uncounted = 0, ...rest } = figures;
  if (uncounted > 0) {
    const nodes = uncounted === 1 ? 'one node' : `${uncounted} nodes`;
    run.warnings.add(`The multiplications of ${nodes} of "${stored.name}" are not known and not in its sum.`);
  }
  return rest;
}

/** Says which step of the recipe failed, and that the ones before it are kept. */
async function located<T>(run: Run, step: PlannedStep, index: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (run.context.signal.aborted) throw cause;
    const { file, runFolder } = run.plan;
    const { line, column } = file.document.placeOf(['steps', index]);
    throw errors.recipeFailed(
      step.name,
      `${file.path}:${line}:${column}`,
      // The wrapper of the runner says "step 1" of its own list, which has one.
      isLitheError(cause, 'PASS_FAILED') ? cause.cause : cause,
      `What the steps before it left is kept in "${runFolder}": correct the recipe and run it again.`,
    );
  }
}

async function conclude(run: Run, seeds: readonly SeedResult[]): Promise<RunReport> {
  const { plan, backend, options } = run;
  const { file, data, baseline, result } = plan;
  const { recipe } = file;
  const limits = checkLimits(recipe.limits, seeds, { baseline, result });
  const warnings = [...run.warnings];
  const failures = seeds.flatMap(({ seed, steps }) =>
    steps.flatMap((step) => (step.failure === undefined ? [] : [{ seed, ...step, failure: step.failure }])),
  );
  for (const { name, seed, failure } of failures) warnings.push(`Step "${name}" (seed ${seed}): ${failure}`);
  const usable = limits.every(({ met }) => met) && !failures.some(({ name }) => name === result);
  const output = plan.output !== null && usable ? plan.output : null;
  const chosen = seeds[0]?.steps.find(({ name }) => name === result);
  if (output !== null && chosen !== undefined) await writeOutput(run, chosen.file, output);
  else if (plan.output !== null)
    warnings.push(
      `"${recipe.output}" was not written: the result does not keep the limits, or does not run.`,
    );
  return {
    report: 1,
    name: recipeName(file),
    recipe: file.text,
    date: (options.date ?? new Date(performance.timeOrigin + performance.now())).toISOString(),
    target: {
      name: plan.target.name,
      runtime: `${backend.name} ${backend.version}`,
      threads: recipe.target.threads,
      machine: run.machine,
    },
    data: {
      train:
        data.train === undefined
          ? null
          : { source: data.train.data.description, samples: data.train.data.size ?? 0 },
      test:
        data.test === undefined
          ? null
          : { source: data.test.data.description, samples: data.test.data.size ?? 0 },
    },
    metric: data.test === undefined ? null : 'accuracy',
    ...(plan.metric === undefined
      ? {}
      : { scored: { output: plan.metric.output, label: plan.metric.label } }),
    baseline,
    result,
    output,
    seeds,
    limits,
    warnings,
  };
}

/** Copies the result to where the recipe wants it, external data too. */
async function writeOutput(run: Run, file: string, output: string): Promise<void> {
  const model = await openModel(join(run.plan.runFolder, file), run.context.signal);
  await writeResult(model.files, output);
}
