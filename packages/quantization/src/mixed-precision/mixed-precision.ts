import {
  definePass,
  errors,
  type Model,
  type Node,
  type Pass,
  type PassContext,
  ReportBuilder,
} from '@lithe/core';
import { z } from 'zod';
import type { CalibrationStats } from '../calibration/statistics.ts';
import { calibrationStats } from '../calibration/stats-schema.ts';
import { type Assignment, applyAssignment } from './apply.ts';
import type { Deviation } from './comparison.ts';
import { type PrecisionFormatChoice, precisionFormatChoice } from './formats.ts';
import { type NamedAssignment, searchAssignment } from './search.ts';
import {
  type LayerSensitivity,
  measureLayers,
  type PrecisionTrials,
  precisionTrials,
} from './sensitivity.ts';
import { upgradesOf } from './upgrades.ts';

/**
 * What the result may lose. `drift`: at most this much of {@link Deviation.drift} on the samples (nats of divergence for
 * class scores, noise over signal for others). `accuracy`: whatever `evaluate` measures, larger being better, at most
 * `drop` below what it is for the float model.
 */
export type PrecisionBudget =
  | {
      /** Largest drift. */
      readonly drift: number;
    }
  | {
      /** Accuracy as the caller measures it. */
      readonly accuracy: {
        /** Measures a model; larger is better. */
        readonly evaluate: (model: Model) => Promise<number>;
        /** How far it may fall. */
        readonly drop: number;
      };
    };

/** Options of {@link mixedPrecision}. */
export interface MixedPrecisionOptions {
  /** What the result may lose; a drift of 0.01 by default. */
  readonly budget?: PrecisionBudget | undefined;
  /** Formats that layers may get beside float; `foldable-int8` and `foldable-int4` by default. */
  readonly formats?: readonly PrecisionFormatChoice[] | undefined;
  /** Samples that drift is measured on; 64 by default. */
  readonly samples?: number | undefined;
  /** Samples per batch; the dataset's choice by default. */
  readonly batchSize?: number | undefined;
  /** Assignments that are run in search of the cheapest, beside the measurement of each layer; 24 by default. */
  readonly trials?: number | undefined;
  /** Outputs of any rank that hold class scores along their last axis; tables `[N, C]` and distributions are known. */
  readonly scores?: readonly string[] | undefined;
  /** Weights with fewer elements stay float; 256 by default. */
  readonly minimumElements?: number | undefined;
  /** Name of the group that a node belongs to: its nodes get one format together. */
  readonly group?: ((node: Node) => string | undefined) | undefined;
  /** Statistics for formats that compute in integers; observed on the context's data by default. */
  readonly stats?: CalibrationStats | undefined;
  /** What a model costs; bytes of its constants by default. */
  readonly cost?: ((model: Model) => number | Promise<number>) | undefined;
}

/** Options of {@link mixedPrecision} with defaults filled in. */
export interface MixedPrecisionSettings extends MixedPrecisionOptions {
  /** See {@link MixedPrecisionOptions.budget}. */
  readonly budget: PrecisionBudget;
  /** See {@link MixedPrecisionOptions.formats}. */
  readonly formats: readonly PrecisionFormatChoice[];
  /** See {@link MixedPrecisionOptions.samples}. */
  readonly samples: number;
  /** See {@link MixedPrecisionOptions.trials}. */
  readonly trials: number;
}

const callable = <T>(): z.ZodType<T, T> =>
  z.custom<T>((value) => typeof value === 'function', 'must be a function');

const schema = z.strictObject({
  budget: z
    .union([
      z.strictObject({ drift: z.number().min(0) }),
      z.strictObject({
        accuracy: z.strictObject({
          evaluate: callable<(model: Model) => Promise<number>>(),
          drop: z.number().min(0),
        }),
      }),
    ])
    .default({ drift: 0.01 }),
  formats: z.array(precisionFormatChoice).min(1).readonly().default(['foldable-int8', 'foldable-int4']),
  samples: z.int().min(1).default(64),
  batchSize: z.int().min(1).optional(),
  trials: z.int().min(1).default(24),
  scores: z.array(z.string()).readonly().optional(),
  minimumElements: z.int().min(1).optional(),
  group: callable<(node: Node) => string | undefined>().optional(),
  stats: calibrationStats.optional(),
  cost: callable<(model: Model) => number | Promise<number>>().optional(),
});

