import type { Node, Value } from '@lithe/core';
import type { ForwardContext, ForwardForm } from '@lithe/training';
import { holdLevelsInBytes } from './eight-bit-levels.ts';
import { scaleChannels } from './emit-folded.ts';
import { type ChannelLayout, channelLayout } from './folded-norm.ts';
import type { NormedLayer, Prepared } from './prepared.ts';
import type { AwareTimes } from './settings.ts';

/** A {@link Prepared} by names, so that it is found again in copies. */
export interface FormParts {
  /** See {@link Prepared.weights}; learned scales among them. */
  readonly weights: readonly string[];
  /** See {@link Prepared.ranges}. */
  readonly ranges: readonly {
    readonly minimum: string;
    readonly maximum: string;
    readonly roots: readonly string[];
  }[];
  /** Values of learned scales: what learns, and what is used of it. */
  readonly steps: readonly { readonly raw: string; readonly held: string }[];
  /** See {@link Prepared.norms}. */
  readonly norms: readonly NormParts[];
  /** See {@link Prepared.biases}. */
  readonly biases: readonly { readonly node: string; readonly bias: string }[];
  /** See {@link Prepared.pairs}. */
  readonly pairs: readonly { readonly input: string; readonly output: string }[];
  /** See {@link Prepared.constants}. */
  readonly constants: readonly string[];
}

/** A layer with a folded normalization, by names. */
export interface NormParts {
  /** Result of the layer. */
  readonly output: string;
  /** Weights before folding, and after it. */
  readonly weight: string;
  /** Folded weights. */
  readonly foldedWeight: string;
  /** Folded bias. */
  readonly foldedBias: string;
  /** Bias before folding. */
  readonly bias: string | undefined;
  /** gamma / sigma. */
  readonly factor: string;
  /** sigma. */
  readonly deviation: string;
  /** Factor of each channel. */
  readonly gamma: string;
  /** Shift of each channel. */
  readonly beta: string;
  /** Running mean. */
  readonly mean: string;
  /** Running variance. */
  readonly variance: string;
  /** Where the channels lie in the weights. */
  readonly layout: ChannelLayout;
  /** Keeps the deviation above 0. */
  readonly epsilon: number;
  /** Share of the old statistics in the new ones. */
  readonly momentum: number;
}

/** What was prepared, by names. */
export function formParts(prepared: Prepared): FormParts {
  const { weights, ranges, steps, norms, biases, pairs, constants } = prepared;
  return {
    weights: [...weights, ...steps.map(({ step }) => step.raw.name)],
    ranges: ranges.map(({ minimum, maximum, roots }) => ({
      minimum: minimum.name,
      maximum: maximum.name,
      roots: roots.map(({ name }) => name),
    })),
    steps: steps.map(({ step }) => ({ raw: step.raw.name, held: step.held.name })),
    norms: norms.map(normParts),
    biases: biases.map(({ node, bias }) => ({ node: node.output().name, bias: bias.name })),
    pairs: pairs.map(({ input, output }) => ({ input: input.name, output: output.name })),
    constants: constants.map(({ name }) => name),
  };
}

function normParts({ node, norm, folded }: NormedLayer): NormParts {
  return {
    output: node.output().name,
    weight: norm.weight.name,
    foldedWeight: folded.weight.name,
    foldedBias: folded.bias.name,
    bias: norm.bias?.name,
    factor: folded.factor.name,
    deviation: folded.deviation.name,
    gamma: norm.gamma.name,
    beta: norm.beta.name,
    mean: norm.mean.name,
    variance: norm.variance.name,
    layout: channelLayout(node),
    epsilon: norm.epsilon,
    momentum: norm.momentum,
  };
}

/** What a prepared model computes while it is trained. */
export function awareForm(
  parts: FormParts,
  settings: AwareTimes & { readonly rangeDecay: number },
): ForwardForm {
  return {
    name: 'quantization-aware training',
    build: async (context) => {
      for (const name of parts.weights) context.weight(name);
      for (const name of parts.constants) context.stop(context.value(name));
      holdLevelsInBytes(
        context,
        parts.pairs.map(({ output }) => output),
      );
      for (const { node, bias } of parts.biases) {
        const layer = context.value(node).producer as Node;
        context.graph.setInput(layer, 2, shippedBias(context, layer, context.value(bias)));
      }
      for (const norm of parts.norms) await normalize(context, norm, settings.freezeBatchNormAt);
      for (const step of parts.steps) passThroughBounds(context, step);
      for (const range of parts.ranges) await follow(context, range, settings);
      delay(context, parts, settings.quantizeActivationsAt);
    },
  };
}

