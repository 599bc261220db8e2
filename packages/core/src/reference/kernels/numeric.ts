import { errors } from '../../errors/catalogue.ts';
import { type DType, dtypeFromOnnx, dtypes } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import {
  broadcastShapes,
  broadcastWalk,
  fromNumbers,
  fromStore,
  isWide,
  makeStore,
  toBigints,
} from '../elements.ts';
import type { KernelContext, ReferenceKernel } from '../kernel.ts';

/** Names of the real dtypes, for messages. */
export const REAL: readonly string[] = ['real numbers'];

/** Whether the dtype is a real number that kernels compute with (bool, strings and complex numbers are not). */
export function isReal(dtype: DType): boolean {
  const { category } = dtypes[dtype];
  return category === 'float' || category === 'int' || category === 'uint';
}

/** A function of one number, with its form on 64-bit integers where that must be exact. */
export interface UnaryRule {
  /** On float64, exact for integers of up to 32 bits. */
  readonly number: (value: number) => number;
  /** On 64-bit integers. */
  readonly bigint?: ((value: bigint) => bigint) | undefined;
}

/** A function of two numbers, with its form on 64-bit integers where that must be exact. */
export interface BinaryRule {
  /** On float64. */
  readonly number: (left: number, right: number) => number;
  /** On integers of up to 32 bits, where it differs. */
  readonly integer?: ((left: number, right: number) => number) | undefined;
  /** On 64-bit integers. */
  readonly bigint?: ((left: bigint, right: bigint) => bigint) | undefined;
}

/** Applies a rule to every element. */
export function mapTensor(context: KernelContext, tensor: Tensor, rule: UnaryRule): Tensor {
  if (!isReal(tensor.dtype)) context.wrongType(tensor.dtype, REAL);
  if (isWide(tensor.dtype) && rule.bigint !== undefined) {
    const values = tensor.data as BigInt64Array;
    const out = makeStore(tensor.dtype, values.length) as BigInt64Array;
    for (let index = 0; index < out.length; index++) out[index] = rule.bigint(values[index]!);
    return fromStore(tensor.dtype, tensor.shape, out);
  }
  const values = tensor.toFloat64Array();
  const apply = rule.number;
  for (let index = 0; index < values.length; index++) values[index] = apply(values[index]!);
  return fromNumbers(tensor.dtype, tensor.shape, values);
}

/** The broadcast shape of two tensors, or a SHAPE_MISMATCH. */
export function broadcastTwo(context: KernelContext, left: Tensor, right: Tensor): number[] {
  return (
    broadcastShapes([left.shape, right.shape]) ??
    context.fail(`shapes [${left.shape.join(', ')}] and [${right.shape.join(', ')}] do not broadcast`)
  );
}

/** Applies a rule to every pair of elements, broadcast. The result has the dtype of `left`. */
export function mapTwo(context: KernelContext, left: Tensor, right: Tensor, rule: BinaryRule): Tensor {
  if (left.dtype !== right.dtype) context.fail(`inputs have dtypes ${left.dtype} and ${right.dtype}`);
  if (!isReal(left.dtype)) context.wrongType(left.dtype, REAL);
  const shape = broadcastTwo(context, left, right);
  const size = context.guard(left.dtype, shape);
  const leftAt = broadcastWalk(left.shape, shape);
  const rightAt = broadcastWalk(right.shape, shape);
  if (isWide(left.dtype) && rule.bigint !== undefined) {
    const lefts = left.data as BigInt64Array;
    const rights = right.data as BigInt64Array;
    const out = makeStore(left.dtype, size) as BigInt64Array;
    const apply = rule.bigint;
    for (let index = 0; index < size; index++) {
      out[index] = apply(lefts[leftAt?.[index] ?? index]!, rights[rightAt?.[index] ?? index]!);
    }
    return fromStore(left.dtype, shape, out);
  }
  const lefts = left.toFloat64Array();
  const rights = right.toFloat64Array();
  const apply = dtypes[left.dtype].category === 'float' ? rule.number : (rule.integer ?? rule.number);
  const out = new Float64Array(size);
  for (let index = 0; index < size; index++) {
    out[index] = apply(
      lefts[leftAt === undefined ? index : leftAt[index]!]!,
      rights[rightAt === undefined ? index : rightAt[index]!]!,
    );
  }
  return fromNumbers(left.dtype, shape, out);
}

/** A comparison of two tensors, broadcast, giving bool. */
export function compareTwo(
  context: KernelContext,
  left: Tensor,
  right: Tensor,
  test: (left: number | bigint | string, right: number | bigint | string) => boolean,
): Tensor<'bool'> {
  if (left.dtype !== right.dtype) context.fail(`inputs have dtypes ${left.dtype} and ${right.dtype}`);
  const shape = broadcastTwo(context, left, right);
  const size = context.guard('bool', shape);
  const leftAt = broadcastWalk(left.shape, shape);
  const rightAt = broadcastWalk(right.shape, shape);
  const lefts = comparable(left);
  const rights = comparable(right);
  const out = new Uint8Array(size);
  for (let index = 0; index < size; index++) {
    out[index] = test(lefts[leftAt?.[index] ?? index]!, rights[rightAt?.[index] ?? index]!) ? 1 : 0;
  }
  return Tensor.from('bool', shape, out);
}

function comparable(tensor: Tensor): { readonly [index: number]: number | bigint | string } {
  if (tensor.dtype === 'string') return tensor.data as readonly string[];
  return isWide(tensor.dtype) ? toBigints(tensor) : tensor.toFloat64Array();
}

/** A kernel that applies a rule to each element of its only input. */
export function unary(
  number: (value: number) => number,
  bigint?: (value: bigint) => bigint,
): ReferenceKernel {
  return (context) => [mapTensor(context, context.tensor(0), { number, bigint })];
}

/** A kernel that applies a rule to each pair of elements of its two inputs. */
export function binary(rule: BinaryRule): ReferenceKernel {
  return (context) => [mapTwo(context, context.tensor(0), context.tensor(1), rule)];
}

/**
 * The dtype that a `dtype` attribute names, or `fallback` without one.
 *
 * @throws {LitheError} ATTRIBUTE_INVALID when it names none
 */
export function outputType(context: KernelContext, code: number | undefined, fallback: DType): DType {
  if (code === undefined) return fallback;
  const dtype = dtypeFromOnnx(code);
  if (dtype === undefined)
    throw errors.attributeInvalid(context.node.name, 'dtype', `is ${code}, not the number of a known dtype`);
  return dtype;
}
