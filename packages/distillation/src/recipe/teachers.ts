import { errors, inferShapes, type Model, type PassContext } from '@lithe/core';
import type { SampleTable, TrainingResources } from '@lithe/training';
import { recordTeacher } from '../teacher/record-teacher.ts';
import { memoryRows, type RowStore } from '../teacher/row-store.ts';
import { type Teacher, teacherEnsemble, teacherModel } from '../teacher/teacher.ts';
import { artifactRows, rowRoom } from './artifact-rows.ts';

/** A teacher of the context. */
export interface NamedTeacher {
  /** Its name among the models. */
  readonly name: string;
  /** The model: a copy with shapes. */
  readonly model: Model;
  /** The student's input for each of its own. */
  readonly inputs: Readonly<Record<string, string>>;
}

const inputsOf = ({ graph }: Model): readonly string[] =>
  graph.inputs.filter((input) => input.initializer === undefined).map((input) => input.name);

/**
 * Models of the context by name, as teachers of a student. One input is fed by the only input of the student, whatever
 * the names; several by those of the same names.
 *
 * @throws {LitheError} OPTIONS_INVALID when a model is not there, or an input has no counterpart
 */
export async function namedTeachers(
  names: readonly string[],
  student: Model,
  context: PassContext,
): Promise<readonly NamedTeacher[]> {
  const own = inputsOf(student);
  const teachers: NamedTeacher[] = [];
  for (const name of names) {
    const model = (await context.modelNamed(name)).clone();
    await inferShapes(model, { opset: context.opset });
    const theirs = inputsOf(model);
    const alone = own.length === 1 && theirs.length === 1;
    const missing = theirs.filter((input) => !alone && !own.includes(input));
    if (missing.length > 0)
      throw errors.optionsInvalid('teacher', [
        `Teacher "${name}" reads ${missing.map((input) => `"${input}"`).join(', ')}, which the student does not.`,
      ]);
    const inputs = Object.fromEntries(theirs.map((input) => [input, alone ? (own[0] as string) : input]));
    teachers.push({ name, model, inputs });
  }
  return teachers;
}

/** A teacher for a loss, and the samples with what it says where it was recorded. */
export interface ReadyTeacher {
  /** The teacher. */
  readonly teacher: Teacher;
  /** The samples. */
  readonly table: SampleTable;
}

/** Teachers that run in each step, joined to one. */
export async function runningTeacher(
  teachers: readonly NamedTeacher[],
  table: SampleTable,
  context: PassContext,
): Promise<ReadyTeacher> {
  const running = await Promise.all(
    teachers.map(({ name, model, inputs }) => teacherModel(model, { name, inputs, opset: context.opset })),
  );
  return { teacher: joined(running), table };
}

const joined = (teachers: readonly Teacher[]): Teacher =>
  teachers.length === 1 ? (teachers[0] as Teacher) : teacherEnsemble(teachers);

/**
 * Teachers that were run once over all samples, their outputs kept in the context's stores where it has any.
 *
 * @throws {LitheError} OPTIONS_INVALID when what they say is too large to be held
 */
export async function recordedTeacher(
  teachers: readonly NamedTeacher[],
  given: SampleTable,
  {
    taps,
    backend,
    context,
  }: {
    readonly taps: readonly string[];
    readonly backend: TrainingResources['backend'];
    readonly context: PassContext;
  },
): Promise<ReadyTeacher> {
  let table = given;
  const recorded: Teacher[] = [];
  const room = rowRoom();
  for (const { name, model, inputs } of teachers) {
    const rows = new Map<string, RowStore>();
    for (const tap of taps) {
      const store = context.store(`teacher-${name}-${tap}`);
      rows.set(tap, await artifactRows(store, table.size, room));
    }
    const result = await recordTeacher(model, table, {
      backend,
      values: taps,
      name,
      inputs,
      signal: context.signal,
      onProgress: context.progress,
      store: (tap) => rows.get(tap) ?? memoryRows(),
    });
    table = result.table;
    recorded.push(result.teacher);
  }
  return { teacher: joined(recorded), table };
}
