import type { Dim } from '../ir/types.ts';
import type { InferContext } from '../op/op-def.ts';
import { dtypeFromOnnx } from '../tensor/dtype.ts';
import {
  type AnyInferContext,
  axisOf,
  broadcastShapes,
  mergedDim,
  mergedShape,
  requireRank,
  sameAsInput,
} from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the normalizations, softmax and losses. */
export const normalizationSchemas = {
  BatchNormalization: {
    since: 15,
    inputs: 'X:T scale:T1 B:T1 input_mean:T2 input_var:T2',
    outputs: 'Y:T running_mean:T2? running_var:T2?',
    types: { T: 'float bfloat16', T1: 'float bfloat16', T2: 'float bfloat16' },
    attributes: { epsilon: ['float', 1e-5], momentum: ['float', 0.9], training_mode: ['flag', false] },
  },
  GroupNormalization: {
    since: 21,
    inputs: 'X:T scale:T bias:T',
    outputs: 'Y:T',
    types: { T: 'float bfloat16' },
    attributes: { epsilon: ['float', 1e-5], num_groups: 'int!', stash_type: ['int', 1] },
  },
  Hardmax: {
    since: 13,
    inputs: 'input:T',
    outputs: 'output:T',
    types: { T: 'float bfloat16' },
    attributes: { axis: ['int', -1] },
  },
  InstanceNormalization: {
    since: 6,
    inputs: 'input:T scale:T B:T',
    outputs: 'output:T',
    types: { T: 'float' },
    attributes: { epsilon: ['float', 1e-5] },
  },
  LRN: {
    since: 13,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float bfloat16' },
    attributes: { alpha: ['float', 0.0001], beta: ['float', 0.75], bias: ['float', 1], size: 'int!' },
  },
  LayerNormalization: {
    since: 17,
    inputs: 'X:T Scale:T B:T?',
    outputs: 'Y:T Mean:U? InvStdDev:U?',
    types: { T: 'float bfloat16', U: 'float32 bfloat16' },
    attributes: { axis: ['int', -1], epsilon: ['float', 1e-5], stash_type: ['int', 1] },
  },
  LogSoftmax: {
    since: 13,
    inputs: 'input:T',
    outputs: 'output:T',
    types: { T: 'float bfloat16' },
    attributes: { axis: ['int', -1] },
  },
  LpNormalization: {
    since: 1,
    inputs: 'input:T',
    outputs: 'output:T',
    types: { T: 'float' },
    attributes: { axis: ['int', -1], p: ['int', 2] },
  },
  MeanVarianceNormalization: {
    since: 13,
    inputs: 'X:T',
    outputs: 'Y:T',
    types: { T: 'float bfloat16' },
    attributes: { axes: ['ints', 0, 2, 3] },
  },
  NegativeLogLikelihoodLoss: {
    since: 13,
    inputs: 'input:T target:Tind weight:T?',
    outputs: 'loss:T',
    types: { T: 'float', Tind: 'int32 int64' },
    attributes: { ignore_index: 'int?', reduction: ['one', 'mean', 'none', 'sum'] },
  },
  Softmax: {
    since: 13,
    inputs: 'input:T',
    outputs: 'output:T',
    types: { T: 'float bfloat16' },
    attributes: { axis: ['int', -1] },
  },
  SoftmaxCrossEntropyLoss: {
    since: 13,
    inputs: 'scores:T labels:Tind weights:T?',
    outputs: 'output:T log_prob:T?',
    types: { T: 'float bfloat16', Tind: 'int32 int64' },
    attributes: { ignore_index: 'int?', reduction: ['one', 'mean', 'none', 'sum'] },
  },
} as const;

/** Checks that an input is a vector of one number per channel. */
function perChannel(context: AnyInferContext, index: number, channels: Dim): void {
  const [size = null] = requireRank(context, index, 1, true) ?? [];
  mergedDim(context, channels, size, `the channels and the length of input ${index}`);
}

