import { stat } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import type { Model } from '@lithe/core';
import { externalFiles } from '@lithe/onnx';
import { realPath } from '../output-path.ts';
import type { ModelSource } from './model-source.ts';
import type { RecipeFile } from './read-recipe.ts';

/** A file or folder that nothing may be written over. */
export interface KeptPath {
  /** What it is, as words after "is": `the model itself`. */
  readonly what: string;
  /** Path. */
  readonly path: string;
}

/** What a recipe reads: itself, its model with external data, and its samples. */
export function recipeInputs(file: RecipeFile, source: ModelSource, model: Model): readonly KeptPath[] {
  const { train, test, calibration } = file.recipe.data;
  const kept: KeptPath[] = [{ what: 'the recipe', path: file.path }];
  if (source.path !== undefined) {
    const folder = dirname(source.path);
    kept.push({ what: 'the model itself', path: source.path });
    for (const name of externalFiles(model))
      kept.push({ what: 'external data of the model', path: join(folder, name) });
  }
  for (const [purpose, given] of Object.entries({ train, test, calibration })) {
    const { path, preprocess } = typeof given === 'string' ? { path: given } : (given ?? {});
    if (path !== undefined) kept.push({ what: `data.${purpose}`, path: resolve(file.folder, path) });
    if (typeof preprocess === 'string')
      kept.push({ what: `the preprocessing of data.${purpose}`, path: resolve(file.folder, preprocess) });
  }
  return kept;
}

/**
 * Why a file must not be written at a path, as a clause; `undefined` when it may. In a folder of samples nothing is
 * written at all: the samples would be others for the next run.
 */
export async function conflictOf(path: string, kept: readonly KeptPath[]): Promise<string | undefined> {
  const target = await realPath(path);
  for (const { what, path: other } of kept) {
    const real = await realPath(other);
    if (target === real) return `is ${what}`;
    if (!target.startsWith(real.endsWith(sep) ? real : `${real}${sep}`)) continue;
    const found = await stat(real).catch(() => undefined);
    if (found?.isDirectory() === true) return `lies in ${what}`;
  }
  return undefined;
}
