import {
  attribute,
  type DType,
  dtypes,
  type Node,
  type RewriteContext,
  type RewriteRule,
  Tensor,
  type Value,
} from '@lithe/core';
import { integersOf, intOf, intsOf } from '../shared/attributes.ts';
import { readOnlyBy } from '../shared/linear.ts';
import { rankOf } from '../shared/shapes.ts';

/** The node of the same graph that computes input 0, if it is of one of these operators. */
function before(node: Node, ...opTypes: readonly string[]): Node | undefined {
  const producer = node.input(0)?.producer;
  if (!producer || producer.graph !== node.graph || node.input(0)?.outputIndex !== 0) return undefined;
  return opTypes.some((opType) => producer.is(opType)) ? producer : undefined;
}

const relabels = ['Reshape', 'Flatten', 'Squeeze', 'Unsqueeze'];

/** Reshape of a Reshape, Flatten, Squeeze or Unsqueeze. */
export const mergeReshapes: RewriteRule = {
  name: 'simplify/merge-reshapes',
  summary:
    'Has a Reshape to a constant target read what stands before a Reshape, Flatten, Squeeze or Unsqueeze.',
  anchors: ['Reshape'],
  depth: 1,
  apply(node, context) {
    const inner = before(node, ...relabels);
    const source = inner?.input(0);
    const target = integersOf(context, node, 1);
    if (inner === undefined || !source || target === undefined) return undefined;
    // A zero copies a dim of the input at hand, which would be another one.
    if (target.includes(0)) return undefined;
    context.setInput(node, 0, source);
    return `have Reshape "${node.name}" skip ${inner.opType} "${inner.name}"`;
  },
};

/** Transpose of a Transpose. */
export const mergeTransposes: RewriteRule = {
  name: 'simplify/merge-transposes',
  summary: 'Makes two Transposes in a row one, or none where they undo each other.',
  anchors: ['Transpose'],
  depth: 1,
  apply(node, context) {
    const inner = before(node, 'Transpose');
    const source = inner?.input(0);
    const [outer, first] = [intsOf(node, 'perm'), inner === undefined ? undefined : intsOf(inner, 'perm')];
    if (inner === undefined || !source || outer === undefined || first === undefined) return undefined;
    const merged = outer.map((axis) => first[axis] as number);
    const identity = merged.every((axis, index) => axis === index);
    if (identity && context.canReplace(node.output(), source)) {
      context.replace(node.output(), source);
      return `cancel Transposes "${inner.name}" and "${node.name}"`;
    }
    context.setAttribute(node, 'perm', attribute.ints(merged));
    context.setInput(node, 0, source);
    return `merge Transposes "${inner.name}" and "${node.name}"`;
  },
};

const unary: ReadonlySet<string> = new Set(
  'Relu LeakyRelu Sigmoid HardSigmoid HardSwish Tanh Abs Neg Exp Log Sqrt Reciprocal Erf Gelu Elu Selu Softplus Softsign Mish Floor Ceil Round Sign Sin Cos Not Cast Identity Clip Celu ThresholdedRelu'.split(
    ' ',
  ),
);
const binary: ReadonlySet<string> = new Set(['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Max', 'Min']);

/** The input of an element-wise node that is not a scalar constant, when the node keeps the order of elements. */
function elementwiseInput(node: Node, context: RewriteContext): number | undefined {
  if (node.domain !== '') return undefined;
  if (unary.has(node.opType))
    return node.is('Clip') &&
      [1, 2].some((index) => node.input(index) !== null && !context.constant(node.input(index)))
      ? undefined
      : 0;
  if (!binary.has(node.opType) || node.inputs.length !== 2) return undefined;
  for (const index of [0, 1]) {
    const other = context.constant(node.input(1 - index));
    const rank = rankOf(node.input(index));
    if (other?.shape.every((dim) => dim === 1) === true && rank !== undefined && other.shape.length <= rank)
      return index;
  }
  return undefined;
}

