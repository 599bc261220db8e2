import type { Node, RewriteContext, Value } from '@lithe/core';
import { floatOf, intOf } from './attributes.ts';
import { rankOf, spanOnAxis } from './shapes.ts';
import { allFinite } from './weights.ts';

/**
 * An element-wise map `y = scale * x + shift` with constants that vary over one axis at most. `scale` and `shift`
 * have one element, or one per index of the axis; a missing one is 1 or 0.
 */
export interface Affine {
  /** What it is applied to. */
  readonly input: Value;
  /** Factor. */
  readonly scale: Float64Array | undefined;
  /** Summand. */
  readonly shift: Float64Array | undefined;
}

/** Operators that can be an affine map. */
export const affineOps: readonly string[] = ['Mul', 'Add', 'Sub', 'Div', 'Neg', 'BatchNormalization'];

/**
 * Reads a node as an affine map over `axis` of a tensor of rank `rank` (both of its input).
 *
 * @returns `undefined` when it is none: no constant operand, one that varies elsewhere or is not finite
 */
export async function readAffine(
  node: Node,
  context: RewriteContext,
  rank: number,
  axis: number,
  channels: number | undefined,
): Promise<Affine | undefined> {
  if (node.is('BatchNormalization')) return axis === 1 ? readBatchNormalization(node, context) : undefined;
  if (node.is('Neg')) {
    const input = node.input(0);
    return input === null ? undefined : { input, scale: Float64Array.of(-1), shift: undefined };
  }
  if (!['Mul', 'Add', 'Sub', 'Div'].some((name) => node.is(name))) return undefined;
  const [left, right] = [node.input(0), node.input(1)];
  if (left === null || right === null) return undefined;
  const swapped = context.constant(right) === undefined;
  const source = context.constant(swapped ? left : right);
  if (source === undefined || !source.dtype.includes('float')) return undefined;
  if (context.constant(swapped ? right : left) !== undefined) return undefined;
  const span = spanOnAxis(source.shape, rank, axis);
  if (span === undefined || (span !== 1 && channels !== undefined && span !== channels)) return undefined;
  const input = swapped ? right : left;
  const numbers = (await context.load(swapped ? left : right)).toFloat64Array();
  if (!allFinite(numbers)) return undefined;
  switch (node.opType) {
    case 'Mul':
      return { input, scale: numbers, shift: undefined };
    case 'Add':
      return { input, scale: undefined, shift: numbers };
    case 'Sub':
      return swapped
        ? { input, scale: Float64Array.of(-1), shift: numbers }
        : { input, scale: undefined, shift: numbers.map((item) => -item) };
    default: {
      const scale = numbers.map((item) => 1 / item);
      return swapped || !allFinite(scale) ? undefined : { input, scale, shift: undefined };
    }
  }
}

/** Whether a node is BatchNormalization as inference computes it. */
export function isInferenceBatchNormalization(node: Node): boolean {
  return (
    node.is('BatchNormalization') &&
    intOf(node, 'training_mode', 0) === 0 &&
    node.outputs.slice(1).every((output) => output.isUnused)
  );
}

async function readBatchNormalization(node: Node, context: RewriteContext): Promise<Affine | undefined> {
  const [input, scale, bias, mean, variance] = [0, 1, 2, 3, 4].map((index) => node.input(index));
  if (!isInferenceBatchNormalization(node) || !input || !scale || !bias || !mean || !variance)
    return undefined;
  if ([scale, bias, mean, variance].some((item) => context.constant(item) === undefined)) return undefined;
  const epsilon = floatOf(node, 'epsilon', 1e-5);
  if (epsilon === undefined) return undefined;
  const load = async (item: Value): Promise<Float64Array> => (await context.load(item)).toFloat64Array();
  const [gamma, beta, mu, sigma] = [
    await load(scale),
    await load(bias),
    await load(mean),
    await load(variance),
  ];
  const factor = gamma.map((item, index) => item / Math.sqrt(sigma[index]! + epsilon));
  const shift = beta.map((item, index) => item - mu[index]! * factor[index]!);
  return allFinite(factor) && allFinite(shift) ? { input, scale: factor, shift } : undefined;
}

/** Rank of the tensor an affine node works on, from its output or input type. */
export function affineRank(node: Node): number | undefined {
  return rankOf(node.outputs[0] ?? null) ?? rankOf(node.input(0));
}
