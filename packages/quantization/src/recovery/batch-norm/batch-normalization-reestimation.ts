import { definePass, inferShapes, type Pass, ReportBuilder } from '@lithe/core';
import { z } from 'zod';
import { opsetAtLeast } from '../../graph/opset-at-least.ts';
import { freeBatchSize, type ProbeSource, probeSource } from '../probe/run-over.ts';
import { measureInOnePass, measureInSequence } from './measure.ts';
import { storedStatistics } from './nodes.ts';

const NAME = 'quantization/batch-normalization-reestimation';

/** Options of {@link batchNormalizationReestimation}. */
export interface BatchNormalizationReestimationOptions {
  /**
   * `one-pass`: every normalization uses its batch's statistics while all are measured in a single pass; for batches of
   * 32 and more. `sequential`: one pass for each normalization on the longest way, exact whatever the batch. `auto`
   * (default): one pass where the model leaves its batch open.
   */
  readonly method?: 'auto' | 'one-pass' | 'sequential' | undefined;
  /** Samples of the context's data; 1,024 by default. */
  readonly samples?: number | undefined;
  /** Samples per batch where the model leaves that open; 64 by default. */
  readonly batchSize?: number | undefined;
}

/** Options of {@link batchNormalizationReestimation} with defaults filled in. */
export interface BatchNormalizationReestimationSettings {
  /** See {@link BatchNormalizationReestimationOptions.method}. */
  readonly method: 'auto' | 'one-pass' | 'sequential';
  /** See {@link BatchNormalizationReestimationOptions.samples}. */
  readonly samples: number;
  /** See {@link BatchNormalizationReestimationOptions.batchSize}. */
  readonly batchSize: number;
}

const schema = z.strictObject({
  method: z.enum(['auto', 'one-pass', 'sequential']).default('auto'),
  samples: z.int().min(1).default(1024),
  batchSize: z.int().min(1).default(64),
});

/**
 * Measures the mean and variance of every `BatchNormalization` anew on the context's data, for a model whose weights
 * were rounded, pruned or otherwise changed since it was trained. No gradients and no labels; the data stream through
 * in constant memory. For models whose normalizations were folded, `recovery: { biasCorrection: 'empirical',
 * matchVariance: true }` of the quantizing pass does the same against the float model.
 *
 * @example
 * ```ts
 * import { batchNormalizationReestimation } from '@lithe/quantization';
 *
 * batchNormalizationReestimation({ samples: 256 }).needs; // => ['data', 'backend']
 * ```
 */
export const batchNormalizationReestimation: Pass<
  BatchNormalizationReestimationOptions,
  BatchNormalizationReestimationSettings
> = definePass({
  name: NAME,
  version: 1,
  summary: 'Measures the statistics of batch normalization anew on real inputs.',
  options: schema,
  needs: ['data', 'backend'],
  preserves: 'accuracy',
  requires: [opsetAtLeast(18)],
  run: async (draft, settings, context) => {
    const report = new ReportBuilder();
    await inferShapes(draft, { opset: context.opset, signal: context.signal, strict: false });
    const stored = storedStatistics(draft, report);
    if (stored.length === 0) {
      if (report.build().skipped.length === 0)
        report.skip('model', 'no-batch-normalization', 'it has none, or they were folded into other weights');
      return report.build();
    }
    const batchSize = freeBatchSize(draft, settings.batchSize);
    const source: ProbeSource = { ...probeSource(NAME, context, settings.samples), batchSize };
    const method =
      settings.method === 'auto' ? (batchSize === undefined ? 'sequential' : 'one-pass') : settings.method;
    await (method === 'one-pass' ? measureInOnePass : measureInSequence)(draft, stored, source);
    for (const { node } of stored) report.apply(`measure BatchNormalization "${node.name}"`);
    return report.build();
  },
});
