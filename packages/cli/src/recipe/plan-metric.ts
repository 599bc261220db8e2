import type { Model } from '@lithe/core';
import type { RecipeProblem } from './document.ts';
import { unknownText } from './issues.ts';
import type { RecipeFile } from './read-recipe.ts';

/** Target that the metric compares with, unless the recipe names another. */
export const LABEL = 'label';

/** What the metric of a recipe compares. */
export interface PlannedMetric {
  /** Output of the model: that of the recipe, or the first. */
  readonly output: string;
  /** Target of the samples. */
  readonly label: string;
  /** What should be known about that choice, as sentences. */
  readonly warnings: readonly string[];
}

/** What the metric of a recipe compares; `undefined` where nothing is measured. */
export function planMetric({ recipe }: RecipeFile, model: Model): PlannedMetric | undefined {
  if (recipe.data.test === undefined) return undefined;
  const names = outputNames(model);
  const { output, label = LABEL } = recipe.metric ?? {};
  const listed = names.map((name) => `"${name}"`).join(', ');
  const warnings =
    output === undefined && names.length > 1
      ? [
          `The model has ${names.length} outputs, ${listed}, and the metric is taken on the first. Name the one that counts: metric.output.`,
        ]
      : [];
  return { output: output ?? names[0] ?? '', label, warnings };
}

/** What a recipe says of its metric and the model, or the data, has no part of. */
export function metricProblems({ recipe, document }: RecipeFile, model: Model): RecipeProblem[] {
  const { metric } = recipe;
  if (metric === undefined) return [];
  const problems: RecipeProblem[] = [];
  if (recipe.data.test === undefined) {
    const message = 'There is nothing to take the metric on: give data.test.';
    problems.push({ ...document.keyPlaceOf(['metric']), message });
  }
  const names = outputNames(model);
  if (metric.output !== undefined && !names.includes(metric.output)) {
    const message = unknownText('output', metric.output, names);
    problems.push({ ...document.placeOf(['metric', 'output']), message });
  }
  return problems;
}

const outputNames = ({ graph }: Model): readonly string[] => graph.outputs.map(({ name }) => name);
