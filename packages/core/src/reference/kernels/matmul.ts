import { attr } from '../../op/attributes.ts';
import { elementsOf } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import {
  broadcastShapes,
  broadcastWalk,
  fromNumbers,
  fromStore,
  isWide,
  makeStore,
  toBigints,
} from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { isReal, REAL } from './numeric.ts';

/** A batch of matrix products, as numpy's `matmul` defines it. */
export interface MatMulPlan {
  /** Rows of each product. */
  readonly m: number;
  /** Columns of each product. */
  readonly n: number;
  /** Terms of each sum. */
  readonly k: number;
  /** Start of the left matrix of each product. */
  readonly lefts: Int32Array;
  /** Start of the right matrix of each product. */
  readonly rights: Int32Array;
  /** Shape of the result. */
  readonly shape: readonly number[];
}

/** Plans `left x right`: vectors count as a row or a column, the axes before the last two broadcast. */
export function planMatMul(
  context: KernelContext,
  left: readonly number[],
  right: readonly number[],
): MatMulPlan {
  if (left.length === 0 || right.length === 0) context.fail('an operand is a scalar');
  const a = left.length === 1 ? [1, left[0]!] : left;
  const b = right.length === 1 ? [right[0]!, 1] : right;
  const [m, k] = [a.at(-2)!, a.at(-1)!];
  const n = b.at(-1)!;
  if (b.at(-2) !== k)
    context.fail(`[${left.join(', ')}] x [${right.join(', ')}] sums over ${k} and ${b.at(-2)} terms`);
  const batch =
    broadcastShapes([a.slice(0, -2), b.slice(0, -2)]) ??
    context.fail(`batches of [${left.join(', ')}] and [${right.join(', ')}] do not broadcast`);
  const starts = (shape: readonly number[], matrix: number): Int32Array => {
    const own = shape.slice(0, -2);
    const found =
      broadcastWalk(own, batch) ?? Int32Array.from({ length: elementsOf(batch) }, (_, index) => index);
    return found.map((index) => index * matrix);
  };
  return {
    m,
    n,
    k,
    lefts: starts(a, m * k),
    rights: starts(b, k * n),
    shape: [...batch, ...(left.length === 1 ? [] : [m]), ...(right.length === 1 ? [] : [n])],
  };
}

/** The products of a plan, summed in float64. */
export function matMulNumbers(left: Float64Array, right: Float64Array, plan: MatMulPlan): Float64Array {
  const { m, n, k, lefts, rights } = plan;
  const out = new Float64Array(lefts.length * m * n);
  for (let batch = 0; batch < lefts.length; batch++) {
    const a = lefts[batch]!;
    const b = rights[batch]!;
    for (let row = 0; row < m; row++) {
      const to = (batch * m + row) * n;
      for (let term = 0; term < k; term++) {
        const factor = left[a + row * k + term]!;
        const from = b + term * n;
        for (let column = 0; column < n; column++) out[to + column]! += factor * right[from + column]!;
      }
    }
  }
  return out;
}

function matMulWide(left: Tensor, right: Tensor, plan: MatMulPlan): Tensor {
  const { m, n, k, lefts, rights } = plan;
  const [a, b] = [toBigints(left), toBigints(right)];
  const out = makeStore(left.dtype, lefts.length * m * n) as BigInt64Array;
  for (let index = 0; index < out.length; index++) {
    const batch = Math.floor(index / (m * n));
    const row = Math.floor(index / n) % m;
    let sum = 0n;
    for (let term = 0; term < k; term++) {
      sum += a[lefts[batch]! + row * k + term]! * b[rights[batch]! + term * n + (index % n)]!;
    }
    out[index] = sum;
  }
  return fromStore(left.dtype, plan.shape, out);
}

/** `left x right` as ONNX `MatMul` (opset 13) defines it. */
export function matMulTensors(context: KernelContext, left: Tensor, right: Tensor): Tensor {
  if (left.dtype !== right.dtype) context.fail(`inputs have dtypes ${left.dtype} and ${right.dtype}`);
  if (!isReal(left.dtype)) context.wrongType(left.dtype, REAL);
  const plan = planMatMul(context, left.shape, right.shape);
  context.guard(left.dtype, plan.shape);
  if (isWide(left.dtype)) return matMulWide(left, right, plan);
  return fromNumbers(
    left.dtype,
    plan.shape,
    matMulNumbers(left.toFloat64Array(), right.toFloat64Array(), plan),
  );
}

