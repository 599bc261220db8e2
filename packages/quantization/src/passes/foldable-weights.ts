import {
  attribute,
  definePass,
  dtypes,
  elementsOf,
  type Model,
  type Pass,
  type PassContext,
  ReportBuilder,
  Tensor,
  tensorType,
  type Value,
} from '@lithe/core';
import { z } from 'zod';
import { reportUnknown } from '../graph/report-unknown.ts';
import { integerRange } from '../parameters/integer-range.ts';
import type { WeightAlgorithm } from '../weight-algorithms/weight-algorithm.ts';
import { algorithmWeight, lazyMatrix, sumBlock } from '../weights/algorithm-weight.ts';
import { quantizedWeights } from '../weights/calibrated-weights.ts';
import { type FloatWeight, findWeights } from '../weights/find-weights.ts';
import { productPlans } from '../weights/product-plans.ts';
import { type QuantizedWeight, quantizedWeight, type WeightSpec } from '../weights/quantized-weight.ts';
import { type ConstantBuilder, replaceConstant } from '../weights/replace-constant.ts';
import { dataFree, type WeightRequest, type WeightResult } from '../weights/weight-request.ts';
import {
  channelGranularity,
  channelScaleShape,
  type WeightRole,
  weightRole,
} from '../weights/weight-role.ts';
import type { Resolved } from './resolved.ts';
import { type AlgorithmOptions, type AlgorithmSettings, algorithmOptions } from './weight-only/options.ts';

/** Options of {@link foldableWeights}. */
export interface FoldableWeightsOptions extends AlgorithmOptions {
  /** Bits per stored weight; 8 by default. */
  readonly bits?: 8 | 4 | undefined;
  /**
   * Elements that share a scale, at most. By default 32 with 4 bits, and a whole output channel with 8; blocks of 32
   * make an 8-bit file 1.12 times larger and come a few decibels closer to the floats.
   */
  readonly blockSize?: number | undefined;
  /** Constants with fewer elements stay float; 256 by default. */
  readonly minimumElements?: number | undefined;
  /** Names of nodes whose weights stay float. */
  readonly exclude?: readonly string[] | undefined;
}

/** Options with their defaults. */
export interface FoldableWeightsSettings
  extends Omit<Resolved<FoldableWeightsOptions>, 'blockSize' | keyof AlgorithmSettings>,
    AlgorithmSettings {
  /** Elements that share a scale, at most; `undefined` for the format's own choice. */
  readonly blockSize?: number | undefined;
}

const schema: z.ZodType<FoldableWeightsSettings, FoldableWeightsOptions> = z.strictObject({
  bits: z.union([z.literal(8), z.literal(4)]).default(8),
  blockSize: z.int().min(8).max(1024).optional(),
  minimumElements: z.int().min(1).default(256),
  exclude: z.array(z.string()).readonly().default([]),
  ...algorithmOptions,
});

type Options = FoldableWeightsSettings;

/** A weight as stored integers with what turns them back. */
interface Plan {
  readonly spec: WeightSpec;
  readonly bits: 4 | 8;
  /** Shape to go back to, where the stored one differs. */
  readonly restore: readonly number[] | undefined;
}

/** A weight that is replaced. */
interface Item {
  readonly weight: FloatWeight;
  readonly role: WeightRole;
  readonly plan: Plan;
}

/** The largest divisor of `length` that is at most `most`. */
function blockOf(length: number, most: number): number {
  for (let size = Math.min(length, most); size > 1; size--) if (length % size === 0) return size;
  return 1;
}

/** Elements that share a scale with 4 bits, where nothing else is asked for. */
const DEFAULT_BLOCK = 32;

/** Fewer elements per scale than this, and scales weigh more than int8 would. */
const SMALLEST_BLOCK = 12;

function blockView(role: WeightRole, shape: readonly number[], most: number): readonly number[] | undefined {
  const split = (axis: number, outer: number, inner: number): readonly number[] | undefined => {
    const size = blockOf(axis, most);
    return size < SMALLEST_BLOCK ? undefined : [outer * (axis / size), size, inner];
  };
  switch (role.kind) {
    case 'rows':
      return split(elementsOf(shape.slice(role.leading)), elementsOf(shape.slice(0, role.leading)), 1);
    case 'columns':
      return split(shape[shape.length - 2]!, elementsOf(shape.slice(0, -2)), shape[shape.length - 1]!);
    case 'transposed':
      return split(shape[0]!, 1, elementsOf(shape.slice(1)));
  }
}

function planOf(weight: FloatWeight, role: WeightRole, options: Options): Plan {
  const { shape } = weight.source;
  const what = `weight "${weight.value.name}"`;
  const most = options.blockSize ?? (options.bits === 4 ? DEFAULT_BLOCK : undefined);
  const view = most === undefined ? undefined : blockView(role, shape, most);
  if (view !== undefined) {
    const granularity = { kind: 'per-block', axis: 1, size: view[1]! } as const;
    const spec: WeightSpec =
      options.bits === 4
        ? { granularity, range: integerRange('int4'), scheme: 'extreme', view, what }
        : { granularity, range: integerRange('int8', { extent: 'narrow' }), scheme: 'symmetric', view, what };
    return { spec, bits: options.bits, restore: shape };
  }
  const spec: WeightSpec = {
    granularity: channelGranularity(role, shape),
    range: integerRange('int8', { extent: 'narrow' }),
    scheme: 'symmetric',
    scaleShape: channelScaleShape(role, shape),
    what,
  };
  return { spec, bits: 8, restore: undefined };
}

