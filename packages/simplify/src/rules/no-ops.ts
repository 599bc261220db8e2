import { isStaticShape, type Node, type RewriteContext, type RewriteRule, type Value } from '@lithe/core';
import { floatOf, integersOf, intOf, intsOf, stringOf } from '../shared/attributes.ts';
import { rankOf, sameShape, sameType } from '../shared/shapes.ts';

type Test = (node: Node, input: Value, context: RewriteContext) => boolean;

/** Whether a constant operand has only elements equal to `wanted`, and does not broadcast the other. */
function neutral(node: Node, index: number, wanted: number, context: RewriteContext): boolean {
  const operand = node.input(index);
  const tensor = context.small(operand);
  if (operand === null || tensor === undefined || tensor.dtype === 'string') return false;
  if (!tensor.toFloat64Array().every((item) => item === wanted)) return false;
  const input = node.input(1 - index);
  if (input === null) return false;
  if (sameShape(input.shape, node.output().shape)) return true;
  return tensor.size === 1 && tensor.shape.length <= (rankOf(input) ?? 0);
}

const sameResult: Test = (node, input) => sameType(input, node.output());

/** `coordinate_transformation_mode`s that map a size to itself without moving anything. */
const stillModes = [
  'half_pixel',
  'half_pixel_symmetric',
  'pytorch_half_pixel',
  'align_corners',
  'asymmetric',
];

/** For each operator, when its first output is its first input. */
const tests: Readonly<Record<string, Test>> = {
  Identity: () => true,
  Dropout: (node, _input, context) => {
    const training = node.input(2);
    return training === null || context.small(training)?.toFloat64Array()[0] === 0;
  },
  Cast: (node, input) => input.dtype !== undefined && input.dtype === node.output().dtype,
  CastLike: sameResult,
  Reshape: (node, input, context) => {
    if (sameShape(input.shape, node.output().shape)) return true;
    // A target of zeros copies every dim, whatever they are.
    const target = integersOf(context, node, 1);
    const rank = rankOf(input);
    return (
      target !== undefined &&
      target.length === rank &&
      target.every((dim) => dim === 0) &&
      intOf(node, 'allowzero', 0) === 0
    );
  },
  Flatten: sameResult,
  Squeeze: sameResult,
  Unsqueeze: sameResult,
  Expand: sameResult,
  Transpose: (node) => intsOf(node, 'perm')?.every((axis, index) => axis === index) === true,
  Pad: (node, _input, context) => integersOf(context, node, 1)?.every((pad) => pad === 0) === true,
  Tile: (node, _input, context) => integersOf(context, node, 1)?.every((count) => count === 1) === true,
  Slice: (node, input, context) => {
    const steps = node.input(4);
    if (steps !== null && integersOf(context, node, 4)?.every((step) => step === 1) !== true) return false;
    if (isStaticShape(input.shape) && sameShape(input.shape, node.output().shape)) return true;
    const starts = integersOf(context, node, 1);
    const ends = integersOf(context, node, 2);
    return (
      starts?.every((start) => start === 0) === true && ends?.every((end) => end >= 2 ** 31 - 1) === true
    );
  },
  Concat: (node) => node.inputs.length === 1,
  Sum: (node) => node.inputs.length === 1,
  Mean: (node) => node.inputs.length === 1,
  Max: (node) => node.inputs.length === 1,
  Min: (node) => node.inputs.length === 1,
  Split: (node, input) => node.outputs.length === 1 && sameType(input, node.output()),
  Resize: (node, input, context) => {
    const mode = stringOf(node, 'coordinate_transformation_mode', 'half_pixel');
    if (mode === undefined || !stillModes.includes(mode)) return false;
    if (
      node.input(3) === null &&
      context
        .small(node.input(2))
        ?.toFloat64Array()
        .every((scale) => scale === 1) === true
    ) {
      return (context.small(node.input(2))?.size ?? 0) > 0;
    }
    return (
      node.input(3) !== null && isStaticShape(input.shape) && sameShape(input.shape, node.output().shape)
    );
  },
  Clip: (node) => node.input(1) === null && node.input(2) === null,
  LeakyRelu: (node) => floatOf(node, 'alpha', 0.01) === 1,
  Mul: (node, _input, context) => neutral(node, 1, 1, context),
  Div: (node, _input, context) => neutral(node, 1, 1, context),
  Pow: (node, _input, context) => neutral(node, 1, 1, context),
  Add: (node, _input, context) => neutral(node, 1, 0, context),
  Sub: (node, _input, context) => neutral(node, 1, 0, context),
};

/** Which input an operator without effect hands on, if it has none. */
function handedOn(node: Node, context: RewriteContext): Value | undefined {
  const test = tests[node.opType];
  const first = node.input(0);
  if (test === undefined || node.domain !== '' || first === null) return undefined;
  if (node.outputs.slice(1).some((output) => !output.isUnused)) return undefined;
  if (test(node, first, context)) return first;
  const second = node.input(1);
  if (second === null) return undefined;
  if (node.is('Mul') && neutral(node, 0, 1, context)) return second;
  if (node.is('Add') && neutral(node, 0, 0, context)) return second;
  return undefined;
}

/** Takes out operators that hand their input on unchanged. */
export const removeNoOps: RewriteRule = {
  name: 'simplify/remove-no-op',
  summary:
    'Takes out Identity, Dropout, and casts, reshapes, transposes, pads, slices, expansions, resizes and arithmetic that change nothing.',
  anchors: Object.keys(tests),
  depth: 0,
  apply(node, context) {
    const input = handedOn(node, context);
    if (input === undefined) return undefined;
    const output = node.output();
    if (!context.canReplace(output, input)) {
      if (node.is('Identity')) return undefined;
      return { skip: { code: 'output', reason: `output "${output.name}" must keep its name` } };
    }
    context.replace(output, input);
    return `remove ${node.opType} "${node.name}"`;
  },
};

const idempotent: ReadonlySet<string> = new Set(['Relu', 'Abs', 'Ceil', 'Floor', 'Round', 'Sign']);
const involutions: ReadonlySet<string> = new Set(['Neg', 'Not']);

/** Takes out the second of two operators that undo or repeat each other. */
export const removeRepeated: RewriteRule = {
  name: 'simplify/remove-repeated',
  summary: 'Takes out the second of Relu(Relu(x)) and its like, and both of Neg(Neg(x)) and Not(Not(x)).',
  anchors: [...idempotent, ...involutions],
  depth: 1,
  apply(node, context) {
    const inner = node.input(0)?.producer;
    if (!inner || inner.op !== node.op || inner.graph !== node.graph) return undefined;
    const source = idempotent.has(node.opType) ? inner.output() : inner.input(0);
    if (source === null || !context.canReplace(node.output(), source)) return undefined;
    context.replace(node.output(), source);
    return `remove ${node.opType} "${node.name}", which ${idempotent.has(node.opType) ? 'repeats' : 'undoes'} "${inner.name}"`;
  },
};
