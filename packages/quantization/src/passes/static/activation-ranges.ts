import { constantOf, type Node, type Value } from '@lithe/core';
import { type Calibrator, calibratedRange, type RealRange } from '../../calibration/calibrator.ts';
import { type CalibrationStats, statisticsOf } from '../../calibration/statistics.ts';
import { type AffineParameters, asymmetricParameters, symmetricParameters } from '../../parameters/affine.ts';
import type { IntegerRange } from '../../parameters/integer-range.ts';
import type { StaticPlan } from './plan.ts';

/** The value whose scale a value shares: through operators that only move elements, back to where it was computed. */
export function scaleRoot(value: Value, plan: StaticPlan): Value {
  let root = value;
  while (root.producer !== null && plan.nodes.get(root.producer) === 'pass-through') {
    root = root.producer.input(0) as Value;
  }
  return root;
}

async function upperBound(rectifier: Node): Promise<number | undefined> {
  if (!rectifier.is('Clip')) return undefined;
  const source = constantOf(rectifier.input(2));
  return source === undefined ? undefined : (await source.load()).toFloat64Array()[0];
}

/** What activations become. */
export interface ActivationRangeOptions {
  /** Integers that stand for them. */
  readonly integers: IntegerRange;
  /** Chooses the real range of each. */
  readonly calibrator: Calibrator;
  /** Whether ranges that go below 0 are made symmetric. */
  readonly symmetric: boolean;
}

/**
 * Scale and zero point of each value that gets a pair. Values on both sides of an operator that only moves elements
 * share one object.
 */
export async function activationRanges(
  plan: StaticPlan,
  stats: CalibrationStats,
  options: ActivationRangeOptions,
): Promise<ReadonlyMap<Value, AffineParameters>> {
  const { integers, calibrator } = options;
  const real = new Map<Value, RealRange>();
  for (const value of plan.values) {
    const root = scaleRoot(value, plan);
    const seen = statisticsOf(stats, root.name);
    const nothing = { minimum: 0, maximum: 0 };
    if (!real.has(root))
      real.set(root, seen === undefined ? nothing : calibratedRange(seen, calibrator, integers));
  }
  shareOverConcatenations(plan, real);
  const byRange = new Map<RealRange, AffineParameters>();
  const all = new Map<Value, AffineParameters>();
  for (const value of plan.values) {
    const root = scaleRoot(value, plan);
    const range = real.get(root) as RealRange;
    let parameters = byRange.get(range);
    if (parameters === undefined) {
      const { minimum, maximum } = range;
      parameters =
        options.symmetric && minimum < 0
          ? symmetricParameters(Math.max(-minimum, maximum), integers)
          : asymmetricParameters(minimum, maximum, integers);
      const { producer } = root;
      const bound = producer !== null && plan.absorbed.has(producer) ? await upperBound(producer) : undefined;
      if (bound !== undefined) parameters = within(parameters, bound, integers);
      byRange.set(range, parameters);
    }
    all.set(value, parameters);
  }
  return all;
}

/** Whether the quantization of a value may have a range that is wider than its own. */
function bears(root: Value, own: RealRange, shared: RealRange, plan: StaticPlan): boolean {
  const taken = root.producer !== null && plan.absorbed.has(root.producer) ? root.producer : undefined;
  if (taken !== undefined && (shared.minimum < 0 || !taken.is('Relu'))) return false;
  return 2 * (own.maximum - own.minimum) >= shared.maximum - shared.minimum;
}

/**
 * Gives the inputs and the result of a concatenation one range where none of them loses more than a bit by it: the
 * runtime copies integers then instead of converting them. A range that takes in an activation function must not grow
 * past what it lets through. Values that another concatenation has joined to these take part, each with its own range.
 */
function shareOverConcatenations(plan: StaticPlan, real: Map<Value, RealRange>): void {
  const owns = new Map(real);
  const joined = new Map<RealRange, readonly Value[]>();
  const rootsOf = (range: RealRange, root: Value): readonly Value[] => joined.get(range) ?? [root];
  for (const [node] of plan.nodes) {
    if (!node.is('Concat')) continue;
    const roots = new Set<Value>();
    let whole = true;
    for (const value of [...node.inputs, ...(plan.results.get(node) ?? [])]) {
      if (value === null || constantOf(value) !== undefined) continue;
      const root = scaleRoot(value, plan);
      const range = real.get(root);
      if (range === undefined) whole = false;
      else for (const one of rootsOf(range, root)) roots.add(one);
    }
    if (!whole) continue;
    const ranges = [...roots].map((root) => owns.get(root) as RealRange);
    const shared: RealRange = {
      minimum: Math.min(...ranges.map((range) => range.minimum)),
      maximum: Math.max(...ranges.map((range) => range.maximum)),
    };
    if (![...roots].every((root) => bears(root, owns.get(root) as RealRange, shared, plan))) continue;
    for (const root of roots) real.set(root, shared);
    joined.set(shared, [...roots]);
  }
}

/**
 * Lowers a scale by a rounding step where float32 rounding put the largest integer above the bound of a `Clip`: the
 * runtime drops the `Clip` only when the integers cannot exceed it.
 */
function within(parameters: AffineParameters, bound: number, range: IntegerRange): AffineParameters {
  const steps = range.high - parameters.zeroPoint;
  if (
    steps <= 0 ||
    Math.fround(steps * parameters.scale) <= bound ||
    steps * parameters.scale > bound * (1 + 1e-6)
  )
    return parameters;
  return { ...parameters, scale: Math.fround(parameters.scale * (1 - 2 ** -23)) };
}
