import { constantOf, type Graph, type IntegerCosts, type Node, ReportBuilder, type Value } from '@lithe/core';
import { type CalibrationStats, statisticsOf } from '../../calibration/statistics.ts';
import { type EligibilityOptions, ineligible } from './eligible.ts';
import { dataInputs, type OperatorKind, operatorKind } from './operator-kinds.ts';
import { isDepthwise, islandsOf, losingIslands, payoff } from './payoff.ts';

/** Which nodes and values of a graph are quantized. */
export interface StaticPlan {
  /** Nodes that run in integers, in order. */
  readonly nodes: ReadonlyMap<Node, OperatorKind>;
  /** Activation functions that the node before them takes in, with that node. */
  readonly absorbed: ReadonlyMap<Node, Node>;
  /** Values that get a Q/DQ pair. */
  readonly values: readonly Value[];
  /** Those of them that a quantized node makes. */
  readonly outputs: ReadonlySet<Value>;
  /** Where the results of each quantized node come out: its outputs, or that of the rectifier it takes in. */
  readonly results: ReadonlyMap<Node, readonly Value[]>;
}

/** Whether a node is a `Relu` or a `Clip` with constant bounds: its effect fits into the range of its output. */
function isRectifier(node: Node): boolean {
  if (node.is('Relu')) return true;
  return (
    node.is('Clip') &&
    [1, 2].every((index) => node.input(index) === null || constantOf(node.input(index)) !== undefined)
  );
}

/** The rectifier that is the only reader of a node's result. */
function rectifierOf(node: Node): Node | undefined {
  const result = node.output();
  const { uses } = result;
  if (uses.length !== 1 || result.outputOf.length > 0) return undefined;
  const reader = uses[0]!.node;
  return reader.graph === node.graph && isRectifier(reader) ? reader : undefined;
}

/** Where the integer result of a node comes out: behind the rectifier that it takes in. */
function resultsOf(node: Node, absorbing: ReadonlyMap<Node, Node>): readonly Value[] {
  const rectifier = absorbing.get(node);
  return rectifier === undefined ? node.outputs.filter((value) => value.name !== '') : [rectifier.output()];
}

interface Candidates {
  readonly kinds: Map<Node, OperatorKind>;
  /** Node to the rectifier that it takes in. */
  readonly absorbing: Map<Node, Node>;
}

function candidatesOf(graph: Graph, options: PlanOptions, losing: ReadonlySet<Node>): Candidates {
  const { report } = options;
  const kinds = new Map<Node, OperatorKind>();
  const absorbing = new Map<Node, Node>();
  const taken = new Set<Node>();
  for (const node of graph.nodes()) {
    const kind = operatorKind(node);
    if (kind === undefined || taken.has(node) || losing.has(node)) continue;
    const why = ineligible(node, options);
    if (why !== undefined) {
      if (kind === 'anchor') report.skip(node.name, why.code, why.reason);
      continue;
    }
    kinds.set(node, kind);
    const rectifier = kind === 'pass-through' ? undefined : rectifierOf(node);
    if (rectifier === undefined) continue;
    absorbing.set(node, rectifier);
    taken.add(rectifier);
  }
  return { kinds, absorbing };
}

/** Whether the ranges of all activations that a node reads and of its result are known. */
function measured(node: Node, results: readonly Value[], stats: CalibrationStats): string | undefined {
  const read = dataInputs(node).map((index) => node.input(index));
  for (const value of [...read, ...results]) {
    if (value === null || constantOf(value) !== undefined) continue;
    const seen = statisticsOf(stats, value.name);
    if (seen === undefined) return `value "${value.name}" was not observed`;
    if (!seen.finite) return `value "${value.name}" was not finite`;
  }
  return undefined;
}

/** What planning needs beside eligibility. */
export interface PlanOptions extends EligibilityOptions {
  /** What is weighed. */
  readonly costs: IntegerCosts;
  /** Products whose output is quantized in any case. */
  readonly closed: ReadonlySet<Node>;
  /** Receives what stays float. */
  readonly report: ReportBuilder;
}

