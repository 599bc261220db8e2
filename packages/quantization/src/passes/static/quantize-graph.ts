import type { Model, Node, PassContext, ReportBuilder } from '@lithe/core';
import { calibratorOf } from '../../calibration/choice.ts';
import type { CalibrationStats } from '../../calibration/statistics.ts';
import { type IntegerRange, integerRange } from '../../parameters/integer-range.ts';
import { SharedWeights } from '../../weights/shared.ts';
import { activationRanges } from './activation-ranges.ts';
import { planCosts } from './payoff.ts';
import { planStatic } from './plan.ts';
import { prepareProductBiases } from './product-bias.ts';
import { rewriteStatic } from './rewrite.ts';
import type { StaticInt8Settings } from './settings.ts';

/** What onnxruntime quantizes on its own, for models without a target. */
const usuallyGuarded: readonly string[] = ['Conv', 'ConvTranspose', 'Gemm'];

/** What the quantization of one graph works with. */
export interface GraphWork {
  /** Products whose output is quantized in any case; found again on copies. */
  readonly closed: ReadonlySet<Node> | undefined;
  /** What was seen of activations. */
  readonly stats: CalibrationStats;
  /** Target, cancellation. */
  readonly context: PassContext;
  /** Receives what was done. */
  readonly notes: ReportBuilder;
  /** Names of nodes whose weights take 7 bits. */
  readonly reduced: ReadonlySet<string>;
}

/** Integers of activations. */
export function activationIntegers(settings: StaticInt8Settings, context: PassContext): IntegerRange {
  const unsigned = context.target?.profile.unsignedActivations ?? true;
  const { activations } = settings;
  return integerRange(activations === 'auto' ? (unsigned ? 'uint8' : 'int8') : activations);
}

/** Plans one graph and puts the pairs in. */
export async function quantizeGraph(
  model: Model,
  settings: StaticInt8Settings,
  work: GraphWork,
): Promise<void> {
  const { stats, context, notes, reduced } = work;
  const { graph } = model;
  const activations = activationIntegers(settings, context);
  // Formats for other runtimes are not weighed by what this target makes of them.
  const foreign = activations.high > 255 || settings.weightBits === 4;
  const profile = context.target?.profile;
  const plan = planStatic(graph, stats, {
    ...settings,
    costs: planCosts(profile?.integerCosts, foreign ? 0 : settings.conversionCost),
    asked: !foreign,
    closed: work.closed ?? prepareProductBiases(graph),
    target: context.target,
    report: notes,
  });
  const ranges = await activationRanges(plan, stats, {
    integers: activations,
    calibrator: calibratorOf(settings.calibrator),
    symmetric: settings.symmetricActivations,
  });
  const narrow = integerRange(settings.weightBits === 4 ? 'int4' : 'int8', { extent: 'narrow' });
  const short = integerRange('int8', { extent: 'reduced' });
  await rewriteStatic(graph, {
    plan,
    ranges,
    activations,
    weights: (node) =>
      // What is computed in floats has no sums of integers.
      !foreign && (settings.reducedRange === true || reduced.has(node.name)) ? short : narrow,
    granularity: settings.weightScales,
    guarded: profile === undefined ? usuallyGuarded : (profile.integers?.quantizesWeights ?? []),
    shared: new SharedWeights(),
    signal: context.signal,
  });
  for (const [node] of plan.nodes) notes.apply(`quantize ${node.opType} "${node.name}"`);
  notes.metric('quantizedNodes', plan.nodes.size, 'nodes');
  if (foreign) {
    notes.skip(
      graph.name,
      'other-runtimes',
      'onnxruntime computes 16-bit activations and 4-bit weights in floats: this file is for other runtimes',
    );
  }
}
