import { errors, type Value } from '@lithe/core';
import type { LossContext } from '@lithe/training';

/** What a distillation loss is built with: a loss context that also knows the teacher. */
export interface DistillationContext extends LossContext {
  /**
   * A value of the teacher by name.
   *
   * @throws {LitheError} OPTIONS_INVALID when it has none of this name
   */
  teacher(name: string): Value;
}

/** A term that compares student and teacher: adds nodes to the training graph and gives a scalar. */
export interface DistillationLoss {
  /** Name, for reports. */
  readonly name: string;
  /** Adds the term and gives it, a float scalar. */
  build(context: DistillationContext): Value;
}

/** The values that a term compares. */
export interface Tap {
  /** Name of a value of the student. */
  readonly student: string;
  /** Name of a value of the teacher; the student's by default. */
  readonly teacher?: string | undefined;
}

/** Both values of a tap. */
export interface TappedValues {
  /** Of the student. */
  readonly student: Value;
  /** Of the teacher: a constant for gradients. */
  readonly teacher: Value;
}

/** Looks a tap up. */
export function tapped(context: DistillationContext, tap: Tap): TappedValues {
  return {
    student: context.value(tap.student),
    teacher: context.detach(context.teacher(tap.teacher ?? tap.student)),
  };
}

/**
 * The shape of a value when all sizes but the first are known.
 *
 * @throws {LitheError} OPTIONS_INVALID otherwise
 */
export function featureShape(value: Value, what: string): readonly [unknown, ...number[]] {
  const { shape } = value;
  if (shape !== undefined && shape.length > 1 && shape.slice(1).every((dim) => typeof dim === 'number'))
    return shape as unknown as readonly [unknown, ...number[]];
  throw errors.optionsInvalid(
    what,
    [
      `The sizes of "${value.name}" are not known: ${shape === undefined ? 'no shape' : `[${shape.join(', ')}]`}.`,
    ],
    'Give the sizes of the inputs while training: inputShapes.',
  );
}

/** Rank of a value; 0 when it is not known. */
export function rankOf(value: Value): number {
  return value.shape?.length ?? 0;
}
