import {
  definePass,
  errors,
  inferShapes,
  type Model,
  type Node,
  type Pass,
  type PassContext,
  ReportBuilder,
} from '@lithe/core';
import { z } from 'zod';
import { type CalibratorChoice, calibratorChoice, calibratorOf } from '../calibration/choice.ts';
import { observe } from '../calibration/observe.ts';
import type { CalibrationStats } from '../calibration/statistics.ts';
import { calibrationStats } from '../calibration/stats-schema.ts';
import { opsetAtLeast } from '../graph/opset-at-least.ts';
import { integerRange } from '../parameters/integer-range.ts';
import { type RecoveryOptions, type RecoverySettings, recoveryOptions } from '../recovery/options.ts';
import { quantizeRecovered } from '../recovery/recovered-quantization.ts';
import { SharedWeights } from '../weights/shared.ts';
import { activationRanges } from './static/activation-ranges.ts';
import { operatorKind } from './static/operator-kinds.ts';
import { planStatic } from './static/plan.ts';
import { prepareProductBiases } from './static/product-bias.ts';
import { rewriteStatic } from './static/rewrite.ts';

/** Options of {@link staticInt8}. */
export interface StaticInt8Options {
  /** Ranges found by {@link observe}; found on the context's data by default. */
  readonly stats?: CalibrationStats | undefined;
  /** How activation ranges follow from statistics; `min-max` by default. */
  readonly calibrator?: CalibratorChoice | undefined;
  /** Samples to observe when no statistics are given; 100 by default. */
  readonly samples?: number | undefined;
  /** Bytes of activations fetched in one run while observing; 256 MiB by default. */
  readonly memoryBytes?: number | undefined;
  /**
   * Type of activations. `auto` (default) is what the target is fastest with, and unsigned without a target: on x86,
   * onnxruntime falls back to float where a signed tensor has several readers.
   */
  readonly activations?: 'auto' | 'uint8' | 'int8' | undefined;
  /** Whether depthwise convolutions are quantized; off by default, since most lose. */
  readonly depthwise?: boolean | undefined;
  /** Whether products of two activations (attention) are quantized; off by default. */
  readonly activationProducts?: boolean | undefined;
  /**
   * Whether each output channel of a weight has a scale of its own (default), or all share one, as some accelerators
   * ask for: run `crossLayerEqualization` before, or depthwise convolutions may lose everything.
   */
  readonly weightScales?: 'per-channel' | 'per-tensor' | undefined;
  /** Weights in [-64, 64], so that processors without VNNI cannot overflow; off by default. */
  readonly reducedRange?: boolean | undefined;
  /** Matrices with fewer elements stay float; 256 by default. */
  readonly minimumElements?: number | undefined;
  /**
   * Multiply-accumulates that converting one element between float and integer costs. A convolution or product whose
   * sums are too short to pay for the conversions at its edges stays float; 0 quantizes all. 48 by default.
   */
  readonly conversionCost?: number | undefined;
  /** Names of nodes that stay float. */
  readonly exclude?: readonly string[] | undefined;
  /** What is done to win back what integers lost, on the context's data; nothing by default. */
  readonly recovery?: RecoveryOptions | undefined;
}

/** Options of {@link staticInt8} with defaults filled in. */
export interface StaticInt8Settings {
  /** See {@link StaticInt8Options.stats}. */
  readonly stats?: CalibrationStats | undefined;
  /** See {@link StaticInt8Options.calibrator}. */
  readonly calibrator: CalibratorChoice;
  /** See {@link StaticInt8Options.samples}. */
  readonly samples: number;
  /** See {@link StaticInt8Options.memoryBytes}. */
  readonly memoryBytes: number;
  /** See {@link StaticInt8Options.activations}. */
  readonly activations: 'auto' | 'uint8' | 'int8';
  /** See {@link StaticInt8Options.depthwise}. */
  readonly depthwise: boolean;
  /** See {@link StaticInt8Options.activationProducts}. */
  readonly activationProducts: boolean;
  /** See {@link StaticInt8Options.weightScales}. */
  readonly weightScales: 'per-channel' | 'per-tensor';
  /** See {@link StaticInt8Options.reducedRange}. */
  readonly reducedRange: boolean;
  /** See {@link StaticInt8Options.minimumElements}. */
  readonly minimumElements: number;
  /** See {@link StaticInt8Options.conversionCost}. */
  readonly conversionCost: number;
  /** See {@link StaticInt8Options.exclude}. */
  readonly exclude: readonly string[];
  /** See {@link StaticInt8Options.recovery}. */
  readonly recovery?: RecoverySettings | undefined;
}

const schema = z.strictObject({
  stats: calibrationStats.optional(),
  calibrator: calibratorChoice.default('min-max'),
  samples: z.int().min(1).default(100),
  memoryBytes: z
    .int()
    .min(1)
    .default(2 ** 28),
  activations: z.enum(['auto', 'uint8', 'int8']).default('auto'),
  depthwise: z.boolean().default(false),
  activationProducts: z.boolean().default(false),
  weightScales: z.enum(['per-channel', 'per-tensor']).default('per-channel'),
  reducedRange: z.boolean().default(false),
  minimumElements: z.int().min(1).default(256),
  conversionCost: z.number().min(0).default(48),
  exclude: z.array(z.string()).readonly().default([]),
  recovery: recoveryOptions.optional(),
});

