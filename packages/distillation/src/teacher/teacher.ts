import { errors, inferShapes, type Model, type OpSet, standardOps, type Value } from '@lithe/core';
import { Graft, type LossContext } from '@lithe/training';

/** Who a student learns from: gives values to a training graph. */
export interface Teacher {
  /** For reports. */
  readonly name: string;
  /**
   * A value of the teacher, for the batch of the step.
   *
   * @throws {LitheError} OPTIONS_INVALID when it has none of this name
   */
  value(name: string, context: LossContext): Value;
}

/** Options of {@link teacherModel}. */
export interface TeacherModelOptions {
  /** For reports and the names of its nodes; `teacher` by default. */
  readonly name?: string | undefined;
  /** The student's input for each of the teacher's, by the teacher's name; the same names by default. */
  readonly inputs?: Readonly<Record<string, string>> | undefined;
  /** Operators that are known. */
  readonly opset?: OpSet | undefined;
}

/**
 * A model as teacher, computed in the training graph itself: each step runs as much of it as the losses look at. Its
 * weights stay as they are, and it is in inference form: batch normalization goes by its running statistics, nothing
 * is dropped. Simplify it first: what is folded is not computed in every step.
 *
 * @param model not changed
 * @throws {LitheError} OPTIONS_INVALID when it has local functions; inline them first
 * @example
 * ```ts
 * import { mlp } from '@lithe/training';
 * import { teacherModel } from '@lithe/distillation';
 *
 * const teacher = await teacherModel(await mlp({ inputs: 2, hidden: [64, 64], classes: 3 }));
 * teacher.name; // => 'teacher'
 * ```
 */
export async function teacherModel(model: Model, options: TeacherModelOptions = {}): Promise<Teacher> {
  const { name = 'teacher', inputs = {}, opset = standardOps } = options;
  if (model.functions.length > 0)
    throw errors.optionsInvalid('teacherModel', ['The model has local functions.'], 'Inline them first.');
  const copy = model.clone();
  await inferShapes(copy, { opset });
  const grafts = new WeakMap<LossContext['graph'], Graft>();
  const graftInto = (context: LossContext): Graft => {
    const { graph, opsetImports } = context;
    const known = grafts.get(graph);
    if (known !== undefined) return known;
    for (const [domain, version] of copy.opsetImports) if (domain !== '') opsetImports.set(domain, version);
    const made = new Graft({
      source: copy.graph,
      target: graph,
      prefix: `${name}/`,
      opset,
      input: (input) => inputOf(context, inputs[input] ?? input, { teacher: name, input }),
    });
    grafts.set(graph, made);
    return made;
  };
  return {
    name,
    value: (wanted, context) => {
      const value = copy.graph.value(wanted);
      if (value === undefined) throw unknownValue(name, wanted, copy);
      return graftInto(context).copy(value);
    },
  };
}

function inputOf(
  { graph }: LossContext,
  name: string,
  { teacher, input }: { readonly teacher: string; readonly input: string },
): Value {
  const value = graph.value(name);
  if (value !== undefined) return value;
  throw errors.optionsInvalid(
    `teacher "${teacher}"`,
    [`Its input "${input}" is to be fed by "${name}", which the student does not have.`],
    'Name the student\'s input: inputs: { teacherInput: "studentInput" }.',
  );
}

function unknownValue(teacher: string, name: string, { graph }: Model): Error {
  const outputs = graph.outputs.map((output) => `"${output.name}"`).join(', ');
  return errors.optionsInvalid(
    `teacher "${teacher}"`,
    [`It has no value called "${name}".`],
    `Its outputs are ${outputs}; suggestTaps lists what lies inside.`,
  );
}

/**
 * Several teachers as one: each value is the mean of theirs, weighted where weights are given. Values inside must
 * have the same shape in all of them; of probabilities or logits that is the usual case.
 *
 * @throws {LitheError} OPTIONS_INVALID when there is none, or weights do not match
 */
export function teacherEnsemble(teachers: readonly Teacher[], weights?: readonly number[]): Teacher {
  const count = teachers.length;
  const shares = weights ?? teachers.map(() => 1);
  const total = shares.reduce((sum, share) => sum + share, 0);
  if (count === 0 || shares.length !== count || !(total > 0) || shares.some((share) => !(share >= 0))) {
    throw errors.optionsInvalid('teacherEnsemble', [
      'There must be teachers, and a weight of 0 or more for each.',
    ]);
  }
  const name = teachers.map((teacher) => teacher.name).join(' + ');
  return {
    name,
    value: (wanted, context) => {
      const { emit } = context;
      const parts = teachers.map((teacher, index) =>
        emit.scale(teacher.value(wanted, context), (shares[index] as number) / total),
      );
      return parts.reduce((left, right) => emit.add(left, right));
    },
  };
}