function expand(
  builder: ConstantBuilder,
  name: string,
  weight: Pick<QuantizedWeight, 'values' | 'scales'>,
  plan: Plan,
): Value {
  const stored = builder.initializer(`${name}_q`, weight.values);
  const scale = builder.initializer(`${name}_s`, weight.scales);
  const type = tensorType('float32', weight.values.shape);
  const attributes = { to: attribute.int(dtypes.float32.onnx) };
  const cast = builder.node('Cast', [stored], { attributes, output: { type } });
  const scaled = builder.node('Mul', [cast, scale], { output: { type } });
  if (plan.restore === undefined) return scaled;
  const target = BigInt64Array.from(plan.restore, BigInt);
  const shape = builder.initializer(`${name}_shape`, Tensor.from('int64', [target.length], target));
  return builder.node('Reshape', [scaled, shape], { output: { type: tensorType('float32', plan.restore) } });
}

/** Whether an algorithm does what {@link quantizedWeight} does in one pass over the stored elements. */
function isPlain(algorithm: WeightAlgorithm): boolean {
  return algorithm.name === 'rtn' && algorithm.settings['scales'] === 'range';
}

/** What an algorithm makes of weights: those of products on data if it asks for that, the others without. */
async function resultsOf(
  draft: Model,
  items: readonly Item[],
  run: { readonly options: Options; readonly context: PassContext; readonly report: ReportBuilder },
): Promise<ReadonlyMap<Item, WeightResult>> {
  const { algorithm, samples, memoryBytes, minimumElements } = run.options;
  const results = new Map<Item, WeightResult>();
  if (isPlain(algorithm)) return results;
  const plans = new Map(productPlans(draft, { minimumElements }).map((plan) => [plan.weight, plan]));
  const requests = new Map<Item, WeightRequest>();
  for (const item of items) {
    const { weight, role, plan } = item;
    const product = plans.get(weight.value);
    const { range, scheme } = plan.spec;
    const blockSize = sumBlock(weight.source.shape, role, plan.spec);
    // A table is read element by element as well.
    const only = weight.uses.every(({ node }) => node.is('MatMul') || node.is('Gemm'));
    if (product !== undefined && only) requests.set(item, { plan: product, blockSize, range, scheme });
    else
      results.set(item, lazyMatrix(weight.source, role, { spec: plan.spec, algorithm: dataFree(algorithm) }));
  }
  const { context, report } = run;
  const found = await quantizedWeights(draft, [...requests.values()], {
    algorithm,
    samples,
    memoryBytes,
    pass: 'quantization/foldable-weights',
    context,
    report,
  });
  for (const [item, request] of requests) results.set(item, found.get(request.plan) as WeightResult);
  return results;
}

/**
 * Stores weights as integers that every runtime expands to floats once, when it loads the model: `Cast` and `Mul` by
 * the scale on a constant, which constant folding removes. The file is about 4 times smaller (8 bits, a symmetric
 * scale per output channel) or 6.4 times (4 bits, a scale per block), and speed and memory are those of floats, on
 * CPU, WASM and WebGPU alike. No runtime needs to know a quantized operator.
 *
 * `DequantizeLinear` would say the same in one node, but onnxruntime keeps it out of constant folding, for its own
 * integer operators.
 *
 * Vectors and constants below `minimumElements` stay float. With 4 bits, a weight whose sums are too short for
 * blocks (a depthwise kernel) is stored in 8.
 *
 * @example
 * ```ts
 * import { foldableWeights } from '@lithe/quantization';
 *
 * foldableWeights({ bits: 4 }).name; // => 'quantization/foldable-weights'
 * ```
 */
export const foldableWeights: Pass<FoldableWeightsOptions, Options> = definePass({
  name: 'quantization/foldable-weights',
  version: 1,
  summary: 'Stores weights as integers that the runtime expands once, at load.',
  options: schema,
  preserves: 'accuracy',
  run: async (draft, options, context) => {
    const report = new ReportBuilder();
    reportUnknown(draft.graph.nodesDeep(), { exclude: options.exclude }, report);
    const items: Item[] = [];
    for (const weight of findWeights(draft, options.minimumElements, report)) {
      const { source, uses } = weight;
      const role = uses[0] === undefined ? undefined : weightRole(uses[0], source.shape.length);
      // Vectors (biases, scales of normalizations) weigh little and are sensitive.
      if (role === undefined) continue;
      const excluded = uses.find(({ node }) => options.exclude.includes(node.name));
      if (excluded === undefined) items.push({ weight, role, plan: planOf(weight, role, options) });
      else {
        report.skip(
          weight.value.name,
          'excluded',
          `node "${excluded.node.name}", which reads it, was excluded by name`,
        );
      }
    }
    const results = await resultsOf(draft, items, { options, context, report });
    let before = 0;
    let after = 0;
    for (const item of items) {
      const { weight, role, plan } = item;
      const result = results.get(item);
      const quantized =
        result === undefined
          ? quantizedWeight(weight.source, plan.spec)
          : algorithmWeight(weight.source, role, { spec: plan.spec, result });
      replaceConstant(weight.value, (builder) => expand(builder, weight.value.name, quantized, plan));
      before += weight.source.byteLength;
      after += quantized.values.byteLength + quantized.scales.byteLength;
      report.apply(`store "${weight.value.name}" in ${plan.bits} bits`);
    }
    report.metric('weightBytesBefore', before, 'bytes');
    report.metric('weightBytesAfter', after, 'bytes');
    return report.build();
  },
});
