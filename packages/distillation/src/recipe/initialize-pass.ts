import { definePass, type Pass, ReportBuilder } from '@lithe/core';
import { z } from 'zod';
import { initializeFrom } from '../students/initialize-from.ts';

/** Options of {@link initializeFromTeacher}; all are JSON. */
export interface InitializeFromTeacherOptions {
  /** Name of the teacher among the models of the context; `original` by default. */
  readonly teacher?: string | undefined;
  /**
   * Names of the teacher's weights by those of the student; `*` stands for the same text on both sides, and the first
   * pattern that fits counts: `{ 'layer1.*': 'layer2.*' }` gives the student's first layer the teacher's second. Other
   * weights take those of their own name.
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
  weights: z.record(z.string().min(1), z.string().min(1)).default({}),
  slices: z.enum(['spread', 'first']).default('spread'),
});

/** The teacher's name for a weight of the student. */
function sourceOf(name: string, weights: Readonly<Record<string, string>>): string {
  for (const [pattern, replacement] of Object.entries(weights)) {
    const [before = '', after] = pattern.split('*');
    if (after === undefined) {
      if (name === pattern) return replacement;
    } else if (
      name.startsWith(before) &&
      name.endsWith(after) &&
      name.length >= before.length + after.length
    ) {
      return replacement.replace('*', () => name.slice(before.length, name.length - after.length));
    }
  }
  return name;
}

/**
 * Gives a student the weights of its teacher layer by layer, as a pass; see {@link initializeFrom}.
 *
 * @throws {LitheError} OPTIONS_INVALID when no weight fits
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
