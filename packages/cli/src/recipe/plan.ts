import { basename, extname, join, resolve } from 'node:path';
import { errors, type Model, type PassNeed, type Target } from '@lithe/core';
import type { Shapes } from '../options.ts';
import { createTarget } from '../targets.ts';
import type { RecipeProblem } from './document.ts';
import { unknownText } from './issues.ts';
import { type ModelSource, modelSource } from './model-source.ts';
import { calibrationSource, type PlannedData, planData, shapesOf, valuesOf } from './plan-data.ts';
import { metricProblems, type PlannedMetric, planMetric } from './plan-metric.ts';
import { ORIGINAL, type PlannedStep, planSteps } from './plan-steps.ts';
import { loadPlugins } from './plugins.ts';
import { locate, type RecipeFile } from './read-recipe.ts';
import { conflictOf, type KeptPath, recipeInputs } from './recipe-inputs.ts';

/** How a recipe is planned. */
export interface PlanOptions {
  /** Folder for results; the recipe's path without its extension and with `.run` behind it by default. */
  readonly folder?: string | undefined;
  /** The one seed to run, instead of those of the recipe. */
  readonly seed?: number | undefined;
  /** Folder that plugins are looked for in after the recipe's; that of the process by default. */
  readonly cwd?: string | undefined;
  /** Whether nothing at all may be written; otherwise decoded images are kept in the folder for results. */
  readonly dryRun?: boolean | undefined;
  /** Cancellation. */
  readonly signal?: AbortSignal | undefined;
}

/** A recipe that can be run: everything it names is there and fits. */
export interface RecipePlan {
  /** The recipe. */
  readonly file: RecipeFile;
  /** Folder for results. */
  readonly runFolder: string;
  /** Seeds, in order. */
  readonly seeds: readonly number[];
  /**
   * Where the model comes from.
   *
   * @internal
   */
  readonly source: ModelSource;
  /** The model for the first seed. */
  readonly model: Model;
  /**
   * What is read, and never overwritten.
   *
   * @internal
   */
  readonly inputs: readonly KeptPath[];
  /** Steps, in order. */
  readonly steps: readonly PlannedStep[];
  /** Step that others are compared with. */
  readonly baseline: string;
  /** Step whose model is the result. */
  readonly result: string;
  /** Where the result is written. */
  readonly output: string | null;
  /**
   * Samples by purpose.
   *
   * @internal
   */
  readonly data: PlannedData;
  /**
   * What the metric compares; `undefined` without `data.test`.
   *
   * @internal
   */
  readonly metric: PlannedMetric | undefined;
  /** Runtime. */
  readonly target: Target;
}

/**
 * Finds everything that a recipe names, plugins, model, data, steps, and checks that it fits; runs nothing and writes
 * nothing, but for decoded images.
 *
 * @throws {LitheError} RECIPE_INVALID with line and column of everything that is wrong; FILE_NOT_FOUND and DATA_INVALID
 *   for the model and the data
 */
export async function planRecipe(file: RecipeFile, options: PlanOptions = {}): Promise<RecipePlan> {
  const { recipe, document } = file;
  const plugins = await loadPlugins(file, options.cwd ?? process.cwd());
  const available = new Set<PassNeed>(['backend', 'target']);
  if (recipe.data.train !== undefined) available.add('training-data').add('data');
  if (calibrationSource(file) !== undefined) available.add('data');
  const planned = planSteps(file, plugins.passes, available);
  const ends = endsOf(file, planned.steps);
  const problems = [
    ...plugins.problems,
    ...planned.problems,
    ...ends.problems,
    ...calibrationProblems(file),
    ...limitProblems(file),
  ];
  const seeds = options.seed === undefined ? (recipe.seeds ?? [recipe.seed ?? 0]) : [options.seed];
  if (problems.length > 0) throw errors.recipeInvalid(file.path, sorted(problems), plugins.hint);
  const source = modelSource(file);
  const runFolder = resolve(options.folder ?? defaultFolder(file));
  const output = recipe.output === undefined ? null : resolve(file.folder, recipe.output);
  const model = await locate(file, ['model'], () => source.open(seeds[0] ?? 0, options.signal));
  const inputs = recipeInputs(file, source, model);
  const conflict = output === null ? undefined : await conflictOf(output, inputs);
  if (conflict !== undefined) {
    const message = `The output ${conflict}. Inputs are never overwritten.`;
    throw errors.recipeInvalid(file.path, [{ ...document.placeOf(['output']), message }]);
  }
  const misfits = [...inputProblems(file, model, shapesOf(file)), ...metricProblems(file, model)];
  if (misfits.length > 0) throw errors.recipeInvalid(file.path, sorted(misfits));
  return {
    file,
    runFolder,
    seeds,
    source,
    model,
    inputs,
    steps: planned.steps,
    baseline: recipe.baseline,
    result: ends.result,
    output,
    data: await planData(file, model, options.dryRun === true ? undefined : join(runFolder, 'cache')),
    metric: planMetric(file, model),
    target: await createTarget(recipe.target.name),
  };
}

