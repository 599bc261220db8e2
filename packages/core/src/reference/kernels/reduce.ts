import { attr } from '../../op/attributes.ts';
import { dtypes } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import {
  fromNumbers,
  fromStore,
  int64Tensor,
  isWide,
  makeStore,
  normalAxis,
  toIntegers,
} from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { lanesOver } from './lanes.ts';
import { isReal, REAL } from './numeric.ts';
import { normalAxes } from './shape.ts';

/** One reduction: of a lane of float64 numbers, and of a lane of 64-bit integers where that must be exact. */
interface Reduction {
  readonly lane: (values: Float64Array, base: number, offsets: Int32Array) => number;
  readonly wide?: ((values: BigInt64Array, base: number, offsets: Int32Array) => bigint) | undefined;
  /** Whether one element alone does not give itself: its square, its logarithm. */
  readonly composite?: true | undefined;
  /** What an empty lane of an integer dtype gives, where float has an infinity. */
  readonly empty?: 'lowest' | 'highest' | undefined;
}

/** The input reduced over axes. */
export function reduceTensor(
  input: Tensor,
  reduction: Reduction,
  { axes, keepdims }: { readonly axes: readonly number[]; readonly keepdims: boolean },
): Tensor {
  const { bases, offsets } = lanesOver(input.shape, axes);
  const shape = input.shape.flatMap((dim, axis) => (axes.includes(axis) ? (keepdims ? [1] : []) : [dim]));
  const range = dtypes[input.dtype].range;
  if (isWide(input.dtype) && reduction.wide !== undefined) {
    const values = input.data as BigInt64Array;
    const out = makeStore(input.dtype, bases.length) as BigInt64Array;
    if (offsets.length === 0 && reduction.empty !== undefined && range !== undefined) {
      out.fill(range[reduction.empty === 'lowest' ? 0 : 1]);
    } else
      for (let index = 0; index < bases.length; index++)
        out[index] = reduction.wide(values, bases[index]!, offsets);
    return fromStore(input.dtype, shape, out);
  }
  const values = input.toFloat64Array();
  const out = new Float64Array(bases.length);
  if (offsets.length === 0 && reduction.empty !== undefined && range !== undefined) {
    out.fill(Number(range[reduction.empty === 'lowest' ? 0 : 1]));
  } else
    for (let index = 0; index < bases.length; index++)
      out[index] = reduction.lane(values, bases[index]!, offsets);
  return fromNumbers(input.dtype, shape, out);
}

const laneSum: Reduction['lane'] = (values, base, offsets) => {
  let sum = 0;
  for (let index = 0; index < offsets.length; index++) sum += values[base + offsets[index]!]!;
  return sum;
};

/** The sum of a lane. */
export const sumReduction: Reduction = {
  lane: laneSum,
  wide: (values, base, offsets) => {
    let sum = 0n;
    for (let index = 0; index < offsets.length; index++) sum += values[base + offsets[index]!]!;
    return sum;
  },
};

/** The mean of a lane; integers are divided towards zero. */
export const meanReduction: Reduction = {
  lane: (values, base, offsets) => laneSum(values, base, offsets) / offsets.length,
};

const product: Reduction = {
  lane: (values, base, offsets) => {
    let result = 1;
    for (let index = 0; index < offsets.length; index++) result *= values[base + offsets[index]!]!;
    return result;
  },
  wide: (values, base, offsets) => {
    let result = 1n;
    for (let index = 0; index < offsets.length; index++) result *= values[base + offsets[index]!]!;
    return result;
  },
};

const maximum: Reduction = {
  empty: 'lowest',
  lane: (values, base, offsets) => {
    let result = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < offsets.length; index++)
      result = Math.max(result, values[base + offsets[index]!]!);
    return result;
  },
  wide: (values, base, offsets) => {
    let result = values[base + offsets[0]!]!;
    for (let index = 1; index < offsets.length; index++) {
      const value = values[base + offsets[index]!]!;
      if (value > result) result = value;
    }
    return result;
  },
};

const minimum: Reduction = {
  empty: 'highest',
  lane: (values, base, offsets) => {
    let result = Number.POSITIVE_INFINITY;
    for (let index = 0; index < offsets.length; index++)
      result = Math.min(result, values[base + offsets[index]!]!);
    return result;
  },
  wide: (values, base, offsets) => {
    let result = values[base + offsets[0]!]!;
    for (let index = 1; index < offsets.length; index++) {
      const value = values[base + offsets[index]!]!;
      if (value < result) result = value;
    }
    return result;
  },
};

const absoluteSum: Reduction = {
  composite: true,
  lane: (values, base, offsets) => {
    let sum = 0;
    for (let index = 0; index < offsets.length; index++) sum += Math.abs(values[base + offsets[index]!]!);
    return sum;
  },
};

const squareSum: Reduction = {
  composite: true,
  lane: (values, base, offsets) => {
    let sum = 0;
    for (let index = 0; index < offsets.length; index++) sum += values[base + offsets[index]!]! ** 2;
    return sum;
  },
  wide: (values, base, offsets) => {
    let sum = 0n;
    for (let index = 0; index < offsets.length; index++) sum += values[base + offsets[index]!]! ** 2n;
    return sum;
  },
};

const root: Reduction = {
  composite: true,
  lane: (values, base, offsets) => Math.sqrt(squareSum.lane(values, base, offsets)),
};

const logSum: Reduction = {
  composite: true,
  lane: (values, base, offsets) => Math.log(laneSum(values, base, offsets)),
};

