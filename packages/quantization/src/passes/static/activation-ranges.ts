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

/**
 * Gives the inputs and the result of a concatenation one range where none of them loses more than a bit by it: the
 * runtime copies integers then instead of converting them. A range that takes in an activation function must not grow
 * past what it lets through.
 */
function shareOverConcatenations(plan: StaticPlan, real: Map<Value, RealRange>): void {
  for (const [node] of plan.nodes) {
    if (!node.is('Concat')) continue;
    const roots = new Set<Value>();
    for (const value of [...node.inputs, ...(plan.results.get(node) ?? [])])
      if (value !== null && constantOf(value) === undefined) roots.add(scaleRoot(value, plan));
    const ranges = [...roots].map((root) => real.get(root));
    if (ranges.includes(undefined)) continue;
    const known = ranges as readonly RealRange[];
    const minimum = Math.min(...known.map((range) => range.minimum));
    const maximum = Math.max(...known.map((range) => range.maximum));
    const width = maximum - minimum;
    const fits = [...roots].every((root) => {
      const own = real.get(root) as RealRange;
      const taken = root.producer !== null && plan.absorbed.has(root.producer) ? root.producer : undefined;
      if (taken !== undefined && (minimum < 0 || !taken.is('Relu'))) return false;
      return 2 * (own.maximum - own.minimum) >= width;
    });
    if (!fits) continue;
    const shared: RealRange = { minimum, maximum };
    // A value that another concatenation has joined to others takes them along.
    for (const [root, range] of real) if (known.includes(range)) real.set(root, shared);
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