/** An assignment that was run. */
interface Point extends Deviation {
  readonly assignment: NamedAssignment;
  readonly cost: number;
  readonly accuracy: number | undefined;
}

/** The points that no other beats in both cost and drift, cheapest first. */
function pareto(points: readonly Point[]): readonly Point[] {
  const sorted = [...points].sort((left, right) => left.cost - right.cost || left.drift - right.drift);
  let least = Number.POSITIVE_INFINITY;
  return sorted.filter(({ drift }) => {
    if (drift >= least) return false;
    least = drift;
    return true;
  });
}

interface Search {
  readonly best: NamedAssignment;
  readonly points: readonly Point[];
}

async function search(
  trials: PrecisionTrials,
  layers: readonly LayerSensitivity[],
  context: { readonly settings: MixedPrecisionSettings; readonly float: Model; readonly pass: PassContext },
): Promise<Search> {
  const { settings, float, pass } = context;
  const { budget } = settings;
  const accuracy = 'accuracy' in budget ? budget.accuracy : undefined;
  const required = accuracy === undefined ? undefined : (await accuracy.evaluate(float)) - accuracy.drop;
  const points: Point[] = [
    {
      assignment: new Map(),
      cost: trials.cost,
      drift: 0,
      sqnrDb: Number.POSITIVE_INFINITY,
      accuracy: accuracy === undefined ? undefined : (required as number) + accuracy.drop,
    },
  ];
  let done = 0;
  const best = await searchAssignment({
    upgrades: upgradesOf(layers),
    trials: settings.trials,
    evaluate: async (assignment) => {
      pass.signal.throwIfAborted();
      const model = (await trials.candidate(formatsOf(assignment, trials))) ?? float;
      const cost = await trials.costOf(model);
      const deviation = await trials.compare.measureModel(model);
      const reached = accuracy === undefined ? undefined : await accuracy.evaluate(model);
      points.push({ assignment, cost, accuracy: reached, ...deviation });
      done++;
      pass.progress({ task: 'assignments', done, total: settings.trials });
      const within =
        'drift' in budget ? deviation.drift <= budget.drift : (reached as number) >= (required as number);
      return { cost, within };
    },
  });
  return { best, points };
}

function formatsOf(assignment: NamedAssignment, trials: PrecisionTrials): Assignment {
  const byName = new Map(trials.formats.map((format) => [format.name, format]));
  const formats: Assignment = new Map(
    [...assignment].flatMap(([layer, name]) => {
      const format = byName.get(name);
      return format === undefined ? [] : [[layer, format] as const];
    }),
  );
  return formats;
}

/** Infinity has no form in JSON: no noise at all, or results that are not finite. */
function cell(value: number): number | string {
  if (Number.isFinite(value)) return value;
  return value === Number.POSITIVE_INFINITY ? 'infinite' : 'not finite';
}

