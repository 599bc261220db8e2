import { type Graph, Tensor, type Value } from '@lithe/core';
import type { Emitter } from '@lithe/training';
import { asymmetricParameters, SMALLEST_SCALE } from '../parameters/affine.ts';
import type { IntegerRange } from '../parameters/integer-range.ts';
import { integersOf, type ScaleValues } from '../passes/static/pairs.ts';
import type { RangeGroup } from './range-groups.ts';

/** A number that learns, and what it is held to. */
export interface Step {
  /** What learns. */
  readonly raw: Value;
  /** What is used of it: within its bounds. */
  readonly held: Value;
  /** Elements of the weights, or of one sample of the activations. */
  readonly elements: number;
  /** Largest integer. */
  readonly levels: number;
  /** Where it starts, on average. */
  readonly first: number;
}

/** Scale and zero point of activations, as the graph computes them. */
export interface ActivationScale extends ScaleValues {
  /** Ends of the range, which follow the batches; `undefined` where the scale learns. */
  readonly range?: { readonly minimum: Value; readonly maximum: Value } | undefined;
  /** The scale where it learns. */
  readonly step?: Step | undefined;
}

/** Begins the names of what is computed in the graph. */
export const EMITTED = 'aware/';

const scalar = (value: number): Tensor => Tensor.from('float32', [], Float32Array.of(value));

/** A step may shrink to this share of what it started from: at 0 nothing could be divided by it. */
const LEAST_SHARE = 2 ** -10;

/** Adds a constant under a name of its own. */
export function named(graph: Graph, name: string, tensor: Tensor): Value {
  return graph.addInitializer(graph.uniqueName(name), tensor);
}

/** Names a value that was computed, for what it is in the model that ships; it keeps a name that it was given before. */
export function called(graph: Graph, value: Value, name: string): Value {
  if (value.producer !== null && value.name.startsWith(EMITTED)) graph.rename(value, graph.uniqueName(name));
  return value;
}

/** A scale that is 1 where a range of nothing gave none. */
export function safeScale(emit: Emitter, scale: Value): Value {
  const tooSmall = emit.op('Less', [scale, emit.scalar(SMALLEST_SCALE)]);
  return emit.op('Where', [tooSmall, emit.scalar(1), scale]);
}

/**
 * Scale and zero point of a range [minimum, maximum], widened to hold 0: s = (max - min) / levels, z = low - min / s
 * rounded, as `asymmetricParameters` has them.
 */
export function rangeScale(
  emit: Emitter,
  { minimum, maximum }: { readonly minimum: Value; readonly maximum: Value },
  integers: IntegerRange,
): ScaleValues {
  const zero = emit.scalar(0);
  const low = emit.op('Min', [minimum, zero]);
  const high = emit.op('Max', [maximum, zero]);
  const levels = integers.high - integers.low;
  const scale = safeScale(emit, emit.div(emit.sub(high, low), emit.scalar(levels)));
  // The operator rounds and saturates, and gives the zero point in its type.
  const lowest = emit.constant(integersOf(integers, [], [integers.low]));
  return { scale, zeroPoint: emit.op('QuantizeLinear', [emit.neg(low), scale, lowest]) };
}

/** Scale and zero point of activations whose range follows the batches. */
export function movingScale(emit: Emitter, group: RangeGroup): ActivationScale {
  const { graph } = emit;
  const range = {
    minimum: named(graph, `${group.name}_minimum`, scalar(group.minimum)),
    maximum: named(graph, `${group.name}_maximum`, scalar(group.maximum)),
  };
  const { scale, zeroPoint } = rangeScale(emit, range, group.integers);
  return {
    scale: called(graph, withinBound(emit, scale, group), `${group.name}_scale`),
    zeroPoint: called(graph, zeroPoint, `${group.name}_zero_point`),
    range,
  };
}

/** Lowers a scale by a rounding step where rounding put the largest integer above the bound of a `Clip`. */
function withinBound(emit: Emitter, scale: Value, { bound, integers, minimum }: RangeGroup): Value {
  if (bound === undefined || minimum < 0) return scale;
  const most = emit.mul(scale, emit.scalar(integers.high - integers.low));
  const above = emit.op('Greater', [most, emit.scalar(Math.fround(bound))]);
  return emit.op('Where', [above, emit.scale(scale, Math.fround(1 - 2 ** -23)), scale]);
}

/** Scale that learns, and a zero point that stays, of activations. */
export function learnedScale(emit: Emitter, group: RangeGroup): ActivationScale {
  const { graph } = emit;
  const { integers, minimum, maximum, bound, name } = group;
  const { scale, zeroPoint } = asymmetricParameters(minimum, maximum, integers);
  const raw = named(graph, `${name}_step`, scalar(scale));
  const above = emit.op('Max', [raw, emit.scalar(Math.fround(scale * LEAST_SHARE))]);
  const most = bound === undefined ? undefined : (bound / (integers.high - zeroPoint)) * (1 - 2 ** -22);
  const held = most === undefined ? above : emit.op('Min', [above, emit.scalar(Math.fround(most))]);
  return {
    scale: called(graph, held, `${name}_scale`),
    zeroPoint: named(graph, `${name}_zero_point`, integersOf(integers, [], [zeroPoint])),
    step: { raw, held, elements: group.elements, levels: integers.high - zeroPoint, first: scale },
  };
}

/** Scales that learn, of weights. */
export function learnedSteps(
  emit: Emitter,
  name: string,
  start: {
    readonly values: Float32Array;
    readonly shape: readonly number[];
    readonly elements: number;
    readonly levels: number;
  },
): Step {
  const { values, shape, elements, levels } = start;
  const raw = named(emit.graph, `${name}_step`, Tensor.from('float32', shape, Float32Array.from(values)));
  const least = emit.floats(
    shape,
    values.map((value) => value * LEAST_SHARE),
  );
  const first = values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  return { raw, held: emit.op('Max', [raw, least]), elements, levels, first };
}
