import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseRecipe, type RecipeFile } from '@lithe/cli';

/** Where the recipe lies. */
const recipePath: string = path.join(import.meta.dirname, '../recipe.yaml');

/** What of the recipe may be chosen. */
export interface StoryOptions {
  /** How many seeds, from 0; those of the recipe by default. */
  readonly seeds?: number | undefined;
  /** Threads of the runtime; those of the recipe by default. */
  readonly threads?: number | undefined;
  /** Whether some hundred images and an epoch each will do, to see it run: nothing good is learned, and no latency measured. */
  readonly quick?: boolean | undefined;
  /** Folder of the images; that of the recipe by default. */
  readonly images?: string | undefined;
}

/** The recipe with other seeds, threads, images. */
export async function storyRecipe(options: StoryOptions): Promise<RecipeFile> {
  const { seeds, threads, quick = false, images } = options;
  let text = await readFile(recipePath, 'utf8');
  if (seeds !== undefined) {
    const all = Array.from({ length: seeds }, (_, seed) => seed);
    text = text.replace(/^seeds: .*$/m, `seeds: [${all.join(', ')}]`);
  }
  if (threads !== undefined) text = text.replace(/threads: \d+/, `threads: ${threads}`);
  if (images !== undefined) text = text.replaceAll('./.out/fashion-mnist', images);
  if (quick) text = shortened(text);
  return parseRecipe(text, recipePath);
}

function shortened(text: string): string {
  return text
    .replaceAll(/epochs: \d+/g, 'epochs: 1')
    .replaceAll('samples: 6000', 'samples: 256')
    .replaceAll('samples: 2048', 'samples: 64')
    .replaceAll('part: train', 'part: train, samples: 384')
    .replaceAll('part: t10k', 'part: t10k, samples: 200')
    .replace('batches: [1, 64], rounds: 61', 'batches: [1], rounds: 0')
    .replace(', minSpeedup: { 1: 2, 64: 2 }', '');
}
