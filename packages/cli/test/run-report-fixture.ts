import { createRng, type ReportTable, type Rng, type StepReport } from '@lithe/core';
import type { RunReport, SeedResult, StepResult, WeightHistogram } from '../src/report/run-report.ts';

/** What a made-up run is made of. */
export interface FixtureOptions {
  /** Seeds; default one. */
  readonly seeds?: number | undefined;
  /** Layers with weights; default 4. */
  readonly layers?: number | undefined;
  /** Whether there is labelled data; default true. */
  readonly metric?: boolean | undefined;
  /** Batch sizes that latency was measured at; default 1 and 64. */
  readonly batches?: readonly number[] | undefined;
  /** Names of the steps to keep; default all. */
  readonly steps?: readonly string[] | undefined;
  /** Step that failed. */
  readonly failed?: string | undefined;
}

interface Plan {
  readonly name: string;
  readonly use: string;
  readonly from: string | null;
  readonly control?: boolean;
  readonly bytes: number;
  readonly macs: number;
  readonly metric: number;
  /** Speedup beside the original at batch 1 and at larger batches. */
  readonly speed: readonly [number, number];
  readonly epochs?: number;
  readonly options: unknown;
}

/** A step that prunes the teacher to a quarter of its multiplications. */
function pruned(
  name: string,
  criterion: string,
  figures: Pick<Plan, 'bytes' | 'macs' | 'metric' | 'control'>,
): Plan {
  const options = { criterion, budget: { macs: 0.25 } };
  return { name, use: 'pruning/prune', from: 'teacher', ...figures, speed: [2.6, 3.1], options };
}

/** Bytes and accuracies as a run on Fashion-MNIST might give them. */
const plans: readonly Plan[] = [
  {
    name: 'teacher',
    use: 'training/train',
    from: null,
    bytes: 3_273_984,
    macs: 4_240_000,
    metric: 0.9312,
    speed: [1, 1],
    epochs: 8,
    options: { epochs: 8, batchSize: 128, learningRate: 0.002, augment: ['flip', { crop: 2 }] },
  },
  pruned('pruned-l1', 'l1', { control: true, bytes: 826_112, macs: 1_060_000, metric: 0.8421 }),
  pruned('pruned', 'l2', { bytes: 825_984, macs: 1_058_000, metric: 0.8502 }),
  {
    name: 'alone',
    use: 'training/train',
    from: 'pruned',
    control: true,
    bytes: 825_984,
    macs: 1_058_000,
    metric: 0.9201,
    speed: [2.58, 3.12],
    epochs: 6,
    options: { epochs: 6, batchSize: 128, learningRate: 0.001 },
  },
  {
    name: 'from-scratch',
    use: 'training/train',
    from: 'pruned',
    control: true,
    bytes: 825_984,
    macs: 1_058_000,
    metric: 0.9154,
    speed: [2.61, 3.08],
    epochs: 6,
    options: { epochs: 6, batchSize: 128, learningRate: 0.002, initialize: true },
  },
  {
    name: 'distilled',
    use: 'distillation/distil',
    from: 'pruned',
    bytes: 825_984,
    macs: 1_058_000,
    metric: 0.9278,
    speed: [2.6, 3.11],
    epochs: 6,
    options: { epochs: 6, teacher: 'teacher', terms: [{ loss: 'logits', temperature: 4, weight: 0.9 }] },
  },
  {
    name: 'int8-after',
    use: 'quantization/static-int8',
    from: 'distilled',
    bytes: 214_016,
    macs: 1_058_000,
    metric: 0.9255,
    speed: [2.3, 5.2],
    options: { calibrator: 'min-max' },
  },
  {
    name: 'int8',
    use: 'quantization/aware-training',
    from: 'distilled',
    bytes: 214_272,
    macs: 1_058_000,
    metric: 0.9281,
    speed: [2.32, 5.15],
    epochs: 3,
    options: { bits: 8, epochs: 3, teacher: 'teacher' },
  },
];

