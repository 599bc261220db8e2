import type { Dim } from '../ir/types.ts';
import type { CostContext, InferContext } from '../op/op-def.ts';
import { elementsOf } from '../tensor/dtype.ts';
import { einsumMacs, inferEinsum } from './einsum.ts';
import { type AnyInferContext, broadcastShapes, mergedDim, requireRank, unknownDims } from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the matrix operators. */
export const matrixSchemas = {
  Det: { since: 11, inputs: 'X:T', outputs: 'Y:T', types: { T: 'float' } },
  Einsum: {
    since: 12,
    inputs: 'Inputs:T*',
    outputs: 'Output:T',
    types: { T: 'float int' },
    attributes: { equation: 'string!' },
  },
  Gemm: {
    since: 13,
    inputs: 'A:T B:T C:T?',
    outputs: 'Y:T',
    types: { T: 'float bfloat16 int32 int64 uint32 uint64' },
    attributes: { alpha: ['float', 1], beta: ['float', 1], transA: ['flag', false], transB: ['flag', false] },
  },
  MatMul: {
    since: 13,
    inputs: 'A:T B:T',
    outputs: 'Y:T',
    types: { T: 'float bfloat16 int32 int64 uint32 uint64' },
  },
  MatMulInteger: {
    since: 10,
    inputs: 'A:T1 B:T2 a_zero_point:T1? b_zero_point:T2?',
    outputs: 'Y:T3',
    types: { T1: 'int8 uint8', T2: 'int8 uint8', T3: 'int32' },
  },
  QLinearMatMul: {
    since: 21,
    inputs: 'a:T1 a_scale:TS a_zero_point:T1 b:T2 b_scale:TS b_zero_point:T2 y_scale:TS y_zero_point:T3',
    outputs: 'y:T3',
    types: {
      TS: 'float32 float16 bfloat16',
      T1: 'float8 int8 uint8',
      T2: 'float8 int8 uint8',
      T3: 'float8 int8 uint8',
    },
  },
} as const;

/** The shape of a matrix product by the rules of numpy. */
export function matMulShape(
  context: AnyInferContext,
  left: readonly Dim[] | undefined,
  right: readonly Dim[] | undefined,
): readonly Dim[] | undefined {
  if (left?.length === 0 || right?.length === 0)
    context.fail('the operands of a matrix product must not be scalars');
  if (left === undefined || right === undefined) return undefined;
  const rows = left.length === 1 ? [1, ...left] : left;
  const columns = right.length === 1 ? [...right, 1] : right;
  mergedDim(context, rows.at(-1) ?? null, columns.at(-2) ?? null, 'the inner sizes of a matrix product');
  const batch = broadcastShapes(context, [rows.slice(0, -2), columns.slice(0, -2)]) as readonly Dim[];
  const kept: Dim[] = [];
  if (left.length > 1) kept.push(rows.at(-2) ?? null);
  if (right.length > 1) kept.push(columns.at(-1) ?? null);
  return [...batch, ...kept];
}

/** Infers a product of inputs `left` and `right`. */
export function matMul(left: number, right: number): (context: AnyInferContext) => void {
  return (context) =>
    context.output(0, undefined, matMulShape(context, context.shape(left), context.shape(right)));
}

/** Each output element takes one multiplication per inner element. */
export function matMulMacs(left: number): (context: CostContext<unknown>) => number {
  return (context) => {
    const output = context.outputShape(0);
    const inner = context.inputShape(left)?.at(-1);
    return output === undefined || inner === undefined ? 0 : elementsOf(output) * inner;
  };
}

interface GemmAttributes {
  readonly transA: boolean;
  readonly transB: boolean;
}

/** Rows and columns of a product of two matrices that may be transposed, with a third one added. */
export function gemmShape(
  context: InferContext<GemmAttributes>,
  right: number,
  addend: number,
): readonly Dim[] {
  const { transA, transB } = context.attributes;
  const [rows = null, inner = null] = oriented(requireRank(context, 0, 2, true) ?? unknownDims(2), transA);
  const [depth = null, columns = null] = oriented(
    requireRank(context, right, 2, true) ?? unknownDims(2),
    transB,
  );
  mergedDim(context, inner, depth, 'the inner sizes of a matrix product');
  const added = context.shape(addend);
  if (added !== undefined) {
    const all = broadcastShapes(context, [[rows, columns], added]);
    if (all !== undefined && all.length > 2)
      context.fail(`the addend [${added.join(', ')}] must broadcast to [${rows}, ${columns}]`);
  }
  return [rows, columns];
}

const oriented = (shape: readonly Dim[], transposed: boolean): readonly Dim[] =>
  transposed ? [...shape].reverse() : shape;

function inferGemm(context: InferContext<GemmAttributes>): void {
  context.output(0, undefined, gemmShape(context, 1, 2));
}

/** Rows * columns * inner size. */
export function gemmMacs(context: CostContext<{ readonly transA: boolean }>): number {
  const output = context.outputShape(0);
  const inner = context.inputShape(0)?.[context.attributes.transA ? 0 : 1];
  return output === undefined || inner === undefined ? 0 : elementsOf(output) * inner;
}

function inferDet(context: AnyInferContext): void {
  const shape = requireRank(context, 0, 2);
  if (shape === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  mergedDim(context, shape.at(-2) ?? null, shape.at(-1) ?? null, 'the last two dims of a square matrix');
  context.output(0, undefined, shape.slice(0, -2));
}

/** Definitions of the matrix operators. */
export const matrixOps: OpFamily<typeof matrixSchemas> = opFamily(matrixSchemas, {
  Det: inferDet,
  Einsum: { infer: inferEinsum, macs: einsumMacs },
  Gemm: { infer: inferGemm, macs: gemmMacs },
  MatMul: { infer: matMul(0, 1), macs: matMulMacs(0) },
  MatMulInteger: { infer: matMul(0, 1), macs: matMulMacs(0) },
  QLinearMatMul: { infer: matMul(0, 3), macs: matMulMacs(0) },
});