/** `log(sum(exp(x)))`, by the largest element first so that nothing overflows. */
const logSumExp: Reduction = {
  lane: (values, base, offsets) => {
    const largest = maximum.lane(values, base, offsets);
    if (!Number.isFinite(largest)) return largest;
    let sum = 0;
    for (let index = 0; index < offsets.length; index++)
      sum += Math.exp(values[base + offsets[index]!]! - largest);
    return largest + Math.log(sum);
  },
};

/**
 * ONNX `ReduceSum` (opset 13), `ReduceMax` and `ReduceMin` (opset 20) and the other reductions (opset 18): over the
 * axes of the second input; over all without axes, unless `noop_with_empty_axes` says none: then each element is
 * reduced alone, and squares, absolute values and logarithms are still taken, as the specification spells out.
 */
function reducer(reduction: Reduction): ReferenceKernel {
  return (context) => {
    const input = context.tensor(0);
    if (!isReal(input.dtype) && !(input.dtype === 'bool' && reduction.empty !== undefined))
      context.wrongType(input.dtype, REAL);
    const { keepdims, noop_with_empty_axes: noop } = context.attributes({
      keepdims: attr.flag(true),
      noop_with_empty_axes: attr.flag(false),
    });
    const given = context.optional(1);
    const axes = given === undefined ? [] : normalAxes(context, toIntegers(given), input.shape.length);
    if (axes.length === 0 && noop && reduction.composite !== true) return [input];
    const over = axes.length === 0 && !noop ? input.shape.map((_, axis) => axis) : axes;
    return [reduceTensor(input, reduction, { axes: over, keepdims })];
  };
}

/** ONNX `ArgMax`, `ArgMin` (opset 13): index of the largest or smallest element; NaN counts as both. */
function argument(better: (candidate: number, best: number) => boolean): ReferenceKernel {
  return (context) => {
    const input = context.tensor(0);
    if (!isReal(input.dtype)) context.wrongType(input.dtype, REAL);
    const {
      axis,
      keepdims,
      select_last_index: last,
    } = context.attributes({
      axis: attr.int(0),
      keepdims: attr.flag(true),
      select_last_index: attr.flag(false),
    });
    const at = requireAxis(context, axis, input.shape.length);
    if (input.shape[at] === 0) context.fail('the axis is empty');
    const { bases, offsets } = lanesOver(input.shape, [at]);
    const values = input.toFloat64Array();
    const found: number[] = [];
    for (const base of bases) {
      let best = 0;
      for (let index = 1; index < offsets.length; index++) {
        const candidate = values[base + offsets[index]!]!;
        const held = values[base + offsets[best]!]!;
        if (better(candidate, held) || (last && candidate === held)) best = index;
      }
      found.push(best);
    }
    return [
      int64Tensor(
        input.shape.flatMap((dim, index) => (index === at ? (keepdims ? [1] : []) : [dim])),
        found,
      ),
    ];
  };
}

/** The axis counted from the front, or a SHAPE_MISMATCH. */
export function requireAxis(context: KernelContext, axis: number, rank: number): number {
  return normalAxis(axis, rank) ?? context.fail(`axis ${axis} is not one of ${rank} axes`);
}

/** ONNX `CumSum` (opset 14): running sums along an axis; `exclusive` leaves out the element itself. */
const cumSum: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  if (!isReal(input.dtype)) context.wrongType(input.dtype, REAL);
  const { exclusive, reverse } = context.attributes({
    exclusive: attr.flag(false),
    reverse: attr.flag(false),
  });
  const axis = requireAxis(context, context.tensor(1).toFloat64Array()[0] ?? Number.NaN, input.shape.length);
  const { bases, offsets } = lanesOver(input.shape, [axis]);
  const order = reverse ? offsets.slice().reverse() : offsets;
  if (isWide(input.dtype)) {
    const values = input.data as BigInt64Array;
    const out = makeStore(input.dtype, input.size) as BigInt64Array;
    for (const base of bases) {
      let sum = 0n;
      for (const offset of order) {
        const next = sum + values[base + offset]!;
        out[base + offset] = exclusive ? sum : next;
        sum = next;
      }
    }
    return [fromStore(input.dtype, input.shape, out)];
  }
  const values = input.toFloat64Array();
  const out = new Float64Array(input.size);
  for (const base of bases) {
    let sum = 0;
    for (const offset of order) {
      const next = sum + values[base + offset]!;
      out[base + offset] = exclusive ? sum : next;
      sum = next;
    }
  }
  return [fromNumbers(input.dtype, input.shape, out)];
};

/** Reductions of `ai.onnx`. */
export const reduceKernels: KernelTable = {
  ArgMax: argument((candidate, best) => candidate > best || (Number.isNaN(candidate) && !Number.isNaN(best))),
  ArgMin: argument((candidate, best) => candidate < best || (Number.isNaN(candidate) && !Number.isNaN(best))),
  CumSum: cumSum,
  ReduceL1: reducer(absoluteSum),
  ReduceL2: reducer(root),
  ReduceLogSum: reducer(logSum),
  ReduceLogSumExp: reducer(logSumExp),
  ReduceMax: reducer(maximum),
  ReduceMean: reducer(meanReduction),
  ReduceMin: reducer(minimum),
  ReduceProd: reducer(product),
  ReduceSum: reducer(sumReduction),
  ReduceSumSquare: reducer(squareSum),
};
