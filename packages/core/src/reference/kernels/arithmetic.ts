import { attr } from '../../op/attributes.ts';
import { dtypes } from '../../tensor/dtype.ts';
import { broadcastWalk, fromNumbers, fromStore, isWide, makeStore, toBigints } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { binary, broadcastTwo, isReal, mapTensor, mapTwo, REAL, unary } from './numeric.ts';
import { roundHalfEven } from './special-functions.ts';

/** ONNX `Add` (opset 14): `A + B`, broadcast; integers wrap. */
const add = binary({ number: (a, b) => a + b, bigint: (a, b) => a + b });

/** ONNX `Sub` (opset 14): `A - B`, broadcast; integers wrap. */
const sub = binary({ number: (a, b) => a - b, bigint: (a, b) => a - b });

/** ONNX `Mul` (opset 14): `A * B`, broadcast; integers wrap. */
const mul = binary({ number: (a, b) => a * b, integer: Math.imul, bigint: (a, b) => a * b });

/** ONNX `Div` (opset 14): `A / B`, broadcast; integers are divided towards zero. Integer division by zero is an error. */
const div: ReferenceKernel = (context) => {
  const divisor = context.tensor(1);
  if (dtypes[divisor.dtype].category !== 'float' && isReal(divisor.dtype) && hasZero(context)) {
    context.fail('an integer is divided by zero');
  }
  return [
    mapTwo(context, context.tensor(0), divisor, {
      number: (a, b) => a / b,
      integer: (a, b) => Math.trunc(a / b),
      bigint: (a, b) => a / b,
    }),
  ];
};

function hasZero(context: KernelContext): boolean {
  const divisor = context.tensor(1);
  if (context.tensor(0).size === 0) return false;
  return isWide(divisor.dtype)
    ? (divisor.data as BigInt64Array).includes(0n)
    : divisor.toFloat64Array().includes(0);
}

/**
 * ONNX `Mod` (opset 13): with `fmod` 0 the remainder has the sign of the divisor (Python), with `fmod` 1 that of the
 * dividend (C).
 */
const mod: ReferenceKernel = (context) => {
  const { fmod } = context.attributes({ fmod: attr.flag(false) });
  const [left, right] = [context.tensor(0), context.tensor(1)];
  if (dtypes[right.dtype].category !== 'float' && isReal(right.dtype) && hasZero(context)) {
    context.fail('an integer is divided by zero');
  }
  if (fmod) return [mapTwo(context, left, right, { number: (a, b) => a % b, bigint: (a, b) => a % b })];
  return [
    mapTwo(context, left, right, {
      number: (a, b) => {
        const rest = a % b;
        return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
      },
      bigint: (a, b) => {
        const rest = a % b;
        return rest !== 0n && rest < 0n !== b < 0n ? rest + b : rest;
      },
    }),
  ];
};

/** ONNX `Pow` (opset 15): `X ^ Y`, broadcast; the exponent has its own dtype, the result that of the base. */
const pow: ReferenceKernel = (context) => {
  const [base, exponent] = [context.tensor(0), context.tensor(1)];
  if (!isReal(base.dtype)) context.wrongType(base.dtype, REAL);
  if (!isReal(exponent.dtype)) context.wrongType(exponent.dtype, REAL);
  const shape = broadcastTwo(context, base, exponent);
  const size = context.guard(base.dtype, shape);
  const baseAt = broadcastWalk(base.shape, shape);
  const exponentAt = broadcastWalk(exponent.shape, shape);
  const powers = exponent.toFloat64Array();
  if (isWide(base.dtype)) {
    const bases = base.data as BigInt64Array;
    const out = makeStore(base.dtype, size) as BigInt64Array;
    for (let index = 0; index < size; index++) {
      const value = bases[baseAt?.[index] ?? index]!;
      const power = powers[exponentAt?.[index] ?? index]!;
      const whole = Number.isInteger(power) && power >= 0 && power < 4096;
      out[index] = whole ? value ** BigInt(power) : BigInt(Math.trunc(Number(value) ** power) || 0);
    }
    return [fromStore(base.dtype, shape, out)];
  }
  const bases = base.toFloat64Array();
  const out = new Float64Array(size);
  for (let index = 0; index < size; index++) {
    out[index] = power(bases[baseAt?.[index] ?? index]!, powers[exponentAt?.[index] ?? index]!);
  }
  return [fromNumbers(base.dtype, shape, out)];
};

