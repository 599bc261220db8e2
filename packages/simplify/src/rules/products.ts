import {
  constant,
  defineRule,
  elementsOf,
  op,
  type RewriteRule,
  type Tensor,
  type Value,
  value,
} from '@lithe/core';
import { intOf, intsOf, isUnpadded } from '../shared/attributes.ts';
import { readLinear, readOnlyBy } from '../shared/linear.ts';
import { rankOf } from '../shared/shapes.ts';
import { allFinite, foldableDTypes, fromFloat64 } from '../shared/weights.ts';

/** Multiplications that merging two weights may cost. */
const MAX_MERGE_MACS = 4e9;

/** MatMul + Add of a bias vector, on matrices. */
export const matMulAddToGemm: RewriteRule = defineRule({
  name: 'simplify/matmul-add-to-gemm',
  summary: 'Makes MatMul of a matrix by a constant matrix, and the addition of a constant vector, one Gemm.',
  pattern: op('Add', [
    op('MatMul', [value('x'), constant('weight', (source) => source.shape.length === 2)]),
    constant('bias', (source) => foldableDTypes.includes(source.dtype)),
  ]),
  apply(match, context) {
    const x = match.value('x');
    const weight = context.constant(match.value('weight'));
    const bias = match.value('bias');
    if (rankOf(x) !== 2 || weight === undefined) return undefined;
    const shape = context.constant(bias)?.shape ?? [];
    const width = weight.shape[1];
    const fits = (shape.length === 1 || (shape.length === 2 && shape[0] === 1)) && shape.at(-1) === width;
    if (!fits) return undefined;
    const { root } = match;
    const made = context.insert(
      root,
      { opType: 'Gemm', inputs: [x, match.value('weight'), bias], name: root.name },
      [{ type: root.output().type }],
    );
    context.replace(root.output(), made.output());
    return `make MatMul and Add "${root.name}" a Gemm`;
  },
});

/** Conv followed by a 1x1 Conv, with nothing in between. */
export const mergePointwise: RewriteRule = {
  name: 'simplify/merge-pointwise-convolution',
  summary:
    'Merges a 1x1 Conv into the Conv before it where nothing stands between them and the product of the weights is smaller.',
  anchors: ['Conv'],
  depth: 1,
  async apply(node, context) {
    const first = node.input(0)?.producer;
    if (!node.is('Conv') || !first?.is('Conv') || first.graph !== node.graph) return undefined;
    const [outer, inner] = [readLinear(node, context), readLinear(first, context)];
    if (outer === undefined || inner === undefined) return undefined;
    const [rows, middle, ...taps] = outer.source.shape as readonly [number, number, ...number[]];
    const plain =
      taps.every((tap) => tap === 1) &&
      isUnpadded(node) &&
      (intsOf(node, 'strides') ?? []).every((step) => step === 1);
    if (!plain || intOf(node, 'group', 1) !== 1 || intOf(first, 'group', 1) !== 1) return undefined;
    if (!readOnlyBy(first.output(), node)) return undefined;
    if (!readOnlyBy(outer.weight, node) || !readOnlyBy(inner.weight, first)) return undefined;
    const columns = elementsOf(inner.source.shape.slice(1));
    const size = rows * columns;
    if (size >= elementsOf(outer.source.shape) + elementsOf(inner.source.shape)) return undefined;
    if (size * middle > MAX_MERGE_MACS || outer.source.dtype !== inner.source.dtype) return undefined;
    const left = (await context.load(outer.weight)).toFloat64Array();
    const right = (await context.load(inner.weight)).toFloat64Array();
    const weight = multiply(left, right, rows, middle, columns);
    const bias = await mergedBias(left, rows, middle, [first.input(2), node.input(2)], (item) =>
      context.load(item),
    );
    if (!allFinite(weight) || (bias !== undefined && !allFinite(bias))) return undefined;
    const { dtype } = outer.source;
    const shape = [rows, ...inner.source.shape.slice(1)];
    const name = outer.weight.name;
    context.setInput(first, 1, context.addConstant(name, fromFloat64(dtype, shape, weight)));
    if (bias !== undefined)
      context.setInput(first, 2, context.addConstant(`${name}_bias`, fromFloat64(dtype, [rows], bias)));
    const output = first.output();
    output.type = node.output().type;
    context.replace(node.output(), output);
    return `merge 1x1 Conv "${node.name}" into Conv "${first.name}"`;
  },
};

function multiply(
  left: Float64Array,
  right: Float64Array,
  rows: number,
  middle: number,
  columns: number,
): Float64Array {
  const out = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let inner = 0; inner < middle; inner++) {
      const factor = left[row * middle + inner]!;
      const from = inner * columns;
      const to = row * columns;
      for (let column = 0; column < columns; column++)
        out[to + column] = out[to + column]! + factor * right[from + column]!;
    }
  }
  return out;
}

async function mergedBias(
  left: Float64Array,
  rows: number,
  middle: number,
  [inner, outer]: readonly [Value | null, Value | null],
  load: (value: Value) => Promise<Tensor>,
): Promise<Float64Array | undefined> {
  if (inner === null && outer === null) return undefined;
  const bias = new Float64Array(rows);
  if (inner !== null) bias.set(multiply(left, (await load(inner)).toFloat64Array(), rows, middle, 1));
  if (outer !== null) {
    const own = (await load(outer)).toFloat64Array();
    for (let row = 0; row < rows; row++) bias[row] = bias[row]! + own[row]!;
  }
  return bias;
}
