import { standardOpDefs, type Value } from '@lithe/core';
import type { GradientRule, GradientRules } from '../autodiff/gradient-rule.ts';

const matMul: GradientRule = (context, gradient) => {
  const { emit } = context;
  const [a, b] = [context.input(0), context.input(1)];
  const rankA = a.shape?.length ?? context.unknownSize('the rank of its first input');
  const rankB = b.shape?.length ?? context.unknownSize('the rank of its second input');
  // Vectors are matrices with one row or column, as the operator itself takes them.
  const left = rankA === 1 ? emit.op('Unsqueeze', [a, emit.ints([0])]) : a;
  const right = rankB === 1 ? emit.op('Unsqueeze', [b, emit.ints([1])]) : b;
  let wide = gradient;
  if (rankB === 1) wide = emit.op('Unsqueeze', [wide, emit.ints([-1])]);
  if (rankA === 1) wide = emit.op('Unsqueeze', [wide, emit.ints([-2])]);
  const byA = (): Value => {
    const result = emit.matmul(wide, emit.swapLast(right));
    return rankA === 1 ? emit.op('Squeeze', [result, emit.ints([-2])]) : result;
  };
  const byB = (): Value => {
    // A shared matrix of weights: one large product over all rows, rather than a product per batch entry and a sum.
    const shared = (right.shape?.length ?? 0) === 2 && (left.shape?.length ?? 0) > 2;
    const columns = [left.shape?.at(-1), wide.shape?.at(-1)];
    if (shared && columns.every((size) => typeof size === 'number')) {
      const rows = emit.reshape(left, [-1, columns[0] as number]);
      const cotangent = emit.reshape(wide, [-1, columns[1] as number]);
      const result = emit.matmul(emit.swapLast(rows), cotangent);
      return rankB === 1 ? emit.op('Squeeze', [result, emit.ints([-1])]) : result;
    }
    const result = emit.matmul(emit.swapLast(left), wide);
    return rankB === 1 ? emit.op('Squeeze', [result, emit.ints([-1])]) : result;
  };
  return [context.needs(0) ? byA() : null, context.needs(1) ? byB() : null];
};

const gemm: GradientRule = (context, gradient) => {
  const { emit } = context;
  const { alpha, beta, transA, transB } = context.attributes(standardOpDefs.Gemm);
  const flagA = transA ? 1 : 0;
  const flagB = transB ? 1 : 0;
  const [a, b] = [context.input(0), context.input(1)];
  const product = (left: Value, right: Value, leftFlag: number, rightFlag: number): Value =>
    emit.op('Gemm', [left, right], { alpha, transA: leftFlag, transB: rightFlag });
  const byA = (): Value =>
    flagA === 0 ? product(gradient, b, 0, 1 - flagB) : product(b, gradient, flagB, 1);
  const byB = (): Value =>
    flagB === 0 ? product(a, gradient, 1 - flagA, 0) : product(gradient, a, 1, flagA);
  return [
    context.needs(0) ? byA() : null,
    context.needs(1) ? byB() : null,
    context.has(2) && context.needs(2) ? emit.scale(gradient, beta) : null,
  ];
};

interface Terms {
  readonly inputs: readonly string[];
  readonly output: string;
}

function parseEquation(equation: string): Terms | undefined {
  const text = equation.replaceAll(' ', '');
  if (text.includes('.')) return undefined;
  const [left, right] = text.split('->');
  const inputs = (left as string).split(',');
  if (right !== undefined) return { inputs, output: right };
  const counts = new Map<string, number>();
  for (const letter of inputs.join('')) counts.set(letter, (counts.get(letter) ?? 0) + 1);
  return {
    inputs,
    output: [...counts]
      .filter(([, count]) => count === 1)
      .map(([letter]) => letter)
      .sort()
      .join(''),
  };
}

const einsum: GradientRule = (context, gradient) => {
  const { emit, node } = context;
  const { equation } = context.attributes(standardOpDefs.Einsum);
  const terms = parseEquation(equation);
  if (terms === undefined) return context.unsupported('an ellipsis in the equation has no gradient rule');
  if (terms.inputs.some((term) => new Set(term).size < term.length))
    return context.unsupported('a repeated letter (diagonal) has no gradient rule');
  return node.inputs.map((input, index) => {
    if (input === null || !context.needs(index)) return null;
    const others = terms.inputs.filter((_, other) => other !== index);
    const own = terms.inputs[index] as string;
    const seen = new Set([...terms.output, ...others.join('')]);
    // Letters that only this input has were summed: their gradient is the same along the axis.
    const direct = [...own].filter((letter) => seen.has(letter)).join('');
    const values = node.inputs.filter((_, other) => other !== index) as Value[];
    let result = emit.op('Einsum', [gradient, ...values], {
      equation: `${[terms.output, ...others].join(',')}->${direct}`,
    });
    [...own].forEach((letter, axis) => {
      if (!seen.has(letter)) result = emit.op('Unsqueeze', [result, emit.ints([axis])]);
    });
    return emit.expandLike(result, input);
  });
};

/** Gradients of matrix products. */
export const productGradients: GradientRules<'MatMul' | 'Gemm' | 'Einsum'> = {
  MatMul: matMul,
  Gemm: gemm,
  Einsum: einsum,
};
