import { dtypes, type Node, type TargetProfile, type Value } from '@lithe/core';
import type { Emitter } from '@lithe/training';
import type { AffineParameters } from '../parameters/affine.ts';
import type { IntegerRange } from '../parameters/integer-range.ts';
import { insertPairs, type ScaleValues } from '../passes/static/pairs.ts';
import type { StaticPlan } from '../passes/static/plan.ts';
import { type ActivationScale, called } from './emit-scales.ts';
import type { Prepared } from './prepared.ts';
import { type AwareRanges, fewBitChannels } from './range-groups.ts';

/** What {@link emitPairs} puts in. */
export interface AwarePairs {
  /** Nodes and values that get pairs. */
  readonly plan: StaticPlan;
  /** Their ranges. */
  readonly ranges: AwareRanges;
  /** Their scales, as the graph computes them. */
  readonly scales: ReadonlyMap<AffineParameters, ActivationScale>;
  /** What the target is known to do. */
  readonly profile: TargetProfile | undefined;
  /** Whether only nodes of the plan read what is quantized. */
  readonly readersOnly: boolean;
}

/**
 * Puts pairs behind activations, with scales that the graph computes.
 *
 * @returns what goes into each pair, and what comes out
 */
export function emitPairs(emit: Emitter, request: AwarePairs): Prepared['pairs'] {
  const { plan, ranges, scales, profile, readersOnly } = request;
  const groups = new Map(ranges.groups.map((group) => [group.key, group]));
  const scaleOf = (parameters: AffineParameters): ActivationScale =>
    scales.get(parameters) as ActivationScale;
  const spread = (name: string, parameters: AffineParameters, count: number): ScaleValues => {
    const { scale, zeroPoint } = scaleOf(parameters);
    const zeros = emit.floats([count], new Float32Array(count));
    // `Expand` takes no 4-bit integers: 0 is quantized anew in each place.
    const repeated = emit.op('QuantizeLinear', [zeros, scale, zeroPoint]);
    return {
      scale: called(emit.graph, emit.op('Expand', [scale, emit.ints([count])]), `${name}_scales`),
      zeroPoint: called(emit.graph, repeated, `${name}_zero_points`),
    };
  };
  insertPairs(emit.graph, {
    plan,
    ranges: ranges.byValue,
    activations: ranges.integers,
    guarded:
      profile === undefined ? ['Conv', 'ConvTranspose', 'Gemm'] : (profile.integers?.quantizesWeights ?? []),
    readersOnly,
    scales: {
      of: (name, parameters) => {
        const group = groups.get(parameters);
        const found = group === undefined ? undefined : fewBitChannels(group);
        if (found === undefined) return scaleOf(parameters);
        return { ...spread(name, parameters, found.count), axis: found.axis };
      },
      repeated: (name, parameters, count) => spread(name, parameters, count),
    },
  });
  const pairs: { readonly input: Value; readonly output: Value }[] = [];
  for (const value of plan.values) {
    const parameters = ranges.byValue.get(value) as AffineParameters;
    const integers = groups.get(parameters)?.integers;
    for (const { node: quantizer, index: at } of value.uses) {
      if (!quantizer.is('QuantizeLinear') || at !== 0) continue;
      for (const { node } of quantizer.output().uses)
        if (node.is('DequantizeLinear')) pairs.push({ input: value, output: node.output() });
      if (integers !== undefined) hold(emit, quantizer, { ...scaleOf(parameters), integers });
    }
  }
  return pairs;
}

/** Holds what is quantized to the levels that are used, where the type has more. */
function hold(
  emit: Emitter,
  quantizer: Node,
  { scale, zeroPoint, integers }: ScaleValues & { readonly integers: IntegerRange },
): void {
  const { dtype, low, high } = integers;
  const [least, most] = dtypes[dtype].range ?? [];
  if (Number(least) === low && Number(most) === high) return;
  const zero = emit.cast(zeroPoint, 'float32');
  const end = (at: number): Value => emit.mul(emit.sub(emit.scalar(at), zero), scale);
  const x = quantizer.input(0) as Value;
  emit.graph.setInput(quantizer, 0, emit.op('Min', [emit.op('Max', [x, end(low)]), end(high)]));
}
