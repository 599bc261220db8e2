import { definePass, type Pass, ReportBuilder } from '@lithe/core';
import { z } from 'zod';
import { fitDraft } from './fit-draft.ts';
import { trainingData, trainingResources } from './training-data.ts';
import {
  type TrainingOptions,
  type TrainingSettings,
  trainingFields,
  trainingRule,
} from './training-options.ts';

const name = 'training/train';

const schema: z.ZodType<TrainingSettings, TrainingOptions> = z
  .strictObject({ ...trainingFields })
  .refine(...trainingRule);

/**
 * Trains a model on labelled samples, as a pass: options are data, so that recipes hold them. The same options, seed,
 * samples and backend give the same weights. With `store` given to `optimize`, training that was stopped goes on from
 * its checkpoint.
 *
 * @example
 * ```ts
 * import { arrayDataset, optimize, Tensor } from '@lithe/core';
 * import { referenceBackend } from '@lithe/core/reference';
 * import { mlp, train } from '@lithe/training';
 *
 * const inputs = { x: Tensor.from('float32', [4, 2], Float32Array.of(0, 0, 0, 1, 1, 0, 1, 1)) };
 * const targets = { label: Tensor.from('int64', [4], BigInt64Array.of(0n, 1n, 1n, 0n)) };
 * const { report } = await optimize(
 *   await mlp({ inputs: 2, hidden: [8], classes: 2 }),
 *   [train({ epochs: 3, batchSize: 4, learningRate: 0.05, optimizer: 'sgd', initialize: true })],
 *   { backend: referenceBackend(), trainingData: arrayDataset({ inputs, targets }) },
 * );
 * report.steps[0]?.tables?.['epochs']?.rows.length; // => 3
 * ```
 */
export const train: Pass<TrainingOptions, TrainingSettings> = definePass({
  name,
  version: 1,
  summary: 'Trains a model on labelled samples.',
  options: schema,
  needs: ['backend', 'training-data'],
  preserves: 'accuracy',
  run: async (draft, settings, context) => {
    const { backend, data } = trainingResources(name, context);
    const report = new ReportBuilder();
    const samples = await trainingData(draft, settings, { data, context });
    await fitDraft(draft, settings, context, { data: samples, backend, report });
    return report.build();
  },
});