/** Folder for results beside the recipe. */
function defaultFolder({ path, folder }: RecipeFile): string {
  return join(folder, `${basename(path, extname(path))}.run`);
}

const sorted = (problems: readonly RecipeProblem[]): RecipeProblem[] =>
  [...problems].sort((left, right) => left.line - right.line || left.column - right.column);

/** Baseline and result, which name steps. */
function endsOf(
  { recipe, document }: RecipeFile,
  steps: readonly PlannedStep[],
): { readonly result: string; readonly problems: readonly RecipeProblem[] } {
  const problems: RecipeProblem[] = [];
  // Where a step could not be planned its name is not known, and would be reported as missing.
  const names = steps.length === recipe.steps.length ? steps.map(({ name }) => name) : undefined;
  const result = recipe.result ?? steps.findLast(({ control }) => !control)?.name;
  if (names !== undefined && recipe.baseline !== ORIGINAL && !names.includes(recipe.baseline)) {
    problems.push({
      ...document.placeOf(['baseline']),
      message: unknownText('step', recipe.baseline, [ORIGINAL, ...names]),
    });
  }
  if (names !== undefined && result === undefined)
    problems.push({ ...document.placeOf(['steps']), message: 'Every step is a control; name the result.' });
  if (names !== undefined && recipe.result !== undefined && !names.includes(recipe.result))
    problems.push({ ...document.placeOf(['result']), message: unknownText('step', recipe.result, names) });
  return { result: result ?? '', problems };
}

/** What is said about samples for calibration and would be left aside. */
function calibrationProblems({ recipe, document }: RecipeFile): RecipeProblem[] {
  const { calibration, train } = recipe.data;
  if (typeof calibration !== 'object' || calibration.path !== undefined) return [];
  if (train === undefined) {
    const message = 'Without data.train there is nothing to take samples from: give a path.';
    return [{ ...document.keyPlaceOf(['data', 'calibration']), message }];
  }
  return (['part', 'preprocess'] as const)
    .filter((key) => calibration[key] !== undefined)
    .map((key) => ({
      ...document.keyPlaceOf(['data', 'calibration', key]),
      message: `Samples without a path of their own are those of data.train, as they are read there: "${key}" needs a path.`,
    }));
}

/** Limits that nothing is measured for. */
function limitProblems({ recipe, document }: RecipeFile): RecipeProblem[] {
  const problems: RecipeProblem[] = [];
  const { maxDrop, minSpeedup = {} } = recipe.limits;
  if (maxDrop !== undefined && recipe.data.test === undefined) {
    problems.push({
      ...document.keyPlaceOf(['limits', 'maxDrop']),
      message: 'A loss of the metric cannot be measured without data.test.',
    });
  }
  const { rounds } = recipe.target;
  const batches = rounds === 0 ? [] : recipe.target.batches;
  for (const batch of Object.keys(minSpeedup)) {
    if (!batches.includes(Number(batch))) {
      problems.push({
        ...document.keyPlaceOf(['limits', 'minSpeedup', batch]),
        message:
          rounds === 0
            ? 'Latency is not measured: target.rounds is 0.'
            : `Latency is not measured at batch ${batch}, only at ${batches.join(', ')} (target.batches).`,
      });
    }
  }
  return problems;
}

/** Shapes and contents of inputs that are not there, and batch sizes that the model does not take. */
function inputProblems(file: RecipeFile, model: Model, shapes: Shapes): RecipeProblem[] {
  const { recipe, document } = file;
  const inputs = model.graph.inputs.filter((value) => value.initializer === undefined);
  const names = inputs.map(({ name }) => name);
  const values = valuesOf(file);
  const problems = Object.entries({ shapes, values }).flatMap(([key, given]) =>
    Object.keys(given)
      .filter((name) => !names.includes(name))
      .map((name) => ({
        ...document.keyPlaceOf(['model', key, name]),
        message: unknownText('input', name, names),
      })),
  );
  const { test, train, calibration } = recipe.data;
  if (Object.keys(values).length > 0 && [test, train, calibration].some((one) => one !== undefined))
    problems.push({
      ...document.keyPlaceOf(['model', 'values']),
      message: 'Contents of inputs come from the data that is given; values stand beside random ones alone.',
    });
  const fixed = inputs.length === 1 ? inputs[0]?.shape?.[0] : undefined;
  if (typeof fixed !== 'number' || recipe.target.batches.every((batch) => batch === fixed)) return problems;
  const message = `The model takes ${fixed} samples at a time: latency can be measured at that batch size alone.`;
  return [...problems, { ...document.placeOf(['target', 'batches']), message }];
}
