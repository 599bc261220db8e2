import type { Node, RewriteContext, RewriteRule, RuleOutcome, TensorSource, Value } from '@lithe/core';
import { type Affine, affineOps, affineRank, readAffine } from '../shared/affine.ts';
import { type Linear, linearOps, readLinear, readOnlyBy } from '../shared/linear.ts';
import { allFinite, fromFloat64, mapWeight } from '../shared/weights.ts';

const shared = (what: string): RuleOutcome => ({
  skip: { code: 'shared', reason: `${what} has other readers, which would need a second copy` },
});
const notFinite: RuleOutcome = {
  skip: { code: 'not-finite', reason: 'a folded weight would not be finite' },
};

/** The linear node that computes one of a node's inputs, if any. */
function linearInput(node: Node, context: RewriteContext): { input: Value; linear: Linear } | undefined {
  for (const input of node.inputs.slice(0, 2)) {
    const producer = input?.producer;
    if (input === null || input === undefined || !producer || producer.graph !== node.graph) continue;
    const linear = readLinear(producer, context);
    if (linear !== undefined) return { input, linear };
  }
  return undefined;
}

function axisIn(linear: Linear, rank: number): number {
  return linear.channelAxis === 1 ? 1 : rank - 1;
}

/** The bias of a linear node as one number per output channel; zeros without one. */
async function biasOf(linear: Linear, context: RewriteContext): Promise<Float64Array> {
  const bias = linear.node.input(2);
  if (bias === null) return new Float64Array(linear.outputs);
  const numbers = (await context.load(bias)).toFloat64Array();
  return numbers.length === linear.outputs ? numbers : new Float64Array(linear.outputs).fill(numbers[0]!);
}

/** Puts a new weight and bias into a linear node. */
function setWeights(
  linear: Linear,
  context: RewriteContext,
  weight: TensorSource | undefined,
  bias: Float64Array | undefined,
): void {
  const { node } = linear;
  const biasName = node.input(2)?.name ?? `${linear.weight.name}_bias`;
  if (weight !== undefined) context.setInput(node, 1, context.addConstant(linear.weight.name, weight));
  if (bias === undefined || (node.input(2) === null && bias.every((item) => item === 0))) return;
  context.setInput(
    node,
    2,
    context.addConstant(biasName, fromFloat64(linear.source.dtype, [linear.outputs], bias)),
  );
}

/** Folds an affine map of a linear node's result into its weight and bias. */
export const foldAffineAfter: RewriteRule = {
  name: 'simplify/fold-affine-after',
  summary:
    'Folds a BatchNormalization, or a multiplication, addition, subtraction or division by constants per channel, into the Conv, ConvTranspose, Gemm or MatMul before it.',
  anchors: affineOps,
  depth: 1,
  async apply(node, context) {
    const found = linearInput(node, context);
    if (found === undefined) return undefined;
    const { input, linear } = found;
    const rank = linear.rank ?? affineRank(node);
    if (rank === undefined) return undefined;
    const affine = await readAffine(node, context, rank, axisIn(linear, rank), linear.outputs);
    if (affine === undefined || affine.input !== input) return undefined;
    if (affine.shift !== undefined && !linear.takesBias) return undefined;
    if (!readOnlyBy(input, node)) return shared(`the result of "${linear.node.name}"`);
    const { scale, shift } = affine;
    if (scale !== undefined && !readOnlyBy(linear.weight, linear.node))
      return shared(`weight "${linear.weight.name}"`);
    const weight =
      scale === undefined
        ? undefined
        : await mapWeight(linear.source, (numbers) => linear.scaleOutputs(numbers, scale));
    if (scale !== undefined && weight === undefined) return notFinite;
    const bias = linear.takesBias ? await biasOf(linear, context) : undefined;
    if (bias !== undefined) {
      for (let index = 0; index < bias.length; index++) {
        bias[index] = bias[index]! * at(scale, index, 1) + at(shift, index, 0);
      }
      if (!allFinite(bias)) return notFinite;
    }
    setWeights(linear, context, weight, bias);
    context.replace(node.output(), linear.node.output());
    return `fold ${node.opType} "${node.name}" into ${linear.node.opType} "${linear.node.name}"`;
  },
};

function at(numbers: Float64Array | undefined, index: number, fallback: number): number {
  if (numbers === undefined) return fallback;
  return numbers[numbers.length === 1 ? 0 : index]!;
}

