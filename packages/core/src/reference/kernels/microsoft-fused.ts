import { attr } from '../../op/attributes.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { gelu, geluTanh } from './activation.ts';
import { convNumbers } from './convolution.ts';
import { gemmTensors } from './matmul.ts';
import { layerNormalize } from './normalization.ts';
import { mapTensor, mapTwo, unary } from './numeric.ts';
import { broadcastTo } from './quantization.ts';
import { sigmoid } from './special-functions.ts';

/** The activation that a fused operator names, with its parameters. */
function fusedActivation(context: KernelContext, parameters: readonly number[]): (value: number) => number {
  const { activation } = context.attributes({ activation: attr.string('') });
  const [alpha, beta] = parameters;
  switch (activation) {
    case '':
      return (x) => x;
    case 'Relu':
      return (x) => Math.max(0, x);
    case 'Sigmoid':
      return sigmoid;
    case 'Tanh':
      return Math.tanh;
    case 'LeakyRelu':
      return (x) => (x >= 0 ? x : (alpha ?? 0.01) * x);
    case 'Clip':
      return (x) =>
        Math.min(Math.max(x, alpha ?? Number.NEGATIVE_INFINITY), beta ?? Number.POSITIVE_INFINITY);
    case 'HardSigmoid':
      return (x) => Math.max(0, Math.min(1, (alpha ?? 0.2) * x + (beta ?? 0.5)));
    default:
      return context.fail(`activation "${activation}" is not known`);
  }
}

/** `com.microsoft.FusedConv`: `Conv`, plus `Z`, then an activation. */
const fusedConv: ReferenceKernel = (context) => {
  const { activation_params: parameters } = context.attributes({ activation_params: attr.optionalFloats() });
  const rule = fusedActivation(context, parameters ?? []);
  const x = context.tensor(0);
  const { values, shape } = convNumbers(context, x, context.tensor(1), context.optional(2));
  const added = context.optional(3);
  if (added !== undefined) {
    if (added.shape.join() !== shape.join())
      context.fail(`Z [${added.shape.join(', ')}] is not [${shape.join(', ')}]`);
    const more = added.toFloat64Array();
    for (let index = 0; index < values.length; index++) values[index]! += more[index]!;
  }
  for (let index = 0; index < values.length; index++) values[index] = rule(values[index]!);
  return [fromNumbers(x.dtype, shape, values)];
};

/** `com.microsoft.FusedGemm`: `Gemm`, then an activation. */
const fusedGemm: ReferenceKernel = (context) => {
  const { activation_alpha: alpha, activation_beta: beta } = context.attributes({
    activation_alpha: attr.optionalFloat(),
    activation_beta: attr.optionalFloat(),
  });
  const rule = fusedActivation(
    context,
    [alpha ?? Number.NaN, beta ?? Number.NaN].filter((item) => !Number.isNaN(item)),
  );
  const result = gemmTensors(context, [context.tensor(0), context.tensor(1), context.optional(2)]);
  return [mapTensor(context, result, { number: rule })];
};

/** A function of the sum of the input and a bias, in float64. */
function biased(context: KernelContext, rule: (value: number) => number): Tensor {
  const [input, bias] = [context.tensor(0), context.optional(1)];
  if (bias === undefined) return mapTensor(context, input, { number: rule });
  return mapTwo(context, input, bias, { number: (left, right) => rule(left + right) });
}

/** `com.microsoft.QuickGelu`: `x sigmoid(alpha x)`. */
const quickGelu: ReferenceKernel = (context) => {
  const { alpha } = context.attributes({ alpha: attr.float(Math.fround(1.702)) });
  return [mapTensor(context, context.tensor(0), { number: (x) => x * sigmoid(alpha * x) })];
};

/** `com.microsoft.BiasAdd`: `X + bias + skip`, the bias along the last axis. */
const biasAdd: ReferenceKernel = (context) => [
  mapTwo(
    context,
    mapTwo(context, context.tensor(0), context.tensor(1), { number: (a, b) => a + b }),
    context.tensor(2),
    { number: (a, b) => a + b },
  ),
];

