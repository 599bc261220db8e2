import { z } from 'zod';
import type { RunReport } from './run-report.ts';

/** Seeds, steps, layers and the like that a report may have; a hostile one ends here instead of in gigabytes of HTML. */
const MOST = {
  seeds: 100,
  steps: 200,
  batches: 16,
  layers: 1024,
  bins: 512,
  depth: 64,
  total: 4000,
} as const;

const name = z.string().max(500);
const text = z.string().max(100_000);
const count = z.number().nonnegative();
/** JSON has no word for numbers that are not finite: it writes `null`. */
const figure = z.union([z.number(), z.null().transform(() => Number.NaN)]);
const decibels = z.union([z.number(), z.null().transform(() => Number.POSITIVE_INFINITY)]);
const pair = z.tuple([figure, figure]);

const latency = z.object({
  batch: z.number().int().positive(),
  beforeMs: figure,
  afterMs: figure,
  speedup: figure,
  interval: pair,
});

const drift = z.object({
  sqnrDb: decibels,
  cosine: figure,
  maxAbs: figure,
  top1Agreement: figure.optional(),
  rows: figure.optional(),
});

const histogram = z.object({
  weight: name,
  range: pair,
  counts: z.array(count).max(MOST.bins),
  zeros: count,
});

const table = z
  .object({
    title: z.string().max(2000),
    columns: z.array(z.object({ name, unit: name })).max(200),
    rows: z.array(z.array(z.union([z.string().max(2000), figure]))),
    plot: z
      .object({ kind: z.enum(['line', 'points', 'bars']), x: name, y: z.array(name).max(20) })
      .optional(),
  })
  .refine(({ columns, rows }) => rows.every((row) => row.length === columns.length), {
    message: 'a row has another number of cells than there are columns',
    path: ['rows'],
  });

function depthWithin(value: unknown, most: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > most) return false;
    level = level.flatMap((one) => (typeof one === 'object' && one !== null ? Object.values(one) : []));
  }
  return true;
}

const pass = z
  .object({
    pass: name,
    version: z.number(),
    options: z
      .unknown()
      .refine((options) => depthWithin(options, MOST.depth), { message: `nested deeper than ${MOST.depth}` }),
    milliseconds: figure,
    check: z.object({ maxAbs: figure, maxRelative: figure, sqnrDb: decibels, samples: count }).optional(),
    unchecked: text.optional(),
    changed: z.boolean(),
    applied: z.array(text),
    skipped: z.array(z.object({ target: text, code: name, reason: text })),
    metrics: z.record(name, z.object({ value: figure, unit: name })),
    tables: z.record(name, table).optional(),
  })
  .transform(({ options, check, unchecked, ...rest }) => ({ ...rest, options, check, unchecked }));

const measured = {
  file: text,
  bytes: count,
  parameters: count,
  macs: count,
  metric: figure.optional(),
  latency: z.array(latency).max(MOST.batches),
  weights: z.array(histogram).max(MOST.layers),
};

const step = z.object({
  name,
  use: name,
  from: name.nullable(),
  control: z.boolean(),
  pass,
  ...measured,
  drift: drift.optional(),
  failure: text.optional(),
  resumed: z.boolean(),
});

const seed = z
  .object({
    seed: z.number(),
    original: z.object(measured),
    steps: z.array(step).max(MOST.steps),
  })
  .superRefine(({ steps }, context) => {
    const before = new Set(['original']);
    for (const [index, { name: own, from }] of steps.entries()) {
      const path = ['steps', index];
      if (before.has(own))
        context.addIssue({ code: 'custom', path: [...path, 'name'], message: `"${own}" is taken` });
      if (from !== null && !before.has(from))
        context.addIssue({
          code: 'custom',
          path: [...path, 'from'],
          message: `"${from}" is no step before it`,
        });
      before.add(own);
    }
  });

const source = z.object({ source: text, samples: count }).nullable();

/** What a report of a run looks like as JSON. */
export const runReportSchema: z.ZodType<RunReport> = z
  .object({
    report: z.literal(1, { error: 'this version of Lithe reads reports of version 1' }),
    name,
    recipe: z.string().max(1_000_000),
    date: name,
    target: z.object({ name, runtime: name, threads: count, machine: text }),
    data: z.object({ train: source, test: source }),
    metric: name.nullable(),
    scored: z.object({ output: text, label: text }).optional(),
    baseline: name,
    result: name,
    output: text.nullable(),
    seeds: z.array(seed).min(1).max(MOST.seeds),
    limits: z.array(z.object({ limit: text, measured: text, met: z.boolean() })).max(1000),
    warnings: z.array(text).max(1000),
  })
  .superRefine(({ baseline, result, seeds }, context) => {
    const total = seeds.reduce((sum, { steps }) => sum + steps.length, 0);
    if (total > MOST.total)
      context.addIssue({ code: 'custom', path: ['seeds'], message: `more than ${MOST.total} steps in all` });
    const names = new Set(['original', ...seeds.flatMap(({ steps }) => steps.map((one) => one.name))]);
    for (const [role, wanted] of Object.entries({ baseline, result }))
      if (!names.has(wanted))
        context.addIssue({ code: 'custom', path: [role], message: `"${wanted}" is none of the steps` });
    if (new Set(seeds.map((one) => one.seed)).size < seeds.length)
      context.addIssue({ code: 'custom', path: ['seeds'], message: 'a seed comes twice' });
  });
