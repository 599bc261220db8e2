import { elementsOf, errors, type Model, ReportBuilder, type Value } from '@lithe/core';
import type { Emitter, Optimizer, UpdateContext } from '@lithe/training';
import { sparseLayers } from './sparse-layer.ts';
import { type FullSchedule, fullSchedule, type SparsitySchedule, sparsityAt } from './sparsity-schedule.ts';

/** Which weights an optimizer holds. */
export interface HeldWeights {
  /** Names of weights, or a test. */
  readonly weights: readonly string[] | ((name: string) => boolean);
}

/** Options of {@link gradualSparsity}. */
export interface GradualOptions extends SparsitySchedule, HeldWeights {
  /**
   * What decides: the size of a weight (`magnitude`, the default), or how far training has moved it away from zero
   * (`movement`: the sum of `-w dL/dw` over the updates), which suits fine-tuning of what was trained on something else.
   */
  readonly score?: 'magnitude' | 'movement' | undefined;
}

/**
 * Names of the weights that sparsity is for: kernels of convolutions and matrices of products that nothing else reads.
 *
 * @param protect names of weights and nodes to leave out
 */
export function sparsifiableWeights(model: Model, protect: readonly string[] = []): readonly string[] {
  return sparseLayers(model.graph, protect, new ReportBuilder()).map(({ name }) => name);
}

function matcher({ weights }: HeldWeights): (name: string) => boolean {
  if (typeof weights === 'function') return weights;
  const names = new Set(weights);
  return (name) => names.has(name);
}

const scalarOf = ({ emit, parameter }: UpdateContext, value: number): Value =>
  emit.scalar(value, parameter.dtype ?? 'float32');

/** 1 where a weight is zero for good: kept in a slot, and taken from the weights themselves in the first update. */
function removedBefore(context: UpdateContext): Value {
  const { emit, parameter, step } = context;
  const zero = emit.op('Equal', [parameter, scalarOf(context, 0)]);
  const first = emit.op('LessOrEqual', [step, emit.scalar(1)]);
  return emit.op('Where', [first, emit.cast(zero, parameter.dtype ?? 'float32'), context.slot('removed')]);
}

const withoutRemoved = (context: UpdateContext, removed: Value, value: Value, instead: number): Value => {
  const gone = context.emit.op('Greater', [removed, scalarOf(context, 0.5)]);
  return context.emit.op('Where', [gone, scalarOf(context, instead), value]);
};

/**
 * An optimizer that leaves zeros alone: weights that are zero before the first update are exactly zero after every
 * update, whatever gradients, momentum and weight decay say. Without it fine-tuning fills the zeros in again. The masks
 * are part of the training state, so runs resume with them.
 *
 * @param optimizer moves the other weights
 * @example
 * ```ts
 * import { optimize } from '@lithe/core';
 * import { holdZeros, sparsifiableWeights, sparsify } from '@lithe/pruning';
 * import { adamW, crossEntropy, mlp, trainingStep } from '@lithe/training';
 *
 * const { model } = await optimize(await mlp({ inputs: 8, hidden: [16], classes: 4 }), [sparsify({ ratio: 0.8 })]);
 * const optimizer = holdZeros(adamW(), { weights: sparsifiableWeights(model) });
 * const step = await trainingStep(model, { loss: crossEntropy({ logits: 'logits' }), optimizer });
 * step.state.some(({ input }) => input === 'removed:linear1.weight'); // => true
 * ```
 */
export function holdZeros(optimizer: Optimizer, options: HeldWeights): Optimizer {
  const matches = matcher(options);
  return {
    name: `${optimizer.name} with zeros held`,
    weightDecay: optimizer.weightDecay,
    update: (context) => {
      const next = optimizer.update(context);
      if (!matches(context.parameter.name)) return next;
      const removed = removedBefore(context);
      context.setSlot('removed', removed);
      return withoutRemoved(context, removed, next, 0);
    },
  };
}

/** Numbers of weights that stay at each choice of the schedule, as a constant of the graph. */
function keptCounts(emit: Emitter, elements: number, schedule: FullSchedule): Value {
  const { times, begin, every } = schedule;
  const counts = Array.from(
    { length: times + 1 },
    (_, choice) => elements - Math.round(elements * sparsityAt(begin + choice * every, schedule)),
  );
  return emit.op('Constant', [], { value_ints: counts });
}

