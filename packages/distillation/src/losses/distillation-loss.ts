import { type Dim, errors, isFloat, type Value } from '@lithe/core';
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

/** Looks a tap up. A teacher in another float type is brought to the student's. */
export function tapped(context: DistillationContext, tap: Tap): TappedValues {
  const student = context.value(tap.student);
  const teacher = context.teacher(tap.teacher ?? tap.student);
  return { student, teacher: context.detach(inTypeOf(context, teacher, student)) };
}

function inTypeOf({ emit }: DistillationContext, value: Value, like: Value): Value {
  const [own, wanted] = [value.dtype, like.dtype];
  if (own === undefined || wanted === undefined || own === wanted || !isFloat(own) || !isFloat(wanted))
    return value;
  return emit.cast(value, wanted);
}

/**
 * Looks a tap up whose values are compared element by element: a size of 1 would be spread over the other's without a
 * word.
 *
 * @throws {LitheError} OPTIONS_INVALID when their shapes are known to differ
 */
export function tappedAlike(context: DistillationContext, tap: Tap, what: string): TappedValues {
  const values = tapped(context, tap);
  const [ours, theirs] = [values.student.shape, values.teacher.shape];
  if (ours === undefined || theirs === undefined) return values;
  const differs = (dim: Dim, axis: number): boolean => {
    const other = theirs[axis];
    return typeof dim === 'number' && typeof other === 'number' && dim !== other;
  };
  if (ours.length === theirs.length && !ours.some(differs)) return values;
  throw errors.optionsInvalid(what, [
    `"${tap.student}" of the student is [${ours.join(', ')}] and "${tap.teacher ?? tap.student}" of the teacher [${theirs.join(', ')}]: they must have the same shape.`,
  ]);
}

/** Refuses factors that are no numbers of 0 or more. */
export function checkFactors(what: string, factors: Readonly<Record<string, number>>): void {
  const wrong = Object.entries(factors).filter(([, value]) => !(value >= 0 && Number.isFinite(value)));
  if (wrong.length > 0)
    throw errors.optionsInvalid(
      what,
      wrong.map(([name]) => `"${name}" must be 0 or more.`),
    );
}

/**
 * The shape of a value when all sizes but the first are known.
 *
 * @throws {LitheError} OPTIONS_INVALID otherwise
 */
export function featureShape(value: Value, what: string): readonly [unknown, ...number[]] {
  const { shape } = value;
  const sizes = shape?.slice(1) ?? [];
  if (sizes.length > 0 && sizes.every((dim) => typeof dim === 'number')) return [shape?.[0], ...sizes];
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
