import { attr } from '../../op/attributes.ts';
import { elementsOf } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers, toIntegers } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { lanesOver } from './lanes.ts';
import { logSoftmaxLane } from './softmax.ts';

/** `-weight[target] logProbability[target]` per sample, reduced as the node says (`mean` is weighted). */
function negativeLogLikelihood(context: KernelContext, like: Tensor, logProbabilities: Float64Array): Tensor {
  const { ignore_index: ignored, reduction } = context.attributes({
    ignore_index: attr.optionalInt(),
    reduction: attr.oneOf(['none', 'sum', 'mean'], 'mean'),
  });
  const [batch, classes] = [like.shape[0]!, like.shape[1] ?? context.fail('the scores have no classes')];
  const area = elementsOf(like.shape.slice(2));
  const targets = toIntegers(context.tensor(1));
  const weights = context.optional(2)?.toFloat64Array();
  if (targets.length !== batch * area) context.fail(`${targets.length} labels for ${batch * area} samples`);
  if (weights !== undefined && weights.length !== classes)
    context.fail(`${weights.length} weights for ${classes} classes`);
  const losses = new Float64Array(targets.length);
  let sum = 0;
  let total = 0;
  for (let index = 0; index < targets.length; index++) {
    const target = targets[index]!;
    if (target === ignored) continue;
    if (target < 0 || target >= classes) context.fail(`label ${target} is outside ${classes} classes`);
    const weight = weights === undefined ? 1 : weights[target]!;
    const at = (Math.floor(index / area) * classes + target) * area + (index % area);
    losses[index] = -weight * logProbabilities[at]!;
    sum += losses[index]!;
    total += weight;
  }
  if (reduction === 'none') return fromNumbers(like.dtype, context.tensor(1).shape, losses);
  return fromNumbers(like.dtype, [], new Float64Array([reduction === 'sum' ? sum : sum / total]));
}

/** ONNX `NegativeLogLikelihoodLoss` (opset 13): of log-probabilities `[N, C, …]` and labels `[N, …]`. */
const negativeLogLikelihoodLoss: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  return [negativeLogLikelihood(context, input, input.toFloat64Array())];
};

/** ONNX `SoftmaxCrossEntropyLoss` (opset 13): of scores; gives the log-probabilities too. */
const softmaxCrossEntropyLoss: ReferenceKernel = (context) => {
  const scores = context.tensor(0);
  if (scores.shape.length < 2) context.fail('the scores have no classes');
  const values = scores.toFloat64Array();
  const { bases, offsets } = lanesOver(scores.shape, [1]);
  for (let lane = 0; lane < bases.length; lane++) logSoftmaxLane(values, bases[lane]!, offsets);
  return [negativeLogLikelihood(context, scores, values), fromNumbers(scores.dtype, scores.shape, values)];
};

/** Losses: `ai.onnx`. */
export const lossKernels: KernelTable = {
  NegativeLogLikelihoodLoss: negativeLogLikelihoodLoss,
  SoftmaxCrossEntropyLoss: softmaxCrossEntropyLoss,
};
