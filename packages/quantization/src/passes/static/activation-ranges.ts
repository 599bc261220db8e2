import { constantOf, type Node, type Value } from '@lithe/core';
import { type Calibrator, calibratedRange } from '../../calibration/calibrator.ts';
import { type CalibrationStats, statisticsOf } from '../../calibration/statistics.ts';
import { type AffineParameters, asymmetricParameters } from '../../parameters/affine.ts';
import type { IntegerRange } from '../../parameters/integer-range.ts';
import type { StaticPlan } from './plan.ts';

/** The value whose scale a value shares: through operators that only move elements, back to where it was computed. */
function scaleRoot(value: Value, plan: StaticPlan): Value {
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
  const byRoot = new Map<Value, AffineParameters>();
  const all = new Map<Value, AffineParameters>();
  for (const value of plan.values) {
    const root = scaleRoot(value, plan);
    let parameters = byRoot.get(root);
    if (parameters === undefined) {
      const seen = statisticsOf(stats, root.name);
      const { minimum, maximum } =
        seen === undefined ? { minimum: 0, maximum: 0 } : calibratedRange(seen, calibrator, integers);
      parameters = asymmetricParameters(minimum, maximum, integers);
      const { producer } = root;
      const bound = producer !== null && plan.absorbed.has(producer) ? await upperBound(producer) : undefined;
      if (bound !== undefined) parameters = within(parameters, bound, integers);
      byRoot.set(root, parameters);
    }
    all.set(value, parameters);
  }
  return all;
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
