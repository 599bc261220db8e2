import { definePass, errors, type Model, type Pass, type PassContext, ReportBuilder } from '@lithe/core';
import {
  crossEntropy,
  fitDraft,
  freshWeights,
  scoresOf,
  type TrainingOptions,
  type TrainingSettings,
  trainingData,
  trainingFields,
  trainingResources,
  trainingRule,
} from '@lithe/training';
import { z } from 'zod';
import { mutualLearning } from '../mutual-learning.ts';

const name = 'distillation/mutual-learning';

/** Options of {@link mutual}; all are JSON. The loss must be `cross-entropy`. */
export interface MutualOptions extends TrainingOptions {
  /** The other network, by the name of its model; the same network with weights of its own, drawn by the seed, by default. */
  readonly peer?: string | undefined;
  /** Temperature of what they tell each other; 1 by default. */
  readonly temperature?: number | undefined;
}

/** {@link MutualOptions} after validation. */
export interface MutualSettings extends TrainingSettings {
  /** The other network. */
  readonly peer?: string | undefined;
  /** Temperature of what they tell each other. */
  readonly temperature: number;
}

const schema: z.ZodType<MutualSettings, MutualOptions> = z
  .strictObject({
    ...trainingFields,
    peer: z.string().min(1).optional(),
    temperature: z.number().positive().default(1),
  })
  .refine(...trainingRule)
  .refine(({ loss }) => loss.name === 'cross-entropy', {
    message: 'both networks learn classes: expected cross-entropy',
    path: ['loss'],
  })
  .refine(({ augment }) => augment.every(({ mixup }) => mixup === undefined), {
    message: 'mixup is not for two networks at once',
    path: ['augment'],
  });

/**
 * Deep mutual learning as a pass: the model and a peer learn together, each from the labels and from the other; the peer
 * is left behind. See {@link mutualLearning}.
 *
 * @example
 * ```ts
 * import { mutual } from '@lithe/distillation';
 *
 * mutual({ epochs: 3, learningRate: 0.001 }).needs; // => ['backend', 'training-data']
 * ```
 */
export const mutual: Pass<MutualOptions, MutualSettings> = definePass({
  name,
  version: 1,
  summary: 'Trains a model and a peer together, each from the labels and from the other.',
  options: schema,
  needs: ['backend', 'training-data'],
  models: ({ peer }) => (peer === undefined ? [] : [peer]),
  preserves: 'accuracy',
  run: async (draft, settings, context) => {
    const { backend, data } = trainingResources(name, context);
    const report = new ReportBuilder();
    const samples = await trainingData(draft, settings, { data, context });
    const { task } = samples;
    if (task === undefined || settings.loss.name !== 'cross-entropy')
      throw errors.internal('mutual learning without labels');
    const peer = await peerOf(draft, settings, context);
    if (scoresOf(peer).name !== task.output)
      throw errors.optionsInvalid(name, [
        `The peer's scores are "${scoresOf(peer).name}" and the model's "${task.output}": they must have one name.`,
      ]);
    const { name: _name, logits: _logits, ...how } = settings.loss;
    const loss = await mutualLearning(peer, {
      logits: task.output,
      temperature: settings.temperature,
      frozenStatistics: settings.frozenStatistics,
      task: (logits) => crossEntropy({ ...how, logits, target: task.target }),
    });
    await fitDraft(draft, settings, context, { data: samples, loss, backend, report });
    return report.build();
  },
});

async function peerOf(draft: Model, settings: MutualSettings, context: PassContext): Promise<Model> {
  if (settings.peer !== undefined) return await context.modelNamed(settings.peer);
  const peer = draft.clone();
  await freshWeights(peer, { rng: context.rng.fork('peer') });
  return peer;
}