/** 1 for all but the largest scores; how many stay follows from the update. */
function removedNow(
  context: UpdateContext,
  scores: Value,
  schedule: FullSchedule,
): { due: Value; fresh: Value } {
  const { emit, parameter, step } = context;
  const { shape } = parameter;
  if (shape === undefined || !shape.every((dim) => typeof dim === 'number'))
    throw errors.internal(`the shape of "${parameter.name}" is not known`);
  const dims = shape as readonly number[];
  const elements = elementsOf(dims);
  const choice = emit.div(emit.shift(step, -schedule.begin), emit.scalar(schedule.every));
  const whole = emit.op('Floor', [choice]);
  const due = emit.op('And', [
    emit.op('Equal', [choice, whole]),
    emit.op('And', [
      emit.op('GreaterOrEqual', [choice, emit.scalar(0)]),
      emit.op('LessOrEqual', [choice, emit.scalar(schedule.times)]),
    ]),
  ]);
  const bounded = emit.op('Clip', [whole, emit.scalar(0), emit.scalar(schedule.times)]);
  const index = emit.op('Reshape', [emit.cast(bounded, 'int64'), emit.ints([1])]);
  const kept = emit.op('Gather', [keptCounts(emit, elements, schedule), index], { axis: 0 });
  const flat = emit.op('Reshape', [scores, emit.ints([elements])]);
  const [, places] = emit.node('TopK', [flat, kept], { axis: 0, largest: 1, sorted: 0 }, 2);
  const zeros = emit.op('Expand', [scalarOf(context, 0), kept]);
  const ones = emit.op('Expand', [scalarOf(context, 1), emit.ints([elements])]);
  const removed = emit.op('ScatterElements', [ones, places as Value, zeros], { axis: 0 });
  return { due, fresh: emit.op('Reshape', [removed, emit.ints(dims)]) };
}

/** Below any score, and above what float16 holds. */
const LOWEST = -60_000;

/**
 * An optimizer that makes weights sparse as it trains, more and more of them by the schedule of Zhu and Gupta: after
 * every `every` updates those of a weight with the smallest scores become zero, for good; in between zeros are held. All
 * of it is part of the training graph and its state: counts are exact, and a run that was stopped goes on to the same
 * weights. Each weight is ranked by itself and reaches `ratio`, rounded to whole weights; for shares by layer wrap it
 * again, with other weights and another ratio.
 *
 * A running average of weights (`emaDecay`) comes near the zeros but not to them: without it the result is sparse.
 *
 * Differs from Sanh et al. in that a removed weight does not come back.
 *
 * @param optimizer moves the weights that stay
 * @throws {LitheError} VALUE_OUT_OF_RANGE when the schedule cannot be kept
 * @see Zhu and Gupta, "To prune, or not to prune", 2017; Sanh, Wolf and Rush, "Movement Pruning: Adaptive Sparsity by
 *   Fine-Tuning", NeurIPS 2020, equation 4
 * @example
 * ```ts
 * import { gradualSparsity } from '@lithe/pruning';
 * import { adamW } from '@lithe/training';
 *
 * const options = { weights: ['linear1.weight'], ratio: 0.9, every: 50, times: 20 };
 * gradualSparsity(adamW(), options).name; // => 'AdamW with gradual sparsity by magnitude'
 * ```
 */
export function gradualSparsity(optimizer: Optimizer, options: GradualOptions): Optimizer {
  const matches = matcher(options);
  const { score = 'magnitude' } = options;
  const schedule = fullSchedule(options);
  return {
    name: `${optimizer.name} with gradual sparsity by ${score}`,
    weightDecay: optimizer.weightDecay,
    update: (context) => {
      const next = optimizer.update(context);
      const { emit, parameter, gradient } = context;
      if (!matches(parameter.name)) return next;
      const before = removedBefore(context);
      let scores: Value;
      if (score === 'movement') {
        scores = emit.sub(context.slot('movement'), emit.mul(parameter, gradient));
        context.setSlot('movement', scores);
      } else {
        scores = emit.op('Abs', [next]);
      }
      const ranked = withoutRemoved(context, before, scores, LOWEST);
      const { due, fresh } = removedNow(context, ranked, schedule);
      const removed = emit.op('Where', [due, fresh, before]);
      context.setSlot('removed', removed);
      return withoutRemoved(context, removed, next, 0);
    },
  };
}