/** ONNX `MatMul` (opset 13): numpy's matmul. */
const matMul: ReferenceKernel = (context) => [matMulTensors(context, context.tensor(0), context.tensor(1))];

/** A matrix in float64, transposed if asked. */
function matrixOf(
  context: KernelContext,
  tensor: Tensor,
  transposed: boolean,
): { values: Float64Array; rows: number; columns: number } {
  if (tensor.shape.length !== 2) context.fail(`an operand has ${tensor.shape.length} axes, not 2`);
  const [rows, columns] = tensor.shape as [number, number];
  const values = tensor.toFloat64Array();
  if (!transposed) return { values, rows, columns };
  const turned = new Float64Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      turned[column * rows + row] = values[row * columns + column]!;
  return { values: turned, rows: columns, columns: rows };
}

/** ONNX `Gemm` (opset 13): `alpha A' B' + beta C`, with A and B transposed if asked, C broadcast to the result. */
const gemm: ReferenceKernel = (context) => [
  gemmTensors(context, [context.tensor(0), context.tensor(1), context.optional(2)]),
];

/** `alpha A' B' + beta C` by the attributes of the node. */
export function gemmTensors(
  context: KernelContext,
  [a, b, c]: readonly [Tensor, Tensor, Tensor | undefined],
): Tensor {
  const { alpha, beta, transA, transB } = context.attributes({
    alpha: attr.float(1),
    beta: attr.float(1),
    transA: attr.flag(false),
    transB: attr.flag(false),
  });
  if (a.dtype !== b.dtype) context.fail(`inputs have dtypes ${a.dtype} and ${b.dtype}`);
  if (!isReal(a.dtype)) context.wrongType(a.dtype, REAL);
  const left = matrixOf(context, a, transA);
  const right = matrixOf(context, b, transB);
  const shape = [left.rows, right.columns];
  context.guard(a.dtype, shape);
  const out = matMulNumbers(
    left.values,
    right.values,
    planMatMul(context, [left.rows, left.columns], [right.rows, right.columns]),
  );
  for (let index = 0; index < out.length; index++) out[index]! *= alpha;
  if (c !== undefined) {
    const fits = broadcastShapes([c.shape, shape]);
    if (fits === undefined || fits.join() !== shape.join())
      context.fail(`C of shape [${c.shape.join(', ')}] does not broadcast to [${shape.join(', ')}]`);
    const at = broadcastWalk(c.shape, shape);
    const added = c.toFloat64Array();
    for (let index = 0; index < out.length; index++)
      out[index]! += beta * added[at === undefined ? index : at[index]!]!;
  }
  return fromNumbers(a.dtype, shape, out);
}

/** ONNX `Det` (opset 11): determinants, by elimination with row exchange. */
const det: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const size = input.shape.at(-1) ?? context.fail('the input is no matrix');
  if (input.shape.length < 2 || input.shape.at(-2) !== size) context.fail('the matrices are not square');
  const values = input.toFloat64Array();
  const shape = input.shape.slice(0, -2);
  const out = new Float64Array(elementsOf(shape));
  for (let index = 0; index < out.length; index++) {
    out[index] = determinant(values.slice(index * size * size, (index + 1) * size * size), size);
  }
  return [fromNumbers(input.dtype, shape, out)];
};

function determinant(matrix: Float64Array, size: number): number {
  let result = 1;
  for (let pivot = 0; pivot < size; pivot++) {
    let best = pivot;
    for (let row = pivot + 1; row < size; row++) {
      if (Math.abs(matrix[row * size + pivot]!) > Math.abs(matrix[best * size + pivot]!)) best = row;
    }
    const lead = matrix[best * size + pivot]!;
    if (lead === 0) return 0;
    if (best !== pivot) {
      result = -result;
      for (let column = 0; column < size; column++) {
        const held = matrix[pivot * size + column]!;
        matrix[pivot * size + column] = matrix[best * size + column]!;
        matrix[best * size + column] = held;
      }
    }
    result *= lead;
    for (let row = pivot + 1; row < size; row++) {
      const factor = matrix[row * size + pivot]! / lead;
      for (let column = pivot; column < size; column++)
        matrix[row * size + column]! -= factor * matrix[pivot * size + column]!;
    }
  }
  return result;
}

/** Products of matrices: `ai.onnx`. */
export const matMulKernels: KernelTable = { Det: det, Gemm: gemm, MatMul: matMul };