function report(trials: PrecisionTrials, layers: readonly LayerSensitivity[], found: Search): ReportBuilder {
  const builder = new ReportBuilder();
  const unit = trials.compare.measure === 'kl-divergence' ? 'nats' : 'ratio';
  const applies = new Set(layers.map(({ layer }) => layer));
  for (const layer of trials.layers) {
    const format = found.best.get(layer.name);
    if (format !== undefined) builder.apply(`"${layer.name}": ${format}`);
    else if (!applies.has(layer.name))
      builder.skip(layer.name, 'no-format', 'none of the formats has a form for it');
    else builder.skip(layer.name, 'sensitive', 'quantizing it would exceed the budget, or save nothing');
  }
  builder.table('sensitivity', {
    title: 'One layer at a time',
    columns: [
      { name: 'layer', unit: '' },
      { name: 'format', unit: '' },
      { name: 'drift', unit },
      { name: 'SQNR', unit: 'dB' },
      { name: 'saved', unit: 'cost' },
    ],
    rows: layers.map(({ layer, format, drift, sqnrDb, saved }) => [
      layer,
      format,
      cell(drift),
      cell(sqnrDb),
      saved,
    ]),
    plot: { kind: 'bars', x: 'layer', y: ['drift', 'SQNR'] },
  });
  const { formats } = trials;
  const points = pareto(found.points);
  builder.table('pareto', {
    title: 'Assignments that no other beats in both cost and drift',
    columns: [
      { name: 'cost', unit: 'cost' },
      { name: 'drift', unit },
      { name: 'SQNR', unit: 'dB' },
      ...(points.some(({ accuracy }) => accuracy !== undefined) ? [{ name: 'accuracy', unit: '' }] : []),
      ...formats.map(({ name }) => ({ name: `layers in ${name}`, unit: '' })),
    ],
    rows: points.map(({ cost, drift, sqnrDb, accuracy, assignment }) => [
      cost,
      cell(drift),
      cell(sqnrDb),
      ...(accuracy === undefined ? [] : [accuracy]),
      ...formats.map(({ name }) => [...assignment.values()].filter((format) => format === name).length),
    ]),
    plot: { kind: 'points', x: 'cost', y: ['drift'] },
  });
  const chosen = found.points.find(({ assignment }) => assignment === found.best) ?? found.points[0];
  builder.metric('costBefore', trials.cost, 'cost');
  builder.metric('costAfter', chosen?.cost ?? trials.cost, 'cost');
  builder.metric('drift', chosen?.drift ?? 0, unit);
  if (chosen !== undefined && Number.isFinite(chosen.sqnrDb)) builder.metric('sqnr', chosen.sqnrDb, 'dB');
  if (chosen?.accuracy !== undefined) builder.metric('accuracy', chosen.accuracy, '');
  builder.metric('trials', found.points.length - 1, 'models');
  return builder;
}

/**
 * Gives each layer the cheapest format that the whole can afford. First every layer is measured in every format, alone
 * ({@link sensitivity}); then the steps that save most for the drift they add are taken together as long as the model,
 * run as a whole, stays within the budget. What the layers do together is measured, never assumed.
 *
 * The report holds two tables: `sensitivity`, and `pareto`, the assignments on the way that nothing beats in both cost
 * and drift, for choosing another budget.
 *
 * @see Dong et al., "HAWQ-V2: Hessian Aware trace-Weighted Quantization of Neural Networks", 2020, for the setting. There
 *   sensitivity comes from second derivatives; measured divergence ranks layers better and needs no gradients.
 *
 * @example
 * ```ts
 * import { mixedPrecision } from '@lithe/quantization';
 *
 * mixedPrecision({ budget: { drift: 0.05 } }).name; // => 'quantization/mixed-precision'
 * ```
 */
export const mixedPrecision: Pass<MixedPrecisionOptions, MixedPrecisionSettings> = definePass({
  name: 'quantization/mixed-precision',
  version: 1,
  summary: 'Gives each layer the cheapest format that keeps the model within its budget.',
  options: schema,
  needs: ['data', 'backend'],
  preserves: 'accuracy',
  run: async (draft, settings, context) => {
    const { backend, data } = context;
    if (backend === undefined || data === undefined)
      throw errors.passNeeds('quantization/mixed-precision', ['data', 'backend']);
    await using trials = await precisionTrials(draft.clone(), data, { ...settings, backend, pass: context });
    const layers = await measureLayers(trials);
    const float = draft.clone();
    const found = await search(trials, layers, { settings, float, pass: context });
    await applyAssignment(draft, formatsOf(found.best, trials), trials.apply);
    return report(trials, layers, found).build();
  },
});