/** Whether so many updates were made; `undefined` where that is never, `true` where it is from the start. */
function reached({ emit, step }: ForwardContext, at: number | undefined): Value | true | undefined {
  if (at === undefined || at === Number.POSITIVE_INFINITY) return undefined;
  return at <= 0 ? true : emit.op('GreaterOrEqual', [step(), emit.scalar(at)]);
}

/**
 * The bias of a layer as it is shipped, rounded to int32 where the sums are integers, with the gradient of the float one. At
 * 8 bits that rounding is too small to matter; at 4 bits and with one scale for all weights its steps are as wide as those
 * of the result.
 */
function shippedBias({ emit, stop }: ForwardContext, layer: Node, bias: Value): Value {
  const shipped = layer.input(2);
  if (shipped === null || shipped === bias) return bias;
  const rounding = emit.sub(shipped, bias);
  stop(rounding);
  return emit.add(bias, rounding);
}

/** Bounds of a learned step let the gradient through, so that it finds back from them. */
function passThroughBounds(
  { graph, emit, value, stop }: ForwardContext,
  { raw, held }: FormParts['steps'][number],
): void {
  const bounded = value(held);
  const { uses } = bounded;
  const correction = emit.sub(bounded, value(raw));
  stop(correction);
  const through = emit.add(value(raw), correction);
  for (const { node, index } of uses) graph.setInput(node, index, through);
}

/**
 * Lets a range follow the extremes of batches: r = d r + (1 - d) r_batch (Jacob et al., 2018, section 3.1). A batch is
 * quantized by the range of those before it, for values that share a range may be computed one from the other.
 */
async function follow(
  context: ForwardContext,
  range: FormParts['ranges'][number],
  { rangeDecay, freezeRangesAt }: AwareTimes & { readonly rangeDecay: number },
): Promise<void> {
  const { emit, value, statistic } = context;
  const frozen = reached(context, freezeRangesAt);
  if (frozen === true) return;
  for (const [name, reduce, join] of [
    [range.minimum, 'ReduceMin', 'Min'],
    [range.maximum, 'ReduceMax', 'Max'],
  ] as const) {
    const { input, finish } = await statistic(name);
    const seen = range.roots.map((root) => emit.op(reduce, [value(root)], { keepdims: 0 }));
    const now = seen.length === 1 ? (seen[0] as Value) : emit.op(join, seen);
    const moved = emit.add(emit.scale(input, rangeDecay), emit.scale(now, 1 - rangeDecay));
    finish(frozen === undefined ? moved : emit.op('Where', [frozen, input, moved]));
  }
}

/** Until ranges have settled, activations go on as they are; without end they do so to the end of training. */
function delay(context: ForwardContext, { pairs }: FormParts, at = 0): void {
  const begun = reached(context, at);
  if (begun === true) return;
  const { graph, emit, value } = context;
  for (const { input, output } of pairs) {
    const quantized = value(output);
    const { uses } = quantized;
    const chosen =
      begun === undefined
        ? emit.op('Identity', [value(input)])
        : emit.op('Where', [begun, quantized, value(input)]);
    for (const { node, index } of uses) graph.setInput(node, index, chosen);
    if (quantized.isGraphOutput) takeName(context, quantized, chosen);
  }
}

/** Gives a value's name, and its place among the outputs, to another. */
function takeName({ graph }: ForwardContext, from: Value, to: Value): void {
  const { name } = from;
  graph.setOutputs(graph.outputs.map((one) => (one === from ? to : one)));
  graph.rename(from, graph.uniqueName(`${name}_before`));
  graph.rename(to, name);
}

/** Least magnitude of the factor that weights are scaled by while training: the sums are divided by it again. */
const LEAST_FACTOR = 1e-6;