function inferBatchNormalization(context: InferContext<{ readonly training_mode: boolean }>): void {
  const data = requireRank(context, 0, 1);
  const channels = data === undefined ? null : data.length === 1 ? 1 : (data[1] ?? null);
  for (let index = 1; index < 5; index++) perChannel(context, index, channels);
  sameAsInput(context);
  if (!context.attributes.training_mode && context.outputCount > 1)
    context.fail('gives one output unless training_mode is set');
  context.output(1, undefined, context.shape(3) ?? [channels]);
  context.output(2, undefined, context.shape(4) ?? [channels]);
}

function inferGroupNormalization(context: InferContext<{ readonly num_groups: number }>): void {
  const data = requireRank(context, 0, 2);
  const channels = data?.[1] ?? null;
  perChannel(context, 1, channels);
  perChannel(context, 2, channels);
  const { num_groups: groups } = context.attributes;
  if (groups < 1 || (typeof channels === 'number' && channels % groups !== 0)) {
    context.fail(`${channels} channels can not be split into ${groups} groups`);
  }
  sameAsInput(context);
}

function inferInstanceNormalization(context: AnyInferContext): void {
  const data = requireRank(context, 0, 3);
  perChannel(context, 1, data?.[1] ?? null);
  perChannel(context, 2, data?.[1] ?? null);
  sameAsInput(context);
}

function inferLayerNormalization(
  context: InferContext<{ readonly axis: number; readonly stash_type: number }>,
): void {
  const data = context.shape(0);
  sameAsInput(context);
  const stash = dtypeFromOnnx(context.attributes.stash_type);
  if (data === undefined) {
    context.output(1, stash, undefined);
    context.output(2, stash, undefined);
    return;
  }
  const axis = axisOf(context, context.attributes.axis, data.length);
  for (const index of [1, 2]) {
    const scale = context.shape(index);
    const wide = scale === undefined ? undefined : broadcastShapes(context, [data, scale]);
    if (wide !== undefined && wide.length > data.length)
      context.fail(`input ${index} must broadcast to [${data.join(', ')}]`);
  }
  const statistics = data.map((dim, index) => (index < axis ? dim : 1));
  context.output(1, stash, statistics);
  context.output(2, stash, statistics);
}

/** Same shape; the axis must lie inside the rank. */
function alongAxis(context: InferContext<{ readonly axis: number }>): void {
  const data = context.shape(0);
  if (data !== undefined && data.length > 0) axisOf(context, context.attributes.axis, data.length);
  sameAsInput(context);
}

interface LossAttributes {
  readonly reduction: 'mean' | 'none' | 'sum';
}

/** Scores [N, C, d1, ...] against targets [N, d1, ...]. */
function inferLoss(context: InferContext<LossAttributes>): void {
  const scores = requireRank(context, 0, 2);
  const targets = context.shape(1);
  const rest = scores === undefined ? undefined : [scores[0] ?? null, ...scores.slice(2)];
  if (rest !== undefined && targets !== undefined) {
    if (rest.length !== targets.length)
      context.fail(`targets [${targets.join(', ')}] do not fit scores [${(scores ?? []).join(', ')}]`);
    mergedShape(context, rest, targets, 'scores and targets');
  }
  context.output(0, undefined, context.attributes.reduction === 'none' ? (targets ?? rest) : []);
  context.output(1, undefined, scores);
}

/** Definitions of the normalizations, softmax and losses. */
export const normalizationOps: OpFamily<typeof normalizationSchemas> = opFamily(normalizationSchemas, {
  BatchNormalization: inferBatchNormalization,
  GroupNormalization: inferGroupNormalization,
  Hardmax: alongAxis,
  InstanceNormalization: inferInstanceNormalization,
  LRN: sameAsInput,
  LayerNormalization: inferLayerNormalization,
  LogSoftmax: alongAxis,
  LpNormalization: alongAxis,
  MeanVarianceNormalization: sameAsInput,
  NegativeLogLikelihoodLoss: inferLoss,
  Softmax: alongAxis,
  SoftmaxCrossEntropyLoss: inferLoss,
});
