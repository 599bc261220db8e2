import { basename, extname, join, resolve } from 'node:path';
import { type Dataset, errors, isLitheError, type Model, type PassNeed, type Target } from '@lithe/core';
import type { InputSpec } from '@lithe/data';
import { UsageError } from '../exit-codes.ts';
import { openInputs } from '../inputs.ts';
import type { Shapes } from '../options.ts';
import { createTarget } from '../targets.ts';
import { isLabelled, openData, type RecipeData, someOf } from './data-source.ts';
import type { RecipeProblem } from './document.ts';
import { identityOf } from './identity.ts';
import { unknownText } from './issues.ts';
import { type ModelSource, modelSource } from './model-source.ts';
import { ORIGINAL, type PlannedStep, planSteps } from './plan-steps.ts';
import { loadPlugins } from './plugins.ts';
import type { RecipeFile } from './read-recipe.ts';

/** How a recipe is planned. */
export interface PlanOptions {
  /** Folder for results; the recipe's path without its extension and with `.run` behind it by default. */
  readonly folder?: string | undefined;
  /** The one seed to run, instead of those of the recipe. */
  readonly seed?: number | undefined;
  /** Folder that plugins are looked for in after the recipe's; that of the process by default. */
  readonly cwd?: string | undefined;
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
  readonly data: {
    /** To train on. */
    readonly train: RecipeData | undefined;
    /** For the metric. */
    readonly test: RecipeData | undefined;
    /** For ranges and checks. */
    readonly calibration: RecipeData | undefined;
    /** For latency and drift: `test`, `calibration`, or random inputs. */
    readonly measured: Pick<RecipeData, 'data' | 'joinable'>;
    /** Whether those are random. */
    readonly random: boolean;
  };
  /** Runtime. */
  readonly target: Target;
}

/** Samples for calibration unless the recipe says otherwise. */
const CALIBRATION_SAMPLES = 256;

/**
 * Finds everything that a recipe names, plugins, model, data, steps, and checks that it fits; runs nothing and writes
 * nothing.
 *
 * @throws {LitheError} RECIPE_INVALID with line and column of everything that is wrong; FILE_NOT_FOUND and DATA_INVALID
 *   for the model and the data
 */
