import { definePass, inferShapes, type Model, type Pass, type PassContext, ReportBuilder } from '@lithe/core';
import { z } from 'zod';
import { observe } from '../calibration/observe.ts';
import { minMaxObserver } from '../calibration/observers.ts';
import type { CalibrationStats } from '../calibration/statistics.ts';
import { calibrationStats } from '../calibration/stats-schema.ts';
import { reportUnknown } from '../graph/report-unknown.ts';
import { convertToHalf } from './float16/convert.ts';
import { beyondRange, MASK_VALUE } from './float16/masks.ts';
import { float32Operators } from './float16/operators.ts';
import { planHalf } from './float16/plan.ts';

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
  /**
   * Type of the model's inputs and outputs that are float32: `float32` (default) keeps it, with casts at the edges;
   * `float16` changes it, for callers that hold halves.
   */
  readonly io?: 'float32' | 'float16' | undefined;
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
  /** See {@link Float16ComputeOptions.io}. */
  readonly io: 'float32' | 'float16';
}

const schema = z.strictObject({
  stats: calibrationStats.optional(),
  samples: z.int().min(0).default(16),
  limit: z.number().positive().default(16384),
  keepOperators: z.array(z.string()).readonly().default([]),
  exclude: z.array(z.string()).readonly().default([]),
  io: z.enum(['float32', 'float16']).default('float32'),
});

/** Whole numbers that were seen up to here are taken to stay below 2048, up to which float16 holds all of them. */
const EXACT = 256;

/** Ranges given, or found on the context's data; `undefined` when there is nothing to go by. */
async function rangesFor(
  draft: Model,
  settings: Float16ComputeSettings,
  context: PassContext,
): Promise<CalibrationStats | undefined> {
  const { stats, samples } = settings;
  const { backend, data } = context;
  if (stats !== undefined || samples === 0 || backend === undefined || data === undefined) return stats;
  return observe(draft, data, { backend, context, samples, observer: minMaxObserver });
}

/** What was seen of activations, as far as it decides. */
interface Seen {
  /** Names of activations beyond the limit, with what was seen. */
  readonly dangerous: ReadonlyMap<string, string>;
  /** Names of activations that were seen to be small. */
  readonly exact: ReadonlySet<string>;
}

function judge(stats: CalibrationStats | undefined, masked: ReadonlySet<string>, limit: number): Seen {
  const dangerous = new Map<string, string>();
  const exact = new Set<string>();
  for (const [name, { minimum, maximum, finite }] of Object.entries(stats?.tensors ?? {})) {
    // What a mask pushes down is of no account, and not finite where the mask is infinite.
    const low = masked.has(name) ? 0 : -minimum;
    if (Math.max(low, maximum) > limit)
      dangerous.set(
        name,
        `reaches ${Math.max(low, maximum).toPrecision(3)}, more than float16 is trusted with`,
      );
    else if (!finite && !masked.has(name)) dangerous.set(name, 'is infinite or no number at times');
    if (finite && Math.max(-minimum, maximum) <= EXACT) exact.add(name);
  }
  return { dangerous, exact };
}

/**
 * Computes in float16: weights, activations and arithmetic, the format that is fast on GPUs. The model's inputs and
 * outputs stay float32, with casts at the edges, unless `io` says otherwise. Each value is cast once at most.
 *
 * These stay float32, each with its reason in the report: operators that need the precision or have no float16 kernel;
 * nodes with a constant beyond 65504; nodes whose activations were seen beyond `limit` on real inputs; casts from whole
 * numbers that were not seen to be small, and arithmetic with sizes; control flow itself, whose branches and bodies are
 * converted inside; and what moves elements between two of these. Masks of attention (-3.4e38 or minus infinity on their
 * way to `Softmax`) become -16384, whose exponential is 0 as well. Numbers too small for float16 become the smallest one
 * instead of zero.
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
    const { opset, signal } = context;
    reportUnknown(draft.graph.nodesDeep(), { exclude: settings.exclude }, report);
    await inferShapes(draft, { opset, signal, strict: false });
    const { oversized, masks, masked, vanishing } = await beyondRange(draft, signal);
    const stats = await rangesFor(draft, settings, context);
    if (stats === undefined) {
      report.skip(
        'activations',
        'ranges-not-measured',
        'there are no ranges and no data to take them from: only the weights decided what overflows',
      );
    }
    const operators = settings.keepOperators.map((name) => [name, 'it was asked to'] as const);
    const keepsIo = settings.io === 'float32';
    const plan = {
      opset,
      float32Operators: new Map([...float32Operators, ...operators]),
      exclude: new Set(settings.exclude),
      oversized,
      ...judge(stats, masked, settings.limit),
    };
    const single = planHalf(draft.graph, plan, keepsIo);
    for (const [node, why] of single) report.skip(node.name, ...why);
    report.metric('elementsRaisedFromZero', vanishing, 'elements');
    report.metric('activationsMeasured', Object.keys(stats?.tensors ?? {}).length, 'values');
    const converted = convertToHalf(draft.graph, { single, masks, keepsIo });
    for (const [op, count] of converted) report.apply(`compute ${count} ${op} in float16`);
    for (const name of masks)
      report.apply(
        `clamp the mask "${name}" to ${MASK_VALUE}: float16 ends at -65504, and sums of masks must not pass it`,
      );
    return report.build();
  },
});
