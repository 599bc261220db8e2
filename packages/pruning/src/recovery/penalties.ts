import { errors, type Value } from '@lithe/core';
import type { Emitter, Loss, LossContext } from '@lithe/training';
import type { GroupWeight, PruningGroup, Removal } from '../structured/pruning-group.ts';

/** The matrices, kernels and scales of a group, each once. */
function weightsOf(group: PruningGroup): readonly GroupWeight[] {
  const found = new Map<string, GroupWeight>();
  for (const weight of group.weights) {
    if (weight.role !== 'weight' && weight.role !== 'scale') continue;
    found.set(`${weight.axis} ${weight.value}`, weight);
  }
  return [...found.values()];
}

/** Sums over all axes of a weight but the one that its units lie along. */
function overOthers(emit: Emitter, value: Value, weight: GroupWeight): Value {
  const others = weight.tensor.shape.flatMap((_, axis) => (axis === weight.axis ? [] : [axis]));
  return emit.sum(value, others, false);
}

/** A number for each unit from one for each index along an axis: `[length]` to `[units]`. */
function byUnit(emit: Emitter, value: Value, { units: unitOf }: GroupWeight, units: number): Value {
  const { length } = unitOf;
  const inner = length / units;
  if (length === units && unitOf.every((unit, index) => unit === index)) return value;
  if (Number.isInteger(inner) && unitOf.every((unit, index) => unit === Math.floor(index / inner)))
    return emit.sum(emit.reshape(value, [units, inner]), [1], false);
  if (Number.isInteger(inner) && unitOf.every((unit, index) => unit === index % units))
    return emit.sum(emit.reshape(value, [inner, units]), [0], false);
  const members = new Float32Array(length * units);
  for (const [index, unit] of unitOf.entries()) if (unit >= 0) members[index * units + unit] = 1;
  const table = emit.floats([length, units], members, value.dtype ?? 'float32');
  return emit.reshape(emit.matmul(emit.reshape(value, [1, length]), table), [units]);
}

function total(emit: Emitter, parts: readonly Value[], what: string): Value {
  const [first, ...rest] = parts;
  if (first === undefined) {
    throw errors.optionsInvalid(
      what,
      ['The groups have no weights that it applies to.'],
      'Find the groups with pruningGroups(model), before normalization is folded.',
    );
  }
  return rest.reduce((sum, part) => emit.add(sum, part), first);
}

/**
 * The sum of |gamma| over the batch normalizations of prunable groups: training with it drives the scales of channels
 * that matter little to zero, for `batchNormScale` to find. To be added to the task's loss with a factor of about 1e-4.
 *
 * @param groups what `pruningGroups` found in the model that is trained
 * @throws {LitheError} OPTIONS_INVALID when the loss is built and there is no normalization in the groups
 * @see Liu, Li, Shen, Huang, Yan and Zhang, "Learning Efficient Convolutional Networks through Network Slimming", ICCV
 *   2017, equation 1
 * @example
 * ```ts
 * import { batchNormPenalty, pruningGroups } from '@lithe/pruning';
 * import { crossEntropy, resnet20, weightedSum } from '@lithe/training';
 *
 * const model = await resnet20();
 * const loss = weightedSum([
 *   { loss: crossEntropy({ logits: 'logits' }), weight: 1 },
 *   { loss: batchNormPenalty(await pruningGroups(model)), weight: 1e-4 },
 * ]);
 * loss.name; // => '1 cross-entropy + 0.0001 batch-norm penalty'
 * ```
 */
export function batchNormPenalty(groups: readonly PruningGroup[]): Loss {
  const name = 'batch-norm penalty';
  return {
    name,
    build: ({ emit, value }: LossContext) => {
      const scales = new Set<string>();
      for (const group of groups) {
        if (!group.prunable) continue;
        for (const weight of group.weights)
          if (weight.op === 'BatchNormalization' && weight.role === 'scale') scales.add(weight.value);
      }
      const parts = [...scales].map((scale) => emit.sum(emit.op('Abs', [value(scale)]), [0], false));
      return total(emit, parts, name);
    },
  };
}

