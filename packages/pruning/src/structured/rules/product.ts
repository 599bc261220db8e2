import { type Dim, standardOpDefs } from '@lithe/core';
import {
  type AxisContext,
  type AxisEnd,
  type AxisFlow,
  type AxisRules,
  inputAxis,
  outputAxis,
  type Tie,
  tie,
} from '../axis-rule.ts';
import { isCuttable, unknownRank } from './shared.ts';

/** Matrix products. */
export type ProductOp = 'Einsum' | 'Gemm' | 'MatMul';

/** How the operands of a {@link gemmFlow} lie. */
export interface GemmLayout {
  /** Whether A is transposed. */
  readonly transA: boolean;
  /** Whether B is transposed. */
  readonly transB: boolean;
}

/** A [M, K], B [K, N], C that broadcasts to [M, N]. */
export function gemmFlow(context: AxisContext, { transA, transB }: GemmLayout): AxisFlow {
  const [rows, inner] = transA ? [1, 0] : [0, 1];
  const [depth, columns] = transB ? [1, 0] : [0, 1];
  const after = context.outputShape(0);
  if (after === undefined) return unknownRank;
  const made: AxisEnd[] = [outputAxis(0, 1), inputAxis(1, columns)];
  const kept: AxisEnd[] = [outputAxis(0, 0), inputAxis(0, rows)];
  const addend = context.has(2) ? context.shape(2) : [];
  if (addend === undefined) return unknownRank;
  addend.forEach((dim, axis) => {
    const at = axis + 2 - addend.length;
    if (dim !== 1) (at === 1 ? made : kept).push(inputAxis(2, axis));
  });
  return {
    ties: [tie(...kept), tie(...made), tie(inputAxis(0, inner), inputAxis(1, depth))],
    starts: context.isStatic(1) ? [outputAxis(0, 1)] : context.isStatic(0) ? [outputAxis(0, 0)] : [],
    roles: { 0: 'weight', 1: 'weight', 2: 'bias' },
  };
}

/** A […, M, K], B […, K, N], by the rules of numpy. */
export function matMulFlow(context: AxisContext): AxisFlow {
  const [left, right, after] = [context.shape(0), context.shape(1), context.outputShape(0)];
  if (left === undefined || right === undefined || after === undefined) return unknownRank;
  const ties: Tie[] = [tie(inputAxis(0, left.length - 1), inputAxis(1, Math.max(0, right.length - 2)))];
  const starts: AxisEnd[] = [];
  const matrixAxes = (left.length > 1 ? 1 : 0) + (right.length > 1 ? 1 : 0);
  if (left.length > 1) {
    const rows = outputAxis(0, after.length - matrixAxes);
    ties.push(tie(inputAxis(0, left.length - 2), rows));
    if (context.isStatic(0) && !context.isStatic(1)) starts.push(rows);
  }
  if (right.length > 1) {
    const columns = outputAxis(0, after.length - 1);
    ties.push(tie(inputAxis(1, right.length - 1), columns));
    if (context.isStatic(1) && !context.isStatic(0)) starts.push(columns);
  }
  for (let axis = 0; axis < after.length - matrixAxes; axis++) {
    const batch = after.length - matrixAxes;
    const ends = batchEnds([left, right], axis - batch, after[axis] ?? null);
    if (ends !== undefined) ties.push(tie(outputAxis(0, axis), ...ends));
  }
  return {
    ties,
    starts,
    roles: { 0: 'weight', 1: 'weight' },
    fixed: 'the sizes along it are not known well enough',
  };
}

/** The batch axes of both operands that broadcast to one of the result, counted from the last batch axis. */
function batchEnds(
  shapes: readonly (readonly Dim[])[],
  fromBack: number,
  dim: Dim,
): readonly AxisEnd[] | undefined {
  if (!isCuttable(dim)) return undefined;
  const ends: AxisEnd[] = [];
  for (const [index, shape] of shapes.entries()) {
    const at = shape.length - 2 + fromBack;
    if (shape.length < 3 || at < 0 || shape[at] === 1) continue;
    if (shape[at] !== dim) return undefined;
    ends.push(inputAxis(index, at));
  }
  return ends;
}

/** Each letter of the equation is an axis of every operand that names it. */
function einsumFlow(context: AxisContext): AxisFlow {
  const { equation } = context.attributes(standardOpDefs.Einsum);
  const text = equation.replaceAll(' ', '');
  const fixed = 'its equation has an ellipsis, a letter twice in one operand, or no arrow';
  const [left, right] = text.split('->');
  if (left === undefined || right === undefined || text.includes('.')) return { ties: [], fixed };
  const operands = left.split(',');
  if ([...operands, right].some((term) => new Set(term).size !== term.length)) return { ties: [], fixed };
  const ties: Tie[] = [];
  const starts: AxisEnd[] = [];
  for (const letter of new Set(left.replaceAll(',', ''))) {
    const ends: AxisEnd[] = [];
    let owners = 0;
    let isMade = false;
    let dim: Dim | undefined;
    let broadcasts = false;
    for (const [index, term] of operands.entries()) {
      const axis = term.indexOf(letter);
      if (axis < 0) continue;
      owners++;
      isMade = context.isStatic(index);
      const own = context.shape(index)?.[axis];
      broadcasts ||= dim !== undefined && own !== dim;
      dim = own;
      ends.push(inputAxis(index, axis));
    }
    const at = right.indexOf(letter);
    if (at >= 0) ends.push(outputAxis(0, at));
    if (broadcasts) continue;
    ties.push(tie(...ends));
    if (owners === 1 && isMade && at >= 0 && operands.length > 1) starts.push(outputAxis(0, at));
  }
  const roles = Object.fromEntries(operands.map((_, index) => [index, 'weight' as const]));
  return { ties, starts, roles, fixed };
}

/** How axes flow through matrix products. */
export const productAxes: AxisRules<ProductOp> = {
  Einsum: { flow: einsumFlow },
  Gemm: { flow: (context) => gemmFlow(context, context.attributes(standardOpDefs.Gemm)) },
  MatMul: { flow: matMulFlow },
};
