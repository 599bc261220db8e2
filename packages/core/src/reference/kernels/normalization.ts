import { attr } from '../../op/attributes.ts';
import { elementsOf } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { broadcastShapes, broadcastWalk, fromNumbers } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { type Lanes, lanesOver } from './lanes.ts';
import { isReal, outputType, REAL } from './numeric.ts';
import { requireAxis } from './reduce.ts';
import { normalAxes } from './shape.ts';
import { mapLanes } from './softmax.ts';

/** Mean and biased variance of each lane. */
export function momentsOf(
  values: Float64Array,
  { bases, offsets }: Lanes,
): { mean: Float64Array; variance: Float64Array } {
  const mean = new Float64Array(bases.length);
  const variance = new Float64Array(bases.length);
  for (let lane = 0; lane < bases.length; lane++) {
    let sum = 0;
    for (const offset of offsets) sum += values[bases[lane]! + offset]!;
    const center = sum / offsets.length;
    let squares = 0;
    for (const offset of offsets) squares += (values[bases[lane]! + offset]! - center) ** 2;
    mean[lane] = center;
    variance[lane] = squares / offsets.length;
  }
  return { mean, variance };
}

/** A vector of one number per channel, or a SHAPE_MISMATCH. */
function perChannel(context: KernelContext, index: number, channels: number): Float64Array {
  const values = context.tensor(index).toFloat64Array();
  return values.length === channels
    ? values
    : context.fail(`input ${index} has ${values.length} elements for ${channels} channels`);
}

function requireReal(context: KernelContext): Tensor {
  const input = context.tensor(0);
  return isReal(input.dtype) ? input : context.wrongType(input.dtype, REAL);
}

/**
 * ONNX `BatchNormalization` (opset 15): `(x - mean) / sqrt(var + epsilon) * scale + B` per channel; in training mode
 * by the batch's own moments, which also move the running ones (Ioffe and Szegedy, 2015).
 */
