import type { Dim } from '../ir/types.ts';
import type { CostContext, InferContext } from '../op/op-def.ts';
import { type AnyInferContext, broadcastShapes } from './rules.ts';

/** Attributes of Einsum. */
interface EinsumAttributes {
  /** Subscripts: `bij,bjk->bik`. */
  readonly equation: string;
}

/** The terms of an equation. In the result `.` stands for the dims of an ellipsis. */
interface Equation {
  /** Letters of each operand. */
  readonly operands: readonly string[];
  /** Letters of the result. */
  readonly result: string;
}

/** Reads an equation; `undefined` when it is malformed. Without `->` the result has the letters that occur once, sorted. */
export function parseEinsum(equation: string): Equation | undefined {
  const [left = '', right, ...more] = equation.replace(/\s/g, '').replaceAll('...', '.').split('->');
  const operands = left.split(',');
  const term = /^[A-Za-z]*\.?[A-Za-z]*$/;
  if (more.length > 0 || !operands.every((item) => term.test(item)) || !term.test(right ?? ''))
    return undefined;
  if (right !== undefined) return { operands, result: right };
  const count = new Map<string, number>();
  for (const letter of operands.join('').replaceAll('.', '')) count.set(letter, (count.get(letter) ?? 0) + 1);
  const once = [...count].filter(([, times]) => times === 1).map(([letter]) => letter);
  return {
    operands,
    result: `${operands.some((item) => item.includes('.')) ? '.' : ''}${once.sort().join('')}`,
  };
}

/** Sizes of each letter and of the ellipsis; `undefined` when the rank of an operand with an ellipsis is not known. */
function letterSizes(
  context: AnyInferContext,
  { operands }: Equation,
): { sizes: Map<string, Dim>; ellipsis: readonly Dim[] | undefined } {
  const sizes = new Map<string, Dim>();
  const ellipses: (readonly Dim[] | undefined)[] = [];
  operands.forEach((term, index) => {
    const shape = context.shape(index);
    const [front = '', back = ''] = term.split('.');
    const letters = front.length + back.length;
    const hasEllipsis = term.includes('.');
    if (shape !== undefined && (hasEllipsis ? shape.length < letters : shape.length !== letters)) {
      context.fail(
        `operand ${index} must have ${hasEllipsis ? 'at least ' : ''}${letters} dims for "${term}", not [${shape.join(', ')}]`,
      );
    }
    if (hasEllipsis) ellipses.push(shape?.slice(front.length, shape.length - back.length));
    const dims =
      shape === undefined
        ? []
        : [...shape.slice(0, front.length), ...shape.slice(shape.length - back.length)];
    [...front, ...back].forEach((letter, position) => {
      const dim = shape === undefined ? null : (dims[position] ?? null);
      const before = sizes.get(letter);
      const merged = before === undefined ? dim : broadcastShapes(context, [[before], [dim]])?.[0];
      sizes.set(letter, merged ?? null);
    });
  });
  return { sizes, ellipsis: broadcastShapes(context, ellipses) };
}

/** Shape rule of Einsum. */
export function inferEinsum(context: InferContext<EinsumAttributes>): void {
  const equation = parseEinsum(context.attributes.equation);
  if (equation === undefined) {
    context.fail(`equation "${context.attributes.equation}" is malformed`);
    return;
  }
  if (equation.operands.length !== context.inputCount) {
    context.fail(
      `equation "${context.attributes.equation}" has ${equation.operands.length} operands, the node ${context.inputCount}`,
    );
  }
  const { sizes, ellipsis } = letterSizes(context, equation);
  if (equation.result.includes('.') && ellipsis === undefined) {
    context.output(0, undefined, undefined);
    return;
  }
  const shape = [...equation.result].flatMap((letter) => {
    if (letter === '.') return [...(ellipsis ?? [])];
    const size = sizes.get(letter);
    return [size === undefined ? context.fail(`the result names "${letter}", which no operand has`) : size];
  });
  context.output(0, undefined, shape);
}

/** Multiply-accumulates when the sum is taken in one go: the product of the sizes of all letters, per further operand. */
export function einsumMacs(context: CostContext<EinsumAttributes>): number {
  const equation = parseEinsum(context.attributes.equation);
  if (equation === undefined || equation.operands.length < 2) return 0;
  const sizes = new Map<string, number>();
  let ellipsis = 1;
  for (const [index, term] of equation.operands.entries()) {
    const shape = context.inputShape(index);
    if (shape === undefined) return 0;
    const [front = '', back = ''] = term.split('.');
    for (const [position, letter] of [...front, ...back].entries()) {
      const axis = position < front.length ? position : shape.length - back.length + position - front.length;
      sizes.set(letter, Math.max(sizes.get(letter) ?? 1, shape[axis] ?? 1));
    }
    if (term.includes('.')) {
      const own = shape
        .slice(front.length, shape.length - back.length)
        .reduce((product, dim) => product * dim, 1);
      ellipsis = Math.max(ellipsis, own);
    }
  }
  let product = ellipsis;
  for (const size of sizes.values()) product *= size;
  return product * (equation.operands.length - 1);
}