/** Transposes around element-wise work. */
export const cancelTransposes: RewriteRule = {
  name: 'simplify/cancel-transposes',
  summary:
    'Takes out two Transposes that undo each other across element-wise operators that nothing else reads.',
  anchors: ['Transpose'],
  depth: 12,
  apply(node, context) {
    const outer = intsOf(node, 'perm');
    if (outer === undefined) return undefined;
    const path: { node: Node; index: number }[] = [];
    let current = node;
    let slot = 0;
    for (let steps = 0; steps < 12; steps++) {
      const input = current.input(slot);
      const producer = input?.producer;
      if (!input || !producer || producer.graph !== node.graph || !readOnlyBy(input, current))
        return undefined;
      if (producer.is('Transpose')) {
        const first = intsOf(producer, 'perm');
        const source = producer.input(0);
        if (path.length === 0 || first === undefined || source === null) return undefined;
        if (!outer.every((axis, index) => first[axis] === index)) return undefined;
        const last = path[0] as { node: Node; index: number };
        const top = path.at(-1) as { node: Node; index: number };
        if (!context.canReplace(node.output(), last.node.output())) return undefined;
        context.setInput(top.node, top.index, source);
        for (const item of path) {
          const output = item.node.output();
          output.type = item.node === last.node ? node.output().type : withShapeOf(output, node.output());
        }
        context.replace(node.output(), last.node.output());
        return `cancel Transposes "${producer.name}" and "${node.name}" across ${path.length} element-wise operators`;
      }
      const index = elementwiseInput(producer, context);
      if (index === undefined) return undefined;
      path.push({ node: producer, index });
      current = producer;
      slot = index;
    }
    return undefined;
  },
};

function withShapeOf(value: Value, like: Value): Value['type'] {
  if (value.type?.kind !== 'tensor' || like.type?.kind !== 'tensor') return undefined;
  return { kind: 'tensor', dtype: value.type.dtype, shape: like.type.shape };
}

/** Two Transposes into one element-wise operator. */
export const sinkTransposes: RewriteRule = {
  name: 'simplify/sink-transposes',
  summary: 'Makes an element-wise operator on two tensors transposed alike one Transpose of its result.',
  anchors: [...binary],
  depth: 1,
  apply(node, context) {
    if (node.inputs.length !== 2 || node.domain !== '') return undefined;
    const [left, right] = [node.input(0), node.input(1)];
    const [first, second] = [left?.producer, right?.producer];
    if (!left || !right || left === right || !first?.is('Transpose') || !second?.is('Transpose'))
      return undefined;
    if (first.graph !== node.graph || second.graph !== node.graph) return undefined;
    const [perm, other] = [intsOf(first, 'perm'), intsOf(second, 'perm')];
    if (perm === undefined || other === undefined || perm.join() !== other.join()) return undefined;
    if (!readOnlyBy(left, node) || !readOnlyBy(right, node)) return undefined;
    const [a, b] = [first.input(0), second.input(0)];
    if (a === null || b === null) return undefined;
    const output = node.output();
    const made = context.insert(node, {
      opType: node.opType,
      inputs: [a, b],
      attributes: node.attributes,
      name: node.name,
    });
    const turned = context.insert(
      node,
      {
        opType: 'Transpose',
        inputs: [made.output()],
        attributes: { perm: attribute.ints(perm) },
        name: first.name,
      },
      [{ type: output.type }],
    );
    context.replace(output, turned.output());
    return `move Transposes "${first.name}" and "${second.name}" behind ${node.opType} "${node.name}"`;
  },
};