/** The anchors that lose most, one of each group that integers connect: groups do not change what others gain. */
function worstAnchors(plan: StaticPlan, options: PlanOptions): readonly Node[] {
  const worst: Node[] = [];
  for (const island of islandsOf(plan)) {
    let least = 0;
    let found: Node | undefined;
    for (const node of island) {
      if (plan.nodes.get(node) !== 'anchor' || !isWeighed(node, options)) continue;
      const gain = payoff(node, plan, options.costs);
      if (gain >= least) continue;
      found = node;
      least = gain;
    }
    if (found !== undefined) worst.push(found);
  }
  return worst;
}

/**
 * Decides what runs in integers. Anchors do where the sums they save outweigh conversions at their edges; followers
 * and pass-through operators only on the way from one integer node to another.
 */
export function planStatic(graph: Graph, stats: CalibrationStats, options: PlanOptions): StaticPlan {
  const losing = new Set<Node>();
  for (;;) {
    // The worst first: a neighbour that becomes float changes what the others gain.
    const plan = planOnce(graph, stats, { ...options, report: new ReportBuilder() }, losing);
    const worst = worstAnchors(plan, options);
    const dropped =
      worst.length > 0
        ? worst
        : losingIslands(plan, options.costs).filter((node) => isWeighed(node, options));
    if (dropped.length === 0) break;
    for (const node of dropped) losing.add(node);
  }
  for (const { name } of losing) {
    options.report.skip(
      name,
      'conversions',
      'converting its input and output would cost more than integers save',
    );
  }
  return planOnce(graph, stats, options, losing);
}

/** Whether a node may be left in float for its costs: where conversions cost something, and it was not asked for. */
function isWeighed(node: Node, options: PlanOptions): boolean {
  return options.costs.conversion > 0 && (options.depthwise !== true || !isDepthwise(node));
}

/** @param losing nodes that stay float */
function planOnce(
  graph: Graph,
  stats: CalibrationStats,
  options: PlanOptions,
  losing: ReadonlySet<Node>,
): StaticPlan {
  const { report } = options;
  const { kinds, absorbing } = candidatesOf(graph, options, losing);

  // Forwards: which values may come as integers.
  const arriving = new Set<Value>();
  for (const [node, kind] of kinds) {
    const results = resultsOf(node, absorbing);
    const missing = measured(node, results, stats);
    const reached =
      kind === 'anchor' || dataInputs(node).some((index) => arriving.has(node.input(index) as Value));
    if (missing !== undefined && reached) report.skip(node.name, 'no-statistics', missing);
    if (missing !== undefined || !reached) kinds.delete(node);
    else for (const result of results) arriving.add(result);
  }

  // Backwards: which of them somebody takes as integers.
  const wanted = new Set<Value>();
  for (const [node, kind] of [...kinds].reverse()) {
    const results = resultsOf(node, absorbing);
    if (kind !== 'anchor' && !results.some((result) => wanted.has(result))) {
      kinds.delete(node);
      report.skip(node.name, 'no-integer-reader', 'nothing behind it takes integers');
      continue;
    }
    for (const index of dataInputs(node)) {
      const value = node.input(index);
      if (value !== null && constantOf(value) === undefined) wanted.add(value);
    }
  }

  const absorbed = new Map<Node, Node>();
  const values = new Set(wanted);
  const outputs = new Set<Value>();
  const made = new Map<Node, readonly Value[]>();
  for (const [node, kind] of kinds) {
    const rectifier = absorbing.get(node);
    const results = resultsOf(node, absorbing);
    made.set(node, results);
    // A product without integer reader hands out floats directly; a convolution has only an integer form.
    const closes = kind !== 'anchor' || node.is('Conv') || options.closed.has(node);
    const floats = !closes && !results.some((result) => wanted.has(result));
    if (floats) continue;
    if (rectifier !== undefined) absorbed.set(rectifier, node);
    for (const result of results) {
      values.add(result);
      outputs.add(result);
    }
  }
  return { nodes: kinds, absorbed, values: [...values], outputs, results: made };
}
