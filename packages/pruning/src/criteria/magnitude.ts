import { dtypes, isFloat, type TensorSource } from '@lithe/core';
import type { WeightRole } from '../structured/axis-rule.ts';
import type { GroupWeight, PruningGroup } from '../structured/pruning-group.ts';
import type { Criterion, CriterionContext } from './criterion.ts';
import { type Normalizer, normalizeScores, type Reduction, reduceScores } from './reduce.ts';
import { sumByUnit } from './weight-elements.ts';

/** Options that criteria over weights share. */
export interface GroupScoreOptions {
  /** How the scores that the weights of a group give a unit become one; `mean` by default. */
  readonly reduction?: Reduction | undefined;
  /** How groups are made comparable; `mean` by default. */
  readonly normalizer?: Normalizer | undefined;
  /** Whether biases count; `false` by default. */
  readonly bias?: boolean | undefined;
}

/** The weights of a group that count: kernels, matrices and scales of normalizations, and biases where asked for. */
export function countedWeights(group: PruningGroup, bias: boolean): readonly GroupWeight[] {
  const roles: readonly (WeightRole | 'other')[] = bias ? ['weight', 'scale', 'bias'] : ['weight', 'scale'];
  const counted = group.weights.filter((weight) => roles.includes(weight.role));
  return counted.length > 0 ? counted : group.weights.filter((weight) => weight.role === 'other');
}

/** Whether a weight holds quantized numbers: without its scales they do not tell how much a unit matters. */
export function isQuantized({ tensor }: GroupWeight): boolean {
  return !isFloat(tensor.dtype) || dtypes[tensor.dtype].bits < 16;
}

/** Scores each group from a score per weight; none for groups of quantized weights. A weight that several groups share is read once a group. */
export async function scoreWeights(
  groups: readonly PruningGroup[],
  context: CriterionContext,
  rules: GroupScoreOptions & {
    readonly name: string;
    readonly weights: (group: PruningGroup) => readonly GroupWeight[];
    readonly each: (weight: GroupWeight, values: Float64Array, group: PruningGroup) => Float64Array;
  },
): Promise<readonly (Float64Array | undefined)[]> {
  const { reduction = 'mean', normalizer = 'mean' } = rules;
  const scores: (Float64Array | undefined)[] = [];
  for (const [done, group] of groups.entries()) {
    context.signal.throwIfAborted();
    context.progress({ task: rules.name, done, total: groups.length, label: group.name });
    const parts: Float64Array[] = [];
    const weights = rules.weights(group);
    for (const weight of weights.some(isQuantized) ? [] : weights) {
      parts.push(rules.each(weight, await valuesOf(weight.tensor, context.signal), group));
    }
    const reduced = reduceScores(parts, reduction);
    scores.push(reduced === undefined ? undefined : normalizeScores(reduced, normalizer));
  }
  return scores;
}

/** The elements of a weight as numbers. */
export async function valuesOf(source: TensorSource, signal: AbortSignal): Promise<Float64Array> {
  return (await source.load(signal)).toFloat64Array();
}

function norm(name: string, power: 1 | 2, options: GroupScoreOptions): Criterion {
  return {
    name,
    needs: [],
    score: (groups, context) =>
      scoreWeights(groups, context, {
        ...options,
        name,
        weights: (group) => countedWeights(group, options.bias ?? false),
        each: (weight, values, group) => sumByUnit(weight, values, { units: group.units, power }),
      }),
  };
}

/**
 * The sum of |w| over all weights that make or read a unit (Li and others, "Pruning Filters for Efficient ConvNets",
 * ICLR 2017, over groups as in DepGraph, section 3.3).
 */
export function l1Norm(options: GroupScoreOptions = {}): Criterion {
  return norm('l1', 1, options);
}

/** The sum of w² over all weights that make or read a unit; it ranks like the norm itself. */
export function l2Norm(options: GroupScoreOptions = {}): Criterion {
  return norm('l2', 2, options);
}

/**
 * The sum of w² over the sum of those of all units of the group that are at least as large, which compares across
 * layers without tuning.
 *
 * @see Lee, Park, Mo, Ahn and Shin, "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021, equation 4,
 *   for units rather than single weights
 */
export function lampScore(options: Omit<GroupScoreOptions, 'normalizer'> = {}): Criterion {
  return { ...norm('lamp', 2, { ...options, normalizer: 'lamp' }), name: 'lamp' };
}

/**
 * The scale |gamma| of the batch normalization behind a unit (Liu and others, "Learning Efficient Convolutional Networks
 * through Network Slimming", ICCV 2017). Groups without batch normalization are left whole: prune before a simplifier
 * folds it away.
 */
export function batchNormScale(options: Omit<GroupScoreOptions, 'bias'> = {}): Criterion {
  return {
    name: 'batch-norm-scale',
    needs: [],
    score: (groups, context) =>
      scoreWeights(groups, context, {
        normalizer: 'none',
        ...options,
        name: 'batch-norm-scale',
        weights: (group) =>
          group.weights.filter((weight) => weight.op === 'BatchNormalization' && weight.role === 'scale'),
        each: (weight, values, group) => sumByUnit(weight, values, { units: group.units, power: 1 }),
      }),
  };
}