/** Whether every value of `from` is a value of `to`. */
function widens(from: DType, to: DType): boolean {
  if (from === to || from === 'bool') return from === to || !['string', 'bool'].includes(to);
  const exactFloat: Readonly<Record<string, readonly DType[]>> = {
    float16: ['float32', 'float64'],
    bfloat16: ['float32', 'float64'],
    float32: ['float64'],
  };
  if (exactFloat[from]?.includes(to) === true) return true;
  const [small, large] = [dtypes[from].range, dtypes[to].range];
  if (small !== undefined && large !== undefined) return large[0] <= small[0] && large[1] >= small[1];
  const digits: Readonly<Record<string, number>> = { float16: 11, bfloat16: 8, float32: 24, float64: 53 };
  const exact = digits[to];
  return small !== undefined && exact !== undefined && small[1] < 2n ** BigInt(exact);
}

/** Cast of a Cast. */
export const mergeCasts: RewriteRule = {
  name: 'simplify/merge-casts',
  summary: 'Has a Cast read what stands before another Cast that lost nothing.',
  anchors: ['Cast'],
  depth: 1,
  apply(node, context) {
    const inner = before(node, 'Cast');
    const source = inner?.input(0);
    const [from, through] = [source?.dtype, inner?.output().dtype];
    if (
      inner === undefined ||
      !source ||
      from === undefined ||
      through === undefined ||
      !widens(from, through)
    )
      return undefined;
    context.setInput(node, 0, source);
    return `have Cast "${node.name}" skip Cast "${inner.name}"`;
  },
};

/** Slice of a Slice along other axes. */
export const mergeSlices: RewriteRule = {
  name: 'simplify/merge-slices',
  summary: 'Makes two Slices along different axes one.',
  anchors: ['Slice'],
  depth: 1,
  apply(node, context) {
    const inner = before(node, 'Slice');
    const source = inner?.input(0);
    const rank = rankOf(source ?? null);
    if (inner === undefined || !source || rank === undefined || !readOnlyBy(inner.output(), node))
      return undefined;
    const [first, second] = [readSlice(inner, rank, context), readSlice(node, rank, context)];
    if (first === undefined || second === undefined || second.axes.some((axis) => first.axes.includes(axis)))
      return undefined;
    const list = (numbers: readonly number[], what: string): Value =>
      context.addConstant(
        `${node.name}_${what}`,
        Tensor.from('int64', [numbers.length], BigInt64Array.from(numbers, clampToInt64)),
      );
    const joined = (key: keyof SliceRange): number[] => [...first[key], ...second[key]];
    const inputs = [
      source,
      list(joined('starts'), 'starts'),
      list(joined('ends'), 'ends'),
      list(joined('axes'), 'axes'),
      list(joined('steps'), 'steps'),
    ];
    const made = context.insert(node, { opType: 'Slice', inputs, name: node.name }, [
      { type: node.output().type },
    ]);
    context.replace(node.output(), made.output());
    return `merge Slices "${inner.name}" and "${node.name}"`;
  },
};

interface SliceRange {
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  readonly axes: readonly number[];
  readonly steps: readonly number[];
}

function readSlice(node: Node, rank: number, context: RewriteContext): SliceRange | undefined {
  const [starts, ends] = [integersOf(context, node, 1), integersOf(context, node, 2)];
  if (starts === undefined || ends === undefined) return undefined;
  const axes = node.input(3) === null ? starts.map((_, index) => index) : integersOf(context, node, 3);
  const steps = node.input(4) === null ? starts.map(() => 1) : integersOf(context, node, 4);
  if (axes === undefined || steps === undefined) return undefined;
  return { starts, ends, axes: axes.map((axis) => (axis < 0 ? axis + rank : axis)), steps };
}

/** "As far as it goes" is often written as INT64_MAX, which a double rounds up. */
function clampToInt64(item: number): bigint {
  const limit = 2n ** 63n;
  const whole = BigInt(item);
  if (whole >= limit) return limit - 1n;
  return whole < -limit ? -limit : whole;
}

/** Whether `allowzero` is set; exported for the shape rules. */
export function allowsZero(node: Node): boolean {
  return intOf(node, 'allowzero', 0) !== 0;
}