/**
 * Group lasso over prunable groups: the sum of the norms of units, where the norm of a unit is that of all matrices,
 * kernels and scales that make or read it. Whole units go to zero together, however they hang together.
 *
 * @param groups what `pruningGroups` found in the model that is trained
 * @param options `epsilon` is added to squared norms, so that the gradient of a unit that is zero is zero; 1e-12 by
 *   default
 * @throws {LitheError} OPTIONS_INVALID when the loss is built and the groups hold no weights
 * @see Wen, Wu, Wang, Chen and Li, "Learning Structured Sparsity in Deep Neural Networks", NIPS 2016, equation 2
 */
export function groupLassoPenalty(
  groups: readonly PruningGroup[],
  options: { readonly epsilon?: number | undefined } = {},
): Loss {
  const { epsilon = 1e-12 } = options;
  if (!(epsilon > 0)) throw errors.optionsInvalid('groupLassoPenalty', ['"epsilon" must be above 0.']);
  const name = 'group lasso penalty';
  return {
    name,
    build: ({ emit, value }: LossContext) => {
      const parts: Value[] = [];
      for (const group of groups) {
        if (!group.prunable) continue;
        const squares = weightsOf(group).map((weight) => {
          const tensor = value(weight.value);
          return byUnit(emit, overOthers(emit, emit.mul(tensor, tensor), weight), weight, group.units);
        });
        if (squares.length === 0) continue;
        const norms = emit.op('Sqrt', [emit.shift(total(emit, squares, name), epsilon)]);
        parts.push(emit.sum(norms, [0], false));
      }
      return total(emit, parts, name);
    },
  };
}

/** How the factor of {@link growingPenalty} grows. */
export interface GrowingPenaltyOptions {
  /** What it grows by; 1e-4 by default. */
  readonly increment?: number | undefined;
  /** Steps between increments; 10 by default. */
  readonly every?: number | undefined;
  /** Where it stops growing; 1 by default. */
  readonly ceiling?: number | undefined;
}

/**
 * An L2 penalty on units that are to be removed, with a factor that grows as training goes on: half the factor times the
 * sum of squares of the matrices, kernels and scales that make or read them. What the units did moves to the others while
 * there is time; removing them afterwards costs little.
 *
 * @param removals what is to go: the `removals` of a plan of `planPruning`
 * @throws {LitheError} OPTIONS_INVALID when the options are not positive, or the loss is built and nothing is to go
 * @see Wang, Qin, Zhang and Fu, "Neural Pruning via Growing Regularization", ICLR 2021, section 3.2 (GReg-1)
 * @example
 * ```ts
 * import { growingPenalty, pruningGroups } from '@lithe/pruning';
 * import { cnn } from '@lithe/training';
 *
 * const [group] = await pruningGroups(await cnn());
 * growingPenalty(group === undefined ? [] : [{ group, units: [0, 1] }]).name; // => 'growing penalty'
 * ```
 */
export function growingPenalty(removals: readonly Removal[], options: GrowingPenaltyOptions = {}): Loss {
  const { increment = 1e-4, every = 10, ceiling = 1 } = options;
  if (!(increment > 0 && ceiling > 0 && Number.isInteger(every) && every > 0)) {
    throw errors.optionsInvalid('growingPenalty', [
      '"increment" and "ceiling" must be above 0, and "every" a whole number above 0.',
    ]);
  }
  const name = 'growing penalty';
  return {
    name,
    build: ({ emit, value, step }: LossContext) => {
      const parts: Value[] = [];
      for (const { group, units } of removals) {
        const isRemoved = new Set(units);
        for (const weight of weightsOf(group)) {
          const tensor = value(weight.value);
          const dtype = tensor.dtype ?? 'float32';
          const mask = Float32Array.from(weight.units, (unit) => (isRemoved.has(unit) ? 1 : 0));
          if (!mask.includes(1)) continue;
          const sums = overOthers(emit, emit.mul(tensor, tensor), weight);
          parts.push(emit.sum(emit.mul(sums, emit.floats([mask.length], mask, dtype)), [0], false));
        }
      }
      const squares = total(emit, parts, name);
      const times = emit.op('Floor', [emit.scale(step(), 1 / every)]);
      const factor = emit.op('Min', [emit.scale(times, increment), emit.scalar(ceiling)]);
      return emit.scale(emit.mul(squares, emit.cast(factor, squares.dtype ?? 'float32')), 0.5);
    },
  };
}