/** `com.microsoft.SkipLayerNormalization` and its simplified form: of `input + skip + bias`, over the last axis. */
function skipNormalization(simplified: boolean): ReferenceKernel {
  return (context) => {
    const { epsilon } = context.attributes({ epsilon: attr.float(Math.fround(1e-12)) });
    const input = context.tensor(0);
    const values = input.toFloat64Array();
    for (const part of [context.tensor(1), context.optional(simplified ? 3 : 4)]) {
      if (part === undefined) continue;
      const at = broadcastTo(context, part.shape, input.shape);
      const added = part.toFloat64Array();
      for (let index = 0; index < values.length; index++) values[index]! += added[at[index]!]!;
    }
    const result = layerNormalize(
      context,
      { values, like: input },
      {
        axis: input.shape.length - 1,
        epsilon,
        simplified,
        scale: context.tensor(2),
        bias: simplified ? undefined : context.optional(3),
      },
    );
    return [
      result.output,
      fromNumbers('float32', result.laneShape, result.mean),
      fromNumbers('float32', result.laneShape, result.inverse),
      fromNumbers(input.dtype, input.shape, values),
    ];
  };
}

/** `com.microsoft.EmbedLayerNormalization`: the sum of word, position and segment embeddings, normalized. */
const embedLayerNormalization: ReferenceKernel = (context) => {
  const { epsilon, mask_index_type: maskType } = context.attributes({
    epsilon: attr.float(Math.fround(1e-12)),
    mask_index_type: attr.int(0),
  });
  const ids = context.tensor(0);
  const words = context.tensor(2);
  if (ids.shape.length !== 2) context.fail(`input_ids have ${ids.shape.length} axes, not 2`);
  const [batch, steps] = ids.shape as [number, number];
  const width = words.shape[1]!;
  const shape = [batch, steps, width];
  const sum = new Float64Array(context.guard(words.dtype, shape));
  const rows = ids.toFloat64Array();
  const add = (table: Tensor, rowOf: (place: number) => number): void => {
    const values = table.toFloat64Array();
    for (let place = 0; place < batch * steps; place++) {
      const row = rowOf(place);
      if (row < 0 || row >= table.shape[0]!)
        context.fail(`row ${row} is outside a table of ${table.shape[0]}`);
      for (let column = 0; column < width; column++)
        sum[place * width + column]! += values[row * width + column]!;
    }
  };
  add(words, (place) => rows[place]!);
  const positions = context.optional(8);
  const places = positions === undefined ? undefined : positions.toFloat64Array();
  add(context.tensor(3), (place) => (places === undefined ? place % steps : places[place % places.length]!));
  const segments = context.optional(1)?.toFloat64Array();
  const segmentTable = context.optional(4);
  if (segmentTable !== undefined && segments !== undefined) add(segmentTable, (place) => segments[place]!);
  const result = layerNormalize(
    context,
    { values: sum, like: fromNumbers(words.dtype, shape, sum) },
    { axis: 2, epsilon, simplified: false, scale: context.tensor(5), bias: context.tensor(6) },
  );
  const mask = context.optional(7)?.toFloat64Array();
  const lengths = new Float64Array(batch);
  if (maskType !== 0) context.fail(`mask_index_type ${maskType} is not computed`);
  for (let place = 0; place < batch * steps && mask !== undefined; place++)
    lengths[Math.floor(place / steps)]! += mask[place] === 0 ? 0 : 1;
  return [result.output, fromNumbers('int32', [batch], lengths), fromNumbers(words.dtype, shape, sum)];
};

/** Fused operators of `com.microsoft`. */
export const microsoftFusedKernels: KernelTable = {
  'com.microsoft.BiasAdd': biasAdd,
  'com.microsoft.BiasGelu': (context) => [biased(context, gelu)],
  'com.microsoft.EmbedLayerNormalization': embedLayerNormalization,
  'com.microsoft.FastGelu': (context) => [biased(context, geluTanh)],
  'com.microsoft.FusedConv': fusedConv,
  'com.microsoft.FusedGemm': fusedGemm,
  'com.microsoft.Gelu': unary(gelu),
  'com.microsoft.QuickGelu': quickGelu,
  'com.microsoft.SkipLayerNormalization': skipNormalization(false),
  'com.microsoft.SkipSimplifiedLayerNormalization': skipNormalization(true),
};