export async function planRecipe(file: RecipeFile, options: PlanOptions = {}): Promise<RecipePlan> {
  const { recipe, document } = file;
  const plugins = await loadPlugins(file, options.cwd ?? process.cwd());
  const available = new Set<PassNeed>(['backend', 'target']);
  if (recipe.data.train !== undefined) available.add('training-data').add('data');
  if (hasPath(recipe.data.calibration)) available.add('data');
  const planned = planSteps(file, plugins.passes, available);
  const ends = endsOf(file, planned.steps);
  const problems = [...plugins.problems, ...planned.problems, ...ends.problems, ...limitProblems(file)];
  const seeds = options.seed === undefined ? (recipe.seeds ?? [recipe.seed ?? 0]) : [options.seed];
  if (problems.length > 0) throw errors.recipeInvalid(file.path, sorted(problems), plugins.hint);
  const source = modelSource(file);
  const runFolder = resolve(options.folder ?? defaultFolder(file));
  const output = recipe.output === undefined ? null : resolve(file.folder, recipe.output);
  if (output !== null && output === source.path)
    throw errors.recipeInvalid(file.path, [
      {
        ...document.placeOf(['output']),
        message: 'The output is the model itself. Inputs are never overwritten.',
      },
    ]);
  const model = await locate(file, ['model'], () => source.open(seeds[0] ?? 0, options.signal));
  const misfits = inputProblems(file, model, shapesOf(file));
  if (misfits.length > 0) throw errors.recipeInvalid(file.path, sorted(misfits));
  return {
    file,
    runFolder,
    seeds,
    source,
    model,
    steps: planned.steps,
    baseline: recipe.baseline,
    result: ends.result,
    output,
    data: await planData(file, model, runFolder),
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

function hasPath(source: RecipeFile['recipe']['data']['calibration']): source is string | { path: string } {
  return typeof source === 'string' || source?.path !== undefined;
}

async function planData(file: RecipeFile, model: Model, runFolder: string): Promise<RecipePlan['data']> {
  const { data } = file.recipe;
  const shapes = shapesOf(file);
  const inputs: readonly InputSpec[] = model.graph.inputs
    .filter((value) => value.initializer === undefined)
    .map((value) => ({ name: value.name, dtype: value.dtype, shape: shapes[value.name] ?? value.shape }));
  const options = { folder: file.folder, inputs, cacheFolder: join(runFolder, 'cache') };
  const open = (
    name: 'train' | 'test' | 'calibration',
    source: Parameters<typeof openData>[0],
  ): Promise<RecipeData> => locate(file, ['data', name], () => openData(source, options));
  const train = data.train === undefined ? undefined : await open('train', data.train);
  const test = data.test === undefined ? undefined : await open('test', data.test);
  for (const [name, opened] of [
    ['train', train],
    ['test', test],
  ] as const) {
    if (opened === undefined || (await isLabelled(opened.data))) continue;
    throw errors.recipeInvalid(
      file.path,
      [{ ...file.document.placeOf(['data', name]), message: `The data has no labels.` }],
      'Use a .npz with an array "label", IDX images with labels, or image folders named by class.',
    );
  }
  const { calibration: given } = data;
  const calibration = hasPath(given)
    ? await open('calibration', given as Parameters<typeof openData>[0])
    : train === undefined
      ? undefined
      : partOf(
          train,
          typeof given === 'object' ? (given.samples ?? CALIBRATION_SAMPLES) : CALIBRATION_SAMPLES,
        );
  const real = test ?? calibration;
  const measured = real ?? { data: await randomInputs(file, model), joinable: true };
  return { train, test, calibration, measured, random: real === undefined };
}

/** Shapes that the recipe gives inputs of the model. */
function shapesOf({ recipe: { model } }: RecipeFile): Shapes {
  return typeof model === 'object' && 'path' in model ? (model.shapes ?? {}) : {};
}

/** Shapes of inputs that are not there, and batch sizes that the model does not take. */
function inputProblems({ recipe, document }: RecipeFile, model: Model, shapes: Shapes): RecipeProblem[] {
  const inputs = model.graph.inputs.filter((value) => value.initializer === undefined);
  const names = inputs.map(({ name }) => name);
  const problems = Object.keys(shapes)
    .filter((name) => !names.includes(name))
    .map((name) => ({
      ...document.keyPlaceOf(['model', 'shapes', name]),
      message: unknownText('input', name, names),
    }));
  const fixed = inputs.length === 1 ? inputs[0]?.shape?.[0] : undefined;
  if (typeof fixed !== 'number' || recipe.target.batches.every((batch) => batch === fixed)) return problems;
  const message = `The model takes ${fixed} samples at a time: latency can be measured at that batch size alone.`;
  return [...problems, { ...document.placeOf(['target', 'batches']), message }];
}

/** Part of the samples to train on. */
function partOf(train: RecipeData, samples: number): RecipeData {
  return {
    ...train,
    data: someOf(train, Math.min(samples, train.data.size ?? samples)),
    identity: async (signal) => identityOf({ of: await train.identity(signal), samples }),
  };
}

async function randomInputs(file: RecipeFile, model: Model): Promise<Dataset> {
  try {
    return (await openInputs(model, undefined, { seed: 0, shape: shapesOf(file) })).data;
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause;
    throw errors.recipeInvalid(
      file.path,
      [
        {
          ...file.document.placeOf(['model']),
          message: 'The sizes of its inputs are not all known, so that random inputs cannot be made.',
        },
      ],
      'Give model.shapes, data.test or data.calibration.',
      cause,
    );
  }
}

/** Adds the place of the recipe to what goes wrong with a file that it names. */
async function locate<T>(file: RecipeFile, path: readonly string[], open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (cause) {
    if (!isLitheError(cause)) throw cause;
    throw errors.recipeInvalid(
      file.path,
      [{ ...file.document.placeOf(path), message: cause.message }],
      cause.hint,
      cause,
    );
  }
}
