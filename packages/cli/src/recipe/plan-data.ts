import { type Dataset, errors, isLitheError, type Model } from '@lithe/core';
import type { InputSpec } from '@lithe/data';
import { UsageError } from '../exit-codes.ts';
import { openInputs } from '../inputs.ts';
import type { Shapes, Values } from '../options.ts';
import { openData, type RecipeData, someOf, targetNamesOf } from './data-source.ts';
import { identityOf } from './identity.ts';
import { unknownText } from './issues.ts';
import { LABEL } from './plan-metric.ts';
import { locate, type RecipeFile } from './read-recipe.ts';
import type { DataFileSource } from './recipe.ts';

/** Samples of a recipe by purpose. */
export interface PlannedData {
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
}

/** Samples for calibration unless the recipe says otherwise. */
const CALIBRATION_SAMPLES = 256;

/** Where samples for calibration are read from, when not from those to train on. */
export function calibrationSource({ recipe }: RecipeFile): DataFileSource | string | undefined {
  const { calibration } = recipe.data;
  if (calibration === undefined || typeof calibration === 'string') return calibration;
  const { path } = calibration;
  return path === undefined ? undefined : { ...calibration, path };
}

/**
 * Opens the samples of a recipe.
 *
 * @param cacheFolder where decoded images are kept; they are decoded each time without
 */
export async function planData(
  file: RecipeFile,
  model: Model,
  cacheFolder: string | undefined,
): Promise<PlannedData> {
  const { data } = file.recipe;
  const shapes = shapesOf(file);
  const inputs: readonly InputSpec[] = model.graph.inputs
    .filter((value) => value.initializer === undefined)
    .map((value) => ({ name: value.name, dtype: value.dtype, shape: shapes[value.name] ?? value.shape }));
  const options = { folder: file.folder, inputs, cacheFolder };
  const open = (
    name: 'train' | 'test' | 'calibration',
    source: DataFileSource | string,
  ): Promise<RecipeData> => locate(file, ['data', name], () => openData(source, options));
  const train = data.train === undefined ? undefined : await open('train', data.train);
  const test = data.test === undefined ? undefined : await open('test', data.test);
  for (const [name, opened] of [
    ['train', train],
    ['test', test],
  ] as const) {
    if (opened === undefined) continue;
    const targets = await targetNamesOf(opened.data);
    const wanted = file.recipe.metric?.label;
    if (targets.includes(wanted ?? LABEL) || (name === 'train' && targets.includes(LABEL))) continue;
    if (name === 'test' && wanted !== undefined && targets.length > 0) {
      const message = unknownText('target', wanted, targets);
      throw errors.recipeInvalid(file.path, [{ ...file.document.placeOf(['metric', 'label']), message }]);
    }
    throw errors.recipeInvalid(
      file.path,
      [{ ...file.document.placeOf(['data', name]), message: `The data has no labels.` }],
      'Use a .npz with an array "label" (or another that metric.label names), IDX images with labels, or image folders named by class.',
    );
  }
  const source = calibrationSource(file);
  const samples = typeof data.calibration === 'object' ? data.calibration.samples : undefined;
  const calibration =
    source !== undefined
      ? await open('calibration', source)
      : train === undefined
        ? undefined
        : partOf(train, samples ?? CALIBRATION_SAMPLES);
  const real = test ?? calibration;
  const measured = real ?? { data: await randomInputs(file, model), joinable: true };
  return { train, test, calibration, measured, random: real === undefined };
}

/** Shapes that the recipe gives inputs of the model. */
export function shapesOf({ recipe: { model } }: RecipeFile): Shapes {
  return typeof model === 'object' && 'path' in model ? (model.shapes ?? {}) : {};
}

/** Contents that the recipe gives inputs of the model. */
export function valuesOf({ recipe: { model } }: RecipeFile): Values {
  const values = typeof model === 'object' && 'path' in model ? (model.values ?? {}) : {};
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, typeof value === 'number' ? [value] : value]),
  );
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
    const given = { seed: 0, shape: shapesOf(file), value: valuesOf(file) };
    return (await openInputs(model, undefined, given)).data;
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause;
    if (cause.message.startsWith('--value '))
      throw errors.recipeInvalid(
        file.path,
        [
          {
            ...file.document.placeOf(['model', 'values']),
            message: cause.message.replace('--value', 'The recipe'),
          },
        ],
        undefined,
        cause,
      );
    // What is wrong with sizes and shapes, as the library says it: its hint is of the command line.
    const problems = isLitheError(cause.cause, 'OPTIONS_INVALID')
      ? (cause.cause.details['problems'] as readonly string[])
      : [cause.message];
    throw errors.recipeInvalid(
      file.path,
      [
        {
          ...file.document.placeOf(['model']),
          message: `Random inputs cannot be made. ${problems.join(' ')}`,
        },
      ],
      'Give model.shapes, data.test or data.calibration.',
      cause,
    );
  }
}
