import { resolve } from 'node:path';
import { realPath } from '../output-path.ts';
import type { RecipePlan } from './plan.ts';
import type { RecipeFile } from './read-recipe.ts';
import type { CalibrationSource } from './recipe.ts';

/** What the data of a recipe, or what is measured on it, makes doubtful. */
export async function dataWarnings({ data, file, metric }: RecipePlan): Promise<readonly string[]> {
  const seen = await seenBeforeTest(file);
  return [
    ...(data.random
      ? [
          'No data was given: drift and latency were taken on random input, which can mislead. Give data.test.',
        ]
      : []),
    ...(metric?.warnings ?? []),
    ...seen.map(
      (purpose) =>
        `data.test holds the samples of data.${purpose}: the metric is taken on samples that passes have seen, which flatters. Give others.`,
    ),
  ];
}

/** Purposes whose samples are read from where those for the metric are, which then is taken on what passes know. */
async function seenBeforeTest({
  folder,
  recipe: { data },
}: RecipeFile): Promise<readonly ('train' | 'calibration')[]> {
  const placeOf = async (given: string | CalibrationSource | undefined): Promise<string | undefined> => {
    const { path, part } = typeof given === 'string' ? { path: given } : (given ?? {});
    return path === undefined ? undefined : JSON.stringify([await realPath(resolve(folder, path)), part]);
  };
  const test = await placeOf(data.test);
  const seen: ('train' | 'calibration')[] = [];
  for (const purpose of ['train', 'calibration'] as const)
    if (test !== undefined && (await placeOf(data[purpose])) === test) seen.push(purpose);
  return seen;
}
