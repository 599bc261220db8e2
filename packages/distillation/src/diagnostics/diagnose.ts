import {
  type Backend,
  createRunContext,
  type Dataset,
  errors,
  type Model,
  type RunOptions,
  Tensor,
} from '@lithe/core';

/** What {@link diagnose} compares. */
export interface DiagnoseOptions extends RunOptions {
  /** Runs the models. */
  readonly backend: Backend;
  /** Samples that none of them was trained on, with labels (int64 `[N]`). */
  readonly data: Dataset;
  /** Output that holds scores, `[N, C]`, in every model; `logits` by default. */
  readonly logits?: string | undefined;
  /** Name of the labels among the targets, class numbers `[N]`; `label` by default. */
  readonly target?: string | undefined;
  /** The student's architecture trained on labels alone: without it nothing says whether distillation helped. */
  readonly control?: Model | undefined;
}

/** What is known of a distilled student. Shares lie between 0 and 1. */
export interface Diagnosis {
  /** Samples compared. */
  readonly samples: number;
  /** Accuracy of the teacher: a student seldom passes it. */
  readonly teacher: number;
  /** Accuracy of the student. */
  readonly student: number;
  /** Accuracy of the control. */
  readonly control: number | undefined;
  /** Samples for which student and teacher say the same. */
  readonly agreement: number;
  /** Samples for which control and teacher say the same. */
  readonly controlAgreement: number | undefined;
  /** Share of the gap between control and teacher that the student closed; `undefined` without a gap. */
  readonly gapClosed: number | undefined;
  /** Mean probability of the teacher's top class at T 1: near 1, its soft targets say little more than labels. */
  readonly teacherConfidence: number;
  /** What to think of it, in sentences. */
  readonly remarks: readonly string[];
}

/**
 * Says how a distilled student does beside its teacher and beside the same network trained on labels alone.
 *
 * @throws {LitheError} DATA_INVALID when there are no samples, or none with one class number each; OPTIONS_INVALID when a
 *   model lacks the output, or models give scores of other numbers of classes
 */
export async function diagnose(teacher: Model, student: Model, options: DiagnoseOptions): Promise<Diagnosis> {
  const { backend, data, logits = 'logits', target = 'label', control } = options;
  const { signal } = createRunContext(options);
  const models = control === undefined ? [teacher, student] : [teacher, student, control];
  const executables = await Promise.all(models.map((model) => backend.compile(model, { signal })));
  const right = models.map(() => 0);
  const alike = models.map(() => 0);
  let [samples, confidence] = [0, 0];
  try {
    for await (const batch of data.batches({ signal })) {
      const given = batch.targets?.[target];
      if (given === undefined) throw errors.dataInvalid(data.description, `its samples have no "${target}".`);
      const scores = await Promise.all(
        executables.map(async (executable) => {
          const feeds = Object.fromEntries(
            Object.entries(batch.inputs).filter(([name]) => executable.inputNames.includes(name)),
          );
          const found = (await executable.run(feeds, { signal }))[logits];
          if (!(found instanceof Tensor) || found.shape.length !== 2)
            throw errors.optionsInvalid('diagnose', [`A model has no output "${logits}" of shape [N, C].`]);
          return found;
        }),
      );
      const classes = new Set(scores.map(({ shape }) => shape[1]));
      if (classes.size > 1)
        throw errors.optionsInvalid('diagnose', [
          `The models give scores of ${[...classes].join(' and ')} classes: they cannot be compared.`,
        ]);
      if (given.size !== scores[0]?.shape[0])
        throw errors.dataInvalid(
          data.description,
          `"${target}" is [${given.shape.join(', ')}]: one class number is needed for each of ${scores[0]?.shape[0]} samples.`,
        );
      const labels = given.toFloat64Array();
      const said = scores.map(topClasses);
      const [theirs] = said;
      confidence += confidenceOf(scores[0] as Tensor);
      for (let at = 0; at < labels.length; at++) {
        said.forEach((own, index) => {
          if (own[at] === labels[at]) right[index] = (right[index] ?? 0) + 1;
          if (own[at] === theirs?.[at]) alike[index] = (alike[index] ?? 0) + 1;
        });
      }
      samples += labels.length;
    }
  } finally {
    await Promise.all(executables.map((executable) => executable.dispose()));
  }
  if (samples === 0) throw errors.dataInvalid(data.description, 'it holds no samples.');
  const share = (count: number | undefined): number | undefined =>
    count === undefined ? undefined : count / samples;
  return concluded({
    samples,
    teacher: share(right[0]) ?? 0,
    student: share(right[1]) ?? 0,
    control: share(right[2]),
    agreement: share(alike[1]) ?? 0,
    controlAgreement: share(alike[2]),
    teacherConfidence: confidence / samples,
  });
}

/** Class of the largest score of each row. */
function topClasses(scores: Tensor): readonly number[] {
  const values = scores.toFloat64Array();
  const [rows = 0, classes = 0] = scores.shape;
  return Array.from({ length: rows }, (_, row) => {
    let best = 0;
    for (let at = 1; at < classes; at++)
      if ((values[row * classes + at] ?? 0) > (values[row * classes + best] ?? 0)) best = at;
    return best;
  });
}

/** Sum over rows of the largest probability. */
function confidenceOf(scores: Tensor): number {
  const values = scores.toFloat64Array();
  const [rows = 0, classes = 0] = scores.shape;
  let total = 0;
  for (let row = 0; row < rows; row++) {
    const own = values.subarray(row * classes, (row + 1) * classes);
    const top = own.reduce((left, right) => Math.max(left, right), Number.NEGATIVE_INFINITY);
    total += 1 / own.reduce((sum, value) => sum + Math.exp(value - top), 0);
  }
  return total;
}

function concluded(found: Omit<Diagnosis, 'gapClosed' | 'remarks'>): Diagnosis {
  const { samples, teacher, student, control, teacherConfidence } = found;
  // One standard error of the difference of two accuracies, the samples taken as independent.
  const noise = (left: number, right: number): number =>
    Math.sqrt((left * (1 - left) + right * (1 - right)) / samples);
  const gap = control === undefined ? undefined : teacher - control;
  const remarks: string[] = [];
  if (control === undefined)
    remarks.push(
      'Without a control nothing says whether distillation helped: train the same student on labels alone.',
    );
  else if (student - control < 2 * noise(student, control))
    remarks.push(
      `The student is not better than the control beyond the noise of ${samples} samples (${percent(2 * noise(student, control))}).`,
    );
  if (gap !== undefined && gap <= 2 * noise(teacher, control ?? teacher))
    remarks.push(
      `The teacher is hardly better than the control (${percent(gap)}): there is little to learn from it.`,
    );
  if (teacherConfidence > 0.98)
    remarks.push(
      `The teacher is sure of itself (mean top probability ${percent(teacherConfidence)}): raise the temperature, or compare features.`,
    );
  const gapClosed =
    gap === undefined || control === undefined || gap <= 0 ? undefined : (student - control) / gap;
  return { ...found, gapClosed, remarks };
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
