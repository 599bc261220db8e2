import type { Value } from '@lithe/core';
import { addGradients, addLoss, type Loss } from '@lithe/training';
import type { GroupWeight, PruningGroup } from '../structured/pruning-group.ts';
import type { Criterion, CriterionContext } from './criterion.ts';
import { countedWeights, type GroupScoreOptions } from './magnitude.ts';
import { averageOutputs, type ProbeGraph, probeGraph } from './probe.ts';
import { normalizeScores, reduceScores } from './reduce.ts';
import { gatherByUnit } from './weight-elements.ts';

/** Options of criteria that look at gradients. */
export interface GradientOptions extends GroupScoreOptions {
  /** The loss that importance is measured by: `crossEntropy({ logits: 'logits' })` for a classifier. */
  readonly loss: Loss;
  /** At most this many samples; 256 by default. */
  readonly samples?: number | undefined;
  /** Samples per batch: a gradient is that of a batch; the dataset's choice by default. */
  readonly batchSize?: number | undefined;
}

/** Options of {@link taylorScore}. */
export interface TaylorOptions extends GradientOptions {
  /** What the change is taken of: each weight `element` (the default), or the `unit` as one, where signs cancel. */
  readonly per?: 'element' | 'unit' | undefined;
}

type Measure = (probe: ProbeGraph, change: Value, axis: number) => Value;

/** Averages a measure of w g, the change of the loss that a weight brings, by index of each weight that counts. */
async function scoreGradients(
  groups: readonly PruningGroup[],
  context: CriterionContext,
  rules: GradientOptions & { readonly name: string; readonly measure: Measure },
): Promise<readonly (Float64Array | undefined)[]> {
  const { loss, name, bias = false, samples = 256, batchSize } = rules;
  const model = context.model.clone();
  const { probe, outputs } = probeGraph(model);
  const weights = groups.map((group) => countedWeights(group, bias));
  const values = [...new Set(weights.flat().map((weight) => weight.value))];
  const wrt = values.map((value) => probe.value(value));
  const { value: of, detached: stop } = addLoss(model, loss, context.opset);
  const gradients = addGradients(model, { of, wrt, stop, opset: context.opset });
  const changes = new Map<string, Value>();
  for (const [index, gradient] of gradients.entries()) {
    const weight = wrt[index] as Value;
    if (gradient !== undefined) changes.set(weight.name, probe.each('Mul', [weight, gradient]));
  }
  const keyOf = (weight: GroupWeight): string => `${weight.value}:${weight.axis}`;
  for (const weight of weights.flat()) {
    const change = changes.get(weight.value);
    if (change === undefined || outputs.has(keyOf(weight))) continue;
    probe.give(keyOf(weight), rules.measure(probe, change, weight.axis));
  }
  const means = await averageOutputs(model, outputs, context, { task: name, samples, batchSize });
  return groups.map((group, place) => {
    const parts: Float64Array[] = [];
    for (const weight of weights[place] as readonly GroupWeight[]) {
      const numbers = means.get(keyOf(weight));
      if (numbers !== undefined) parts.push(gatherByUnit(numbers, weight.units, group.units));
    }
    const reduced = reduceScores(parts, rules.reduction ?? 'mean');
    return reduced === undefined ? undefined : normalizeScores(reduced, rules.normalizer ?? 'mean');
  });
}

/**
 * The first-order change of the loss when a unit goes: the mean over batches of sum |w g|, or of |sum w g| for a unit as
 * one.
 *
 * @see Molchanov, Mallya, Tyree, Frosio and Kautz, "Importance Estimation for Neural Network Pruning", CVPR 2019,
 *   equation 8; absolute values where they take squares
 */
export function taylorScore(options: TaylorOptions): Criterion {
  const name = 'taylor';
  const perUnit = options.per === 'unit';
  const measure: Measure = (probe, change, axis) =>
    perUnit
      ? probe.each('Abs', [probe.overOthers(change, axis, 'sum')])
      : probe.overOthers(probe.each('Abs', [change]), axis, 'sum');
  return {
    name,
    needs: ['data', 'backend'],
    score: (groups, context) => scoreGradients(groups, context, { ...options, name, measure }),
  };
}

/**
 * The second-order change of the loss with a diagonal Hessian: the mean over batches of sum w² g², the empirical Fisher
 * information standing in for the curvature.
 *
 * @see LeCun, Denker and Solla, "Optimal Brain Damage", 1989, equation 5; Theis, Korshunova, Tejani and Huszar, "Faster
 *   Gaze Prediction with Dense Networks and Fisher Pruning", 2018, equation 8
 */
export function fisherScore(options: GradientOptions): Criterion {
  const name = 'fisher';
  const measure: Measure = (probe, change, axis) =>
    probe.overOthers(probe.each('Mul', [change, change]), axis, 'sum');
  return {
    name,
    needs: ['data', 'backend'],
    score: (groups, context) => scoreGradients(groups, context, { ...options, name, measure }),
  };
}
