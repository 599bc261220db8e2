import { errors, type Value } from '@lithe/core';
import { type Emitter, oneHot } from '@lithe/training';
import {
  checkFactors,
  type DistillationContext,
  type DistillationLoss,
  type Tap,
  type TappedValues,
  tappedAlike,
} from './distillation-loss.ts';

/** Options of {@link logitDistillation}. */
export interface LogitDistillationOptions extends Partial<Tap> {
  /** Temperature T that both distributions are softened by; 4 by default. */
  readonly temperature?: number | undefined;
  /** Axis of the classes; 1 by default. */
  readonly axis?: number | undefined;
  /**
   * Whether logits are brought to mean 0 and deviation 1 over the classes first, so that the student need not match
   * the teacher's range (Sun et al., "Logit Standardization in Knowledge Distillation", 2024); off by default. The
   * temperature is then that of the standardized logits; the paper uses 2.
   */
  readonly standardize?: boolean | undefined;
}

/**
 * Soft targets (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015): T^2 KL(p_T || p_S) of
 * distributions softened by T, summed over the classes and averaged over the samples alone. T^2 keeps the size of the
 * gradient when T changes. Scores may be of any shape `[…, C, …]`; each place beside the axis of the classes counts as
 * a sample.
 *
 * @throws {LitheError} OPTIONS_INVALID when the temperature is not above 0, or, from `build`, when the shapes of the
 *   scores differ or there is a single class, whose distribution says nothing
 */
export function logitDistillation(options: LogitDistillationOptions = {}): DistillationLoss {
  const { temperature = 4, axis = 1, standardize = false, student = 'logits', teacher } = options;
  checkTemperature('logitDistillation', temperature);
  if (!Number.isInteger(axis)) throw errors.optionsInvalid('logitDistillation', ['"axis" must be whole.']);
  return {
    name: `${standardize ? 'standardized ' : ''}soft targets (T ${temperature})`,
    build: (context) => {
      const { emit } = context;
      const values = scoresOfBoth(context, { student, teacher }, { what: 'logitDistillation', axis });
      const soft = (value: Value): Value => {
        const scores = standardize ? standardized(emit, value, axis) : value;
        return emit.scale(scores, 1 / temperature);
      };
      return emit.scale(divergence(emit, soft(values.teacher), soft(values.student), axis), temperature ** 2);
    },
  };
}

/**
 * Scores of student and teacher, for the same two classes or more.
 *
 * @throws {LitheError} OPTIONS_INVALID when shapes differ, or there is one class
 */
export function scoresOfBoth(
  context: DistillationContext,
  tap: Tap,
  { what, axis }: { readonly what: string; readonly axis: number },
): TappedValues {
  const values = tappedAlike(context, tap, what);
  if (values.student.shape?.at(axis) !== 1) return values;
  throw errors.optionsInvalid(what, [
    `"${tap.student}" is [${values.student.shape.join(', ')}], with one class along axis ${axis}: its softmax is always 1.`,
  ]);
}

/** Refuses a temperature that is not above 0. */
export function checkTemperature(what: string, temperature: number): void {
  if (!(temperature > 0 && Number.isFinite(temperature)))
    throw errors.optionsInvalid(what, ['"temperature" must be above 0.']);
}

/** KL(softmax(teacher) || softmax(student)), summed over an axis, averaged over the rest. */
export function divergence(emit: Emitter, teacher: Value, student: Value, axis: number): Value {
  return averaged(emit, divergences(emit, teacher, student, axis));
}

/** KL(softmax(teacher) || softmax(student)), summed over an axis. */
function divergences(emit: Emitter, teacher: Value, student: Value, axis: number): Value {
  const wanted = emit.op('Softmax', [teacher], { axis });
  const difference = emit.sub(
    emit.op('LogSoftmax', [teacher], { axis }),
    emit.op('LogSoftmax', [student], { axis }),
  );
  return emit.sum(emit.mul(wanted, difference), [axis], false);
}

/** The mean over all elements. */
export function averaged(emit: Emitter, value: Value): Value {
  return emit.op('ReduceMean', [value], { keepdims: 0 });
}

/** (z - mean) / deviation over an axis; the deviation is that of the population, with 1e-7 added as in the paper. */
function standardized(emit: Emitter, value: Value, axis: number): Value {
  const centred = emit.sub(value, emit.mean(value, [axis], true));
  const deviation = emit.op('Sqrt', [emit.shift(emit.mean(emit.mul(centred, centred), [axis], true), 1e-14)]);
  return emit.div(centred, emit.shift(deviation, 1e-7));
}