function epochsTable(plan: Plan, rng: Rng): ReportTable {
  const epochs = plan.epochs ?? 0;
  return {
    title: 'Training by epoch',
    columns: [
      { name: 'epoch', unit: '' },
      { name: 'loss', unit: '' },
      { name: 'learning rate', unit: '' },
      { name: 'metric', unit: '' },
    ],
    rows: Array.from({ length: epochs }, (_, epoch) => [
      epoch + 1,
      0.2 + 0.7 * Math.exp(-epoch / 2) + 0.01 * rng.normal(),
      0.002 * Math.sin((Math.PI * (epoch + 1)) / (epochs + 1)),
      plan.metric - 0.08 * Math.exp(-epoch / 1.5) + 0.001 * rng.normal(),
    ]),
    plot: { kind: 'line', x: 'epoch', y: ['loss'] },
  };
}

function sensitivityTable(layers: number, rng: Rng): ReportTable {
  return {
    title: 'Noise that one layer in 8 bits adds',
    columns: [
      { name: 'layer', unit: '' },
      { name: 'SQNR', unit: 'dB' },
      { name: 'bytes', unit: 'bytes' },
    ],
    rows: Array.from({ length: layers }, (_, layer) => [
      layerName(layer),
      30 + 8 * rng.next(),
      1000 * (layer + 1),
    ]),
    plot: { kind: 'bars', x: 'layer', y: ['SQNR'] },
  };
}

function layerName(layer: number): string {
  return `features.${layer}.conv.weight`;
}

/** Weights of a bell curve, some of them cut to 0. */
function histogramOf(layer: number, width: number, zeros: number): WeightHistogram {
  const bins = 40;
  const range = 3 * width;
  return {
    weight: layerName(layer),
    range: [-range, range],
    counts: Array.from({ length: bins }, (_, bin) => {
      const at = ((bin + 0.5) / bins) * 6 - 3;
      return Math.round(400 * (layer + 1) * Math.exp((-at * at) / 2));
    }),
    zeros,
  };
}

function passOf(plan: Plan, layers: number, rng: Rng): StepReport {
  const quantized = plan.use.startsWith('quantization/');
  return {
    pass: plan.use,
    version: 1,
    options: plan.options,
    milliseconds: 1200 + 4000 * (plan.epochs ?? 0) * rng.next(),
    check:
      plan.epochs === undefined ? { maxAbs: 0.41, maxRelative: 0.02, sqnrDb: 24.1, samples: 32 } : undefined,
    unchecked: plan.epochs === undefined ? undefined : 'a pass that trains changes what the model computes',
    changed: true,
    applied: Array.from(
      { length: layers },
      (_, layer) => `${plan.use.split('/')[1] ?? ''} "${layerName(layer)}"`,
    ),
    skipped: quantized
      ? Array.from({ length: layers }, (_, layer) => ({
          target: `relu${layer}`,
          code: 'activation-float',
          reason: `the result of "relu${layer}" is read by an operator without an 8-bit form`,
        }))
      : [],
    metrics: {
      layers: { value: layers, unit: 'nodes' },
      ...(plan.epochs === undefined ? {} : { finalLoss: { value: 0.2143, unit: '' } }),
    },
    tables: {
      ...(plan.epochs === undefined ? {} : { epochs: epochsTable(plan, rng) }),
      ...(quantized ? { sensitivity: sensitivityTable(layers, rng) } : {}),
    },
  };
}

function latencyOf(plan: Pick<Plan, 'speed'>, batches: readonly number[], rng: Rng): StepResult['latency'] {
  return batches.map((batch) => {
    const beforeMs = (0.35 + 0.09 * batch) * (1 + 0.03 * rng.normal());
    const speedup = (batch === 1 ? plan.speed[0] : plan.speed[1]) * (1 + 0.01 * rng.normal());
    return {
      batch,
      beforeMs,
      afterMs: beforeMs / speedup,
      speedup,
      interval: [speedup * 0.97, speedup * 1.025] as const,
    };
  });
}

