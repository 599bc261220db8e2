import { type Dataset, type Model, type PassContext, type ReportBuilder, sliceRows } from '@lithe/core';
import { scoresOf, type TrainingData, type TrainingResources } from '@lithe/training';
import { diagnose } from '../diagnostics/diagnose.ts';
import type { DistilSettings } from './distil-options.ts';
import type { NamedTeacher } from './teachers.ts';

/** Samples that a diagnosis takes at most. */
const SAMPLES = 4096;
const BATCH = 256;

/** What a diagnosis is made from. */
export interface DiagnosisRequest {
  /** The trained student. */
  readonly student: Model;
  /** Its teachers. */
  readonly teachers: readonly NamedTeacher[];
  /** Samples that were trained on. */
  readonly data: TrainingData;
  /** Settings of the pass. */
  readonly settings: DistilSettings;
  /** Runs the models. */
  readonly backend: TrainingResources['backend'];
  /** Takes the figures. */
  readonly report: ReportBuilder;
}

/**
 * Adds to a report how the student does beside its teacher, and beside a control where one is named: on calibration data
 * with labels, else on the samples that were trained on, which the table says. What cannot be compared is a skip.
 */
export async function reportDiagnosis(context: PassContext, request: DiagnosisRequest): Promise<void> {
  const { teachers, data, settings, report, student, backend } = request;
  const { task } = data;
  const skip = (reason: string): void => report.skip('diagnosis', 'not-compared', reason);
  if (teachers.length > 1) return skip('there are several teachers');
  if (task?.labels !== true || task.classes === undefined)
    return skip('there are no class numbers to compare with');
  const { source, dataset } = (await calibrationWith(context, task.target)) ?? {
    source: 'samples that were trained on',
    dataset: tableDataset(data),
  };
  const [teacher] = teachers;
  const control = settings.control === undefined ? undefined : await context.modelNamed(settings.control);
  const probes = [teacher?.model as Model, student, control].map((model) =>
    model === undefined ? undefined : probeOf(model, student),
  );
  const [theirs, ours, alone] = probes;
  if (theirs === undefined || ours === undefined || (control !== undefined && alone === undefined))
    return skip('a model has no scores [N, C] that were found');
  const found = await diagnose(theirs, ours, {
    backend,
    data: dataset,
    logits: SCORES,
    target: task.target,
    ...(alone === undefined ? {} : { control: alone }),
    signal: context.signal,
  });
  const rows: (readonly [string, number | undefined])[] = [
    ['teacher accuracy', found.teacher],
    ['student accuracy', found.student],
    ['control accuracy', found.control],
    ['agreement with teacher', found.agreement],
    ['agreement of control with teacher', found.controlAgreement],
    ['share of the gap closed', found.gapClosed],
    ['teacher confidence', found.teacherConfidence],
  ];
  const known = rows.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
  for (const [name, value] of known) report.metric(name, value, 'ratio');
  report.table('diagnosis', {
    title: `Student beside teacher, on ${found.samples} ${source}`,
    columns: [
      { name: 'measure', unit: '' },
      { name: 'value', unit: 'ratio' },
    ],
    rows: known,
  });
  if (found.remarks.length > 0)
    report.table('remarks', {
      title: 'Remarks on the distillation',
      columns: [{ name: 'remark', unit: '' }],
      rows: found.remarks.map((remark) => [remark]),
    });
}

/** Calibration data, where its samples have the labels. */
async function calibrationWith(
  { data, signal }: PassContext,
  target: string,
): Promise<{ readonly source: string; readonly dataset: Dataset } | undefined> {
  if (data === undefined) return undefined;
  for await (const batch of data.batches({ limit: 1, signal })) {
    if (batch.targets?.[target] === undefined) return undefined;
    const source = 'calibration samples';
    return { source, dataset: { ...data, batches: (how) => data.batches({ batchSize: BATCH, ...how }) } };
  }
  return undefined;
}

function tableDataset({ arrays, table }: TrainingData): Dataset {
  const size = Math.min(table.size, SAMPLES);
  const part = (feeds: TrainingData['arrays']['inputs'], start: number, end: number): typeof feeds =>
    Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, sliceRows(tensor, start, end)]));
  return {
    size,
    description: table.description,
    batches: async function* () {
      for (let start = 0; start < size; start += BATCH) {
        const end = Math.min(start + BATCH, size);
        yield {
          inputs: part(arrays.inputs, start, end),
          targets: part(arrays.targets ?? {}, start, end),
          size: end - start,
        };
      }
    },
  };
}

const SCORES = 'lithe:scores';

/** A copy that gives its scores alone, under one name, and reads inputs by the student's names. */
function probeOf(model: Model, student: Model): Model | undefined {
  const name = model.graph.outputs.length === 1 ? scoresOf(model).name : undefined;
  const probe = model.clone();
  const { graph } = probe;
  const scores = name === undefined ? undefined : graph.value(name);
  if (scores === undefined || (scores.shape?.length ?? 2) !== 2) return undefined;
  graph.setOutputs([scores]);
  graph.rename(scores, SCORES);
  const inputs = (one: Model): readonly string[] =>
    one.graph.inputs.filter((input) => input.initializer === undefined).map((input) => input.name);
  const [own, theirs] = [inputs(student), inputs(model)];
  if (own.length === 1 && theirs.length === 1 && own[0] !== theirs[0]) {
    const input = graph.value(theirs[0] as string);
    if (input === undefined || graph.value(own[0] as string) !== undefined) return undefined;
    graph.rename(input, own[0] as string);
  }
  return probe;
}
