import { attr } from '../../op/attributes.ts';
import { elementsOf, stridesOf } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { fromNumbers, int64Tensor, toIntegers } from '../elements.ts';
import type { KernelContext, KernelTable, ReferenceKernel } from '../kernel.ts';
import { isReal, REAL } from './numeric.ts';
import { BEYOND, planWindow, type Window, windowAttributes, windowTable } from './window.ts';

const poolAttributes = {
  ...windowAttributes,
  ceil_mode: attr.flag(false),
  kernel_shape: attr.requiredInts(),
} as const;

interface Pool {
  readonly window: Window;
  readonly table: Int32Array;
  readonly values: Float64Array;
  readonly planes: number;
  readonly area: number;
  readonly places: number;
  readonly taps: number;
  readonly shape: readonly number[];
}

function planPool(context: KernelContext, input: Tensor): Pool {
  if (!isReal(input.dtype)) context.wrongType(input.dtype, REAL);
  if (input.shape.length < 3) context.fail(`the input has ${input.shape.length} axes, at least 3 are needed`);
  const options = context.attributes(poolAttributes);
  const window = planWindow(context, input.shape.slice(2), options.kernel_shape, options);
  const shape = [...input.shape.slice(0, 2), ...window.output];
  context.guard(input.dtype, shape);
  return {
    window,
    table: windowTable(context, window),
    values: input.toFloat64Array(),
    planes: input.shape[0]! * input.shape[1]!,
    area: elementsOf(window.input),
    places: elementsOf(window.output),
    taps: elementsOf(window.kernel),
    shape,
  };
}

/** ONNX `MaxPool` (opset 12): the largest element under each window, and where it lies in the input. */
const maxPool: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const { storage_order: columnMajor } = context.attributes({ storage_order: attr.flag(false) });
  const { window, table, values, planes, area, places, taps, shape } = planPool(context, input);
  const out = new Float64Array(planes * places);
  const indices = new Array<number>(out.length);
  for (let plane = 0; plane < planes; plane++) {
    for (let place = 0; place < places; place++) {
      let best = Number.NEGATIVE_INFINITY;
      let found = -1;
      for (let tap = 0; tap < taps; tap++) {
        const at = table[place * taps + tap]!;
        if (at < 0) continue;
        const value = values[plane * area + at]!;
        if (found < 0 || value > best || (Number.isNaN(value) && !Number.isNaN(best))) {
          best = value;
          found = at;
        }
      }
      out[plane * places + place] = best;
      indices[plane * places + place] =
        found < 0 ? -1 : plane * area + (columnMajor ? turned(found, window.input) : found);
    }
  }
  const pooled = fromNumbers(input.dtype, shape, out);
  return context.outputCount > 1 ? [pooled, int64Tensor(shape, indices)] : [pooled];
};

/** A row-major position as a column-major one. */
function turned(position: number, shape: readonly number[]): number {
  const strides = stridesOf(shape);
  let result = 0;
  let stride = 1;
  for (let axis = 0; axis < shape.length; axis++) {
    result += (Math.floor(position / strides[axis]!) % shape[axis]!) * stride;
    stride *= shape[axis]!;
  }
  return result;
}

/** ONNX `AveragePool` (opset 19): the mean under each window, of the input alone or with its padding. */
const averagePool: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const { values, shape } = averageNumbers(context, input, input.toFloat64Array());
  return [fromNumbers(input.dtype, shape, values)];
};

/** Means under the windows of the node, of `values` in the place of the input's elements. */
export function averageNumbers(
  context: KernelContext,
  input: Tensor,
  values: Float64Array,
): { values: Float64Array; shape: readonly number[] } {
  const { count_include_pad: withPadding } = context.attributes({ count_include_pad: attr.flag(false) });
  const { table, planes, area, places, taps, shape } = planPool(context, input);
  const out = new Float64Array(planes * places);
  for (let plane = 0; plane < planes; plane++) {
    for (let place = 0; place < places; place++) {
      let sum = 0;
      let count = 0;
      for (let tap = 0; tap < taps; tap++) {
        const at = table[place * taps + tap]!;
        if (at >= 0) sum += values[plane * area + at]!;
        if (at >= 0 || (withPadding && at !== BEYOND)) count++;
      }
      out[plane * places + place] = sum / count;
    }
  }
  return { values: out, shape };
}

