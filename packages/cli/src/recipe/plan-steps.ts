import type { AnyPass, PassNeed, PassStep } from '@lithe/core';
import type { DocumentPath, RecipeProblem } from './document.ts';
import { jsonSchemaOf, problemsOf, unknownText } from './issues.ts';
import type { RecipeFile } from './read-recipe.ts';

/** Name of the model that a recipe starts from. */
export const ORIGINAL = 'original';

/** A step that is ready to run. */
export interface PlannedStep {
  /** Name, unique in the recipe. */
  readonly name: string;
  /** Pass: `namespace/name`. */
  readonly use: string;
  /** Step that it starts from; `null` for the model of the recipe. */
  readonly from: string | null;
  /** Whether it is a control. */
  readonly control: boolean;
  /** Options as the recipe gives them. */
  readonly given: Readonly<Record<string, unknown>>;
  /** The pass with its options, checked. */
  readonly step: PassStep;
  /** What the pass needs. */
  readonly needs: readonly PassNeed[];
}

/** Steps as far as they could be planned, and what is wrong with the others. */
export interface PlannedSteps {
  /** Steps in order. */
  readonly steps: readonly PlannedStep[];
  /** What is wrong, each with its place. */
  readonly problems: readonly RecipeProblem[];
}

/** Resolves names, passes, options and needs of all steps. */
export function planSteps(
  file: RecipeFile,
  passes: ReadonlyMap<string, AnyPass>,
  available: ReadonlySet<PassNeed>,
): PlannedSteps {
  const { recipe, document } = file;
  const problems: RecipeProblem[] = [];
  const steps: PlannedStep[] = [];
  const names = stepNames(file, problems);
  let previous: string | null = null;
  for (const [index, entry] of recipe.steps.entries()) {
    const name = names[index] ?? '';
    const from = entry.from === undefined ? previous : entry.from === ORIGINAL ? null : entry.from;
    const earlier = names.slice(0, index);
    if (from !== null && !earlier.includes(from)) {
      problems.push({
        ...document.placeOf(['steps', index, 'from']),
        message: missingStep(from, earlier, names),
      });
    }
    if (!entry.control) previous = name;
    const step = passStep(file, index, passes, problems);
    if (step === undefined) continue;
    const missing = step.needs.filter((need) => !available.has(need));
    for (const need of missing)
      problems.push({ ...document.placeOf(['steps', index, 'use']), message: needText(entry.use, need) });
    for (const model of step.models ?? []) {
      if (model === ORIGINAL || earlier.includes(model)) continue;
      const place = document.placeOf(['steps', index, 'with', ...pathTo(entry.with, model)]);
      problems.push({ ...place, message: missingStep(model, earlier, names) });
    }
    steps.push({
      name,
      use: step.name,
      from,
      control: entry.control,
      given: entry.with,
      step,
      needs: step.needs,
    });
  }
  return { steps, problems };
}

function missingStep(name: string, earlier: readonly string[], names: readonly string[]): string {
  const later = names.includes(name) ? ` "${name}" is not before this step.` : '';
  return `${unknownText('step', name, [ORIGINAL, ...earlier])}${later}`;
}

/** Where in options a text stands; nowhere when a default of the pass gave it. */
function pathTo(options: unknown, text: string): DocumentPath {
  if (typeof options !== 'object' || options === null) return [];
  for (const [key, value] of Object.entries(options)) {
    const step = Array.isArray(options) ? Number(key) : key;
    if (value === text) return [step];
    const rest = pathTo(value, text);
    if (rest.length > 0) return [step, ...rest];
  }
  return [];
}

function needText(use: string, need: PassNeed): string {
  switch (need) {
    case 'training-data':
      return `Pass "${use}" needs labelled samples to train on: give data.train.`;
    case 'data':
      return `Pass "${use}" needs samples: give data.calibration or data.train.`;
    default:
      return `Pass "${use}" needs a ${need}, which recipes do not have.`;
  }
}

/** Names as given, or the last parts of what the steps use, numbered when taken. */
function stepNames(file: RecipeFile, problems: RecipeProblem[]): readonly string[] {
  const { recipe, document } = file;
  const given = recipe.steps.flatMap(({ name }) => name ?? []);
  const taken = new Set<string>();
  return recipe.steps.map((step, index) => {
    if (step.name !== undefined) {
      if (taken.has(step.name) || step.name === ORIGINAL) {
        problems.push({
          ...document.placeOf(['steps', index, 'name']),
          message:
            step.name === ORIGINAL
              ? `"${ORIGINAL}" is the name of the model that the recipe starts from.`
              : `Step "${step.name}" is there twice.`,
        });
      }
      taken.add(step.name);
      return step.name;
    }
    const base = (/\/([^/@]+)/.exec(step.use)?.[1] ?? 'step').replace(/[^\w-]/g, '-').slice(0, 48);
    let name = base;
    for (let number = 2; taken.has(name) || given.includes(name) || name === ORIGINAL; number++)
      name = `${base}-${number}`;
    taken.add(name);
    return name;
  });
}

/** The pass of a step with its options; `undefined` when something is wrong with them. */
function passStep(
  file: RecipeFile,
  index: number,
  passes: ReadonlyMap<string, AnyPass>,
  problems: RecipeProblem[],
): PassStep | undefined {
  const { recipe, document } = file;
  const entry = recipe.steps[index];
  if (entry === undefined) return undefined;
  const usePlace = document.placeOf(['steps', index, 'use']);
  const [name = '', version] = entry.use.split('@');
  const pass = passes.get(name);
  if (pass === undefined) {
    const known = [...passes.keys()];
    const list = recipe.plugins.length === 0 ? ' No plugin is listed under "plugins".' : '';
    problems.push({ ...usePlace, message: `${unknownText('pass', name, known)}${list}` });
    return undefined;
  }
  if (version !== undefined && Number(version) !== pass.spec.version) {
    problems.push({
      ...usePlace,
      message: `Pass "${name}" is installed in version ${pass.spec.version}, not ${version}.`,
    });
    return undefined;
  }
  const { options } = pass.spec;
  const result = options['~standard'].validate(entry.with);
  if (result instanceof Promise) {
    problems.push({
      ...usePlace,
      message: `Pass "${name}" checks its options asynchronously, which is not allowed.`,
    });
    return undefined;
  }
  if (result.issues !== undefined) {
    problems.push(...problemsOf(result.issues, document, ['steps', index, 'with'], jsonSchemaOf(options)));
    return undefined;
  }
  return pass.from(entry.with);
}
