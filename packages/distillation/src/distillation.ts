import { errors, type Value } from '@lithe/core';
import type { Loss } from '@lithe/training';
import type { DistillationContext, DistillationLoss } from './losses/distillation-loss.ts';
import type { Teacher } from './teacher/teacher.ts';

/** One term of {@link distillation}. */
export interface DistillationTerm {
  /** The term. */
  readonly loss: DistillationLoss;
  /** Its factor; 1 by default. */
  readonly weight?: number | undefined;
  /** Updates over which the factor grows from 0 to its full size; at once by default. */
  readonly warmUp?: number | undefined;
  /** Who it looks at; the common teacher by default. */
  readonly teacher?: Teacher | undefined;
}

/** What {@link distillation} joins. */
export interface DistillationOptions {
  /** Who the student learns from, for terms that do not name their own. */
  readonly teacher: Teacher;
  /** What is compared. */
  readonly terms: readonly DistillationTerm[];
  /** Loss on labels beside it; none by default, so that data without labels will do. */
  readonly task?: Loss | undefined;
  /** Factor of the loss on labels; 1 by default. */
  readonly taskWeight?: number | undefined;
}

/**
 * A loss for `fit` and `trainingStep` in which a student learns from a teacher: a sum of terms, with or without a loss
 * on labels. Teacher and student become one graph; only the student's weights learn, and the teacher's part is gone
 * from the trained model.
 *
 * @throws {LitheError} OPTIONS_INVALID when there is no term, or a factor or warm-up is not a number that makes sense
 * @example
 * ```ts
 * import { distillation, logitDistillation, teacherModel } from '@lithe/distillation';
 * import { crossEntropy, mlp, sgd, trainingStep } from '@lithe/training';
 *
 * const teacher = await teacherModel(await mlp({ inputs: 2, hidden: [64, 64], classes: 3, seed: 1 }));
 * const student = await mlp({ inputs: 2, hidden: [8], classes: 3 });
 * const loss = distillation({
 *   teacher,
 *   terms: [{ loss: logitDistillation({ temperature: 4 }), weight: 0.9 }],
 *   task: crossEntropy({ logits: 'logits' }),
 *   taskWeight: 0.1,
 * });
 * const step = await trainingStep(student, { loss, optimizer: sgd() });
 * step.parameters.length; // => 4
 * ```
 */
export function distillation(options: DistillationOptions): Loss {
  const { teacher, terms, task, taskWeight = 1 } = options;
  checkTerms(terms, taskWeight);
  const labelled = task === undefined ? [] : [`${taskWeight} ${task.name}`];
  return {
    name: [...labelled, ...terms.map(({ loss, weight = 1 }) => `${weight} ${loss.name}`)].join(' + '),
    build: (context) => {
      const { emit } = context;
      const parts: Value[] = task === undefined ? [] : [emit.scale(task.build(context), taskWeight)];
      for (const term of terms) {
        const { loss, weight = 1, warmUp } = term;
        const from = term.teacher ?? teacher;
        // The same context, whatever more it offers, with a teacher.
        const own: DistillationContext = { ...context, teacher: (name) => from.value(name, context) };
        const value = emit.scale(loss.build(own), weight);
        parts.push(warmUp === undefined ? value : emit.mul(value, grown(own, warmUp)));
      }
      return parts.reduce((left, right) => emit.add(left, right));
    },
  };
}

/** min((step + 1) / updates, 1), the step counted from 0. */
function grown({ emit, step }: DistillationContext, updates: number): Value {
  return emit.op('Min', [emit.scale(emit.shift(step(), 1), 1 / updates), emit.scalar(1)]);
}

function checkTerms(terms: readonly DistillationTerm[], taskWeight: number): void {
  const problems: string[] = [];
  if (terms.length === 0) problems.push('There is no term.');
  const sensible = (value: number): boolean => Number.isFinite(value) && value >= 0;
  if (!sensible(taskWeight)) problems.push('"taskWeight" must be 0 or more.');
  for (const { loss, weight = 1, warmUp = 1 } of terms) {
    if (!sensible(weight)) problems.push(`The weight of "${loss.name}" must be 0 or more.`);
    if (!(warmUp > 0 && Number.isFinite(warmUp)))
      problems.push(`The warm-up of "${loss.name}" must be above 0 updates.`);
  }
  if (problems.length > 0) throw errors.optionsInvalid('distillation', problems);
}
