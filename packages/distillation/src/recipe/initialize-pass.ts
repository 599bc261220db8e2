import { definePass, errors, type Pass, ReportBuilder } from '@lithe/core';
import { promoteConstants } from '@lithe/training';
import { z } from 'zod';
import { initializeFrom } from '../students/initialize-from.ts';

/** Options of {@link initializeFromTeacher}; all are JSON. */
export interface InitializeFromTeacherOptions {
  /** Name of the teacher among the models of the context; `original` by default. */
  readonly teacher?: string | undefined;
  /**
   * Names of the teacher's weights by those of the student; `*` stands for the same text on both sides, and the first
   * pattern that fits counts: `{ 'layer1.*': 'layer2.*' }` gives the student's first layer the teacher's second. Other
   * weights take those of their own name. A pattern holds one `*` at most, and must fit a weight of the student.
   */
  readonly weights?: Readonly<Record<string, string>> | undefined;
  /** What is taken of a weight that is larger: `spread` (default) evenly spaced slices, `first` the first ones. */
  readonly slices?: 'spread' | 'first' | undefined;
}

/** {@link InitializeFromTeacherOptions} after validation. */
export interface InitializeFromTeacherSettings {
  /** Name of the teacher. */
  readonly teacher: string;
  /** Names of the teacher's weights by those of the student. */
  readonly weights: Readonly<Record<string, string>>;
  /** What is taken of a weight that is larger. */
  readonly slices: 'spread' | 'first';
}

const schema: z.ZodType<InitializeFromTeacherSettings, InitializeFromTeacherOptions> = z.strictObject({
  teacher: z.string().min(1).default('original'),
  weights: z
    .record(z.string().min(1), z.string().min(1))
    .refine(
      (weights) => Object.keys(weights).every((pattern) => stars(pattern) < 2),
      'expected one * at most',
    )
    .refine(
      (weights) => Object.entries(weights).every(([pattern, name]) => stars(name) <= stars(pattern)),
      'expected a * in a name of the teacher only where the pattern has one',
    )
    .default({}),
  slices: z.enum(['spread', 'first']).default('spread'),
});

const stars = (text: string): number => text.split('*').length - 1;

/** What `*` stands for where a pattern fits a name, empty where it has none; `undefined` where it does not fit. */
function fitted(pattern: string, name: string): string | undefined {
  const [before = '', after] = pattern.split('*');
  if (after === undefined) return name === pattern ? '' : undefined;
  const fits = name.startsWith(before) && name.endsWith(after) && name.length >= before.length + after.length;
  return fits ? name.slice(before.length, name.length - after.length) : undefined;
}

/** The teacher's name for a weight of the student. */
function sourceOf(name: string, weights: Readonly<Record<string, string>>): string {
  for (const [pattern, replacement] of Object.entries(weights)) {
    const text = fitted(pattern, name);
    if (text !== undefined) return replacement.replace('*', () => text);
  }
  return name;
}

/**
 * Gives a student the weights of its teacher layer by layer, as a pass; see {@link initializeFrom}.
 *
 * @throws {LitheError} OPTIONS_INVALID when no weight fits, or a pattern fits none
 * @example
 * ```ts
 * import { optimize } from '@lithe/core';
 * import { initializeFromTeacher } from '@lithe/distillation';
 * import { mlp } from '@lithe/training';
 *
 * const student = await mlp({ inputs: 2, hidden: [4], classes: 3 });
 * const large = await mlp({ inputs: 2, hidden: [8, 8], classes: 3, seed: 1 });
 * const { report } = await optimize(student, [initializeFromTeacher({ teacher: 'large' })], { models: { large } });
 * report.steps[0]?.applied.length; // => 4
 * ```
 */
export const initializeFromTeacher: Pass<InitializeFromTeacherOptions, InitializeFromTeacherSettings> =
  definePass({
    name: 'distillation/initialize-from',
    version: 1,
    summary: 'Gives a student the weights of its teacher, layer by layer.',
    options: schema,
    models: ({ teacher }) => [teacher],
    preserves: 'accuracy',
    run: async (draft, { teacher, weights, slices }, context) => {
      const report = new ReportBuilder();
      const from = await context.modelNamed(teacher);
      const { model, taken, left } = await initializeFrom(draft, from, {
        slices,
        source: (name) => sourceOf(name, weights),
      });
      const names = [...taken, ...left.map(({ name }) => name)];
      const idle = Object.keys(weights).filter((pattern) =>
        names.every((name) => fitted(pattern, name) === undefined),
      );
      if (idle.length > 0)
        throw errors.optionsInvalid(
          'distillation/initialize-from',
          idle.map((pattern) => `"${pattern}" fits no weight of the student.`),
          `Its weights are ${names
            .slice(0, 8)
            .map((name) => `"${name}"`)
            .join(', ')}${names.length > 8 ? ', …' : ''}.`,
        );
      if (taken.some((name) => draft.graph.value(name)?.initializer === undefined))
        promoteConstants(draft.graph);
      for (const name of taken) {
        const [own, tensor] = [draft.graph.value(name), model.graph.value(name)?.initializer];
        if (own === undefined || tensor === undefined) continue;
        draft.graph.setInitializer(own, tensor);
        report.apply(`take "${name}" from "${sourceOf(name, weights)}" of "${teacher}"`);
      }
      for (const { name, reason } of left) report.skip(name, 'not-taken', reason);
      return report.build();
    },
  });
