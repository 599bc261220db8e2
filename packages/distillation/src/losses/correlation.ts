import { errors, type Value } from '@lithe/core';
import type { Emitter } from '@lithe/training';
import { checkFactors, type DistillationLoss, rankOf, type Tap } from './distillation-loss.ts';
import { averaged, checkTemperature, scoresOfBoth } from './logits.ts';

/** Options of {@link correlationDistillation}. */
export interface CorrelationDistillationOptions extends Partial<Tap> {
  /** Temperature; 1 by default. */
  readonly temperature?: number | undefined;
  /** Weight of the relation among classes, for each sample; 1 by default. */
  readonly beta?: number | undefined;
  /** Weight of the relation among samples, for each class; 1 by default. */
  readonly gamma?: number | undefined;
}

/**
 * DIST (Huang et al., "Knowledge Distillation from a Stronger Teacher", 2022): 1 minus Pearson's correlation of the
 * softened distributions, for each sample over the classes and for each class over the batch; times T^2. A student
 * need only rank as the teacher does. Logits `[N, C]`.
 *
 * @throws {LitheError} OPTIONS_INVALID when the temperature is not above 0 or a factor not 0 or more, or, from `build`,
 *   when the scores are not of one shape `[N, C]` with two classes or more
 */
export function correlationDistillation(options: CorrelationDistillationOptions = {}): DistillationLoss {
  const { temperature = 1, beta = 1, gamma = 1, student = 'logits', teacher } = options;
  checkTemperature('correlationDistillation', temperature);
  checkFactors('correlationDistillation', { beta, gamma });
  return {
    name: `correlation (T ${temperature}, beta ${beta}, gamma ${gamma})`,
    build: (context) => {
      const { emit } = context;
      const values = scoresOfBoth(
        context,
        { student, teacher },
        { what: 'correlationDistillation', axis: 1 },
      );
      if (rankOf(values.student) !== 2)
        throw errors.optionsInvalid('correlationDistillation', [`"${student}" must be of shape [N, C].`]);
      const soft = (value: Value): Value =>
        emit.op('Softmax', [emit.scale(value, 1 / temperature)], { axis: 1 });
      const [ours, theirs] = [soft(values.student), soft(values.teacher)];
      const apart = (axis: number): Value =>
        emit.sub(emit.scalar(1, ours.dtype), averaged(emit, correlation(emit, ours, theirs, axis)));
      const sum = emit.add(emit.scale(apart(1), beta), emit.scale(apart(0), gamma));
      return emit.scale(sum, temperature ** 2);
    },
  };
}

/** Pearson's correlation over an axis: the cosine of the centred vectors, with 1e-8 added to the norms' product. */
function correlation(emit: Emitter, left: Value, right: Value, axis: number): Value {
  const centred = (value: Value): Value => emit.sub(value, emit.mean(value, [axis], true));
  const [a, b] = [centred(left), centred(right)];
  // The root of a sum of squares has no slope at 0: a little is added inside.
  const norm = (value: Value): Value =>
    emit.op('Sqrt', [emit.shift(emit.sum(emit.mul(value, value), [axis], false), 1e-16)]);
  const product = emit.sum(emit.mul(a, b), [axis], false);
  return emit.div(product, emit.shift(emit.mul(norm(a), norm(b)), 1e-8));
}
