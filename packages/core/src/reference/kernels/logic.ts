import { attr } from '../../op/attributes.ts';
import { dtypes, isInteger } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { broadcastShapes, broadcastWalk, fromStore, isWide, joinFlat, makeStore, take } from '../elements.ts';
import type { KernelTable, ReferenceKernel } from '../kernel.ts';
import { compareTwo, mapTwo } from './numeric.ts';

type Comparable = number | bigint | string;

function comparison(test: (left: Comparable, right: Comparable) => boolean): ReferenceKernel {
  return (context) => [compareTwo(context, context.tensor(0), context.tensor(1), test)];
}

function logical(test: (left: boolean, right: boolean) => boolean): ReferenceKernel {
  return (context) => {
    const [left, right] = [context.tensor(0), context.tensor(1)];
    if (left.dtype !== 'bool') context.wrongType(left.dtype, ['bool']);
    return [compareTwo(context, left, right, (a, b) => test(a !== 0, b !== 0))];
  };
}

function bitwise(
  number: (left: number, right: number) => number,
  bigint: (left: bigint, right: bigint) => bigint,
): ReferenceKernel {
  return (context) => {
    const [left, right] = [context.tensor(0), context.tensor(1)];
    if (!isInteger(left.dtype)) context.wrongType(left.dtype, ['integers']);
    return [mapTwo(context, left, right, { number, bigint })];
  };
}

/** ONNX `Not` (opset 1). */
const not: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  if (input.dtype !== 'bool') context.wrongType(input.dtype, ['bool']);
  const values = input.data as Uint8Array;
  const out = new Uint8Array(values.length);
  for (let index = 0; index < out.length; index++) out[index] = values[index] === 0 ? 1 : 0;
  return [Tensor.from('bool', input.shape, out)];
};

/** ONNX `BitwiseNot` (opset 18). */
const bitwiseNot: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  if (!isInteger(input.dtype)) context.wrongType(input.dtype, ['integers']);
  const out = makeStore(input.dtype, input.size);
  if (isWide(input.dtype)) {
    const values = input.data as BigInt64Array;
    for (let index = 0; index < input.size; index++) out[index] = ~values[index]!;
  } else {
    const values = input.toFloat64Array();
    for (let index = 0; index < input.size; index++) out[index] = ~values[index]!;
  }
  return [fromStore(input.dtype, input.shape, out)];
};

/** ONNX `BitShift` (opset 11): unsigned integers; a shift by the width or more gives 0. */
const bitShift: ReferenceKernel = (context) => {
  const { direction } = context.attributes({ direction: attr.oneOf(['LEFT', 'RIGHT'], 'LEFT') });
  const input = context.tensor(0);
  const { bits, category } = dtypes[input.dtype];
  if (category !== 'uint') context.wrongType(input.dtype, ['unsigned integers']);
  const left = direction === 'LEFT';
  const rule = (value: bigint, by: bigint): bigint =>
    by >= BigInt(bits) ? 0n : left ? value << by : value >> by;
  // 32-bit shifts of JavaScript are modulo 32: multiply and divide instead, which float64 does exactly here.
  const number = (value: number, by: number): number =>
    by >= bits ? 0 : left ? (value * 2 ** by) % 2 ** bits : Math.floor(value / 2 ** by);
  return [mapTwo(context, input, context.tensor(1), { number, bigint: rule })];
};

/** ONNX `IsNaN` (opset 20). */
const isNaNKernel: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const values = input.toFloat64Array();
  const out = new Uint8Array(values.length);
  for (let index = 0; index < out.length; index++) out[index] = Number.isNaN(values[index]) ? 1 : 0;
  return [Tensor.from('bool', input.shape, out)];
};

/** ONNX `IsInf` (opset 20). */
const isInfKernel: ReferenceKernel = (context) => {
  const { detect_negative: negative, detect_positive: positive } = context.attributes({
    detect_negative: attr.flag(true),
    detect_positive: attr.flag(true),
  });
  const input = context.tensor(0);
  const values = input.toFloat64Array();
  const out = new Uint8Array(values.length);
  for (let index = 0; index < out.length; index++) {
    const value = values[index];
    if ((positive && value === Number.POSITIVE_INFINITY) || (negative && value === Number.NEGATIVE_INFINITY))
      out[index] = 1;
  }
  return [Tensor.from('bool', input.shape, out)];
};

/** ONNX `Where` (opset 16): `X` where the condition holds, else `Y`, all three broadcast. */
const where: ReferenceKernel = (context) => {
  const [condition, yes, no] = [context.tensor(0), context.tensor(1), context.tensor(2)];
  if (condition.dtype !== 'bool') context.wrongType(condition.dtype, ['bool']);
  if (yes.dtype !== no.dtype) context.fail(`X is ${yes.dtype}, Y is ${no.dtype}`);
  const shape =
    broadcastShapes([condition.shape, yes.shape, no.shape]) ?? context.fail('the shapes do not broadcast');
  const size = context.guard(yes.dtype, shape);
  const conditionAt = broadcastWalk(condition.shape, shape);
  const yesAt = broadcastWalk(yes.shape, shape);
  const noAt = broadcastWalk(no.shape, shape);
  const chosen = condition.data as Uint8Array;
  const positions = new Int32Array(size);
  for (let index = 0; index < size; index++) {
    const picks = chosen[conditionAt?.[index] ?? index] !== 0;
    positions[index] = picks ? (yesAt?.[index] ?? index) : yes.size + (noAt?.[index] ?? index);
  }
  return [take(joinFlat([yes, no]), positions, shape)];
};

/** Comparison, logic and bits of `ai.onnx`: `And`, `Or` and `Xor` of opset 7, comparisons of opset 16 and before. */
export const logicKernels: KernelTable = {
  And: logical((a, b) => a && b),
  BitShift: bitShift,
  BitwiseAnd: bitwise(
    (a, b) => a & b,
    (a, b) => a & b,
  ),
  BitwiseNot: bitwiseNot,
  BitwiseOr: bitwise(
    (a, b) => a | b,
    (a, b) => a | b,
  ),
  BitwiseXor: bitwise(
    (a, b) => a ^ b,
    (a, b) => a ^ b,
  ),
  Equal: comparison((a, b) => a === b),
  Greater: comparison((a, b) => a > b),
  GreaterOrEqual: comparison((a, b) => a >= b),
  IsInf: isInfKernel,
  IsNaN: isNaNKernel,
  Less: comparison((a, b) => a < b),
  LessOrEqual: comparison((a, b) => a <= b),
  Not: not,
  Or: logical((a, b) => a || b),
  Where: where,
  Xor: logical((a, b) => a !== b),
};
