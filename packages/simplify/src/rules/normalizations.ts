import {
  attribute,
  choice,
  constant,
  defineRule,
  type Node,
  op,
  type Pattern,
  type RewriteContext,
  type RewriteRule,
  scalar,
  type TensorSource,
  value,
} from '@lithe/core';
import { integersOf, intOf } from '../shared/attributes.ts';
import { normalizeAxis, rankOf, sameRank } from '../shared/shapes.ts';

const x = value('x', { dtypes: ['float32', 'float64', 'float16'] });
const keeps = (node: Node): boolean => intOf(node, 'keepdims', 1) === 1;
const mean = op('ReduceMean', [x, constant('axes')], { as: 'mean', where: keeps });
const centred = op('Sub', [x, mean], { as: 'centred' });
const again = op('Sub', [x, mean], { as: 'again' });
const squared = choice(
  op('Pow', [centred, scalar(2)]),
  op('Mul', [centred, centred]),
  op('Pow', [again, scalar(2)]),
  op('Mul', [again, again]),
);
const deviation = op('Sqrt', [
  op('Add', [
    op('ReduceMean', [squared, constant('axes2')], { as: 'variance', where: keeps }),
    scalar(undefined, { as: 'epsilon' }),
  ]),
]);
const normalized = choice(
  op('Div', [centred, deviation]),
  op('Mul', [centred, op('Reciprocal', [deviation])]),
);
const vector = (source: TensorSource): boolean => source.shape.length === 1;
const scaled = op('Mul', [normalized, constant('scale', vector)]);

/** The last axis, when that is the only one that a reduction takes. */
function lastAxisOnly(node: Node, rank: number, context: RewriteContext): boolean {
  const axes = integersOf(context, node, 1);
  return axes?.length === 1 && normalizeAxis(axes[0] as number, rank) === rank - 1;
}

/** Written-out layer normalization. */
export const fuseLayerNormalization: RewriteRule = defineRule({
  name: 'simplify/fuse-layer-normalization',
  summary:
    'Makes (x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis, in the spellings of exporters, a LayerNormalization.',
  pattern: choice(op('Add', [scaled, constant('bias', vector)]), scaled) as Pattern<
    'x' | 'scale' | 'bias' | 'epsilon' | 'axes' | 'axes2',
    'mean' | 'variance' | 'centred' | 'again'
  >,
  apply(match, context) {
    const input = match.value('x');
    const rank = rankOf(input);
    const { root } = match;
    if (rank === undefined || !sameRank(input, root.output())) return undefined;
    if (
      !lastAxisOnly(match.node('mean'), rank, context) ||
      !lastAxisOnly(match.node('variance'), rank, context)
    )
      return undefined;
    const [scale, bias] = [match.value('scale'), match.maybe('bias')];
    // A scale alone may be the first half of scale and bias: the addition that follows is the better place.
    const follower = root.output().uses.length === 1 ? root.output().uses[0]?.node : undefined;
    if (bias === undefined && follower?.is('Add') === true && root.output().outputOf.length === 0) {
      const other = follower.inputs.find((item) => item !== root.output());
      if (context.constant(other)?.shape.join() === context.constant(scale)?.shape.join()) return undefined;
    }
    const width = context.constant(scale)?.shape[0];
    const last = input.shape?.[rank - 1];
    // Scale and bias of one element would be broadcast, which the operator does not do.
    if (last !== width || (bias !== undefined && context.constant(bias)?.shape[0] !== width))
      return undefined;
    const epsilon = context.small(match.value('epsilon'))?.toFloat64Array()[0];
    if (epsilon === undefined || !(epsilon >= 0)) return undefined;
    const made = context.insert(
      root,
      {
        opType: 'LayerNormalization',
        inputs: bias === undefined ? [input, scale] : [input, scale, bias],
        attributes: { axis: attribute.int(-1), epsilon: attribute.float(epsilon) },
        name: root.name,
      },
      [{ type: root.output().type }],
    );
    context.replace(root.output(), made.output());
    return `fuse ${match.nodes.size} nodes into LayerNormalization "${root.name}"`;
  },
});

const logits = value('x', { dtypes: ['float32', 'float64', 'float16'] });
const powers = op(
  'Exp',
  [op('Sub', [logits, op('ReduceMax', [logits, constant('axes')], { as: 'max', where: keeps })])],
  { as: 'powers' },
);

/** Written-out softmax. */
export const fuseSoftmax: RewriteRule = defineRule({
  name: 'simplify/fuse-softmax',
  summary: 'Makes exp(x - max(x)) / sum(exp(x - max(x))) over one axis a Softmax.',
  pattern: op('Div', [powers, op('ReduceSum', [powers, constant('axes2')], { as: 'sum', where: keeps })]),
  apply(match, context) {
    const input = match.value('x');
    const rank = rankOf(input);
    if (rank === undefined) return undefined;
    const axisOf = (node: Node): number | undefined => {
      const axes = integersOf(context, node, 1);
      return axes?.length === 1 ? normalizeAxis(axes[0] as number, rank) : undefined;
    };
    const axis = axisOf(match.node('max'));
    if (axis === undefined || axis !== axisOf(match.node('sum'))) return undefined;
    const { root } = match;
    const made = context.insert(
      root,
      { opType: 'Softmax', inputs: [input], attributes: { axis: attribute.int(axis) }, name: root.name },
      [{ type: root.output().type }],
    );
    context.replace(root.output(), made.output());
    return `fuse ${match.nodes.size} nodes into Softmax "${root.name}"`;
  },
});
