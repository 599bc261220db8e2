import { existsSync } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { AnyPass } from '@lithe/core';
import { resolve as resolveImport } from 'import-meta-resolve';
import type { RecipeProblem } from './document.ts';
import type { RecipeFile } from './read-recipe.ts';

/** Passes of the listed plugins. */
export interface LoadedPlugins {
  /** Passes by `namespace/name`. */
  readonly passes: ReadonlyMap<string, AnyPass>;
  /** What is wrong, with the places of the plugins in the recipe. */
  readonly problems: readonly RecipeProblem[];
  /** Install line of what is missing. */
  readonly hint: string | undefined;
}

/**
 * Imports the packages that a recipe lists, and nothing else: from the recipe's folder, then from `cwd`, each as a module
 * there would see it, so that a package finds itself too; those of Lithe also from where this package has them.
 */
export async function loadPlugins(file: RecipeFile, cwd: string): Promise<LoadedPlugins> {
  const passes = new Map<string, AnyPass>();
  const problems: RecipeProblem[] = [];
  const missing: string[] = [];
  for (const [index, name] of file.recipe.plugins.entries()) {
    const fail = (message: string): void => {
      problems.push({ ...file.document.placeOf(['plugins', index]), message });
    };
    if (file.recipe.plugins.indexOf(name) !== index) {
      fail(`Plugin "${name}" is listed twice.`);
      continue;
    }
    const found = await pluginPasses(name, [file.folder, cwd]);
    if (found === undefined) {
      missing.push(name);
      fail(`Plugin "${name}" is not installed: npm install ${name}`);
      continue;
    }
    if (typeof found === 'string') {
      fail(`Plugin "${name}" cannot be used: ${found}`);
      continue;
    }
    const twice = found.filter(({ spec }) => passes.has(spec.name)).map(({ spec }) => `"${spec.name}"`);
    if (twice.length > 0) fail(`Plugin "${name}" has passes that another one has: ${twice.join(', ')}.`);
    for (const pass of found) passes.set(pass.spec.name, pass);
  }
  const hint =
    missing.length === 0 ? undefined : `Install it in "${file.folder}": npm install ${missing.join(' ')}`;
  return { passes, problems, hint };
}

/**
 * Passes of a package as modules in one of the folders would import it.
 *
 * @returns a text says why it cannot be used, `undefined` that it is not there
 */
export async function pluginPasses(
  name: string,
  folders: readonly string[],
): Promise<readonly AnyPass[] | string | undefined> {
  const found = await importPlugin(name, folders);
  return typeof found === 'object' ? passesOf(found) : found;
}

type PluginModule = Readonly<Record<string, unknown>>;

/** Names of the plugins that come with this package. */
export function ownPluginNames(): readonly string[] {
  return Object.keys(ownPlugins);
}

/** Plugins that come with this package: by literal names, which tools that bundle or transform modules can follow. */
const ownPlugins: Readonly<Record<string, (() => Promise<PluginModule>) | undefined>> = {
  '@lithe/distillation': () => import('@lithe/distillation'),
  '@lithe/pruning': () => import('@lithe/pruning'),
  '@lithe/quantization': () => import('@lithe/quantization'),
  '@lithe/simplify': () => import('@lithe/simplify'),
  '@lithe/training': () => import('@lithe/training'),
};

/** The module of a package; a text says why it cannot be imported, `undefined` that it is not there. */
async function importPlugin(
  name: string,
  folders: readonly string[],
): Promise<PluginModule | string | undefined> {
  const here = dirname(fileURLToPath(import.meta.url));
  const own = name.startsWith('@lithe/') ? await packageFolder(name, here) : undefined;
  try {
    for (const folder of folders) {
      const found = await packageFolder(name, folder);
      // Our own copy is imported as we import it ourselves, so that there is one of each class.
      if (found === undefined || found === own) continue;
      return (await import(resolveImport(name, pathToFileURL(join(folder, 'recipe')).href))) as PluginModule;
    }
    if (own === undefined) return undefined;
    return (await ownPlugins[name]?.()) ?? ((await import(name)) as PluginModule);
  } catch (error) {
    return `importing it failed: ${error instanceof Error ? error.message : String(error)}.`;
  }
}

/**
 * Folder of a package as modules in `from` see it: the one that they are part of, where it has that name and says what
 * it exports, or that of the nearest `node_modules`.
 */
async function packageFolder(name: string, from: string): Promise<string | undefined> {
  const around = await packageAround(from);
  if (around?.name === name && around.exports !== undefined) return realpath(around.folder);
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name);
    if (existsSync(join(candidate, 'package.json'))) return realpath(candidate);
    if (folder === dirname(folder)) return undefined;
  }
}

/** The package that a folder is part of: the nearest one with a `package.json`. */
async function packageAround(
  from: string,
): Promise<{ readonly folder: string; readonly name?: unknown; readonly exports?: unknown } | undefined> {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const text = await readFile(join(folder, 'package.json'), 'utf8').catch(() => undefined);
    if (text !== undefined) {
      try {
        const { name, exports } = JSON.parse(text) as Readonly<Record<string, unknown>>;
        return { folder, name, exports };
      } catch {
        // Not JSON: no package that anything could be imported from.
        return undefined;
      }
    }
    if (folder === dirname(folder)) return undefined;
  }
}

/** Passes that a module exports as a plugin; a text says what is wrong with it. */
function passesOf(module: PluginModule): readonly AnyPass[] | string {
  if (!Object.hasOwn(module, 'plugin')) return 'it exports no `plugin`; see definePlugin() of @lithe/core.';
  const { plugin } = module;
  if (!isObject(plugin) || !Array.isArray(plugin['passes'])) return 'its `plugin` has no list of passes.';
  for (const [index, pass] of plugin['passes'].entries()) {
    if (!isPass(pass)) return `pass ${index + 1} of its \`plugin\` is not made by definePass().`;
  }
  return plugin['passes'] as readonly AnyPass[];
}

function isPass(pass: unknown): pass is AnyPass {
  if (typeof pass !== 'function' || !('spec' in pass) || !isObject(pass.spec)) return false;
  if (!('from' in pass) || typeof pass.from !== 'function') return false;
  const { name, version, options, preserves } = pass.spec;
  return (
    typeof name === 'string' &&
    /^[^/@\s]+\/[^/@\s]+$/.test(name) &&
    Number.isSafeInteger(version) &&
    (typeof preserves === 'string' || typeof preserves === 'function') &&
    (isObject(options) || typeof options === 'function') &&
    '~standard' in options
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