/** IEEE 754 `pow`: unlike in JavaScript, a base of 1 gives 1 for every exponent, and so does -1 for infinite ones. */
function power(base: number, exponent: number): number {
  if (base === 1 || (base === -1 && !Number.isFinite(exponent) && !Number.isNaN(exponent))) return 1;
  return base ** exponent;
}

/** ONNX `Abs` (opset 13). */
const abs = unary(Math.abs, (a) => (a < 0n ? -a : a));

/** ONNX `Neg` (opset 13). */
const neg = unary(
  (a) => -a,
  (a) => -a,
);

/** ONNX `Sign` (opset 13). */
const sign = unary(Math.sign, (a) => (a > 0n ? 1n : a < 0n ? -1n : 0n));

/** ONNX `Sqrt` (opset 13). */
const sqrt = unary(Math.sqrt);

/** ONNX `Reciprocal` (opset 13). */
const reciprocal = unary((a) => 1 / a);

/** ONNX `Exp` (opset 13). */
const exp = unary(Math.exp);

/** ONNX `Log` (opset 13). */
const log = unary(Math.log);

/** ONNX `Ceil` (opset 13). */
const ceil = unary(Math.ceil);

/** ONNX `Floor` (opset 13). */
const floor = unary(Math.floor);

/** ONNX `Round` (opset 11): ties to even. */
const round = unary(roundHalfEven);

/** A kernel over any number of inputs, folded from the left. */
function fold(rule: Parameters<typeof mapTwo>[3]): ReferenceKernel {
  return (context) => {
    let result = context.tensor(0);
    for (let index = 1; index < context.inputs.length; index++)
      result = mapTwo(context, result, context.tensor(index), rule);
    return [result];
  };
}

/** ONNX `Max` (opset 13): the largest of any number of inputs, broadcast; NaN wins. */
const max = fold({ number: Math.max, bigint: (a, b) => (a > b ? a : b) });

/** ONNX `Min` (opset 13): the smallest of any number of inputs, broadcast; NaN wins. */
const min = fold({ number: Math.min, bigint: (a, b) => (a < b ? a : b) });

/** ONNX `Sum` (opset 13): the sum of any number of inputs, broadcast. */
const sum = fold({ number: (a, b) => a + b });

/** ONNX `Mean` (opset 13): the mean of any number of inputs, broadcast. */
const mean: ReferenceKernel = (context) => {
  const total = sum(context)[0] as ReturnType<typeof mapTensor>;
  const count = context.inputs.length;
  return [mapTensor(context, total, { number: (a) => a / count })];
};

/** ONNX `Clip` (opset 13): limits to [min, max], each of which may be left out; max wins where min is larger. */
const clip: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const low = context.optional(1);
  const high = context.optional(2);
  if (isWide(input.dtype)) {
    const least = low === undefined ? undefined : toBigints(low)[0];
    const most = high === undefined ? undefined : toBigints(high)[0];
    const bigint = (a: bigint): bigint => {
      const raised = least !== undefined && a < least ? least : a;
      return most !== undefined && raised > most ? most : raised;
    };
    return [mapTensor(context, input, { number: (a) => a, bigint })];
  }
  const least = low?.toFloat64Array()[0] ?? Number.NEGATIVE_INFINITY;
  const most = high?.toFloat64Array()[0] ?? Number.POSITIVE_INFINITY;
  return [mapTensor(context, input, { number: (a) => Math.min(Math.max(a, least), most) })];
};

/** Arithmetic of `ai.onnx`. */
export const arithmeticKernels: KernelTable = {
  Abs: abs,
  Add: add,
  Ceil: ceil,
  Clip: clip,
  Div: div,
  Exp: exp,
  Floor: floor,
  Log: log,
  Max: max,
  Mean: mean,
  Min: min,
  Mod: mod,
  Mul: mul,
  Neg: neg,
  Pow: pow,
  Reciprocal: reciprocal,
  Round: round,
  Sign: sign,
  Sqrt: sqrt,
  Sub: sub,
  Sum: sum,
};
