import { resolve } from 'node:path';
import { errors, type Model } from '@lithe/core';
import { openModel } from '../model-file.ts';
import { problemsOf, unknownText } from './issues.ts';
import { readyNetwork, readyNetworks } from './networks.ts';
import type { RecipeFile } from './read-recipe.ts';

/** Where the model of a recipe comes from. */
export interface ModelSource {
  /** The file, where it is one. */
  readonly path: string | undefined;
  /** The model for a seed: weights of a ready network come from it. */
  open(seed: number, signal?: AbortSignal): Promise<Model>;
}

/**
 * Finds out where the model comes from, and checks the options of a ready network.
 *
 * @throws {LitheError} RECIPE_INVALID
 */
export function modelSource(file: RecipeFile): ModelSource {
  const { model } = file.recipe;
  const { document } = file;
  if (typeof model === 'string' || 'path' in model) {
    const path = resolve(file.folder, typeof model === 'string' ? model : model.path);
    return { path, open: async (_seed, signal) => (await openModel(path, signal)).model };
  }
  const network = readyNetwork(model.network);
  if (network === undefined) {
    const message = unknownText('network', model.network, Object.keys(readyNetworks));
    throw errors.recipeInvalid(file.path, [{ ...document.placeOf(['model', 'network']), message }]);
  }
  const options = network.options.safeParse(model.with ?? {});
  if (!options.success) {
    const schema = { properties: network.options.shape };
    throw errors.recipeInvalid(
      file.path,
      problemsOf(options.error.issues, document, ['model', 'with'], schema),
    );
  }
  return { path: undefined, open: (seed) => network.build(options.data, seed) };
}
