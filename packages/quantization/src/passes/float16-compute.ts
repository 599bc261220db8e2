import { definePass, inferShapes, type Model, type Pass, type PassContext, ReportBuilder } from '@lithe/core';
import { z } from 'zod';
import { observe } from '../calibration/observe.ts';
import type { CalibrationStats } from '../calibration/statistics.ts';
import { calibrationStats } from '../calibration/stats-schema.ts';
import { findWeights } from '../weights/find-weights.ts';
import { halfFit } from '../weights/half-weight.ts';
import { float32Data } from '../weights/lazy-parts.ts';
import { convertToHalf } from './float16/convert.ts';
import { float32Operators } from './float16/operators.ts';

/** Options of {@link float16Compute}. */
export interface Float16ComputeOptions {
  /**
   * Ranges found by `observe`: a node whose activations come near the limit of float16 stays float32. By default found
   * on the context's data, when it holds data and a backend; without either, activations are not looked at.
   */
  readonly stats?: CalibrationStats | undefined;
  /** Samples to observe when no statistics are given; 16 by default, 0 for none. */
  readonly samples?: number | undefined;
  /** Largest magnitude of an observed activation that float16 is trusted with; 16384 by default. */
  readonly limit?: number | undefined;
  /** Further operators that stay float32. */
  readonly keepOperators?: readonly string[] | undefined;
  /** Names of nodes that stay float32. */
  readonly exclude?: readonly string[] | undefined;
}

/** Options of {@link float16Compute} with defaults filled in. */
export interface Float16ComputeSettings {
  /** See {@link Float16ComputeOptions.stats}. */
  readonly stats?: CalibrationStats | undefined;
  /** See {@link Float16ComputeOptions.samples}. */
  readonly samples: number;
  /** See {@link Float16ComputeOptions.limit}. */
  readonly limit: number;
  /** See {@link Float16ComputeOptions.keepOperators}. */
  readonly keepOperators: readonly string[];
  /** See {@link Float16ComputeOptions.exclude}. */
  readonly exclude: readonly string[];
}

const schema = z.strictObject({
  stats: calibrationStats.optional(),
  samples: z.int().min(0).default(16),
  limit: z.number().positive().default(16384),
  keepOperators: z.array(z.string()).readonly().default([]),
  exclude: z.array(z.string()).readonly().default([]),
});

/** Names of constants that do not fit float16. Reads each constant once. */
async function oversized(draft: Model, context: PassContext): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const { value, source } of findWeights(draft, 1, new ReportBuilder())) {
    context.signal.throwIfAborted();
    const { beyond } = halfFit(float32Data(await source.load(context.signal), `constant "${value.name}"`));
    if (beyond > 0) found.add(value.name);
  }
  return found;
}

/** Names of activations that were seen beyond the limit. */
async function dangerous(
  draft: Model,
  settings: Float16ComputeSettings,
  context: PassContext,
): Promise<ReadonlySet<string>> {
  const { backend, data } = context;
  let { stats } = settings;
  if (stats === undefined && settings.samples > 0 && backend !== undefined && data !== undefined) {
    stats = await observe(draft, data, { backend, context, samples: settings.samples });
  }
  const found = new Set<string>();
  for (const [name, { minimum, maximum, finite }] of Object.entries(stats?.tensors ?? {})) {
    if (!finite || Math.max(-minimum, maximum) > settings.limit) found.add(name);
  }
  return found;
}

/**
 * Computes in float16: weights, activations and arithmetic, the format that is fast on GPUs. The model's inputs and
 * outputs stay float32, with casts at the edges. Operators that lose too much or have no float16 kernel stay float32
 * between casts, and so do nodes with a constant beyond 65504, control flow itself, and nodes whose activations were
 * seen beyond `limit`. Subgraphs are converted inside.
 *
 * On a CPU float16 is not faster: onnxruntime casts back. On WebGPU it needs the device feature `shader-f16`.
 *
 * @example
 * ```ts
 * import { float16Compute } from '@lithe/quantization';
 *
 * float16Compute({ keepOperators: ['Softmax'] }).name; // => 'quantization/float16-compute'
 * ```
 */
export const float16Compute: Pass<Float16ComputeOptions, Float16ComputeSettings> = definePass({
  name: 'quantization/float16-compute',
  version: 1,
  summary: 'Computes in float16, with inputs and outputs kept float32.',
  options: schema,
  preserves: 'accuracy',
  run: async (draft, settings, context) => {
    const report = new ReportBuilder();
    await inferShapes(draft, { opset: context.opset, signal: context.signal, strict: false });
    const converted = convertToHalf(draft.graph, {
      opset: context.opset,
      float32Operators: new Set([...float32Operators, ...settings.keepOperators]),
      exclude: new Set(settings.exclude),
      oversized: await oversized(draft, context),
      dangerous: await dangerous(draft, settings, context),
      report,
    });
    for (const [op, count] of converted) report.apply(`compute ${count} ${op} in float16`);
    return report.build();
  },
});
