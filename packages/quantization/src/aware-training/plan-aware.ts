import {
  constantOf,
  type Graph,
  type Node,
  type PassContext,
  type ReportBuilder,
  type Value,
} from '@lithe/core';
import type { CalibrationStats } from '../calibration/statistics.ts';
import { type IntegerRange, integerRange } from '../parameters/integer-range.ts';
import { ineligible } from '../passes/static/eligible.ts';
import { dataInputs, operatorKind } from '../passes/static/operator-kinds.ts';
import { planCosts } from '../passes/static/payoff.ts';
import { planStatic, type StaticPlan } from '../passes/static/plan.ts';
import type { AwareQuantizationSettings } from './settings.ts';

/** What planning works with. */
export interface AwarePlanRequest {
  /** Options. */
  readonly settings: AwareQuantizationSettings;
  /** What was seen of activations; `undefined` where they stay float. */
  readonly stats: CalibrationStats | undefined;
  /** Products whose output is quantized in any case. */
  readonly closed: ReadonlySet<Node>;
  /** Target. */
  readonly context: PassContext;
  /** Receives what stays float. */
  readonly report: ReportBuilder;
}

/** What is quantized. */
export interface AwarePlan {
  /** Nodes and values that get pairs. */
  readonly pairs: StaticPlan;
  /** Layers whose weights are quantized. */
  readonly layers: readonly Node[];
}

/** Whether the target's own integer operators decide: 4 bits are for other runtimes. */
export function isForeign({ weightBits, activationBits }: AwareQuantizationSettings): boolean {
  return weightBits === 4 || activationBits === 4;
}

/** Decides what is quantized: as static quantization does, and the weights of transposed convolutions. */
export function planAware(graph: Graph, request: AwarePlanRequest): AwarePlan {
  const { settings, stats, context, report, closed } = request;
  const { target } = context;
  const foreign = isForeign(settings);
  const eligibility = { ...settings, target, asked: !foreign };
  const transposed = settings.transposed === 'float' ? [] : transposedLayers(graph, settings.exclude, report);
  if (stats === undefined) {
    const layers = [...graph.nodes()].filter((node) => storesWeights(node, settings, report));
    return { pairs: nothing(), layers: [...layers, ...transposed] };
  }
  const plan = planStatic(graph, stats, {
    ...eligibility,
    costs: planCosts(target?.profile.integerCosts, foreign ? 0 : settings.conversionCost),
    closed,
    report,
  });
  const layers = [...plan.nodes].flatMap(([node, kind]) =>
    kind === 'anchor' && constantOf(node.input(1)) !== undefined ? [node] : [],
  );
  const planned = settings.activationBits === 4 ? beforeLayers(plan) : plan;
  const pairs = settings.transposed === 'all' ? withReaders(planned, transposed, { stats, report }) : planned;
  return { pairs, layers: [...layers, ...transposed] };
}

function nothing(): StaticPlan {
  return { nodes: new Map(), absorbed: new Map(), values: [], outputs: new Set(), results: new Map() };
}

/**
 * A plan with pairs in front of layers alone. What runs in integers between layers has kernels for 8 bits; given 4,
 * onnxruntime makes nodes of it that it cannot load (a `MaxPool` of uint4 in version 1.30).
 */
function beforeLayers(plan: StaticPlan): StaticPlan {
  const layers = [...plan.nodes].filter(([, kind]) => kind === 'anchor');
  const values = layers.flatMap(([node]) => dataInputs(node).map((index) => node.input(index)));
  return {
    ...nothing(),
    nodes: new Map(layers),
    values: [...new Set(values)].filter(
      (value) => value !== null && constantOf(value) === undefined,
    ) as Value[],
  };
}

/** Whether the weights of a node are quantized where activations are not. */
function storesWeights(node: Node, settings: AwareQuantizationSettings, report: ReportBuilder): boolean {
  if (operatorKind(node) !== 'anchor') return false;
  const why = ineligible(node, { ...settings, depthwise: true, target: undefined, asked: false });
  if (why !== undefined) report.skip(node.name, why.code, why.reason);
  return why === undefined && constantOf(node.input(1)) !== undefined;
}

function transposedLayers(graph: Graph, exclude: readonly string[], report: ReportBuilder): readonly Node[] {
  return [...graph.nodes()].filter((node) => {
    if (!node.is('ConvTranspose')) return false;
    const found = constantOf(node.input(1))?.dtype === 'float32';
    if (exclude.includes(node.name)) report.skip(node.name, 'excluded', 'it was excluded by name');
    else if (!found) report.skip(node.name, 'weight-not-constant', 'its weight is no float32 constant');
    return found && !exclude.includes(node.name);
  });
}

/** A plan with nodes that read integers beside those that the runtime computes in them. */
function withReaders(
  plan: StaticPlan,
  readers: readonly Node[],
  { stats, report }: { readonly stats: CalibrationStats; readonly report: ReportBuilder },
): StaticPlan {
  const nodes = new Map(plan.nodes);
  const values = new Set(plan.values);
  for (const node of readers) {
    const value = node.input(0) as Value;
    if (constantOf(value) !== undefined || stats.tensors[value.name]?.finite !== true) {
      report.skip(node.name, 'no-statistics', `value "${value.name}" was not observed, or not finite`);
      continue;
    }
    nodes.set(node, 'anchor');
    values.add(value);
  }
  return { ...plan, nodes, values: [...values] };
}

/** Integers that activations become where no layer asks for 8 bits. */
export function activationRange(settings: AwareQuantizationSettings, context: PassContext): IntegerRange {
  const { activationSign: sign, activationBits: bits } = settings;
  const unsigned =
    sign === 'auto' ? (context.target?.profile.unsignedActivations ?? true) : sign === 'unsigned';
  return integerRange(`${unsigned ? 'uint' : 'int'}${bits === 4 ? 4 : 8}`);
}

/**
 * Layers that keep 8 bits: without another layer before them, or behind them.
 *
 * @see Esser et al., "Learned Step Size Quantization", 2020, section 2.3: first and last layers are the most sensitive
 */
export function eightBitLayers(
  layers: readonly Node[],
  settings: AwareQuantizationSettings,
): ReadonlySet<Node> {
  const { eightBits } = settings;
  if (eightBits === 'none') return new Set();
  if (eightBits !== 'ends') return new Set(layers.filter(({ name }) => eightBits.includes(name)));
  const all = new Set(layers);
  const graph = layers[0]?.graph;
  const behind = new Set<Node>();
  const leads = new Set<Node>();
  for (const node of graph?.nodes() ?? []) {
    const found = node.inputs.some((value) => {
      const producer = value?.producer;
      return producer !== null && producer !== undefined && (all.has(producer) || behind.has(producer));
    });
    if (found) behind.add(node);
  }
  for (const node of graph?.nodesReversed() ?? []) {
    const found = node.outputs.some((value) =>
      value.uses.some((use) => all.has(use.node) || leads.has(use.node)),
    );
    if (found) leads.add(node);
  }
  return new Set(layers.filter((node) => !behind.has(node) || !leads.has(node)));
}
