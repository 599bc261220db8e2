import { definePass, errors, type Model, type Pass, type PassContext, ReportBuilder } from '@lithe/core';
import {
  fitDraft,
  type Loss,
  matchesPattern,
  optimizerOf,
  promoteConstants,
  scoresOf,
  type TrainingData,
  trainingData,
  trainingResources,
} from '@lithe/training';
import { finishInPlace } from './finish.ts';
import {
  type AwareTrainingOptions,
  type AwareTrainingSettings,
  awareTrainingSchema,
} from './pass-options.ts';
import { prepareAware } from './quantization-aware.ts';
import type { AwareTimes } from './settings.ts';
import { softTargets } from './soft-targets.ts';

const name = 'quantization/aware-training';

/**
 * Trains a model with quantization in it and writes it in integers, as a pass: options are data, so that recipes hold
 * them. See {@link quantizationAware} for what it does; shares are of the updates of the whole run. With `store` given to
 * `optimize`, training that was stopped goes on from its checkpoint.
 *
 * @example
 * ```ts
 * import { arrayDataset, optimize, Tensor } from '@lithe/core';
 * import { referenceBackend } from '@lithe/core/reference';
 * import { quantizationAwareTraining } from '@lithe/quantization';
 * import { mlp } from '@lithe/training';
 *
 * const inputs = { x: Tensor.from('float32', [4, 2], Float32Array.of(0, 0, 0, 1, 1, 0, 1, 1)) };
 * const targets = { label: Tensor.from('int64', [4], BigInt64Array.of(0n, 1n, 1n, 0n)) };
 * const { report } = await optimize(
 *   await mlp({ inputs: 2, hidden: [128], classes: 2 }),
 *   [quantizationAwareTraining({ epochs: 2, batchSize: 4, learningRate: 0.001, weightBits: 4, teacher: 'original' })],
 *   { backend: referenceBackend(), trainingData: arrayDataset({ inputs, targets }) },
 * );
 * report.steps[0]?.metrics['quantizedLayers']?.value; // => 2
 * ```
 */
export const quantizationAwareTraining: Pass<AwareTrainingOptions, AwareTrainingSettings> = definePass({
  name,
  version: 1,
  summary: 'Trains a model with quantization in it, and writes it in integers.',
  options: awareTrainingSchema,
  needs: ['backend', 'training-data'],
  models: ({ teacher }) => (teacher === undefined ? [] : [teacher.model]),
  preserves: 'accuracy',
  run: async (draft, settings, context) => {
    const { backend, data } = trainingResources(name, context);
    const report = new ReportBuilder();
    const whole = { ...settings, initialize: false };
    const labels = settings.teacher === undefined ? 'required' : 'optional';
    const samples = await trainingData(draft, whole, { data, context, labels });
    const loss = await taughtBy(draft, { settings, context, samples });
    // Constants become initializers, so that they may learn.
    promoteConstants(draft.graph);
    const times = timesOf(settings, samples.table.size);
    const { training } = await prepareAware(draft, { settings, times, context, report, pass: name });
    const { trainable: patterns } = settings;
    const fit = training(
      optimizerOf(settings.optimizer),
      patterns === undefined ? undefined : (weight) => matchesPattern(weight, patterns),
    );
    await fitDraft(draft, whole, context, { data: samples, loss, backend, fit, report });
    await finishInPlace(draft);
    return report.build();
  },
});

/** The loss with soft targets of the teacher; `undefined` for that on labels alone. */
async function taughtBy(
  student: Model,
  {
    settings,
    context,
    samples,
  }: {
    readonly settings: AwareTrainingSettings;
    readonly context: PassContext;
    readonly samples: TrainingData;
  },
): Promise<Loss | undefined> {
  const { teacher } = settings;
  if (teacher === undefined) return undefined;
  const model = await context.modelNamed(teacher.model);
  const own = scoresOf(student);
  const theirs = scoresOf(model);
  if (own.classes !== theirs.classes) {
    throw errors.optionsInvalid(name, [
      `The model gives ${own.classes ?? '?'} scores, and its teacher "${teacher.model}" ${theirs.classes ?? '?'}.`,
    ]);
  }
  return await softTargets({
    student,
    teacher: model,
    teacherScores: theirs.name,
    scores: own.name,
    temperature: teacher.temperature,
    weight: teacher.weight,
    task: samples.task?.loss,
  });
}

/** Shares of the run as numbers of updates. */
function timesOf(settings: AwareTrainingSettings, samples: number): AwareTimes {
  const { epochs, batchSize, validation, accumulate = 1 } = settings;
  const held = validation === undefined ? 0 : Math.max(1, Math.round(validation * samples));
  const updates = Math.floor((epochs * Math.floor((samples - held) / batchSize)) / accumulate);
  const at = (share: number): number | undefined => (share >= 1 ? undefined : Math.round(share * updates));
  return {
    quantizeActivationsAt: at(settings.quantizeActivationsAt) ?? Number.POSITIVE_INFINITY,
    freezeRangesAt: at(settings.freezeRangesAt),
    freezeBatchNormAt: at(settings.freezeBatchNormAt),
  };
}
