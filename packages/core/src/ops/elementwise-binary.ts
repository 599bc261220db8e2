import {
  addDims,
  divideDims,
  floorDivideDim,
  isAtLeast,
  maxDims,
  minDims,
  multiplyDims,
  sameDim,
  subtractDims,
} from '../ir/dims.ts';
import type { Dim } from '../ir/types.ts';
import { type DType, dtypes, isFloat } from '../tensor/dtype.ts';
import {
  type AnyInferContext,
  broadcastShapes,
  type ElementRule,
  followElements,
  onNumbers,
  sameAsInput,
} from './rules.ts';
import { type OpFamily, opFamily } from './schema.ts';

/** Schemas of the elementwise operators of two and more inputs. */
export const elementwiseBinarySchemas = {
  Add: { since: 14, inputs: 'A:T B:T', outputs: 'C:T', types: { T: 'number' } },
  And: { since: 7, inputs: 'A:T B:T', outputs: 'C:T1', types: { T: 'bool', T1: 'bool' } },
  BitShift: {
    since: 11,
    inputs: 'X:T Y:T',
    outputs: 'Z:T',
    types: { T: 'uint8 uint16 uint32 uint64' },
    attributes: { direction: ['one!', 'LEFT', 'RIGHT'] },
  },
  BitwiseAnd: { since: 18, inputs: 'A:T B:T', outputs: 'C:T', types: { T: 'int' } },
  BitwiseOr: { since: 18, inputs: 'A:T B:T', outputs: 'C:T', types: { T: 'int' } },
  BitwiseXor: { since: 18, inputs: 'A:T B:T', outputs: 'C:T', types: { T: 'int' } },
  Div: { since: 14, inputs: 'A:T B:T', outputs: 'C:T', types: { T: 'number' } },
  Equal: { since: 19, inputs: 'A:T B:T', outputs: 'C:T1', types: { T: 'number bool string', T1: 'bool' } },
  Greater: { since: 13, inputs: 'A:T B:T', outputs: 'C:T1', types: { T: 'number', T1: 'bool' } },
  GreaterOrEqual: { since: 16, inputs: 'A:T B:T', outputs: 'C:T1', types: { T: 'number', T1: 'bool' } },
  Less: { since: 13, inputs: 'A:T B:T', outputs: 'C:T1', types: { T: 'number', T1: 'bool' } },
  LessOrEqual: { since: 16, inputs: 'A:T B:T', outputs: 'C:T1', types: { T: 'number', T1: 'bool' } },
  Max: { since: 13, inputs: 'data_0:T*', outputs: 'max:T', types: { T: 'number' } },
  Mean: { since: 13, inputs: 'data_0:T*', outputs: 'mean:T', types: { T: 'float bfloat16' } },
  Min: { since: 13, inputs: 'data_0:T*', outputs: 'min:T', types: { T: 'number' } },
  Mod: {
    since: 13,
    inputs: 'A:T B:T',
    outputs: 'C:T',
    types: { T: 'number' },
    attributes: { fmod: ['flag', false] },
  },
  Mul: { since: 14, inputs: 'A:T B:T', outputs: 'C:T', types: { T: 'number' } },
  Or: { since: 7, inputs: 'A:T B:T', outputs: 'C:T1', types: { T: 'bool', T1: 'bool' } },
  PRelu: {
    since: 16,
    inputs: 'X:T slope:T',
    outputs: 'Y:T',
    types: { T: 'float bfloat16 int32 int64 uint32 uint64' },
  },
  Pow: {
    since: 15,
    inputs: 'X:T Y:T1',
    outputs: 'Z:T',
    types: { T: 'float bfloat16 int32 int64', T1: 'number' },
  },
  Sub: { since: 14, inputs: 'A:T B:T', outputs: 'C:T', types: { T: 'number' } },
  Sum: { since: 13, inputs: 'data_0:T*', outputs: 'sum:T', types: { T: 'float bfloat16' } },
  Where: { since: 16, inputs: 'condition:B X:T Y:T', outputs: 'output:T', types: { B: 'bool', T: 'any' } },
  Xor: { since: 7, inputs: 'A:T B:T', outputs: 'C:T1', types: { T: 'bool', T1: 'bool' } },
} as const;

/** Shapes broadcast; the dtype is that of the operands; elements are followed by `rule`. */
function broadcasting(rule?: (dtype: DType) => ElementRule): (context: AnyInferContext) => void {
  return (context) => {
    const shapes = Array.from({ length: context.inputCount }, (_, index) => context.shape(index));
    const shape = broadcastShapes(context, shapes);
    context.output(0, undefined, shape);
    const dtype = context.dtype(0);
    if (rule !== undefined && dtype !== undefined) followElements(context, shape, rule(dtype));
  };
}

/** Arithmetic on sizes for integers, on numbers for floats; anything else is not followed. */
function arithmetic(
  sizes: (left: Dim, right: Dim) => Dim,
  numbers: (left: number, right: number) => number,
): (dtype: DType) => ElementRule {
  const fold = (operands: readonly Dim[], dtype: DType): Dim => {
    let [value = null] = operands;
    for (const operand of operands.slice(1)) {
      if (typeof value === 'number' && typeof operand === 'number')
        value = rounded(numbers(value, operand), dtype);
      else
        value =
          Number.isInteger(value ?? 0) || typeof value === 'string' ? wholeOnly(value, operand, sizes) : null;
    }
    return value;
  };
  return (dtype) =>
    (...operands) =>
      fold(operands, dtype);
}

const rounded = (value: number, dtype: DType): number => (dtype === 'float32' ? Math.fround(value) : value);

