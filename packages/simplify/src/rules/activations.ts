import {
  type AnyPatternOf,
  attribute,
  choice,
  type DType,
  defineRule,
  isInteger,
  type Match,
  op,
  type Pattern,
  type RewriteContext,
  type RewriteRule,
  type RuleOutcome,
  scalar,
  Tensor,
  type Value,
  value,
} from '@lithe/core';
import { sameRank } from '../shared/shapes.ts';

const floats: readonly DType[] = ['float32', 'float64', 'float16'];
const x = value('x', { dtypes: floats });

/** Replaces the root of a match by one node that reads `x`. */
export function fuse(
  match: Match,
  context: RewriteContext,
  opType: string,
  attributes: Parameters<RewriteContext['insert']>[1]['attributes'] = {},
  more: readonly (Value | null)[] = [],
): RuleOutcome {
  const { root } = match;
  const input = match.value('x');
  // Scalars of rank 1 would turn a rank-0 input into a vector, which the fused operator would not.
  if (!sameRank(input, root.output())) return undefined;
  const made = context.insert(root, { opType, inputs: [input, ...more], attributes, name: root.name }, [
    { type: root.output().type },
  ]);
  context.replace(root.output(), made.output());
  return `fuse ${match.nodes.size} nodes into ${opType} "${root.name}"`;
}

/** `min(max(of, 0), limit)`, in the ways exporters write it. */
function clipped(of: AnyPatternOf, limit: number): AnyPatternOf {
  return choice(
    op('Clip', [of, scalar(0), scalar(limit)]),
    op('Min', [op('Max', [of, scalar(0)]), scalar(limit)]),
    op('Max', [op('Min', [of, scalar(limit)]), scalar(0)]),
    op('Min', [op('Relu', [of]), scalar(limit)]),
    op('Clip', [op('Relu', [of]), scalar(0), scalar(limit)]),
  );
}

const tight = { tolerance: 1e-5 };
const shifted6 = clipped(op('Add', [x, scalar(3)]), 6);

/** `min(max(x + 3, 0), 6) / 6`. */
const hardSigmoidOfSixths: AnyPatternOf = choice(
  op('Div', [shifted6, scalar(6)]),
  op('Mul', [shifted6, scalar(1 / 6, tight)]),
);

const sixthWhere = (node: {
  readonly attributes: ReadonlyMap<string, { readonly kind: string; readonly value?: unknown }>;
}): boolean => {
  const [alpha, beta] = [node.attributes.get('alpha')?.value, node.attributes.get('beta')?.value ?? 0.5];
  return Math.abs(Number(alpha ?? 0.2) - 1 / 6) < 1e-5 && Math.abs(Number(beta) - 0.5) < 1e-6;
};

const typed = <P extends AnyPatternOf>(pattern: P): Pattern<'x', never> => pattern as Pattern<'x', never>;

/** Written-out hard-swish. */
export const fuseHardSwish: RewriteRule = defineRule({
  name: 'simplify/fuse-hard-swish',
  summary:
    'Makes x * min(max(x + 3, 0), 6) / 6, in any of the spellings of exporters, or x * HardSigmoid(x), a HardSwish.',
  pattern: typed(
    choice(
      op('Div', [op('Mul', [x, shifted6]), scalar(6)]),
      op('Mul', [op('Mul', [x, shifted6]), scalar(1 / 6, tight)]),
      op('Mul', [x, hardSigmoidOfSixths]),
      op('Mul', [op('Div', [x, scalar(6)]), shifted6]),
      op('Mul', [op('Mul', [x, scalar(1 / 6, tight)]), shifted6]),
      op('Mul', [x, op('HardSigmoid', [x], { where: sixthWhere })]),
    ),
  ),
  apply: (match, context) => fuse(match, context, 'HardSwish'),
});

/** Written-out hard-sigmoid. */
export const fuseHardSigmoid: RewriteRule = defineRule({
  name: 'simplify/fuse-hard-sigmoid',
  summary: 'Makes min(max(x + 3, 0), 6) / 6, or min(max(a * x + b, 0), 1) with constants, a HardSigmoid.',
  pattern: typed(
    choice(
      hardSigmoidOfSixths,
      clipped(
        op('Add', [op('Mul', [x, scalar(undefined, { as: 'alpha' })]), scalar(undefined, { as: 'beta' })]),
        1,
      ),
      clipped(
        op('Add', [op('Div', [x, scalar(undefined, { as: 'divisor' })]), scalar(undefined, { as: 'beta' })]),
        1,
      ),
    ),
  ) as Pattern<'x' | 'alpha' | 'beta' | 'divisor', never>,
  apply(match, context) {
    const number = (name: 'alpha' | 'beta' | 'divisor'): number | undefined =>
      context.small(match.maybe(name))?.toFloat64Array()[0];
    const divisor = number('divisor');
    const alpha = number('alpha') ?? (divisor === undefined ? 1 / 6 : 1 / divisor);
    const beta = number('beta') ?? 0.5;
    if (!Number.isFinite(alpha) || !Number.isFinite(beta)) return undefined;
    // The factor of a hard-swish belongs to it, whichever of its nodes is met first.
    const swish = match.root
      .output()
      .uses.some(({ node }) => node.is('Mul') && node.inputs.includes(match.value('x')));
    if (swish && match.maybe('alpha') === undefined && divisor === undefined) return undefined;
    return fuse(match, context, 'HardSigmoid', {
      alpha: attribute.float(alpha),
      beta: attribute.float(beta),
    });
  },
});

