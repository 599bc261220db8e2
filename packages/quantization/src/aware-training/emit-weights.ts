import { attributesOf, type Node, standardOpDefs, Tensor, type Value } from '@lithe/core';
import type { Emitter } from '@lithe/training';
import { INT32_ROOM } from '../parameters/bias.ts';
import type { IntegerRange } from '../parameters/integer-range.ts';
import { integersOf } from '../passes/static/pairs.ts';
import { called, named, rangeScale, type Step, safeScale } from './emit-scales.ts';

/** What the weights of a layer, or of several layers that share them, are quantized by. */
export interface WeightRequest {
  /** Begins the names of what is made. */
  readonly name: string;
  /** The weights, folded where a normalization is. */
  readonly weight: Value;
  /** Axis of the output channels; `undefined` for one scale for all. */
  readonly axis: number | undefined;
  /** Integers. */
  readonly range: IntegerRange;
  /** By layer: the bias that becomes int32, with the scale of the input; `undefined` where the bias stays float. */
  readonly integerBiases: readonly (IntegerBias | undefined)[];
  /** Learned scales; from the largest magnitude where they do not learn. */
  readonly step: Step | undefined;
}

/** A bias that becomes int32. */
export interface IntegerBias {
  /** The bias. */
  readonly value: Value;
  /** Scale of what the layer reads. */
  readonly inputScale: Value;
}

/** Quantized weights. */
export interface QuantizedLayer {
  /** Weights behind their pair. */
  readonly weight: Value;
  /** Their scale. */
  readonly scale: Value;
  /** By layer: its bias behind its pair; `undefined` where it stays float. */
  readonly biases: readonly (Value | undefined)[];
  /** What no gradient flows back through. */
  readonly constants: readonly Value[];
}

/**
 * Puts a pair behind the weights of a layer, s = max|w| / levels for each channel or learned, and int32 rounding behind
 * its bias at the scale of the sums, s_x s_w. Where the bias would not fit, the scale of the weights is raised; that of
 * weights that layers share until the bias of each fits.
 */
export function emitWeights(emit: Emitter, request: WeightRequest): QuantizedLayer {
  const { name, weight, axis, range, integerBiases, step } = request;
  const shape = weight.shape as readonly number[];
  const levels = range.high;
  const constants: Value[] = [];
  let scale = step?.held ?? largest(emit, weight, { axis, levels });
  if (step === undefined) constants.push(scale);
  for (const bias of integerBiases) {
    if (bias === undefined) continue;
    const least = leastScale(emit, bias, axis === undefined);
    constants.push(least);
    scale = emit.op('Max', [scale, least]);
  }
  if (step === undefined) {
    scale = safeScale(emit, scale);
    constants.push(scale);
  }
  const count = axis === undefined ? undefined : (shape[axis] ?? 1);
  const dims = count === undefined ? [] : [count];
  const zeros = named(
    emit.graph,
    `${name}_zero_point`,
    integersOf(range, dims, new Array<number>(count ?? 1).fill(0)),
  );
  const clipped = step === undefined ? weight : clamped(emit, weight, { scale, axis, range });
  const attributes = { axis: axis ?? 0 };
  const quantized = emit.op('QuantizeLinear', [clipped, scale, zeros], attributes);
  called(emit.graph, scale, `${name}_scale`);
  called(emit.graph, quantized, `${name}_quantized`);
  const dequantized = emit.op('DequantizeLinear', [quantized, scale, zeros], attributes);
  const biases = integerBiases.map((bias) => bias && emitBias(emit, { ...bias, name, scale, dims }));
  return { weight: dequantized, scale, biases, constants };
}

function largest(
  emit: Emitter,
  weight: Value,
  { axis, levels }: { readonly axis: number | undefined; readonly levels: number },
): Value {
  const others = (weight.shape ?? []).map((_, index) => index).filter((index) => index !== axis);
  const magnitude = emit.op('ReduceMax', [emit.op('Abs', [weight]), emit.ints(others)], { keepdims: 0 });
  return emit.div(magnitude, emit.scalar(levels));
}

/** The smallest scale of weights at which the bias fits int32: see `raiseScalesForBias`. */
function leastScale(emit: Emitter, { value, inputScale }: IntegerBias, together: boolean): Value {
  const magnitude = emit.op('Abs', [value]);
  const each = together ? emit.op('ReduceMax', [magnitude], { keepdims: 0 }) : magnitude;
  return emit.scale(emit.div(each, emit.scale(inputScale, INT32_ROOM)), Math.fround(1 + 2 ** -22));
}

/**
 * Weights within the integers that are used: the operator itself goes one below. The gradient by a learned step is that of
 * the paper then, and ends where the range does.
 */
function clamped(
  emit: Emitter,
  weight: Value,
  {
    scale,
    axis,
    range,
  }: { readonly scale: Value; readonly axis: number | undefined; readonly range: IntegerRange },
): Value {
  const along = (weight.shape ?? []).map((_, index) => (index === axis ? -1 : 1));
  const end = (level: number): Value => {
    const bound = emit.scale(scale, level);
    return axis === undefined ? bound : emit.reshape(bound, along);
  };
  return emit.op('Min', [emit.op('Max', [weight, end(range.low)]), end(range.high)]);
}

/** A bias as int32 at the scale of the sums. */
function emitBias(
  emit: Emitter,
  {
    name,
    value,
    inputScale,
    scale,
    dims,
  }: {
    readonly name: string;
    readonly scale: Value;
    readonly dims: readonly number[];
  } & IntegerBias,
): Value {
  const own = emit.mul(scale, inputScale);
  // 2^31 - 128 is the largest float32 that int32 holds.
  const steps = emit.op('Clip', [
    emit.op('Round', [emit.div(value, own)]),
    emit.scalar(-(2 ** 31)),
    emit.scalar(2 ** 31 - 128),
  ]);
  const zeros = named(
    emit.graph,
    `${name}_bias_zero_point`,
    Tensor.from('int32', dims, new Int32Array(dims[0] ?? 1)),
  );
  called(emit.graph, own, `${name}_bias_scale`);
  const quantized = called(emit.graph, emit.cast(steps, 'int32'), `${name}_bias_quantized`);
  return emit.op('DequantizeLinear', [quantized, own, zeros], { axis: 0 });
}

/** Puts a pair behind a constant operand of an operator between integers: the range of its elements. */
export function emitOperand(
  emit: Emitter,
  value: Value,
  integers: IntegerRange,
): { readonly result: Value; readonly constants: readonly Value[] } {
  const { scale, zeroPoint } = rangeScale(
    emit,
    {
      minimum: emit.op('ReduceMin', [value], { keepdims: 0 }),
      maximum: emit.op('ReduceMax', [value], { keepdims: 0 }),
    },
    integers,
  );
  const quantized = emit.op('QuantizeLinear', [value, scale, zeroPoint]);
  return {
    result: emit.op('DequantizeLinear', [quantized, scale, zeroPoint]),
    constants: [scale, zeroPoint],
  };
}

/** Axis of the output channels of a layer, as `DequantizeLinear` counts it. */
export function channelAxis(node: Node): number {
  if (node.is('Conv')) return 0;
  if (node.is('Gemm')) return attributesOf(node, standardOpDefs.Gemm).transB ? 0 : 1;
  return 1;
}