/** ONNX `LpPool` (opset 18): the p-norm under each window. */
const lpPool: ReferenceKernel = (context) => {
  const input = context.tensor(0);
  const { p } = context.attributes({ p: attr.int(2) });
  const { table, values, planes, area, places, taps, shape } = planPool(context, input);
  const out = new Float64Array(planes * places);
  for (let plane = 0; plane < planes; plane++) {
    for (let place = 0; place < places; place++) {
      let sum = 0;
      for (let tap = 0; tap < taps; tap++) {
        const at = table[place * taps + tap]!;
        if (at >= 0) sum += Math.abs(values[plane * area + at]!) ** p;
      }
      out[plane * places + place] = sum ** (1 / p);
    }
  }
  return [fromNumbers(input.dtype, shape, out)];
};

/** A kernel over all spatial elements of each plane, kept as dims of 1. */
function globalPool(
  makeRule: (context: KernelContext) => (values: Float64Array, from: number, to: number) => number,
): ReferenceKernel {
  return (context) => {
    const input = context.tensor(0);
    if (!isReal(input.dtype)) context.wrongType(input.dtype, REAL);
    if (input.shape.length < 3)
      context.fail(`the input has ${input.shape.length} axes, at least 3 are needed`);
    const rule = makeRule(context);
    const values = input.toFloat64Array();
    const planes = input.shape[0]! * input.shape[1]!;
    const area = elementsOf(input.shape.slice(2));
    const out = new Float64Array(planes);
    for (let plane = 0; plane < planes; plane++) out[plane] = rule(values, plane * area, (plane + 1) * area);
    return [
      fromNumbers(
        input.dtype,
        input.shape.map((dim, axis) => (axis < 2 ? dim : 1)),
        out,
      ),
    ];
  };
}

/** ONNX `GlobalAveragePool` (opset 1). */
const globalAveragePool = globalPool(() => (values, from, to) => {
  let sum = 0;
  for (let at = from; at < to; at++) sum += values[at]!;
  return sum / (to - from);
});

/** ONNX `GlobalMaxPool` (opset 1). */
const globalMaxPool = globalPool(() => (values, from, to) => {
  let best = Number.NEGATIVE_INFINITY;
  for (let at = from; at < to; at++) best = Math.max(best, values[at]!);
  return best;
});

/** ONNX `GlobalLpPool` (opset 2): the p-norm. */
const globalLpPool = globalPool((context) => {
  const { p } = context.attributes({ p: attr.int(2) });
  return (values, from, to) => {
    let sum = 0;
    for (let at = from; at < to; at++) sum += Math.abs(values[at]!) ** p;
    return sum ** (1 / p);
  };
});

/**
 * ONNX `MaxUnpool` (opset 11): puts elements back where `MaxPool` found them. Indices count in the shape that the
 * attributes imply; `output_shape` pads that at the end.
 */
const maxUnpool: ReferenceKernel = (context) => {
  const options = context.attributes({
    kernel_shape: attr.requiredInts(),
    pads: attr.optionalInts(),
    strides: attr.optionalInts(),
  });
  const [input, indices] = [context.tensor(0), toIntegers(context.tensor(1))];
  const rank = input.shape.length - 2;
  const spatial = input.shape.slice(2).map((dim, axis) => {
    const stride = options.strides?.[axis] ?? 1;
    const padding = (options.pads?.[axis] ?? 0) + (options.pads?.[axis + rank] ?? 0);
    return (dim - 1) * stride + (options.kernel_shape[axis] ?? 1) - padding;
  });
  const implied = [...input.shape.slice(0, 2), ...spatial];
  const given = context.optional(2);
  const shape = given === undefined ? implied : toIntegers(given);
  if (shape.length !== implied.length || indices.length !== input.size)
    context.fail('indices or output_shape do not fit the input');
  const out = new Float64Array(context.guard(input.dtype, shape));
  const values = input.toFloat64Array();
  const impliedStrides = stridesOf(implied);
  const strides = stridesOf(shape);
  const limit = elementsOf(implied);
  for (let index = 0; index < values.length; index++) {
    const from = indices[index]!;
    if (from < 0 || from >= limit) context.fail(`index ${from} is outside ${limit} elements`);
    let at = 0;
    for (let axis = 0; axis < implied.length; axis++) {
      const place = Math.floor(from / impliedStrides[axis]!) % implied[axis]!;
      if (place >= shape[axis]!) context.fail(`index ${from} is outside output_shape`);
      at += place * strides[axis]!;
    }
    out[at] = values[index]!;
  }
  return [fromNumbers(input.dtype, shape, out)];
};

/** Pooling: `ai.onnx`. */
export const poolingKernels: KernelTable = {
  AveragePool: averagePool,
  GlobalAveragePool: globalAveragePool,
  GlobalLpPool: globalLpPool,
  GlobalMaxPool: globalMaxPool,
  LpPool: lpPool,
  MaxPool: maxPool,
  MaxUnpool: maxUnpool,
};
