import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseRecipe, type RecipeFile } from '@lithe/cli';

/** The recipe as it is written. */
export const recipePath: string = path.join(import.meta.dirname, '../recipe.yaml');

/** What of the recipe may be chosen on the command line. */
export interface StoryOptions {
  /** How many seeds, from 0; those of the recipe by default. */
  readonly seeds?: number | undefined;
  /** Threads of the runtime; those of the recipe by default. */
  readonly threads?: number | undefined;
}

/** The recipe with other seeds and threads. */
export async function storyRecipe({ seeds, threads }: StoryOptions): Promise<RecipeFile> {
  let text = await readFile(recipePath, 'utf8');
  if (seeds !== undefined) {
    const all = Array.from({ length: seeds }, (_, seed) => seed);
    text = text.replace(/^seeds: .*$/m, `seeds: [${all.join(', ')}]`);
  }
  if (threads !== undefined) text = text.replace(/threads: \d+/, `threads: ${threads}`);
  return parseRecipe(text, recipePath);
}
