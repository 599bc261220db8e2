import { packNibbles, Tensor, type TensorSource } from '@lithe/core';
import type { Granularity } from '../parameters/granularity.ts';
import { groupLayout } from '../parameters/group-layout.ts';
import { type GroupParameters, type GroupScheme, groupParameters } from '../parameters/group-parameters.ts';
import type { IntegerRange } from '../parameters/integer-range.ts';
import { type IntegerArray, integerArray, quantizeGroups } from '../parameters/kernels.ts';
import { float32Data, lazyParts } from './lazy-parts.ts';

/** How a weight is quantized. */
export interface WeightSpec {
  /** What shares a scale, in terms of {@link view}. */
  readonly granularity: Granularity;
  /** Integers used. */
  readonly range: IntegerRange;
  /** How scales follow from the elements. */
  readonly scheme: GroupScheme;
  /** Shape in which the elements are seen and stored: same order, other dims. The source's own by default. */
  readonly view?: readonly number[] | undefined;
  /** Shape of the scales and zero points. That of `DequantizeLinear` by default. */
  readonly scaleShape?: readonly number[] | undefined;
  /** Names the tensor in messages. */
  readonly what: string;
}

/** A weight as integers; nothing is computed before it is loaded. */
export interface QuantizedWeight {
  /** The integers, packed two a byte for 4-bit types. */
  readonly values: TensorSource;
  /** Scales, float32. */
  readonly scales: TensorSource;
  /** Zero points, of the integers' dtype. All in the middle of the range unless the scheme is asymmetric. */
  readonly zeroPoints: TensorSource;
}

/** Makes a tensor of integers, packing 4-bit ones. */
export function integerTensor(range: IntegerRange, shape: readonly number[], values: IntegerArray): Tensor {
  if (range.dtype === 'int4' || range.dtype === 'uint4') {
    return Tensor.from(range.dtype, shape, packNibbles(values as Int8Array | Uint8Array));
  }
  return Tensor.from(range.dtype, shape, values as never);
}

/** Parameters from the elements alone. */
export function elementParameters(
  data: Float32Array,
  spec: WeightSpec,
  shape: readonly number[],
): GroupParameters {
  const { range, scheme, what } = spec;
  return groupParameters(data, groupLayout(shape, spec.granularity), { range, scheme, what });
}

/**
 * A quantized form of a float32 weight that is computed when it is loaded: one read of the source gives integers,
 * scales and zero points, and memory holds one weight at a time.
 *
 * @param fixed parameters found before; computed from the elements by default
 * @throws {LitheError} on load VALUE_OUT_OF_RANGE when an element is NaN or infinite
 */
export function quantizedWeight(
  source: TensorSource,
  spec: WeightSpec,
  fixed?: GroupParameters,
): QuantizedWeight {
  const shape = spec.view ?? source.shape;
  const layout = groupLayout(shape, spec.granularity);
  const scaleShape = spec.scaleShape ?? layout.scaleShape;
  const { range } = spec;
  return lazyParts(
    {
      values: { dtype: range.dtype, shape },
      scales: { dtype: 'float32', shape: scaleShape },
      zeroPoints: { dtype: range.dtype, shape: scaleShape },
    },
    async (signal) => {
      const data = float32Data(await source.load(signal), spec.what);
      const parameters = fixed ?? elementParameters(data, spec, shape);
      const values = quantizeGroups(data, layout, { parameters, range });
      return {
        values: integerTensor(range, shape, values),
        scales: Tensor.from('float32', scaleShape, parameters.scales),
        zeroPoints: integerTensor(range, scaleShape, zeroPointsOf(parameters, range)),
      };
    },
  );
}

function zeroPointsOf(parameters: GroupParameters, range: IntegerRange): IntegerArray {
  const wide = parameters.zeroPoints ?? new Int32Array(parameters.scales.length).fill(parameters.middle);
  const zeros = integerArray(range, wide.length);
  zeros.set(wide);
  return zeros;
}