/**
 * Computes with the folded weights what the normalization behind the layer computes in training. The sums
 * y = conv(x, q(w s)), s = gamma / sigma, are centred and rescaled by what the batch shows of them, so that the result is
 * that of batch normalization though weights are quantized at the scale of the running statistics, which does not jump
 * from batch to batch: with m and v mean and variance of y, gamma (y - m) / (s sqrt(v / s^2 + epsilon)) + beta. Once frozen
 * it is y plus the folded bias, the inference form.
 *
 * @see Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference: A whitepaper", 2018, section
 *   3.2.2 (the batch statistics there are those of a second, float convolution; here those of the quantized one)
 */
async function normalize(
  context: ForwardContext,
  parts: NormParts,
  freezeAt: number | undefined,
): Promise<void> {
  const { graph, emit, value, stop } = context;
  const frozen = reached(context, freezeAt);
  const y = value(parts.output);
  const layer = y.producer as Node;
  const late = shippedBias(context, layer, value(parts.foldedBias));
  if (frozen === true) {
    graph.setInput(layer, 2, late);
    return;
  }
  const { uses } = y;
  const rank = y.shape?.length ?? 2;
  const along = Array.from({ length: rank }, (_, axis) => (axis === 1 ? -1 : 1));
  const wide = (vector: Value): Value => emit.reshape(vector, along);
  const flat = (kept: Value): Value => emit.reshape(kept, [-1]);
  const others = along.flatMap((size, axis) => (size === 1 ? [axis] : []));
  const chosen = (late: Value, early: Value): Value =>
    frozen === undefined ? early : emit.op('Where', [frozen, late, early]);

  const factor = liveFactor(context, parts);
  scaleWeights(context, parts, factor);
  graph.setInput(layer, 2, null);
  const center = emit.mean(y, others, true);
  const centered = emit.sub(y, chosen(emit.scalar(0), center));
  const variance = flat(emit.mean(emit.mul(centered, centered), others, true));
  const sign = emit.op('Sign', [factor]);
  stop(sign);
  const width = emit.op('Sqrt', [emit.add(variance, emit.scale(emit.mul(factor, factor), parts.epsilon))]);
  const early = emit.div(emit.mul(value(parts.gamma), sign), width);
  const slope = chosen(emit.div(value(parts.factor), factor), early);
  const shift = chosen(late, value(parts.beta));
  const result = emit.add(emit.mul(centered, wide(slope)), wide(shift));
  for (const { node, index } of uses) graph.setInput(node, index, result);
  takeName(context, y, result);
  const own = parts.bias === undefined ? undefined : value(parts.bias);
  const mean = emit.div(flat(center), factor);
  await keepStatistic(context, parts.mean, {
    now: own === undefined ? mean : emit.add(mean, own),
    parts,
    frozen,
  });
  const real = emit.div(variance, emit.mul(factor, factor));
  await keepStatistic(context, parts.variance, { now: real, parts, frozen });
}

/** gamma / sigma, kept away from 0. */
function liveFactor({ emit, value }: ForwardContext, parts: NormParts): Value {
  const tiny = emit.op('Less', [emit.op('Abs', [value(parts.factor)]), emit.scalar(LEAST_FACTOR)]);
  return emit.op('Where', [tiny, emit.scalar(LEAST_FACTOR), value(parts.factor)]);
}

function scaleWeights({ graph, emit, value }: ForwardContext, parts: NormParts, factor: Value): void {
  const folded = value(parts.foldedWeight);
  const { uses } = folded;
  const live = scaleChannels(emit, value(parts.weight), { factor, layout: parts.layout });
  for (const { node, index } of uses) graph.setInput(node, index, live);
}

async function keepStatistic(
  { emit, statistic }: ForwardContext,
  name: string,
  {
    now,
    parts,
    frozen,
  }: { readonly now: Value; readonly parts: NormParts; readonly frozen: Value | undefined },
): Promise<void> {
  const state = await statistic(name);
  const moved = emit.add(emit.scale(state.input, parts.momentum), emit.scale(now, 1 - parts.momentum));
  state.finish(frozen === undefined ? moved : emit.op('Where', [frozen, state.input, moved]));
}
