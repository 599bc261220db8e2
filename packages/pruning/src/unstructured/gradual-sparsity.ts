import { elementsOf, errors, type Value } from '@lithe/core';
import type { Emitter, Optimizer, ParameterUpdate, UpdateContext } from '@lithe/training';
import { type HeldWeights, matcher, removedBefore, withoutRemoved } from './held-zeros.ts';
import { type FullSchedule, fullSchedule, type SparsitySchedule, sparsityAt } from './sparsity-schedule.ts';

/** Options of {@link gradualSparsity}. */
export interface GradualOptions extends SparsitySchedule, HeldWeights {
  /**
   * What decides: the size of a weight (`magnitude`, the default), or how far training has moved it away from zero
   * (`movement`: the sum of `-w dL/dw` over the updates), which suits fine-tuning of what was trained on something else.
   */
  readonly score?: 'magnitude' | 'movement' | undefined;
  /**
   * Which weights compete: those of one tensor (`local`, the default, as in the papers: each reaches the ratio), or all
   * of them (`global`: together they reach it, and small layers keep what they need). Prefer `global` for small networks
   * at high ratios.
   */
  readonly scope?: 'local' | 'global' | undefined;
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

/** Whether masks are chosen after this update, and which choice it is, bounded to those there are. */
function choiceOf(
  { emit, step }: Pick<UpdateContext, 'emit' | 'step'>,
  { begin, every, times }: FullSchedule,
): { readonly due: Value; readonly index: Value } {
  const choice = emit.div(emit.shift(step, -begin), emit.scalar(every));
  const whole = emit.op('Floor', [choice]);
  const due = emit.op('And', [
    emit.op('Equal', [choice, whole]),
    emit.op('And', [
      emit.op('GreaterOrEqual', [choice, emit.scalar(0)]),
      emit.op('LessOrEqual', [choice, emit.scalar(times)]),
    ]),
  ]);
  const bounded = emit.op('Clip', [whole, emit.scalar(0), emit.scalar(times)]);
  return { due, index: emit.op('Reshape', [emit.cast(bounded, 'int64'), emit.ints([1])]) };
}

/** 1 for all but the largest of `[elements]` scores; how many stay follows from the update. */
function removedOf(emit: Emitter, scores: Value, kept: Value, elements: number): Value {
  const [, places] = emit.node('TopK', [scores, kept], { axis: 0, largest: 1, sorted: 0 }, 2);
  const dtype = scores.dtype ?? 'float32';
  const zeros = emit.op('Expand', [emit.scalar(0, dtype), kept]);
  const ones = emit.op('Expand', [emit.scalar(1, dtype), emit.ints([elements])]);
  return emit.op('ScatterElements', [ones, places as Value, zeros], { axis: 0 });
}

function sizesOf(parameter: Value): readonly number[] {
  const { shape } = parameter;
  if (shape === undefined || !shape.every((dim) => typeof dim === 'number'))
    throw errors.internal(`the shape of "${parameter.name}" is not known`);
  return shape as readonly number[];
}

/** Below any score, and above what float16 holds. */
const LOWEST = -60_000;

/** A parameter that competes. */
interface Candidate {
  readonly update: ParameterUpdate;
  readonly before: Value;
  /** Its scores, those of what is gone being the lowest. */
  readonly ranked: Value;
  readonly dims: readonly number[];
}

function candidateOf(update: ParameterUpdate, score: 'magnitude' | 'movement'): Candidate {
  const { context, next } = update;
  const { emit, parameter, gradient } = context;
  const before = removedBefore(context);
  let scores: Value;
  if (score === 'movement') {
    scores = emit.sub(context.slot('movement'), emit.mul(parameter, gradient));
    context.setSlot('movement', scores);
  } else {
    scores = emit.op('Abs', [next]);
  }
  return {
    update,
    before,
    ranked: withoutRemoved(context, before, scores, LOWEST),
    dims: sizesOf(parameter),
  };
}

/** Lets candidates compete with each other, and gives each after the step. */
function compete(candidates: readonly Candidate[], schedule: FullSchedule): readonly Value[] {
  const [first] = candidates;
  if (first === undefined) return [];
  const { context } = first.update;
  const { emit } = context;
  const sizes = candidates.map(({ dims }) => elementsOf(dims));
  const elements = sizes.reduce((sum, size) => sum + size, 0);
  const flat = candidates.map(({ ranked }, index) => {
    const row = emit.op('Reshape', [ranked, emit.ints([sizes[index] as number])]);
    return candidates.length === 1 ? row : emit.cast(row, 'float32');
  });
  const scores = flat.length === 1 ? (flat[0] as Value) : emit.op('Concat', flat, { axis: 0 });
  const { due, index } = choiceOf(context, schedule);
  const kept = emit.op('Gather', [keptCounts(emit, elements, schedule), index], { axis: 0 });
  const removed = removedOf(emit, scores, kept, elements);
  const parts =
    candidates.length === 1
      ? [removed]
      : emit.node('Split', [removed, emit.ints(sizes)], { axis: 0 }, candidates.length);
  return candidates.map(({ update, before, dims }, place) => {
    const fresh = emit.op('Reshape', [parts[place] as Value, emit.ints(dims)]);
    const own = emit.cast(fresh, update.context.parameter.dtype ?? 'float32');
    const gone = emit.op('Where', [due, own, before]);
    update.context.setSlot('removed', gone);
    return withoutRemoved(update.context, gone, update.next, 0);
  });
}

/**
 * An optimizer that makes weights sparse as it trains, more and more of them by the schedule of Zhu and Gupta: after
 * every `every` updates those with the smallest scores become zero, for good; in between zeros are held. All of it is
 * part of the training graph and its state: counts are exact, and a run that was stopped goes on to the same weights.
 * Each weight tensor reaches `ratio` by itself, or with `scope: 'global'` all of them together; for shares by layer wrap
 * it again, with other weights and another ratio.
 *
 * End the schedule early, after about a quarter of the updates: what is left needs the others, at a learning rate that
 * still moves it. On a small convolutional network, 937 updates and all weights competing, 98 % zeros that grew for a
 * quarter of them kept 89.1 %, for half of them 88.2 %, and zeros chosen at once 88.9 %; up to 95 % they are alike.
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
  const { score = 'magnitude', scope = 'local' } = options;
  const schedule = fullSchedule(options);
  const base = {
    name: `${optimizer.name} with gradual sparsity by ${score}`,
    weightDecay: optimizer.weightDecay,
  };
  if (scope === 'local')
    return {
      ...base,
      update: (context) => {
        const next = optimizer.update(context);
        if (!matches(context.parameter.name)) return next;
        return compete([candidateOf({ context, next }, score)], schedule)[0] ?? next;
      },
      ...(optimizer.finish === undefined ? {} : { finish: optimizer.finish }),
    };
  return {
    ...base,
    update: (context) => optimizer.update(context),
    finish: (updates) => {
      const moved = optimizer.finish?.(updates) ?? updates.map(({ next }) => next);
      const all = updates.map(({ context }, index) => ({ context, next: moved[index] as Value }));
      const mine = all.filter(({ context }) => matches(context.parameter.name));
      const sparse = compete(
        mine.map((update) => candidateOf(update, score)),
        schedule,
      );
      const found = new Map(mine.map((update, index) => [update, sparse[index] as Value]));
      return all.map((update) => found.get(update) ?? update.next);
    },
  };
}