/** Options of {@link decoupledDistillation}. */
export interface DecoupledDistillationOptions extends Partial<Tap> {
  /** Temperature; 4 by default. */
  readonly temperature?: number | undefined;
  /** Weight of the target-class part; 1 by default. */
  readonly alpha?: number | undefined;
  /** Weight of the part among the other classes; 8 by default, 2 for pairs that are close to each other. */
  readonly beta?: number | undefined;
  /** Name of the input that holds the labels, int64 `[N]`; `label` by default. */
  readonly target?: string | undefined;
}

/**
 * Decoupled distillation (Zhao et al., "Decoupled Knowledge Distillation", 2022): KL of the pair (target class, all
 * others) and KL among the others, weighted by themselves; both times T^2. Logits `[N, C]`. A sample whose label is no
 * class, such as -1, does not count.
 *
 * @throws {LitheError} OPTIONS_INVALID when the temperature is not above 0 or a factor not 0 or more, or, from `build`,
 *   when the scores are not of one shape `[N, C]` with two classes or more
 */
export function decoupledDistillation(options: DecoupledDistillationOptions = {}): DistillationLoss {
  const { temperature = 4, alpha = 1, beta = 8, target = 'label', student = 'logits', teacher } = options;
  checkTemperature('decoupledDistillation', temperature);
  checkFactors('decoupledDistillation', { alpha, beta });
  return {
    name: `decoupled soft targets (T ${temperature}, alpha ${alpha}, beta ${beta})`,
    build: (context) => {
      const { emit } = context;
      const values = scoresOfBoth(context, { student, teacher }, { what: 'decoupledDistillation', axis: 1 });
      const isTarget = labelMask(context, values.student, target);
      const soft = (value: Value): Value => emit.scale(value, 1 / temperature);
      const [ours, theirs] = [soft(values.student), soft(values.teacher)];
      const targetPart = binaryDivergences(emit, { ours, theirs, isTarget });
      // The target is masked out of both distributions, as far as a float goes.
      const masked = (value: Value): Value => emit.sub(value, emit.scale(isTarget, 1000));
      const otherPart = divergences(emit, masked(theirs), masked(ours), 1);
      const each = emit.add(emit.scale(targetPart, alpha), emit.scale(otherPart, beta));
      const labelled = emit.sum(isTarget, [1], false);
      const count = emit.op('Max', [
        emit.op('ReduceSum', [labelled], { keepdims: 0 }),
        emit.scalar(1, labelled.dtype),
      ]);
      const total = emit.op('ReduceSum', [emit.mul(each, labelled)], { keepdims: 0 });
      return emit.scale(emit.div(total, count), temperature ** 2);
    },
  };
}

/** 1 at the label of each sample, `[N, C]`. */
function labelMask(context: DistillationContext, logits: Value, target: string): Value {
  const [batch, classes] = logits.shape ?? [];
  if (typeof classes !== 'number' || logits.shape?.length !== 2) {
    throw errors.optionsInvalid('decoupledDistillation', [`"${logits.name}" must be of shape [N, C].`]);
  }
  const labels = context.target(target, 'int64', [batch ?? null]);
  return oneHot(context.emit, labels, logits);
}

/**
 * KL between (p, 1 - p) of teacher and student for each sample, p being the probability of the label. Both logarithms come from the
 * logits: log p = z_t - logsumexp(z), log (1 - p) = logsumexp of the others - logsumexp(z).
 */
function binaryDivergences(
  emit: Emitter,
  { ours, theirs, isTarget }: { readonly ours: Value; readonly theirs: Value; readonly isTarget: Value },
): Value {
  const logs = (scores: Value): { readonly hit: Value; readonly miss: Value } => {
    const all = emit.op('ReduceLogSumExp', [scores, emit.ints([1])], { keepdims: 0 });
    const others = emit.op(
      'ReduceLogSumExp',
      [emit.sub(scores, emit.scale(isTarget, 1000)), emit.ints([1])],
      { keepdims: 0 },
    );
    const own = emit.sum(emit.mul(scores, isTarget), [1], false);
    return { hit: emit.sub(own, all), miss: emit.sub(others, all) };
  };
  const [wanted, given] = [logs(theirs), logs(ours)];
  const part = (side: 'hit' | 'miss'): Value =>
    emit.mul(emit.op('Exp', [wanted[side]]), emit.sub(wanted[side], given[side]));
  return emit.add(part('hit'), part('miss'));
}