const batchNormalization: ReferenceKernel = (context) => {
  const input = requireReal(context);
  const {
    epsilon,
    momentum,
    training_mode: training,
  } = context.attributes({
    epsilon: attr.float(Math.fround(1e-5)),
    momentum: attr.float(Math.fround(0.9)),
    training_mode: attr.flag(false),
  });
  const channels = input.shape[1] ?? 1;
  const [scale, bias, mean, variance] = [1, 2, 3, 4].map((index) => perChannel(context, index, channels)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const values = input.toFloat64Array();
  const others = input.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
  const lanes =
    input.shape.length < 2
      ? { bases: new Int32Array(1), offsets: Int32Array.from(values.keys()) }
      : lanesOver(input.shape, others);
  const used = training ? momentsOf(values, lanes) : { mean, variance };
  for (let channel = 0; channel < channels; channel++) {
    const factor = scale[channel]! / Math.sqrt(used.variance[channel]! + epsilon);
    for (const offset of lanes.offsets) {
      const at = lanes.bases[channel]! + offset;
      values[at] = (values[at]! - used.mean[channel]!) * factor + bias[channel]!;
    }
  }
  const output = fromNumbers(input.dtype, input.shape, values);
  if (!training) return [output];
  const moved = (running: Float64Array, batch: Float64Array): Float64Array =>
    running.map((value, index) => value * momentum + batch[index]! * (1 - momentum));
  return [
    output,
    fromNumbers(context.tensor(3).dtype, [channels], moved(mean, used.mean)),
    fromNumbers(context.tensor(4).dtype, [channels], moved(variance, used.variance)),
  ];
};

/** Normalizes groups of channels of each sample, then scales and shifts per channel. */
function groupNormalize(context: KernelContext, groups: number, epsilon: number): Tensor {
  const input = requireReal(context);
  const [batch, channels] = [input.shape[0]!, input.shape[1] ?? context.fail('the input has no channels')];
  if (groups < 1 || channels % groups !== 0)
    context.fail(`${channels} channels do not split into ${groups} groups`);
  const scale = perChannel(context, 1, channels);
  const bias = perChannel(context, 2, channels);
  const values = input.toFloat64Array();
  const area = elementsOf(input.shape.slice(2));
  const size = (channels / groups) * area;
  const lanes = lanesOver([batch * groups, size], [1]);
  const { mean, variance } = momentsOf(values, lanes);
  for (let at = 0; at < values.length; at++) {
    const lane = Math.floor(at / size);
    const channel = Math.floor(at / area) % channels;
    values[at] =
      ((values[at]! - mean[lane]!) / Math.sqrt(variance[lane]! + epsilon)) * scale[channel]! + bias[channel]!;
  }
  return fromNumbers(input.dtype, input.shape, values);
}

/** ONNX `InstanceNormalization` (opset 6): each channel of each sample by its own moments. */
const instanceNormalization: ReferenceKernel = (context) => {
  const { epsilon } = context.attributes({ epsilon: attr.float(Math.fround(1e-5)) });
  return [groupNormalize(context, context.tensor(0).shape[1] ?? 1, epsilon)];
};

/** ONNX `GroupNormalization` (opset 21): groups of channels by their moments, scale and bias per channel. */
const groupNormalization: ReferenceKernel = (context) => {
  const { epsilon, num_groups: groups } = context.attributes({
    epsilon: attr.float(Math.fround(1e-5)),
    num_groups: attr.requiredInt(),
  });
  return [groupNormalize(context, groups, epsilon)];
};

/** What a layer normalization gives. */
export interface LayerNormalized {
  /** Result, rounded to the input's dtype. */
  readonly output: Tensor;
  /** Mean of each lane; absent for the simplified form. */
  readonly mean: Float64Array;
  /** `1 / sqrt(variance + epsilon)` of each lane. */
  readonly inverse: Float64Array;
  /** Shape of the two. */
  readonly laneShape: readonly number[];
}

/**
 * Normalizes over the axes from `axis` on, then scales and shifts (Ba, Kiros and Hinton, "Layer Normalization", 2016).
 *
 * @param simplified by the root mean square alone, without taking off the mean (Zhang and Sennrich, 2019)
 */
export function layerNormalize(
  context: KernelContext,
  input: { readonly values: Float64Array; readonly like: Tensor },
  options: {
    readonly axis: number;
    readonly epsilon: number;
    readonly simplified: boolean;
    readonly scale: Tensor | undefined;
    readonly bias: Tensor | undefined;
  },
): LayerNormalized {
  const { like } = input;
  const values = input.values.slice();
  const lanes = lanesOver(
    like.shape,
    like.shape.flatMap((_, axis) => (axis >= options.axis ? [axis] : [])),
  );
  const { mean, variance } = momentsOf(values, lanes);
  if (options.simplified) {
    for (let lane = 0; lane < mean.length; lane++) {
      variance[lane]! += mean[lane]! ** 2;
      mean[lane] = 0;
    }
  }
  const inverse = variance.map((value) => 1 / Math.sqrt(value + options.epsilon));
  const scale = parameter(context, options.scale, like.shape);
  const bias = parameter(context, options.bias, like.shape);
  const size = lanes.offsets.length;
  for (let at = 0; at < values.length; at++) {
    const lane = Math.floor(at / size);
    const normal = (values[at]! - mean[lane]!) * inverse[lane]!;
    values[at] = normal * (scale === undefined ? 1 : scale(at)) + (bias === undefined ? 0 : bias(at));
  }
  return {
    output: fromNumbers(like.dtype, like.shape, values),
    mean,
    inverse,
    laneShape: like.shape.map((dim, axis) => (axis >= options.axis ? 1 : dim)),
  };
}

function parameter(
  context: KernelContext,
  tensor: Tensor | undefined,
  shape: readonly number[],
): ((at: number) => number) | undefined {
  if (tensor === undefined) return undefined;
  const fits = broadcastShapes([tensor.shape, shape]);
  if (fits === undefined || fits.join() !== shape.join())
    context.fail(`[${tensor.shape.join(', ')}] does not broadcast to [${shape.join(', ')}]`);
  const values = tensor.toFloat64Array();
  const positions = broadcastWalk(tensor.shape, shape);
  return positions === undefined ? (at) => values[at]! : (at) => values[positions[at]!]!;
}

/** ONNX `LayerNormalization` (opset 17). */
const layerNormalization: ReferenceKernel = (context) => {
  const {
    axis,
    epsilon,
    stash_type: stash,
  } = context.attributes({
    axis: attr.int(-1),
    epsilon: attr.float(Math.fround(1e-5)),
    stash_type: attr.int(1),
  });
  const like = requireReal(context);
  const result = layerNormalize(
    context,
    { values: like.toFloat64Array(), like },
    {
      axis: requireAxis(context, axis, like.shape.length),
      epsilon,
      simplified: false,
      scale: context.tensor(1),
      bias: context.optional(2),
    },
  );
  const dtype = outputType(context, stash, 'float32');
  return [
    result.output,
    fromNumbers(dtype, result.laneShape, result.mean),
    fromNumbers(dtype, result.laneShape, result.inverse),
  ];
};

/** onnxruntime's `SimplifiedLayerNormalization`: by the root mean square alone, without bias. */
const simplifiedLayerNormalization: ReferenceKernel = (context) => {
  const { axis, epsilon } = context.attributes({
    axis: attr.int(-1),
    epsilon: attr.float(Math.fround(1e-5)),
  });
  const like = requireReal(context);
  const result = layerNormalize(
    context,
    { values: like.toFloat64Array(), like },
    {
      axis: requireAxis(context, axis, like.shape.length),
      epsilon,
      simplified: true,
      scale: context.tensor(1),
      bias: undefined,
    },
  );
  return [result.output, fromNumbers('float32', result.laneShape, result.inverse)];
};

/** ONNX `LRN` (opset 13): across `size` neighbouring channels (Krizhevsky et al., 2012, section 3.3). */
const lrn: ReferenceKernel = (context) => {
  const input = requireReal(context);
  const { alpha, beta, bias, size } = context.attributes({
    alpha: attr.float(Math.fround(0.0001)),
    beta: attr.float(0.75),
    bias: attr.float(1),
    size: attr.requiredInt(),
  });
  const channels = input.shape[1] ?? context.fail('the input has no channels');
  const area = elementsOf(input.shape.slice(2));
  const values = input.toFloat64Array();
  const out = new Float64Array(values.length);
  const before = Math.floor((size - 1) / 2);
  const after = Math.ceil((size - 1) / 2);
  for (let at = 0; at < values.length; at++) {
    const channel = Math.floor(at / area) % channels;
    let squares = 0;
    for (
      let other = Math.max(0, channel - before);
      other <= Math.min(channels - 1, channel + after);
      other++
    ) {
      squares += values[at + (other - channel) * area]! ** 2;
    }
    out[at] = values[at]! / (bias + (alpha / size) * squares) ** beta;
  }
  return [fromNumbers(input.dtype, input.shape, out)];
};

/** ONNX `MeanVarianceNormalization` (opset 13): `(x - mean) / (deviation + 1e-9)` over axes. */
const meanVarianceNormalization: ReferenceKernel = (context) => {
  const input = requireReal(context);
  const { axes } = context.attributes({ axes: attr.optionalInts() });
  const lanes = lanesOver(input.shape, normalAxes(context, axes ?? [0, 2, 3], input.shape.length));
  const values = input.toFloat64Array();
  const { mean, variance } = momentsOf(values, lanes);
  for (let lane = 0; lane < lanes.bases.length; lane++) {
    const deviation = Math.sqrt(variance[lane]!) + 1e-9;
    for (const offset of lanes.offsets) {
      const at = lanes.bases[lane]! + offset;
      values[at] = (values[at]! - mean[lane]!) / deviation;
    }
  }
  return [fromNumbers(input.dtype, input.shape, values)];
};

/** ONNX `LpNormalization` (opset 1): each lane divided by its 1- or 2-norm. A lane of zeros stays zero. */
const lpNormalization: ReferenceKernel = (context) => {
  const input = requireReal(context);
  const { axis, p } = context.attributes({ axis: attr.int(-1), p: attr.int(2) });
  if (p !== 1 && p !== 2) context.fail(`p is ${p}, not 1 or 2`);
  return [
    mapLanes(input, requireAxis(context, axis, input.shape.length), (values, base, offsets) => {
      let sum = 0;
      for (const offset of offsets)
        sum += p === 1 ? Math.abs(values[base + offset]!) : values[base + offset]! ** 2;
      const norm = p === 1 ? sum : Math.sqrt(sum);
      for (const offset of offsets) values[base + offset] = norm === 0 ? 0 : values[base + offset]! / norm;
    }),
  ];
};

/** Normalizations: `ai.onnx`, and onnxruntime's simplified layer normalization. */
export const normalizationKernels: KernelTable = {
  BatchNormalization: batchNormalization,
  GroupNormalization: groupNormalization,
  InstanceNormalization: instanceNormalization,
  LRN: lrn,
  LayerNormalization: layerNormalization,
  LpNormalization: lpNormalization,
  MeanVarianceNormalization: meanVarianceNormalization,
  SimplifiedLayerNormalization: simplifiedLayerNormalization,
};