/** `Min(Max(x, 0), 6)` and `Min(Relu(x), 6)`. */
export const fuseClip: RewriteRule = defineRule({
  name: 'simplify/fuse-clip',
  summary: 'Makes Min(Max(x, low), high) with scalar constants, and Min(Relu(x), high), a Clip.',
  pattern: choice(
    op('Min', [op('Max', [value('x'), scalar(undefined, { as: 'low' })]), scalar(undefined, { as: 'high' })]),
    op('Min', [op('Relu', [value('x')]), scalar(undefined, { as: 'high' })]),
    op('Clip', [op('Relu', [value('x')]), scalar(0), scalar(undefined, { as: 'high' })]),
  ),
  apply(match, context) {
    const input = match.value('x');
    const dtype = input.dtype;
    const high = match.value('high');
    if (dtype === undefined || isInteger(dtype) || context.constant(high)?.dtype !== dtype) return undefined;
    const low = match.maybe('low');
    const [least, most] = [
      context.small(low ?? null)?.toFloat64Array()[0] ?? 0,
      context.small(high)?.toFloat64Array()[0],
    ];
    // With bounds that cross, and with NaN as a bound, the spellings differ.
    if (most === undefined || !(least <= most)) return undefined;
    if (!sameRank(input, match.root.output())) return undefined;
    const isScalar = (item: Value | undefined): boolean => context.constant(item)?.shape.length === 0;
    // Clip takes scalars of rank 0 only; a bound that is none is made anew, for the usual dtype.
    if (dtype !== 'float32' && !(isScalar(low) && isScalar(high))) return undefined;
    const bound = (item: Value | undefined, number: number): Value => {
      if (item !== undefined && isScalar(item)) return item;
      return context.addConstant(
        `${match.root.name}_bound`,
        Tensor.from('float32', [], Float32Array.of(number)),
      );
    };
    const [lower, upper] = [bound(low, least), bound(high, most)];
    return fuse(match as Match, context, 'Clip', {}, [lower, upper]);
  },
});

/** A residual of a gate: `x + x * g`. */
export const mergeResidualGate: RewriteRule = defineRule({
  name: 'simplify/merge-residual-gate',
  summary:
    'Makes x + x * g, where g is a small non-negative gate that is broadcast over x, x * (g + 1): one sweep over x less.',
  pattern: op('Add', [value('x', { dtypes: ['float32'] }), op('Mul', [value('x'), value('gate')])]),
  apply(match, context) {
    const [input, gate] = [match.value('x'), match.value('gate')];
    const maker = gate.producer;
    // With a negative gate an infinite x would give NaN in one form and infinity in the other.
    if (
      maker === null ||
      maker.domain !== '' ||
      !['Sigmoid', 'HardSigmoid', 'Softmax', 'Relu'].includes(maker.opType)
    )
      return undefined;
    const [whole, small] = [input.shape, gate.shape];
    if (whole === undefined || small === undefined || small.length !== whole.length || whole.length < 3)
      return undefined;
    const flat = small.every((dim, axis) =>
      axis < 2 ? dim === 1 || (dim !== null && dim === whole[axis]) : dim === 1,
    );
    if (!flat || !sameRank(input, match.root.output())) return undefined;
    const one = context.addConstant('one', Tensor.from('float32', [], Float32Array.of(1)));
    const { root } = match;
    const raised = context.insert(root, { opType: 'Add', inputs: [gate, one], name: `${root.name}_gate` }, [
      { type: gate.type },
    ]);
    const made = context.insert(root, { opType: 'Mul', inputs: [input, raised.output()], name: root.name }, [
      { type: root.output().type },
    ]);
    context.replace(root.output(), made.output());
    return `make the residual gate at "${root.name}" one multiplication`;
  },
});

const root2 = Math.SQRT2;
const onePlusErf = op('Add', [
  op('Erf', [choice(op('Div', [x, scalar(root2, tight)]), op('Mul', [x, scalar(1 / root2, tight)]))]),
  scalar(1),
]);
const cubed = choice(
  op('Pow', [x, scalar(3)]),
  op('Mul', [x, op('Mul', [x, x])]),
  op('Mul', [x, op('Pow', [x, scalar(2)])]),
);
const factor = Math.sqrt(2 / Math.PI);
const onePlusTanh = op('Add', [
  op('Tanh', [
    op('Mul', [op('Add', [x, op('Mul', [cubed, scalar(0.044715, tight)])]), scalar(factor, tight)]),
  ]),
  scalar(1),
]);

/** x * 0.5 * phi, in any order. */
function halved(phi: AnyPatternOf): AnyPatternOf {
  const half = (of: AnyPatternOf): AnyPatternOf =>
    choice(op('Mul', [of, scalar(0.5)]), op('Div', [of, scalar(2)]));
  return choice(half(op('Mul', [x, phi])), op('Mul', [half(x), phi]), op('Mul', [x, half(phi)]));
}

/** Written-out Gelu. */
export const fuseGelu: RewriteRule = defineRule({
  name: 'simplify/fuse-gelu',
  summary: 'Makes x * 0.5 * (1 + erf(x / sqrt(2))) a Gelu.',
  pattern: typed(halved(onePlusErf)),
  apply: (match, context) => fuse(match, context, 'Gelu'),
});

/** Written-out Gelu by tanh. */
export const fuseTanhGelu: RewriteRule = defineRule({
  name: 'simplify/fuse-tanh-gelu',
  summary:
    'Makes x * 0.5 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) a Gelu with the tanh approximation.',
  pattern: typed(halved(onePlusTanh)),
  apply: (match, context) => fuse(match, context, 'Gelu', { approximate: attribute.string('tanh') }),
});