function wholeOnly(left: Dim, right: Dim, rule: (left: Dim, right: Dim) => Dim): Dim {
  const whole = (dim: Dim): boolean => typeof dim === 'string' || Number.isSafeInteger(dim);
  return whole(left) && whole(right) ? rule(left, right) : null;
}

/** Integer division rounds toward zero, as in C. */
function divide(dtype: DType): ElementRule {
  return (left = null, right = null) => {
    if (typeof left === 'number' && typeof right === 'number') {
      if (isFloat(dtype)) return left / right;
      return right === 0 ? null : Math.trunc(left / right);
    }
    const exact = divideDims(left, right);
    if (exact !== null && exact !== undefined) return exact;
    if (isFloat(dtype) || typeof right !== 'number' || right < 1 || !isAtLeast(left, 0)) return null;
    return floorDivideDim(left, right);
  };
}

/** Mod has the sign of the divisor, with `fmod` that of the dividend. */
function modulo(fmod: boolean): (dtype: DType) => ElementRule {
  return () =>
    (left = null, right = null) => {
      if (typeof left === 'number' && typeof right === 'number') {
        if (right === 0) return null;
        const rest = left % right;
        return fmod || rest === 0 || rest < 0 === right < 0 ? rest : rest + right;
      }
      if (typeof right !== 'number' || right < 1 || !isAtLeast(left, 0)) return null;
      return subtractDims(left, multiplyDims(floorDivideDim(left, right), right));
    };
}

/** Comparisons of sizes whose answer is known. */
function comparison(
  numbers: (left: number, right: number) => boolean,
  sizes?: (left: Dim, right: Dim) => boolean | undefined,
): () => ElementRule {
  return () =>
    (left = null, right = null) => {
      if (typeof left === 'number' && typeof right === 'number') return numbers(left, right) ? 1 : 0;
      const answer = sizes?.(left, right);
      return answer === undefined ? null : Number(answer);
    };
}

const isLess = (left: Dim, right: Dim): boolean | undefined => {
  const difference = subtractDims(right, left);
  if (isAtLeast(difference, 1)) return true;
  return isAtLeast(subtractDims(left, right), 0) ? false : undefined;
};
const not = (answer: boolean | undefined): boolean | undefined =>
  answer === undefined ? undefined : !answer;

function inferWhere(context: AnyInferContext): void {
  const shape = broadcastShapes(context, [context.shape(0), context.shape(1), context.shape(2)]);
  context.output(0, undefined, shape);
  followElements(context, shape, (condition = null, left = null, right = null) => {
    if (typeof condition === 'number') return condition === 0 ? right : left;
    return left === right ? left : null;
  });
}

const booleans =
  (rule: (left: number, right: number) => boolean): (() => ElementRule) =>
  () =>
    onNumbers((left = 0, right = 0) => Number(rule(left, right)));

function inferPRelu(context: AnyInferContext): void {
  const shape = broadcastShapes(context, [context.shape(0), context.shape(1)]);
  const data = context.shape(0);
  if (shape !== undefined && data !== undefined && shape.length !== data.length) {
    context.fail(`the slope [${(context.shape(1) ?? []).join(', ')}] must broadcast to [${data.join(', ')}]`);
  }
  sameAsInput(context);
}

function logic(rule: (left: number, right: number) => boolean): (context: AnyInferContext) => void {
  return toBool(booleans(rule));
}

/** Shapes broadcast; the result is bool. */
function toBool(rule: (dtype: DType) => ElementRule): (context: AnyInferContext) => void {
  return broadcasting((dtype) => (dtypes[dtype].category === 'string' ? (): null => null : rule(dtype)));
}

/** Definitions of the elementwise operators of two and more inputs. */
export const elementwiseBinaryOps: OpFamily<typeof elementwiseBinarySchemas> = opFamily(
  elementwiseBinarySchemas,
  {
    Add: broadcasting(arithmetic(addDims, (left, right) => left + right)),
    And: logic((left, right) => left !== 0 && right !== 0),
    BitShift: broadcasting(),
    BitwiseAnd: broadcasting(),
    BitwiseOr: broadcasting(),
    BitwiseXor: broadcasting(),
    Div: broadcasting(divide),
    Equal: toBool(comparison((left, right) => left === right, sameDim)),
    Greater: toBool(
      comparison(
        (left, right) => left > right,
        (left, right) => isLess(right, left),
      ),
    ),
    GreaterOrEqual: toBool(
      comparison(
        (left, right) => left >= right,
        (left, right) => not(isLess(left, right)),
      ),
    ),
    Less: toBool(comparison((left, right) => left < right, isLess)),
    LessOrEqual: toBool(
      comparison(
        (left, right) => left <= right,
        (left, right) => not(isLess(right, left)),
      ),
    ),
    Max: broadcasting(arithmetic(maxDims, Math.max)),
    Mean: broadcasting(),
    Min: broadcasting(arithmetic(minDims, Math.min)),
    Mod: (context) => broadcasting(modulo(context.attributes.fmod))(context),
    Mul: broadcasting(arithmetic(multiplyDims, (left, right) => left * right)),
    Or: logic((left, right) => left !== 0 || right !== 0),
    PRelu: inferPRelu,
    Pow: broadcasting(() => onNumbers((left = 0, right = 0) => left ** right)),
    Sub: broadcasting(arithmetic(subtractDims, (left, right) => left - right)),
    Sum: broadcasting(arithmetic(addDims, (left, right) => left + right)),
    Where: inferWhere,
    Xor: logic((left, right) => (left !== 0) !== (right !== 0)),
  },
);
