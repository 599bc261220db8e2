import { definePass, errors, type Pass, ReportBuilder } from '@lithe/core';
import { fitDraft, type TrainingData, trainingData, trainingResources } from '@lithe/training';
import { distillation } from '../distillation.ts';
import { contrastTable } from '../losses/contrast-table.ts';
import { buildTerms } from './build-terms.ts';
import { type DistilOptions, type DistilSettings, distilSchema } from './distil-options.ts';
import { reportDiagnosis } from './report-diagnosis.ts';
import { namedTeachers, recordedTeacher, runningTeacher } from './teachers.ts';
import type { TermSettings } from './term-options.ts';

const name = 'distillation/distil';

type Contrast = Extract<TermSettings, { loss: 'contrastive' }>;

/**
 * Trains a model as the student of another, as a pass: options are data, so that recipes hold them. The teacher is a
 * model of the context by its name; with `initialize` the student starts from fresh weights, and with a teacher of its
 * own kind it is born again (Furlanello et al., "Born-Again Neural Networks", 2018). The report says how student,
 * teacher and control do, where there are labels.
 *
 * @example
 * ```ts
 * import { arrayDataset, optimize, Tensor } from '@lithe/core';
 * import { referenceBackend } from '@lithe/core/reference';
 * import { distil } from '@lithe/distillation';
 * import { mlp } from '@lithe/training';
 *
 * const inputs = { x: Tensor.from('float32', [4, 2], Float32Array.of(0, 0, 0, 1, 1, 0, 1, 1)) };
 * const { report } = await optimize(
 *   await mlp({ inputs: 2, hidden: [4], classes: 2 }),
 *   [distil({ teacher: 'large', epochs: 2, batchSize: 4, learningRate: 0.01, terms: [{ loss: 'logits', temperature: 2 }] })],
 *   {
 *     backend: referenceBackend(),
 *     trainingData: arrayDataset({ inputs }),
 *     models: { large: await mlp({ inputs: 2, hidden: [32], classes: 2, seed: 1 }) },
 *   },
 * );
 * report.steps[0]?.metrics['epochs']?.value; // => 2
 * ```
 */
export const distil: Pass<DistilOptions, DistilSettings> = definePass({
  name,
  version: 1,
  summary: 'Trains a model as the student of another.',
  options: distilSchema,
  needs: ['backend', 'training-data'],
  models: ({ teacher, control }) => (control === undefined ? teacher : [...teacher, control]),
  preserves: 'accuracy',
  run: async (draft, settings, context) => {
    const { backend, data } = trainingResources(name, context);
    const report = new ReportBuilder();
    const contrast = settings.terms.filter((term): term is Contrast => term.loss === 'contrastive');
    if (contrast.length > 1)
      throw errors.optionsInvalid(name, [
        'There can be one term "contrastive": its negatives are fed with the samples.',
      ]);
    const samples = await trainingData(draft, settings, { data, context, labels: 'optional' });
    const teachers = await namedTeachers(settings.teacher, draft, context);
    const [first] = teachers;
    if (first === undefined) throw errors.internal('there is no teacher');
    const { terms, taps } = await buildTerms(settings.terms, {
      student: draft,
      teacher: first.model,
      samples: samples.table.size,
      labels: samples.task?.labels === true ? samples.task.target : undefined,
    });
    const ready = settings.record
      ? await recordedTeacher(teachers, samples.table, { taps, backend, context })
      : await runningTeacher(teachers, samples.table, context);
    const { taskWeight } = settings;
    const task = taskWeight === 0 ? undefined : samples.task?.loss;
    const loss = distillation({ teacher: ready.teacher, terms, task, taskWeight });
    const table =
      contrast[0] === undefined
        ? ready.table
        : contrastTable(ready.table, { ...contrast[0], labels: classesOf(samples) });
    await fitDraft(draft, settings, context, { data: { ...samples, table }, loss, backend, report });
    await reportDiagnosis(context, { student: draft, teachers, data: samples, settings, backend, report });
    return report.build();
  },
});

/** The class of each sample; `undefined` where there is none, or only one for all. */
function classesOf({ task, arrays }: TrainingData): Float64Array | undefined {
  const labels = task?.labels === true ? arrays.targets?.[task.target] : undefined;
  if (labels === undefined || labels.size !== labels.shape[0]) return undefined;
  const classes = labels.toFloat64Array();
  return classes.some((label) => label !== classes[0]) ? classes : undefined;
}