/** The values whose ranges a plan may need. */
function rangesNeeded(model: Model): readonly string[] {
  const names = new Set<string>();
  for (const node of model.graph.nodes()) {
    if (operatorKind(node) === undefined) continue;
    for (const value of [...node.inputs, ...node.outputs]) {
      if (value !== null && value.name !== '' && value.graph === model.graph) names.add(value.name);
    }
  }
  return [...names];
}

async function statsFor(
  draft: Model,
  settings: StaticInt8Settings,
  context: PassContext,
): Promise<CalibrationStats> {
  if (settings.stats !== undefined) return settings.stats;
  const { backend, data } = context;
  if (backend === undefined || data === undefined) {
    const missing = [...(data === undefined ? ['data'] : []), ...(backend === undefined ? ['backend'] : [])];
    throw errors.passNeeds('quantization/static-int8', missing);
  }
  const { samples, memoryBytes } = settings;
  return observe(draft, data, { backend, context, samples, memoryBytes, values: rangesNeeded(draft) });
}

function reportSubgraphs(draft: Model, report: ReportBuilder): void {
  for (const node of draft.graph.nodesDeep()) {
    if (node.graph !== draft.graph && operatorKind(node) === 'anchor') {
      report.skip(
        node.name,
        'subgraph',
        'its activations are inside a subgraph, where ranges are not observed',
      );
    }
    if (
      node.graph === draft.graph &&
      ['ConvTranspose', 'LSTM', 'GRU', 'RNN'].includes(node.opType) &&
      node.domain === ''
    ) {
      report.skip(node.name, 'no-kernel', `onnxruntime has no static integer ${node.opType}`);
    }
  }
}

/** Plans and rewrites one graph. */
async function quantizeGraph(
  model: Model,
  settings: StaticInt8Settings,
  work: {
    /** Products whose output is quantized in any case; found again on copies. */
    readonly closed: ReadonlySet<Node> | undefined;
    readonly stats: CalibrationStats;
    readonly context: PassContext;
    readonly notes: ReportBuilder;
  },
): Promise<void> {
  const { stats, context, notes } = work;
  const { graph } = model;
  const plan = planStatic(graph, stats, {
    ...settings,
    closed: work.closed ?? prepareProductBiases(graph),
    target: context.target,
    report: notes,
  });
  const unsigned = context.target?.profile.unsignedActivations ?? true;
  const activations = integerRange(
    settings.activations === 'auto' ? (unsigned ? 'uint8' : 'int8') : settings.activations,
  );
  const ranges = await activationRanges(plan, stats, {
    integers: activations,
    calibrator: calibratorOf(settings.calibrator),
  });
  const weights = integerRange('int8', { extent: settings.reducedRange ? 'reduced' : 'narrow' });
  await rewriteStatic(graph, {
    plan,
    ranges,
    activations,
    weights,
    granularity: settings.weightScales,
    shared: new SharedWeights(),
    signal: context.signal,
  });
  for (const [node] of plan.nodes) notes.apply(`quantize ${node.opType} "${node.name}"`);
  notes.metric('quantizedNodes', plan.nodes.size, 'nodes');
}

/**
 * Computes convolutions and matrix products in 8-bit integers with activation ranges found beforehand on real inputs
 * (`QuantizeLinear`/`DequantizeLinear` pairs, which the runtime fuses to integer kernels). Weights are signed with a
 * scale per output channel, biases int32, activations unsigned on x86. Operators between two integer nodes run in
 * integers too; a `Relu` or `Clip` disappears into the range of its output. Everything else, and the model's inputs
 * and outputs, stay float.
 *
 * Ranges come from `stats` or, without them, from the context's data and backend.
 *
 * @see Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
 *   2018
 *
 * @example
 * ```ts
 * import { staticInt8 } from '@lithe/quantization';
 *
 * staticInt8({ activations: 'uint8' }).name; // => 'quantization/static-int8'
 * ```
 */
export const staticInt8: Pass<StaticInt8Options, StaticInt8Settings> = definePass({
  name: 'quantization/static-int8',
  version: 1,
  summary: 'Computes convolutions and matrix products in 8-bit integers, with ranges found on real inputs.',
  options: schema,
  preserves: 'accuracy',
  requires: [opsetAtLeast(13)],
  run: async (draft, settings, context) => {
    const report = new ReportBuilder();
    await inferShapes(draft, { opset: context.opset, signal: context.signal, strict: false });
    const closed = prepareProductBiases(draft.graph);
    const stats = await statsFor(draft, settings, context);
    const quantize = async (
      model: Model,
      exclude: readonly string[],
      notes: ReportBuilder,
    ): Promise<void> => {
      const whole = { ...settings, exclude: [...settings.exclude, ...exclude] };
      await quantizeGraph(model, whole, {
        closed: model === draft ? closed : undefined,
        stats,
        context,
        notes,
      });
    };
    const { recovery } = settings;
    const pass = 'quantization/static-int8';
    if (recovery === undefined) await quantize(draft, [], report);
    else await quantizeRecovered(draft, { pass, settings: recovery, context, report, quantize });
    reportSubgraphs(draft, report);
    report.metric('samples', stats.samples, 'samples');
    return report.build();
  },
});