/** The steps that are kept, each from the nearest one before it that is. */
function keptPlans(names: readonly string[] | undefined): readonly Plan[] {
  if (names === undefined) return plans;
  const nearest = (name: string | null): string | null =>
    name === null || names.includes(name)
      ? name
      : nearest(plans.find((plan) => plan.name === name)?.from ?? null);
  return plans
    .filter(({ name }) => names.includes(name))
    .map((plan) => ({ ...plan, from: nearest(plan.from) }));
}

function stepOf(plan: Plan, seed: number, rng: Rng, options: FixtureOptions): StepResult {
  const layers = options.layers ?? 4;
  const failed = options.failed === plan.name;
  return {
    name: plan.name,
    use: plan.use,
    from: plan.from,
    control: plan.control ?? false,
    pass: passOf(plan, layers, rng),
    file: `seed-${seed}/${plan.name}.onnx`,
    bytes: plan.bytes,
    parameters: Math.round(plan.bytes / (plan.use.startsWith('quantization/') ? 1 : 4)),
    macs: plan.macs,
    ...(options.metric === false || failed ? {} : { metric: plan.metric + 0.0012 * rng.normal() }),
    latency: failed ? [] : latencyOf(plan, options.batches ?? [1, 64], rng),
    ...(failed
      ? {}
      : { drift: { sqnrDb: 21.3, cosine: 0.9971, maxAbs: 0.82, top1Agreement: 0.97, rows: 256 } }),
    weights: Array.from({ length: layers }, (_, layer) =>
      histogramOf(layer, 0.05 * (1 + 0.1 * plan.metric), plan.name.startsWith('pruned') ? 120 : 0),
    ),
    ...(failed
      ? { failure: 'the runtime refused the model: "Gather" has no kernel for int64 indices here' }
      : {}),
    resumed: false,
  };
}

function seedOf(seed: number, kept: readonly Plan[], options: FixtureOptions): SeedResult {
  const rng = createRng(seed + 1);
  return {
    seed,
    original: {
      file: 'original.onnx',
      bytes: 3_273_984,
      parameters: 818_496,
      macs: 4_240_000,
      ...(options.metric === false ? {} : { metric: 0.1003 }),
      latency: latencyOf({ speed: [1, 1] }, options.batches ?? [1, 64], rng),
      weights: Array.from({ length: options.layers ?? 4 }, (_, layer) => histogramOf(layer, 0.08, 0)),
    },
    steps: kept.map((plan) => stepOf(plan, seed, rng, options)),
  };
}

/** A run as a recipe on Fashion-MNIST might leave it; the same options give the same report. */
export function runReportFixture(options: FixtureOptions = {}): RunReport {
  const kept = keptPlans(options.steps);
  const labelled = options.metric !== false;
  const result = kept.filter(({ control }) => control !== true).at(-1)?.name ?? 'original';
  return {
    report: 1,
    name: 'fashion-mnist story',
    recipe: `recipe: 1\nname: fashion-mnist story\nsteps:\n${kept.map(({ name, use }) => `  - name: ${name}\n    use: ${use}\n`).join('')}`,
    date: '2026-11-22T16:20:31.000Z',
    target: {
      name: 'node-cpu',
      runtime: 'onnxruntime-node 1.30.0',
      threads: 1,
      machine: 'Intel(R) Xeon(R) Platinum 8481C, linux x64, Node 20.20.2',
    },
    data: {
      train: { source: './train.npz', samples: 54_000 },
      test: labelled ? { source: './test.npz', samples: 10_000 } : null,
    },
    metric: labelled ? 'accuracy' : null,
    baseline: kept.some(({ name }) => name === 'teacher') ? 'teacher' : 'original',
    result,
    output: './small.onnx',
    seeds: Array.from({ length: options.seeds ?? 1 }, (_, seed) => seedOf(seed, kept, options)),
    limits: [
      { limit: 'loses at most 0.5 points', measured: '0.31 points lost', met: true },
      { limit: 'at least 10x smaller', measured: '15.28x', met: true },
      { limit: 'at least 2.5x faster at batch 1', measured: '2.32x', met: false },
    ],
    warnings: ['Only 256 samples were taken for the calibration of ranges.'],
  };
}