/** Folds a scale through the bias addition behind a matrix product. */
export const foldScaleThroughBias: RewriteRule = {
  name: 'simplify/fold-scale-through-bias',
  summary: 'Folds a constant factor on MatMul + bias into the weight and the bias.',
  anchors: ['Mul', 'Div', 'Neg'],
  depth: 2,
  async apply(node, context) {
    const biased = node.inputs
      .map((input) => input?.producer)
      .find((item) => item?.is('Add') === true && item.graph === node.graph);
    if (!biased) return undefined;
    const found = linearInput(biased, context);
    if (found?.linear.node.is('MatMul') !== true) return undefined;
    const { input, linear } = found;
    const rank = affineRank(biased);
    if (rank === undefined) return undefined;
    const axis = rank - 1;
    const addition = await readAffine(biased, context, rank, axis, linear.outputs);
    const factor = await readAffine(node, context, rank, axis, linear.outputs);
    if (addition?.shift === undefined || addition.scale !== undefined || addition.input !== input)
      return undefined;
    if (factor?.scale === undefined || factor.shift !== undefined || factor.input !== biased.output())
      return undefined;
    if (!readOnlyBy(biased.output(), node) || !readOnlyBy(input, biased)) return shared('the product');
    if (!readOnlyBy(linear.weight, linear.node)) return shared(`weight "${linear.weight.name}"`);
    const { scale } = factor;
    const weight = await mapWeight(linear.source, (numbers) => linear.scaleOutputs(numbers, scale));
    const length = Math.max(scale.length, addition.shift.length);
    const bias = Float64Array.from(
      { length },
      (_, index) => at(addition.shift, index, 0) * at(scale, index, 1),
    );
    if (weight === undefined || !allFinite(bias)) return notFinite;
    context.setInput(linear.node, 1, context.addConstant(linear.weight.name, weight));
    const old = biased.inputs.findIndex((item) => item !== input);
    const value = fromFloat64(linear.source.dtype, [length], bias);
    context.setInput(biased, old, context.addConstant(biased.input(old)?.name ?? 'bias', value));
    context.replace(node.output(), biased.output());
    return `fold ${node.opType} "${node.name}" into MatMul "${linear.node.name}" and its bias`;
  },
};

/** Whether a reader of an affine result can take the map into its own weight. */
function absorbs(node: Node, index: number, affine: Affine, context: RewriteContext): boolean {
  if (index !== 0) return false;
  const linear = readLinear(node, context);
  if (linear === undefined || !readOnlyBy(linear.weight, node)) return false;
  return affine.shift === undefined || (linear.uniform && linear.takesBias);
}

/** Folds an affine map of a linear node's input into its weight and bias. */
export const foldAffineBefore: RewriteRule = {
  name: 'simplify/fold-affine-before',
  summary:
    'Folds constants per channel on the input of a Conv, ConvTranspose, Gemm or MatMul into its weight; an addition only where no padding is, since padding is zero after it.',
  anchors: linearOps,
  depth: 1,
  async apply(node, context) {
    const input = node.input(0);
    const producer = input?.producer;
    if (!input || !producer || producer.graph !== node.graph || !affineOps.includes(producer.opType))
      return undefined;
    const linear = readLinear(node, context);
    const rank = linear?.rank ?? affineRank(producer);
    if (linear === undefined || rank === undefined) return undefined;
    const axis = axisIn(linear, rank);
    const affine = await readAffine(producer, context, rank, axis, linear.inputs);
    if (affine === undefined || !keepsChannels(affine, axis, linear.inputs)) return undefined;
    const maker = affine.input.producer;
    // A scale behind a division is most likely the end of a layer normalization that was not recognized;
    // runtimes fuse it only when it stays whole.
    if (linear.channelAxis === -1 && (maker?.is('Div') === true || maker?.is('Mul') === true))
      return undefined;
    if (affine.shift !== undefined && !linear.takesBias) return undefined;
    if (affine.shift !== undefined && !linear.uniform) {
      return {
        skip: {
          code: 'padded',
          reason: `"${producer.name}" adds a constant, and the borders are padded after it`,
        },
      };
    }
    if (
      input.outputOf.length > 0 ||
      !input.uses.every((use) => absorbs(use.node, use.index, affine, context))
    ) {
      return shared(`the result of "${producer.name}"`);
    }
    const { scale, shift } = affine;
    let bias: Float64Array | undefined;
    if (shift !== undefined) {
      bias = await biasOf(linear, context);
      const sums = linear.sumInputs((await context.load(linear.weight)).toFloat64Array(), shift);
      for (let index = 0; index < bias.length; index++) bias[index] = bias[index]! + sums[index]!;
      if (!allFinite(bias)) return notFinite;
    }
    const weight =
      scale === undefined
        ? undefined
        : await mapWeight(linear.source, (numbers) => linear.scaleInputs(numbers, scale));
    if (scale !== undefined && weight === undefined) return notFinite;
    setWeights(linear, context, weight, bias);
    context.setInput(node, 0, affine.input);
    return `fold ${producer.opType} "${producer.name}" into ${node.opType} "${node.name}"`;
  },
};

/** Whether an affine map leaves the number of channels as it is: a constant per channel could broadcast one channel to many. */
function keepsChannels(affine: Affine, axis: number, channels: number): boolean {
  const varies = (affine.scale?.length ?? 1) > 1 || (affine.shift?.length ?? 1) > 1;
  return !varies || affine.input.shape?.[axis] === channels;
}
