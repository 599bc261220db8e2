import { isAbsolute, join, relative } from 'node:path';
import { createRunContext, type PassNeed } from '@lithe/core';
import { openModel } from '../model-file.ts';
import { costOf } from './measure.ts';
import { contentsOf, futureContents } from './model-contents.ts';
import type { RecipePlan } from './plan.ts';
import type { PlannedMetric } from './plan-metric.ts';
import { ORIGINAL } from './plan-steps.ts';
import { recipeName } from './read-recipe.ts';
import { pathsOf, stepIdentity, storedResult } from './stored-result.ts';
import { dataIdentities, surroundingsOf } from './surroundings.ts';

/** A step of a {@link PlanSummary}. */
export interface StepSummary {
  /** Name. */
  readonly name: string;
  /** Pass: `namespace/name@version`. */
  readonly use: string;
  /** What the pass does, one sentence. */
  readonly summary: string;
  /** Step that it starts from, or `original`. */
  readonly from: string;
  /** Whether it is a control. */
  readonly control: boolean;
  /** What the pass needs. */
  readonly needs: readonly PassNeed[];
  /** Options with defaults. */
  readonly options: unknown;
  /** Seeds whose results are there from an earlier run. */
  readonly there: readonly number[];
}

/** What `lithe run --dry-run` tells. */
export interface PlanSummary {
  /** Name of the recipe. */
  readonly name: string;
  /** Runtime, and how it is measured there. */
  readonly target: {
    readonly name: string;
    readonly threads: number;
    readonly batches: readonly number[];
    readonly rounds: number;
  };
  /** The model that it starts from. */
  readonly model: {
    /** File, or name of a ready network. */
    readonly source: string;
    /** Bytes of the files; `null` for a ready network. */
    readonly bytes: number | null;
    /** Weights. */
    readonly parameters: number;
    /** Multiplications for one sample. */
    readonly macs: number;
    /** Nodes whose multiplications are not known, and not in `macs`. */
    readonly uncounted?: number | undefined;
  };
  /** Samples by purpose. */
  readonly data: Readonly<Record<string, { readonly source: string; readonly samples: number | undefined }>>;
  /** What the metric compares; `null` without `data.test`. */
  readonly metric: PlannedMetric | null;
  /** Seeds, in order. */
  readonly seeds: readonly number[];
  /** Steps, in order. */
  readonly steps: readonly StepSummary[];
  /** Step that others are compared with. */
  readonly baseline: string;
  /** Step whose model is the result. */
  readonly result: string;
  /** Where the result is written; `null` when only to the run folder. */
  readonly output: string | null;
  /** Folder for results. */
  readonly runFolder: string;
}

/**
 * Looks at what a plan costs and which of its results are there; writes nothing.
 *
 * @param options `fresh`: as for a run that makes everything anew, whatever is there
 */
export async function summarizePlan(
  plan: RecipePlan,
  options: { readonly fresh?: boolean | undefined; readonly signal?: AbortSignal | undefined } = {},
): Promise<PlanSummary> {
  const { fresh = false, signal } = options;
  const context = createRunContext({ signal });
  const { file, source, data } = plan;
  const bytes = source.path === undefined ? null : (await openModel(source.path, signal)).bytes;
  let feeds: Parameters<typeof costOf>[1];
  for await (const batch of data.measured.data.batches({ limit: 1, batchSize: 1, signal }))
    feeds = batch.inputs;
  const { model } = file.recipe;
  const there = fresh ? new Map<string, readonly number[]>() : await storedSeeds(plan, context.signal);
  const purposes = Object.entries({ train: data.train, test: data.test, calibration: data.calibration });
  return {
    name: recipeName(file),
    target: file.recipe.target,
    model: {
      source: typeof model === 'string' ? model : 'path' in model ? model.path : model.network,
      bytes,
      ...(await costOf(plan.model.clone(), feeds)),
    },
    data: Object.fromEntries(
      purposes.flatMap(([name, one]) =>
        one === undefined ? [] : [[name, { source: one.data.description, samples: one.data.size }]],
      ),
    ),
    metric: plan.metric ?? null,
    seeds: plan.seeds,
    steps: plan.steps.map(({ name, from, control, step }) => ({
      name,
      use: `${step.name}@${step.version}`,
      summary: step.summary,
      from: from ?? ORIGINAL,
      control,
      needs: step.needs,
      options: step.options,
      there: there.get(name) ?? [],
    })),
    baseline: plan.baseline,
    result: plan.result,
    output: plan.output === null ? null : shown(plan.output),
    runFolder: shown(plan.runFolder),
  };
}

/** Seeds whose results are there, by step: what a run would take over. */
async function storedSeeds(
  plan: RecipePlan,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const there = new Map<string, number[]>();
  const surroundings = surroundingsOf(plan, await dataIdentities(plan, signal));
  for (const seed of plan.seeds) {
    const folder = join(plan.runFolder, `seed-${seed}`);
    const contents = new Map([[ORIGINAL, await originalContents(plan, seed, signal)]]);
    for (const [index, step] of plan.steps.entries()) {
      const parent = contents.get(step.from ?? ORIGINAL);
      if (parent === undefined) continue;
      const identity = stepIdentity(step, seed, parent, surroundings);
      const paths = pathsOf(folder, index + 1, step.name);
      const found = await storedResult(folder, paths, identity, { contents, signal });
      if (found === undefined) continue;
      contents.set(step.name, found.record.contents);
      there.set(step.name, [...(there.get(step.name) ?? []), seed]);
    }
  }
  return there;
}

async function originalContents({ source }: RecipePlan, seed: number, signal: AbortSignal): Promise<string> {
  if (source.path !== undefined) return (await contentsOf(source.path, signal)).hash;
  return futureContents(await source.open(seed, signal));
}

/** A path as one would type it here. */
function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith('..') || isAbsolute(short) ? path : short;
}
