import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, resolve } from 'node:path';
import { errors, isLitheError } from '@lithe/core';
import { parseDocument, type RecipeDocument, type RecipeProblem } from './document.ts';
import { problemsOf } from './issues.ts';
import type { Recipe } from './recipe.ts';
import { RECIPE_VERSION, recipeJsonSchema, recipeSchema } from './schema.ts';

/** A recipe that was read and fits the format; whether it can be run, `planRecipe` finds out. */
export interface RecipeFile {
  /** Path as it was given; errors name it. */
  readonly path: string;
  /** Folder that paths in the recipe are relative to. */
  readonly folder: string;
  /** Its text. */
  readonly text: string;
  /** What it says, with defaults. */
  readonly recipe: Recipe;
  /** Where each part stands in the text. */
  readonly document: RecipeDocument;
}

/** Files above this size are not even read. */
const MAX_FILE_BYTES = 2 ** 20;

/**
 * Reads a recipe, YAML or JSON, and checks it against the format.
 *
 * @throws {LitheError} FILE_NOT_FOUND; RECIPE_INVALID with line and column of everything that is wrong
 */
export async function readRecipe(path: string): Promise<RecipeFile> {
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES)
      throw errors.recipeInvalid(path, [
        { line: 1, column: 1, message: `The file has ${size} bytes; at most ${MAX_FILE_BYTES} are read.` },
      ]);
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'syscall' in cause)
      throw errors.fileNotFound(path, `${cause.message}.`, cause);
    throw cause;
  }
  return parseRecipe(text, path);
}

/**
 * Checks the text of a recipe.
 *
 * @param path where it lies, or would: paths in it are relative to that folder, and errors name it
 * @throws {LitheError} RECIPE_INVALID with line and column of everything that is wrong
 */
export function parseRecipe(text: string, path: string): RecipeFile {
  const document = parseDocument(text, path);
  checkVersion(document, path);
  const result = recipeSchema.safeParse(document.value);
  if (!result.success)
    throw errors.recipeInvalid(path, problemsOf(result.error.issues, document, [], recipeJsonSchema()));
  const problems: RecipeProblem[] = [];
  if (result.data.seed !== undefined && result.data.seeds !== undefined)
    problems.push({ ...document.keyPlaceOf(['seeds']), message: 'Give "seed" or "seeds", not both.' });
  const { seeds = [] } = result.data;
  for (const [index, seed] of seeds.entries()) {
    if (seeds.indexOf(seed) !== index)
      problems.push({ ...document.placeOf(['seeds', index]), message: `Seed ${seed} is there twice.` });
  }
  if (problems.length > 0) throw errors.recipeInvalid(path, problems);
  return { path, folder: dirname(resolve(path)), text, recipe: result.data, document };
}

/** A recipe of a later version is told apart first: whatever else it says may be right. */
function checkVersion(document: RecipeDocument, path: string): void {
  const { value } = document;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw errors.recipeInvalid(path, [
      { ...document.placeOf([]), message: 'A recipe is a map of keys: "recipe", "model", "steps", ….' },
    ]);
  }
  const version: unknown = (value as Record<string, unknown>)['recipe'];
  if (typeof version !== 'number' || version <= RECIPE_VERSION) return;
  throw errors.recipeInvalid(
    path,
    [
      {
        ...document.placeOf(['recipe']),
        message: `The recipe is of version ${version}; this version of Lithe reads up to ${RECIPE_VERSION}.`,
      },
    ],
    'Install a newer @lithe/cli.',
  );
}

/** Name of a recipe: its own, or that of its file. */
export function recipeName({ recipe, path }: RecipeFile): string {
  return recipe.name ?? basename(path, extname(path));
}

/** Adds the place of the recipe to what goes wrong with a file that it names. */
export async function locate<T>(
  file: RecipeFile,
  path: readonly string[],
  open: () => Promise<T>,
): Promise<T> {
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
